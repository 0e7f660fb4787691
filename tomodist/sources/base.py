"""Where the maps of a series come from: what steps that make them share.

One rule: a source is a small value; what it gives for one tilt travels to that tilt's task, and
nothing of the others does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np

from tomodist.detectors.base import NeedyDetector, ProbabilityDetector
from tomodist.values.boxes import Boxes, Form, boxes_of, draw, fill
from tomodist.values.maps import STRUCTURE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tomodist.detectors.base import BoxDetector, MapDetector
    from tomodist.values.arrays import BoolArray, Float32Array, UInt8Array

ProbabilityType = Literal["uint8", "float16"]


class Detection(NamedTuple):
    """Map and boxes of one image.

    Parameters
    ----------
    map : ndarray, shape (height, width), uint8
        0, 1 = structure, 2 = not measured (or not annotated); of classes, see
        `tomodist.store.maps`.
    boxes : Boxes
        Of the structures.
    probabilities : ndarray, shape (n_classes, height, width), float32, optional
        What the map was cut from.
    """

    map: UInt8Array
    boxes: Boxes
    probabilities: Float32Array | None = None


class TiltSource(Protocol):
    """Source of the map of one tilt; it travels to the task that writes it."""

    def detect(self, image: Float32Array, pixel_size: float) -> Detection:
        """Map and boxes of one image.

        Parameters
        ----------
        image : ndarray, shape (height, width), float32
            NaN = not measured.
        pixel_size : float
            In Å.

        Returns
        -------
        Detection
        """
        ...


class MapSource(Protocol):
    """Source of the maps of a series."""

    def fingerprint(self) -> dict[str, Any]:
        """Values that determine the maps."""
        ...

    def of_tilt(self, tilt: int) -> TiltSource:
        """Source of one tilt; it travels to the task of that tilt."""
        ...

    def needs(self) -> Needs:
        """Needs of the tasks that make the maps."""
        ...


class LabelMaps(MapSource, Protocol):
    """Source of label maps of several classes."""

    @property
    def classes(self) -> dict[int, str]:
        """Names by value."""


@dataclass(frozen=True)
class Needs:
    """Memory, folders and arrays that a source of maps needs.

    Parameters
    ----------
    memory : callable
        ``memory(shape, pixel_size)`` gives the bytes that a task holds beside an image.
    folders : tuple of Path
        That workers must see.
    probabilities : dict of str to str
        Arrays of probabilities that are kept beside the maps, and their type.
    """

    memory: Callable[[tuple[int, int], float], int] = lambda *_: 0
    folders: tuple[Path, ...] = ()
    probabilities: Mapping[str, ProbabilityType] = field(default_factory=dict)


@dataclass(frozen=True)
class DetectorMaps:
    """Maps from a detector.

    Parameters
    ----------
    detector : MapDetector or BoxDetector
        What looks at each image.
    form : {"mask", "box"}
        What the map shows: the mask (of a box, the ellipse inside), or filled boxes.
    min_size : float
        Boxes of which a side is shorter are dropped, in Å.
    keep : {"uint8", "float16"}, optional
        How the probabilities are kept that a learned detector cuts its masks from; uint8 holds them
        in steps of 1/255. Maps are cut before they are rounded.
    """

    detector: MapDetector | BoxDetector
    form: Form = "mask"
    min_size: float = 0.0

    keep: ProbabilityType | None = None

    def fingerprint(self) -> dict[str, Any]:
        """Values that determine the maps."""
        kept = {"probabilities": self.keep} if self.keep else {}
        return {"form": self.form, "min_size": self.min_size, **kept, **self.detector.parameters()}

    def needs(self) -> Needs:
        """Needs of the detector: memory, and the folder of its model."""
        kept = {"probabilities": self.keep} if self.keep else {}
        return Needs(*resources_of(self.detector), kept)

    def of_tilt(self, tilt: int) -> TiltSource:  # noqa: ARG002 -- it sees every tilt alike
        """Return the source itself: it is the same for every tilt."""
        return self

    def detect(self, image: Float32Array, pixel_size: float) -> Detection:
        """Map and boxes of one image.

        Parameters and result as for `TiltSource.detect`.
        """
        smallest = self.min_size / pixel_size
        # One pass gives probabilities and mask: the mask is cut before they are rounded for
        # storage.
        if self.keep and isinstance(self.detector, ProbabilityDetector):
            probabilities = self.detector.probabilities(image, pixel_size)
            mask = probabilities[0] > self.detector.thresholds[0]
            return formed(mask, self.form, smallest)._replace(probabilities=probabilities)
        detected = self.detector(image, pixel_size)
        if not isinstance(detected, Boxes):
            return formed(detected == STRUCTURE, self.form, smallest)
        large = detected.select((detected.size >= smallest).all(axis=1))
        return Detection(draw(large, image.shape, self.form), large)


@dataclass(frozen=True)
class DetectedClasses:
    """Label maps from a detector of several classes, in one pass.

    A pixel gets the class whose probability is highest, as a multiple of its threshold, of those
    above their thresholds.

    Parameters
    ----------
    detector : ProbabilityDetector
        What looks at each image.
    keep : {"uint8", "float16"}, optional
        As for `DetectorMaps`.
    """

    detector: ProbabilityDetector
    keep: ProbabilityType | None = None

    @property
    def classes(self) -> dict[int, str]:
        """Names by value."""
        return dict(enumerate(self.detector.classes, start=1))

    def fingerprint(self) -> dict[str, Any]:
        """Values that determine the label maps."""
        names = {str(value): name for value, name in self.classes.items()}
        kept = {"probabilities": self.keep} if self.keep else {}
        return {"form": "classes", "classes": names, **kept, **self.detector.parameters()}

    def needs(self) -> Needs:
        """Needs of the detector: memory, and the folder of its model."""
        names = self.detector.classes if self.keep else ()
        kept = {f"probabilities_{name}": self.keep for name in names if self.keep}
        return Needs(*resources_of(self.detector), kept)

    def of_tilt(self, tilt: int) -> TiltSource:  # noqa: ARG002 -- it sees every tilt alike
        """Return the source itself: it is the same for every tilt."""
        return self

    def detect(self, image: Float32Array, pixel_size: float) -> Detection:
        """Label map of one image.

        Parameters and result as for `TiltSource.detect`; each class has its own unit for boxes, so
        there are none here.
        """
        probabilities = self.detector.probabilities(image, pixel_size)
        # Classes compete by how far they exceed their own thresholds, not by bare probability.
        over = probabilities / self.detector.thresholds[:, None, None]
        labels = np.where(over.max(axis=0) > 1, over.argmax(axis=0) + 1, 0).astype(np.uint8)
        return Detection(labels, Boxes.empty(), probabilities if self.keep else None)


def resources_of(
    detector: object,
) -> tuple[Callable[[tuple[int, int], float], int], tuple[Path, ...]]:
    """Memory and folders that a detector needs; classical detectors need none."""
    if isinstance(detector, NeedyDetector):
        return detector.memory, detector.folders()
    return (lambda *_: 0), ()


def formed(mask: BoolArray, form: Form, min_size_px: float) -> Detection:
    """Map and boxes from a mask.

    Parameters
    ----------
    mask : ndarray, shape (height, width), bool
        Where a structure is.
    form : {"mask", "box"}
        Whether the map shows the mask, or its filled boxes.
    min_size_px : float
        Components with a shorter side are dropped, in pixels.

    Returns
    -------
    Detection
    """
    boxes = boxes_of(mask)
    large = boxes.select((boxes.size >= min_size_px).all(axis=1))
    if form == "box":
        return Detection(fill(large, mask.shape), large)
    if len(large) < len(boxes):
        # Only pixels in boxes of large components stay.
        mask = mask & (fill(large, mask.shape) == STRUCTURE)
    return Detection(mask.astype(np.uint8), large)

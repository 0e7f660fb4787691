"""Step: `tilt_series` (or maps made elsewhere) become `maps/<label>`: 2D maps and boxes.

Per tilt the boxes are written first and the map last: the map's shard is the commit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from tomodist.detect.base import STRUCTURE
from tomodist.detect.boxes import Boxes, Form, boxes_of, draw, fill
from tomodist.io.arrays import ArrayHandle, Index
from tomodist.io.boxes import create_boxes, write_boxes
from tomodist.io.resample import resample
from tomodist.io.sections import FrameName, fitting_sections
from tomodist.io.volumes import create_stack
from tomodist.lift.windows import UNMEASURED
from tomodist.plan import check_image_memory
from tomodist.stages.execute import Session, Task, task_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tomodist.detect.base import BoxDetector, MapDetector
    from tomodist.io.stacks import ImageStack
    from tomodist.io.store import Tomogram

VERSION = 1
Found = tuple[npt.NDArray[np.uint8], Boxes]  # map and boxes of one image


class TiltSource(Protocol):
    """Gives the map of one tilt; travels to the task that writes it."""

    def detect(self, image: npt.NDArray[np.float32], pixel_size: float) -> Found:
        """Map and boxes of the image, shape (height, width), with pixels of `pixel_size` Å."""
        ...


class MapSource(Protocol):
    """Where the maps of a series come from."""

    def fingerprint(self) -> dict[str, Any]:
        """What determines the maps."""
        ...

    def of_tilt(self, tilt: int) -> TiltSource:
        """All that the task of one tilt needs, and nothing of the others."""
        ...


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
    """

    detector: MapDetector | BoxDetector
    form: Form = "mask"
    min_size: float = 0.0

    def fingerprint(self) -> dict[str, Any]:
        """What determines the maps."""
        return {"form": self.form, "min_size": self.min_size, **self.detector.parameters()}

    def of_tilt(self, tilt: int) -> TiltSource:  # noqa: ARG002 -- it sees every tilt alike
        """The same for every tilt."""
        return self

    def detect(self, image: npt.NDArray[np.float32], pixel_size: float) -> Found:
        """Map and boxes of one image."""
        found = self.detector(image, pixel_size)
        if not isinstance(found, Boxes):
            return _formed(found == STRUCTURE, self.form, self.min_size / pixel_size)
        large = found.select((found.size >= self.min_size / pixel_size).all(axis=1))
        return draw(large, image.shape, self.form), large


@dataclass(frozen=True)
class ImportedMaps:
    """Maps made elsewhere: a stack of which any value but 0 (and NaN) is structure.

    Parameters
    ----------
    stack : ImageStack
        The maps.
    sections : tuple of int
        The section of the stack for every tilt.
    transforms : tuple, optional
        If the maps are in the frame of the raw images: per tilt, how those were resampled.
    binning : int
        Likewise.
    form, min_size
        As for `DetectorMaps`.
    """

    stack: ImageStack
    sections: tuple[int, ...]
    transforms: tuple[Any, ...] | None = None
    binning: int = 1
    form: Form = "mask"
    min_size: float = 0.0

    def fingerprint(self) -> dict[str, Any]:
        """What determines the maps."""
        frame = "raw" if self.transforms else "aligned"
        stack = {"imported": self.stack.fingerprint(), "frame": frame, "sections": self.sections}
        return {"form": self.form, "min_size": self.min_size, **stack}

    def of_tilt(self, tilt: int) -> TiltSource:
        """One section, and how it is resampled."""
        transform = self.transforms[tilt] if self.transforms else None
        section = self.sections[tilt]
        return _ImportedMap(self.stack, section, transform, self.binning, self.form, self.min_size)


@dataclass(frozen=True)
class _ImportedMap:
    """One tilt of `ImportedMaps`."""

    stack: ImageStack
    section: int
    transform: Any
    binning: int
    form: Form
    min_size: float

    def detect(self, image: npt.NDArray[np.float32], pixel_size: float) -> Found:
        """Map and boxes of this tilt."""
        values = np.asarray(self.stack.read(self.section))
        found = ((values != 0) & (values == values)).astype(np.float32)
        if self.transform is not None:
            found = resample(found, np.asarray(self.transform), image.shape, self.binning)
        return _formed(found > 0.5, self.form, self.min_size / pixel_size)


def _formed(mask: npt.NDArray[np.bool_], form: Form, min_size_px: float) -> Found:
    """The mask or its filled boxes, and its boxes; small components are dropped from both."""
    boxes = boxes_of(mask)
    large = boxes.select((boxes.size >= min_size_px).all(axis=1))
    if form == "box":
        return fill(large, mask.shape), large
    if len(large) < len(boxes):
        mask = mask & (fill(large, mask.shape) == STRUCTURE)
    return mask.astype(np.uint8), large


def import_maps(
    tomogram: Tomogram,
    path: str | Path,
    frame: FrameName = "aligned",
    *,
    form: Form = "mask",
    min_size: float = 0.0,
) -> ImportedMaps:
    """Check that a stack of maps fits a tilt series.

    Parameters
    ----------
    tomogram : Tomogram
        The store with the tilt series.
    path : str or Path
        MRC, TIFF, NPY or Zarr (tilt, y, x).
    frame : {"aligned", "raw"}
        Whether the maps lie on the stored images, or on the raw ones as they were ingested.
    form, min_size
        As for `DetectorMaps`.

    Returns
    -------
    ImportedMaps

    Raises
    ------
    InputError
        If shapes or numbers of tilts differ.
    """
    return ImportedMaps(*fitting_sections(tomogram, path, frame), form=form, min_size=min_size)


def detect_maps(
    session: Session,
    tomogram: Tomogram,
    label: str,
    source: MapSource,
    *,
    unmeasured: int = UNMEASURED,
    overwrite: bool = False,
) -> bool:
    """Make `maps/<label>`.

    Parameters
    ----------
    session : Session
        Where tasks run.
    tomogram : Tomogram
        The store.
    label : str
        What the structures are called.
    source : DetectorMaps, ImportedMaps or ImportedBoxes
        Where maps come from.
    unmeasured : int
        Value of the maps where the image was not measured.
    overwrite : bool
        Replace maps that were made differently.

    Returns
    -------
    bool
        False if the maps were there already.

    Raises
    ------
    ExistsError, InputError, PlanError, StoreError
    """
    unit, geometry = f"maps/{label}", tomogram.geometry
    fingerprint: Mapping[str, Any] = {
        "step": "detect",
        "version": VERSION,
        "tilt_series": tomogram.digest("tilt_series"),
        **source.fingerprint(),
    }
    if tomogram.is_current(unit, fingerprint, overwrite=overwrite):
        return False
    check_image_memory(geometry.image_shape, session.resources, "detect")
    images = tomogram.array("tilt_series", "images")
    with tomogram.stage(unit, fingerprint) as staging:
        maps, boxes = (
            ArrayHandle(str(staging.path / "maps")),
            ArrayHandle(str(staging.path / "boxes")),
        )
        if not staging.has("maps"):
            staging.clear()
            boxes = create_boxes(staging.path / "boxes", geometry.n_tilts)
            maps = create_stack(staging.path / "maps", geometry, np.uint8)

        def task(brick: Index) -> Task:
            tilt, size = brick[0], geometry.pixel_size
            of_tilt = source.of_tilt(tilt)
            return task_of(_detect_tilt, images, maps, boxes, of_tilt, size, tilt, unmeasured)

        session.fill(f"detect {label}", maps, task)
        staging.describe(**source.fingerprint())
    return True


def _detect_tilt(
    images: ArrayHandle,
    maps: ArrayHandle,
    boxes: ArrayHandle,
    source: TiltSource,
    pixel_size: float,
    tilt: int,
    unmeasured: int,
) -> None:
    image = images.read((tilt, tilt + 1))[0]
    found, places = source.detect(image, pixel_size)
    mask = np.where(np.isfinite(image), found, unmeasured).astype(np.uint8)
    write_boxes(boxes, tilt, places.center, places.size, places.score)
    maps.write((tilt, 0, 0), mask[None])

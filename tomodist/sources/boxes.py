"""Boxes and points made elsewhere as a source of maps: read, checked, and carried to the tilts.

One rule: they are in the frame of the stored images before any task runs, and a task gets those of
its own tilt only.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tomodist.algorithms.resample import aligned_points, aligned_sizes
from tomodist.errors import InputError
from tomodist.formats.annotations import read_annotations
from tomodist.formats.rows import Problems
from tomodist.sources.base import Detection, Needs
from tomodist.sources.placement import Frame, PointOptions, place_boxes
from tomodist.values.boxes import Boxes, Form, draw

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tomodist.sources.placement import PlacedBoxes
    from tomodist.store.tomogram import Tomogram
    from tomodist.values.arrays import Float32Array

FrameName = Literal["aligned", "raw"]


@dataclass(frozen=True)
class ImportedBoxes:
    """Boxes made elsewhere, in the frame of the stored images.

    Parameters
    ----------
    boxes : tuple of Boxes
        Of every tilt.
    form : {"mask", "box"}
        As for `DetectorMaps`.
    made : dict
        How they came from their file, as plain values.
    n_left_out : int
        Boxes on sections that the store has not.
    """

    boxes: tuple[Boxes, ...]
    form: Form = "mask"
    made: Mapping[str, Any] = field(default_factory=dict)
    n_left_out: int = 0

    @property
    def n_boxes(self) -> int:
        """Number of boxes on all tilts."""
        return sum(map(len, self.boxes))

    def fingerprint(self) -> dict[str, Any]:
        """Values that determine the maps: the boxes themselves, independent of their file."""
        content = hashlib.sha256()
        for boxes in self.boxes:
            for array in (np.array(len(boxes)), boxes.center, boxes.size, boxes.score):
                content.update(array.tobytes())
        boxes_made = {"n": self.n_boxes, "sha256": content.hexdigest()}
        return {"form": self.form, **self.made, "boxes": boxes_made}

    def needs(self) -> Needs:
        """No needs."""
        return Needs()

    def of_tilt(self, tilt: int) -> _BoxesOfTilt:
        """The boxes of one tilt."""
        return _BoxesOfTilt(self.boxes[tilt], self.form)


@dataclass(frozen=True)
class _BoxesOfTilt:
    """One tilt of `ImportedBoxes`."""

    boxes: Boxes
    form: Form

    def detect(self, image: Float32Array, _: float) -> Detection:
        """Map and boxes of this tilt."""
        return Detection(draw(self.boxes, image.shape, self.form), self.boxes)


def import_boxes(
    tomogram: Tomogram,
    path: str | Path,
    frame: FrameName = "aligned",
    *,
    form: Form = "mask",
    min_size: float = 0.0,
    options: PointOptions | None = None,
) -> dict[str, ImportedBoxes]:
    """Read boxes or points made elsewhere, and check that they fit a tilt series.

    Parameters
    ----------
    tomogram : Tomogram
        The store with the tilt series.
    path : str or Path
        See `tomodist.formats.annotations`.
    frame : {"aligned", "raw"}
        Whether they lie on the stored images, or on the raw ones as they were ingested. Sections
        are those of the ingested stack in both.
    form, min_size
        As for `DetectorMaps`.
    options : PointOptions, optional
        Sizes of points, filters.

    Returns
    -------
    dict of str to ImportedBoxes
        By class; one empty key if the file has no classes.

    Raises
    ------
    InputError
        Lists all problems of the file.
    """
    path, options, problems = Path(path).absolute(), options or PointOptions(), Problems()
    drawn_on = _drawn_on(tomogram, frame)
    content = read_annotations(path, problems)
    by_class = place_boxes(path, content, problems, drawn_on, options)
    made = {
        "imported": content.form,
        "frame": frame,
        "min_size": min_size,
        "diameter": options.diameter,
        "min_score": options.min_score,
        "flip_y": options.flip_y,
    }
    sources = {}
    for name, placed in by_class.items():
        boxes = _in_aligned_frame(tomogram, placed, min_size, drawn_on)
        sources[name] = ImportedBoxes(boxes, form, made, placed.n_left_out)
        if not any(map(len, boxes)):
            raise InputError(
                f"{path}: no box {f'of class {name} ' if name else ''}is left on the "
                f"{len(boxes)} tilts (`min_size` is {min_size:g} Å; {placed.n_left_out} lie on "
                "excluded sections); use another file, or a smaller `min_size`"
            )
    return sources


def _drawn_on(tomogram: Tomogram, frame: FrameName) -> Frame:
    attributes = tomogram.series.attributes
    geometry = tomogram.geometry
    n_raw, *raw = attributes["raw_shape"]
    shapes = {"aligned": geometry.image_shape, "raw": (raw[0], raw[1])}
    return Frame(
        frame,
        shapes[frame],
        geometry.pixel_size / (attributes["binning"] if frame == "raw" else 1),
        shapes["aligned" if frame == "raw" else "raw"],
        tuple(tomogram.series.array("section").read().tolist()),
        n_raw,
        geometry.tilt_angles,
    )


def _in_aligned_frame(
    tomogram: Tomogram, placed: PlacedBoxes, min_size: float, drawn_on: Frame
) -> tuple[Boxes, ...]:
    """Carry boxes the way of the pixels; those that the stored images do not show are dropped."""
    attributes, geometry = tomogram.series.attributes, tomogram.geometry
    ends = np.array(geometry.image_shape) - 0.5
    result = []
    for boxes, rows in zip(placed.boxes, attributes["transforms"], strict=True):
        center, size = boxes.center, boxes.size
        if drawn_on.name == "raw":
            frame, binning = (drawn_on.shape, geometry.image_shape), attributes["binning"]
            center = aligned_points(center, np.array(rows), *frame, binning)
            size = aligned_sizes(size, np.array(rows), binning)
        # Boxes that overlap the stored image at all.
        seen = ((center + size / 2 > -0.5) & (center - size / 2 < ends)).all(axis=1)
        large = (size >= min_size / geometry.pixel_size).all(axis=1)
        result.append(Boxes(center, size, boxes.score).select(seen & large))
    return tuple(result)

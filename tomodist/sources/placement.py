"""Boxes of a file become boxes of the tilts of a store, still where they were drawn.

One rule: everything that can be wrong with them is found here, before any work starts: images that
do not exist, boxes outside of their image, too many of them, sizes that are missing or of another
frame.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from tomodist.errors import InputError
from tomodist.store.boxes import MAX_BOXES
from tomodist.values.boxes import Boxes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tomodist.formats.rows import Annotations, Problems, Row

_OUTSIDE = 0.05  # part of the centres; more is another frame, not annotators at the border
_ANGLE = 0.5  # degrees between a tilt's angle and the one that is given; refinement changes them


@dataclass(frozen=True)
class Frame:
    """The images that boxes were drawn on.

    Parameters
    ----------
    name : {"aligned", "raw"}
        Which they are.
    shape : tuple of int
        Their height and width.
    pixel_size : float
        In Å.
    other_shape : tuple of int
        Height and width of the images of the other name.
    sections : tuple of int
        The section of the stack (0-based) of every tilt of the store.
    n_sections : int
        Of the stack, those that were left out included.
    tilt_angles : tuple of float
        Of every tilt, in degrees.
    """

    name: Literal["aligned", "raw"]
    shape: tuple[int, int]
    pixel_size: float
    other_shape: tuple[int, int]
    sections: tuple[int, ...]
    n_sections: int
    tilt_angles: tuple[float, ...]


@dataclass(frozen=True)
class PointOptions:
    """Options for the boxes of a file.

    Parameters
    ----------
    diameter : float, optional
        Of points, in Å.
    min_score : float, optional
        Boxes of a lower score are left out.
    flip_y : bool
        Rows were counted from the last row of the array.
    """

    diameter: float | None = None
    min_score: float | None = None
    flip_y: bool = False

    def __post_init__(self) -> None:
        if self.diameter is not None and not 0 < self.diameter < np.inf:
            raise InputError(f"`diameter` is {self.diameter} Å; it must be a positive number")
        if self.min_score is not None and not np.isfinite(self.min_score):
            raise InputError(f"`min_score` is {self.min_score}; it must be a finite number")


@dataclass(frozen=True)
class PlacedBoxes:
    """Boxes of one class.

    Parameters
    ----------
    boxes : tuple of Boxes
        Of every tilt.
    n_left_out : int
        Boxes on sections that were excluded when the series was ingested.
    """

    boxes: tuple[Boxes, ...]
    n_left_out: int


def place_boxes(
    path: Path, content: Annotations, problems: Problems, frame: Frame, options: PointOptions
) -> dict[str, PlacedBoxes]:
    """Sort the boxes of a file by class and tilt.

    Parameters
    ----------
    path : Path
        The file, for messages.
    content : Annotations
        What is in it.
    problems : Problems
        Problems so far; more are added.
    frame : Frame
        The images.
    options : PointOptions
        Sizes of points, filters.

    Returns
    -------
    dict of str to PlacedBoxes
        By the label of the class; one empty key if the file has no classes.

    Raises
    ------
    InputError
        Lists all problems of the file.
    """
    _check_shapes(content, frame, problems)
    if not content.rows and not problems.entries:
        problems.add(f"holds no box ({content.form})", "use another file")
    rows = [row for row in content.rows if _scores(row, options)]
    if content.rows and not rows:
        highest = max(row.score for row in content.rows)
        problems.add(
            f"no box reaches the `min_score` {options.min_score:g} (the highest score is "
            f"{highest:g})",
            "use a lower `min_score`",
        )
    rows = _sized(content, rows, frame, options, problems)
    if options.flip_y:
        rows = [row._replace(y=frame.shape[0] - 1 - row.y) for row in rows]
    _check_inside(rows, frame, problems)
    names = _labels({row.name for row in rows}, problems)
    tilts = _tilts(content, rows, frame, problems)
    problems.check(path)
    by_class: dict[str, dict[int, list[Row]]] = {}
    for row, tilt in zip(rows, tilts, strict=True):
        by_class.setdefault(names.get(row.name, ""), {}).setdefault(tilt, []).append(row)
    placed = {label: _placed(by_tilt, frame, problems) for label, by_tilt in by_class.items()}
    problems.check(path)
    return placed


def label_of(name: str) -> str:
    """Label of a class in a store.

    Examples
    --------
    >>> label_of("ribosome 70S")
    'ribosome-70S'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")


def _check_shapes(content: Annotations, frame: Frame, problems: Problems) -> None:
    """Compare the image sizes of a file, where it has them, with those of the frame."""
    for shape in sorted(content.image_shapes - {frame.shape}):
        text = f"its images have {shape[0]} x {shape[1]} pixels (rows x columns)"
        remedy = _frame_of(shape, frame) or "scale the boxes to them"
        problems.add(f"{text}, the {frame.name} ones {frame.shape[0]} x {frame.shape[1]}", remedy)


def _frame_of(shape: tuple[int, int], frame: Frame) -> str:
    """Remedy where images of this shape belong to the other frame; else empty."""
    other = "raw" if frame.name == "aligned" else "aligned"
    return f"if the boxes lie on the {other} images, set `frame` to {other}" * (
        shape == frame.other_shape
    )


def _scores(row: Row, options: PointOptions) -> bool:
    return options.min_score is None or row.score >= options.min_score


def _sized(
    content: Annotations, rows: list[Row], frame: Frame, options: PointOptions, problems: Problems
) -> list[Row]:
    """Set the size of points to the diameter."""
    points = [row for row in rows if np.isnan(row.height)]
    if points and options.diameter is None:
        problems.add(f"holds points without sizes ({content.form})", "set their `diameter` (Å)")
    if rows and not points and options.diameter is not None:
        problems.add(f"has boxes with sizes ({content.form})", "remove `diameter`")
    # Å to pixels; without a diameter any size does, because the problem is already recorded.
    size = (options.diameter or frame.pixel_size) / frame.pixel_size
    return [row._replace(height=size, width=size) if np.isnan(row.height) else row for row in rows]


def _check_inside(rows: list[Row], frame: Frame, problems: Problems) -> None:
    """Refuse boxes outside the image, and more than a few centres outside it."""
    if not rows:
        return
    center = np.array([(row.y, row.x) for row in rows])
    reach = np.array([(row.height, row.width) for row in rows]) / 2
    first, last = -0.5, np.array(frame.shape) - 0.5  # edges of the image
    outside = ((center < first) | (center > last)).any(axis=1)
    beyond = ((center + reach <= first) | (center - reach >= last)).any(axis=1)
    # A few centres beyond the border are annotators' inaccuracy; more mean another frame.
    n = int(outside.sum())
    if n <= _OUTSIDE * len(rows) and not beyond.any():
        return
    worst = rows[int(np.argmax(beyond if beyond.any() else outside))]
    fits = ((center >= first) & (center <= np.array(frame.other_shape) - 0.5)).all()
    remedy = _frame_of(frame.other_shape, frame) if fits else ""
    problems.add(
        f"{n} of {len(rows)} boxes have their centre outside of the {frame.name} images of "
        f"{frame.shape[0]} x {frame.shape[1]} pixels (such as {worst.where}: y = {worst.y:g}, "
        f"x = {worst.x:g})",
        remedy or "use pixels of these images, or remove such boxes",
    )


def _labels(names: set[str], problems: Problems) -> dict[str, str]:
    """Label of every class; labels must differ."""
    labels = {name: label_of(name) for name in names if name}
    if labels and "" in names:
        problems.add("some boxes have no class, but others do")
    for name, label in labels.items():
        if not label:
            problems.add(f"class {name!r} cannot be a label: it has no letters or digits")
    if len(set(labels.values())) < len(labels):
        problems.add(f"the classes {', '.join(sorted(labels))} would become one label")
    return labels


def _tilts(content: Annotations, rows: list[Row], frame: Frame, problems: Problems) -> list[int]:
    """Tilt of every box; -1 if its section was left out, or is wrong."""
    n_tilts, n_images = len(frame.sections), content.n_images
    if any(row.counted == "order" for row in rows) and n_images not in (n_tilts, frame.n_sections):
        problems.add(
            f"holds {n_images} images without a section number, but there are {n_tilts} tilts",
            "name the section of each image (such as stack.mrc#12)",
        )
        return [-1] * len(rows)
    # As many images as raw sections are sections; as many as tilts are tilts.
    by_order = "section" if n_images == frame.n_sections else "tilt"
    of_section = {section: tilt for tilt, section in enumerate(frame.sections)}
    tilts = []
    for row in rows:
        counted = by_order if row.counted == "order" else row.counted
        n = n_tilts if counted == "tilt" else frame.n_sections
        tilt = -1
        if counted == "tilt_angle":
            tilt = _tilt_at(row, frame, problems)
        elif not 0 <= row.which < n:
            problems.add(f"{row.where}: {counted} is {row.which:g}; it must be 0 to {n - 1}")
        else:
            tilt = int(row.which) if counted == "tilt" else of_section.get(int(row.which), -1)
        tilts.append(tilt)
    return tilts


def _tilt_at(row: Row, frame: Frame, problems: Problems) -> int:
    """The tilt of this angle; a stack of which sections were left out may have others, too."""
    apart = np.abs(np.array(frame.tilt_angles) - row.which)
    # All tilts at the smallest difference: two at the same angle are ambiguous.
    (near,) = np.nonzero(apart <= min(_ANGLE, apart.min() + 1e-6))
    if len(near) == 1:
        return int(near[0])
    if len(near) > 1:
        problems.add(
            f"{row.where}: {len(near)} tilts are at {row.which:g}°",
            "use sections instead of angles",
        )
    elif len(frame.sections) == frame.n_sections:
        nearest = frame.tilt_angles[int(apart.argmin())]
        problems.add(f"{row.where}: no tilt is at {row.which:g}° (the nearest at {nearest:g}°)")
    return -1


def _placed(by_tilt: dict[int, list[Row]], frame: Frame, problems: Problems) -> PlacedBoxes:
    boxes = []
    for tilt, section in enumerate(frame.sections):
        rows = by_tilt.get(tilt, [])
        if len(rows) > MAX_BOXES:
            text = f"section {section} has {len(rows)} boxes, more than {MAX_BOXES}"
            problems.add(text, "remove some (`min_score`)")
        boxes.append(_boxes(rows[:MAX_BOXES]))
    return PlacedBoxes(tuple(boxes), len(by_tilt.get(-1, [])))


def _boxes(rows: Sequence[Row]) -> Boxes:
    return Boxes(
        [(row.y, row.x) for row in rows],
        [(row.height, row.width) for row in rows],
        [row.score for row in rows],
    )

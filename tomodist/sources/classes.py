"""Label maps made elsewhere as a source: a stack with a number per class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tomodist.algorithms.resample import resample_labels
from tomodist.errors import InputError
from tomodist.sources.base import Detection, Needs
from tomodist.sources.sections import FrameName, Sections, fitting_sections
from tomodist.store.tomogram import Tomogram, check_label
from tomodist.values.boxes import Boxes, boxes_of, fill
from tomodist.values.maps import MOST_CLASSES, NOT_MEASURED, class_values, class_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tomodist.values.arrays import AnyArray, Float32Array, UInt8Array

    LabelMap = UInt8Array


Classes = dict[int, str]


@dataclass(frozen=True)
class ImportedClasses:
    """Label maps made elsewhere: a stack of which every value is a class, and 0 is nothing.

    Parameters
    ----------
    sections : Sections
        The stack, and which of its sections belongs to which tilt.
    classes : dict of int to str
        Names by value.
    content : dict
        Identity of the stack, as plain values.
    min_size : float
        2D parts of a class of which a side is shorter are dropped, in Å.
    """

    sections: Sections
    classes: Classes
    content: Mapping[str, Any]
    min_size: float = 0.0

    def fingerprint(self) -> dict[str, Any]:
        """Values that determine the label maps."""
        return {
            "form": "classes",
            "classes": {str(value): name for value, name in self.classes.items()},
            "min_size": self.min_size,
            "imported": dict(self.content),
            "frame": "raw" if self.sections.transforms else "aligned",
            "sections": self.sections.numbers,
        }

    def needs(self) -> Needs:
        """No needs."""
        return Needs()

    def of_tilt(self, tilt: int) -> _ClassesOfTilt:
        """One section, and how it is resampled."""
        transforms = self.sections.transforms
        transform = transforms[tilt] if transforms else None
        largest = max(self.classes)
        return _ClassesOfTilt(self.sections, tilt, transform, largest, self.min_size)


@dataclass(frozen=True)
class _ClassesOfTilt:
    """One tilt of `ImportedClasses`."""

    sections: Sections
    tilt: int
    transform: Any
    largest: int
    min_size: float

    def detect(self, image: Float32Array, pixel_size: float) -> Detection:
        """Label map of this tilt; boxes belong to the units of the single classes."""
        values = np.asarray(self.sections.stack.read(self.sections.numbers[self.tilt]))
        if values.size and values.max() > self.largest:  # it has changed since it was looked at
            raise InputError(
                f"the map of tilt {self.tilt} holds {values.max()}: its file was changed; restart"
            )
        # A copy: small parts are removed from it in place.
        labels = np.array(values, np.uint8)
        if self.transform is not None:
            way = (np.asarray(self.transform), image.shape, self.sections.binning)
            labels = resample_labels(labels, *way, unmeasured=NOT_MEASURED)
        if self.min_size:
            _drop_small(labels, self.min_size / pixel_size)
        return Detection(labels, Boxes.empty())


def _drop_small(labels: LabelMap, min_size_px: float) -> None:
    """Remove parts of a class with a side shorter than this, as from binary maps."""
    for value in set(class_values(labels)) - {NOT_MEASURED}:
        mask = labels == value
        boxes = boxes_of(mask)
        large = boxes.select((boxes.size >= min_size_px).all(axis=1))
        if len(large) < len(boxes):
            labels[mask & (fill(large, (mask.shape[0], mask.shape[1])) == 0)] = 0


def import_classes(
    tomogram: Tomogram,
    path: str | Path,
    names: Sequence[str] | Literal["auto"],
    label: str,
    frame: FrameName = "aligned",
    *,
    min_size: float = 0.0,
) -> ImportedClasses:
    """Check that a stack of label maps fits a tilt series, and look at all that is in it.

    Parameters
    ----------
    tomogram : Tomogram
        The store with the tilt series.
    path : str or Path
        MRC, TIFF, NPY or Zarr (tilt, y, x) of whole numbers.
    names : sequence of str, or "auto"
        Of the values 1, 2, ...; or ``<label>-1``, ``<label>-2``, ... of the values that occur.
    label : str
        Of the label maps.
    frame : {"aligned", "raw"}
        Whether the maps lie on the stored images, or on the raw ones as they were ingested. Then
        they are resampled by nearest neighbours.
    min_size : float
        See `ImportedClasses`.

    Returns
    -------
    ImportedClasses

    Raises
    ------
    InputError
        If names or values cannot be those of classes; names the section.
    """
    named = {} if names == "auto" else _named(names, label)
    sections = fitting_sections(tomogram, path, frame)
    seen: set[int] = set()
    for section in sorted(set(sections.numbers)):
        values = _values_of(np.asarray(sections.stack.read(section)), path, section)
        beyond = [v for v in values if named and v > len(named)]
        if beyond:
            raise InputError(
                f"{path}: section {section} holds {beyond[0]}, but `classes` names "
                f"{len(named)} ({class_words(named)}); name every value, or correct the maps"
            )
        seen |= set(values)
    if not named:
        if not seen:
            raise InputError(f"{path} holds only 0: it has no classes; use other maps")
        named = {value: check_label(f"{label}-{value}") for value in sorted(seen)}
    return ImportedClasses(sections, named, sections.stack.fingerprint(), min_size)


def _named(names: Sequence[str], label: str) -> Classes:
    """Names of the values 1, 2, ...; every one can name a unit of the store."""
    if not names or len(names) > MOST_CLASSES:
        raise InputError(f"`classes` names {len(names)} classes; it must be 1 to {MOST_CLASSES}")
    for name in names:
        check_label(name)
        if name == label:
            raise InputError(
                f"`classes` names {name!r}, which is the `label` of all classes together; use "
                "another name for one of them"
            )
        if names.count(name) > 1:
            raise InputError(
                f"`classes` names {name!r} twice; use a different name for every value"
            )
    return dict(enumerate(names, start=1))


def _values_of(image: AnyArray, path: str | Path, section: int) -> list[int]:
    """The values of one image but 0, checked; whole numbers may be stored as any type."""
    lowest, highest = image.min(), image.max()
    if 0 <= lowest <= highest <= MOST_CLASSES:
        labels = image.astype(np.uint8)
        wrong = image[labels != image] if image.dtype.kind == "f" else []
    else:
        wrong = [highest if lowest >= 0 else lowest]  # NaN is neither
    if len(wrong):
        raise InputError(
            f"{path}: section {section} holds {wrong[0]:g}; label maps hold 0 for nothing and "
            f"whole numbers up to {MOST_CLASSES} for the classes: correct them, or remove "
            "`classes` (then any value except 0 is structure)"
        )
    return class_values(labels)

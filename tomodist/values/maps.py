"""Values of 2D maps: binary ones, and label maps with a number per class.

One rule: a binary map holds 0 (nothing), 1 (structure) or 2 (not measured, or not annotated); a
label map holds 0, a class number, or 255 (not measured).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tomodist.values.arrays import BoolArray, Map, UInt8Array


STRUCTURE = 1
"""Value of a map where a structure is."""


UNMEASURED = 2
"""Value of a map where the image was not measured."""


def as_map(structure: BoolArray, measured: BoolArray) -> Map:
    """Map of a detection.

    Parameters
    ----------
    structure : ndarray, shape (height, width), bool
        Where a structure is.
    measured : ndarray, shape (height, width), bool
        Where the image was measured.

    Returns
    -------
    ndarray, shape (height, width), uint8

    Examples
    --------
    >>> as_map(np.array([True, False, True]), np.array([True, True, False]))
    array([1, 0, 2], dtype=uint8)
    """
    return np.where(measured, structure * np.uint8(STRUCTURE), UNMEASURED).astype(np.uint8)


NOT_MEASURED = 255
"""Value of a label map where the image was not measured."""


MOST_CLASSES = NOT_MEASURED - 1


def class_map(labels: UInt8Array, value: int) -> UInt8Array:
    """Binary map of one class.

    Parameters
    ----------
    labels : ndarray, uint8
        A label map, or a part of one.
    value : int
        Number of the class, 1 to 254.

    Returns
    -------
    ndarray, uint8
        1 = the class, 2 = not measured, else 0.

    Examples
    --------
    >>> class_map(np.array([0, 1, 2, 255], np.uint8), 2)
    array([0, 0, 1, 2], dtype=uint8)
    """
    binary: UInt8Array = (labels == value).view(np.uint8)
    binary |= (labels == NOT_MEASURED).view(np.uint8) << 1
    return binary


def numbered(classes: Mapping[str, str]) -> dict[int, str]:
    """Classes as JSON gives them back, with numbers for keys, in their order.

    Examples
    --------
    >>> numbered({"10": "gold", "2": "granule"})
    {2: 'granule', 10: 'gold'}
    """
    return dict(sorted((int(value), name) for value, name in classes.items()))


def class_words(classes: Mapping[int, str]) -> str:
    """Classes in words.

    Examples
    --------
    >>> class_words({1: "granule", 2: "gold"})
    '1 = granule, 2 = gold'
    """
    return ", ".join(f"{value} = {name}" for value, name in classes.items())


def class_values(labels: UInt8Array) -> list[int]:
    """Values of a label map except 0, in ascending order."""
    return [v for v in np.flatnonzero(np.bincount(labels.ravel())).tolist() if v]

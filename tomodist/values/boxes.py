"""Boxes around objects in one image, and the masks that they stand for.

One rule: a box covers the half-open interval [center - size/2, center + size/2) along each axis,
in index coordinates in which an integer is the middle of a pixel. A box of 4 pixels around 9.5:

    pixel     7   8   9  10  11  12
              |   [=============)         [7.5, 11.5): pixels 8 to 11
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from scipy import ndimage

from tomodist.errors import InputError
from tomodist.values.maps import STRUCTURE

if TYPE_CHECKING:
    import numpy.typing as npt

    from tomodist.values.arrays import FloatArray, IntArray, Map


Form = Literal["mask", "box"]

_EIGHT = np.ones((3, 3), np.uint8)  # pixels that touch at a corner belong together


@dataclass(frozen=True, eq=False)
class Boxes:
    """Objects found in one image.

    Parameters
    ----------
    center : ndarray, shape (n, 2), float64
        Row and column in index coordinates, in pixels.
    size : ndarray, shape (n, 2), float64
        Height and width in pixels.
    score : ndarray, shape (n,), float64
        Larger is surer; its meaning is the detector's.

    Raises
    ------
    InputError
        If the arrays do not belong together, a number is not finite, or a size is negative.

    Examples
    --------
    >>> boxes = Boxes([[10, 12.5]], [[4, 4]], [0.9])
    >>> len(boxes), boxes.center
    (1, array([[10. , 12.5]]))
    """

    center: FloatArray
    size: FloatArray
    score: FloatArray

    def __init__(self, center: npt.ArrayLike, size: npt.ArrayLike, score: npt.ArrayLike) -> None:
        scores = np.asarray(score, np.float64).reshape(-1)
        for name, value in (("center", center), ("size", size)):
            object.__setattr__(self, name, _pairs(value, len(scores), name))
        object.__setattr__(self, "score", scores)
        for field in fields(self):
            if not np.isfinite(getattr(self, field.name)).all():
                raise InputError(
                    f"box {field.name} holds a value that is not finite; remove that box"
                )
        if (self.size < 0).any():
            raise InputError(f"box size is {self.size.min():g} pixels; it must be 0 or more")

    @classmethod
    def empty(cls) -> Self:
        """No boxes."""
        return cls(np.empty((0, 2)), np.empty((0, 2)), np.empty(0))

    def __len__(self) -> int:
        return len(self.score)

    def select(self, which: npt.ArrayLike) -> Self:
        """Boxes of the given indices, or where a mask is true."""
        index = np.asarray(which)
        return type(self)(self.center[index], self.size[index], self.score[index])


def fill(boxes: Boxes, shape: tuple[int, int]) -> Map:
    """Map of all pixels whose centre lies in a box; each box marks its nearest pixel at least.

    Parameters
    ----------
    boxes : Boxes
        May reach beyond the image.
    shape : tuple of int
        Height and width of the image.

    Returns
    -------
    ndarray, shape `shape`, uint8
        1 inside.

    Examples
    --------
    >>> fill(Boxes([[1, 1.5]], [[1, 2]], [1]), (3, 4))
    array([[0, 0, 0, 0],
           [0, 1, 1, 0],
           [0, 0, 0, 0]], dtype=uint8)
    """
    mask = np.zeros(shape, np.uint8)
    for (y0, x0), (y1, x1) in zip(*_pixels(boxes), strict=True):
        mask[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = STRUCTURE
    return mask


def fill_disks(boxes: Boxes, shape: tuple[int, int]) -> Map:
    """Map of the ellipses that the boxes enclose, a disk in a square box.

    Parameters and result are those of `fill`; a pixel is inside if its centre is within the
    ellipse or on it, and each one marks its nearest pixel at least.

    Examples
    --------
    >>> fill_disks(Boxes([[2, 2]], [[4, 4]], [1]), (5, 5))
    array([[0, 0, 1, 0, 0],
           [0, 1, 1, 1, 0],
           [1, 1, 1, 1, 1],
           [0, 1, 1, 1, 0],
           [0, 0, 1, 0, 0]], dtype=uint8)
    """
    mask = np.zeros(shape, np.uint8)
    reach = np.maximum(boxes.size / 2, 1e-9)
    for center, radius in zip(boxes.center, reach, strict=True):
        start = np.maximum(np.ceil(center - radius), 0).astype(int)
        stop = np.maximum(np.floor(center + radius) + 1, 0).astype(int)
        window = mask[start[0] : stop[0], start[1] : stop[1]]
        rows, columns = np.ogrid[: window.shape[0], : window.shape[1]]
        y, x = (
            (rows + start[0] - center[0]) / radius[0],
            (columns + start[1] - center[1]) / radius[1],
        )
        window[y**2 + x**2 <= 1] = STRUCTURE
    _mark(mask, _nearest(boxes.center))
    return mask


def draw(boxes: Boxes, shape: tuple[int, int], form: Form) -> Map:
    """Mask of boxes.

    Parameters
    ----------
    boxes : Boxes
        May reach beyond the image.
    shape : tuple of int
        Height and width of the image.
    form : {"mask", "box"}
        Ellipses inside the boxes, or the filled boxes.

    Returns
    -------
    ndarray, shape `shape`, uint8
        1 inside.
    """
    return fill(boxes, shape) if form == "box" else fill_disks(boxes, shape)


def boxes_of(mask: npt.NDArray[np.generic]) -> Boxes:
    """Boxes of the connected parts of a mask; parts that touch at a corner are one.

    Parameters
    ----------
    mask : ndarray, shape (height, width), bool or uint8
        Pixels of value 1 count; 2 is not measured.

    Returns
    -------
    Boxes
        Score: the part of the box that the mask fills.

    Examples
    --------
    >>> boxes_of(np.array([[1, 0, 0, 0], [0, 1, 0, 1]]))
    Boxes(center=array([[0.5, 0.5],
           [1. , 3. ]]), size=array([[2., 2.],
           [1., 1.]]), score=array([0.5, 1. ]))
    """
    labels, n = ndimage.label(np.asarray(mask) == STRUCTURE, _EIGHT)
    windows = ndimage.find_objects(labels)
    if not n:
        return Boxes.empty()
    start = np.array([[s.start for s in window] for window in windows], np.float64)
    stop = np.array([[s.stop for s in window] for window in windows], np.float64)
    size = stop - start
    # Entry 0 counts the background.
    count = np.bincount(labels.ravel())[1:]
    return Boxes((start + stop - 1) / 2, size, count / size.prod(axis=1))


def _pixels(boxes: Boxes) -> tuple[IntArray, IntArray]:
    """First pixel of each box, and last + 1; never empty."""
    start = np.ceil(boxes.center - boxes.size / 2).astype(np.int64)
    stop = np.ceil(boxes.center + boxes.size / 2).astype(np.int64)
    nearest = _nearest(boxes.center)
    # Boxes smaller than the distance of two pixel centres may contain none: the nearest one is
    # used.
    empty = stop <= start
    return np.where(empty, nearest, start), np.where(empty, nearest + 1, stop)


def _nearest(center: FloatArray) -> IntArray:
    return np.ceil(center - 0.5).astype(np.int64)  # halves go down, as in [c - 1/2, c + 1/2)


def _mark(mask: Map, index: IntArray) -> None:
    inside = ((index >= 0) & (index < mask.shape)).all(axis=1)
    mask[index[inside, 0], index[inside, 1]] = STRUCTURE


def _pairs(values: npt.ArrayLike, n: int, name: str) -> FloatArray:
    array = np.asarray(values, np.float64)
    if array.shape != (n, 2) and array.size:
        raise InputError(f"box {name} has shape {array.shape}, but {n} scores need ({n}, 2)")
    if not array.size and n:
        raise InputError(f"box {name} is empty, but there are {n} scores")
    return array.reshape(n, 2)

"""Loading what a brick can see of every image, in the layout that the kernels want.

One rule: a map holds 0 (nothing), 1 (structure) or 2 (`UNMEASURED`: no image there), a probability
map NaN where there is no image. Beyond the border of an image nothing is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tomodist.detect.base import UNMEASURED as UNMEASURED
from tomodist.errors import InputError
from tomodist.footprint import row_offset, visible_window

if TYPE_CHECKING:
    from tomodist.geometry import FloatArray, IntArray

Range = tuple[int, int]
ReadImage = Callable[[int, Range, Range], npt.NDArray[Any]]  # (tilt, rows, columns) -> (h, w)


@dataclass(frozen=True)
class Windows:
    """The part of every image that a brick can see.

    Parameters
    ----------
    images : ndarray, shape (n_tilts, n_columns, n_rows)
        Transposed; see `tomodist.kernels`.
    origin : ndarray, shape (n_tilts, 2), int64
        Image pixel (row, column) of each window's first element.
    rows_only : bool
        Single-axis geometry: row k of every window is row k of the brick.
    """

    images: npt.NDArray[Any]
    origin: IntArray
    rows_only: bool


def binary_windows(
    read: ReadImage,
    tilts: Sequence[int],
    matrices: FloatArray,
    start: Sequence[int],
    stop: Sequence[int],
    image_shape: Sequence[int],
) -> Windows:
    """Windows of binary maps, as uint8 0 and 1 (unmeasured pixels mark nothing).

    Parameters
    ----------
    read : callable
        ``read(tilt, (first_row, end_row), (first_column, end_column))`` gives those pixels.
    tilts : sequence of int
        Which images.
    matrices : ndarray, shape (n_tilts, 2, 4), float64
        Of these tilts, in the same order.
    start, stop : sequence of int
        The brick: first voxel and last voxel + 1 (z, y, x).
    image_shape : sequence of int
        Height and width of the images.

    Returns
    -------
    Windows

    Raises
    ------
    InputError
        If a map holds another value than 0, 1 or 2.
    """
    bounds, rows_only = _bounds(matrices, start, stop, image_shape)
    images = np.zeros((len(tilts), *_extent(bounds)), np.uint8)
    for k, tilt in enumerate(tilts):
        part, place = _read_inside(read, tilt, bounds[k], image_shape)
        images[k][place] = (as_map(part, tilt) == 1).T
    return Windows(images, np.ascontiguousarray(bounds[:, :, 0]), rows_only)


def linear_windows(
    read: ReadImage,
    tilts: Sequence[int],
    matrices: FloatArray,
    start: Sequence[int],
    stop: Sequence[int],
    image_shape: Sequence[int],
) -> Windows:
    """Windows of probability or grey-value images, as float32; NaN where nothing is measured.

    Parameters and return value as for `binary_windows`.
    """
    bounds, rows_only = _bounds(matrices, start, stop, image_shape)
    images = np.full((len(tilts), *_extent(bounds)), np.nan, np.float32)
    for k, tilt in enumerate(tilts):
        part, place = _read_inside(read, tilt, bounds[k], image_shape)
        images[k][place] = part.T
    return Windows(images, np.ascontiguousarray(bounds[:, :, 0]), rows_only)


def as_map(values: npt.NDArray[Any], tilt: int) -> npt.NDArray[np.uint8]:
    """Check the values of a binary map.

    Parameters
    ----------
    values : ndarray, bool or integer
        0, 1 or 2.
    tilt : int
        For the message.

    Returns
    -------
    ndarray, uint8

    Raises
    ------
    InputError
        If there is any other value, or the type is not bool or integer.
    """
    whole = values.dtype.kind in "bui"
    extremes = (values.min(), values.max()) if whole and values.size else ()
    wrong = [int(v) for v in extremes if not 0 <= v <= UNMEASURED]
    if wrong or not whole:
        found = wrong[0] if wrong else values.dtype
        raise InputError(
            f"map of tilt {tilt} holds {found}; a binary map is bool, or uint8 with 0 (nothing), "
            "1 (structure) and 2 (not measured): pass `maps > 0` or `maps > threshold`"
        )
    return values.astype(np.uint8, copy=False)


def _bounds(
    matrices: FloatArray, start: Sequence[int], stop: Sequence[int], image_shape: Sequence[int]
) -> tuple[IntArray, bool]:
    """Visible (first, end) per tilt and axis; in the single-axis case exactly the brick's rows."""
    bounds = visible_window(matrices, start, stop, image_shape)
    offset = row_offset(matrices)
    if offset is not None:
        bounds[:, 0] = (start[1] + offset, stop[1] + offset)
    return bounds, offset is not None


def _extent(bounds: IntArray) -> tuple[int, int]:
    """Columns and rows that hold the window of every tilt."""
    rows, columns = np.maximum(bounds[:, :, 1] - bounds[:, :, 0], 1).max(axis=0)
    return int(columns), int(rows)


def _read_inside(
    read: ReadImage, tilt: int, bounds: IntArray, image_shape: Sequence[int]
) -> tuple[npt.NDArray[Any], tuple[slice, slice]]:
    """The pixels of a window that lie in the image, and their place in the transposed window."""
    (row, row_end), (column, column_end) = bounds.tolist()
    inside = (max(row, 0), max(min(row_end, image_shape[0]), max(row, 0)))
    part = read(tilt, inside, (column, column_end))
    place = slice(0, part.shape[1]), slice(inside[0] - row, inside[0] - row + part.shape[0])
    return part, place

"""Loading what a brick can see of every image, in the layout that the kernels want.

One rule: a map holds 0 (nothing), 1 (structure) or 2 (`UNMEASURED`: no image there), a probability
map NaN where there is no image. Beyond the border of an image nothing is measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tomodist.errors import InputError
from tomodist.kernels.bits import BLOCK, BLOCK_ROWS, count_table, pack_rows
from tomodist.kernels.memory import aligned_zeros, swap_into
from tomodist.planning.plan import rounded
from tomodist.values.arrays import AnyArray, BoolArray, FloatArray, IntArray, UInt8Array
from tomodist.values.maps import UNMEASURED
from tomodist.values.projection import row_offset, visible_window

if TYPE_CHECKING:
    from tomodist.values.arrays import BoolArray, FloatArray, IntArray, UInt8Array

Range = tuple[int, int]
ReadImage = Callable[[int, Range, Range], AnyArray]  # (tilt, rows, columns) -> (h, w)


@dataclass(frozen=True)
class Windows:
    """The part of every image that a brick can see.

    Parameters
    ----------
    images : ndarray
        In the form that the kernels want: bit rows or tables of counts of binary maps, or
        (n_tilts, n_columns, n_rows) float32.
    origin : ndarray, shape (n_tilts, 2), int64
        Image pixel (row, column) of each window's first element.
    rows_only : bool
        Single-axis geometry: row k of every window is row k of the brick.
    """

    images: AnyArray
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
    """Windows of binary maps (unmeasured pixels mark nothing), as the votes kernels want them.

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
    bounds, rows_only = window_bounds(matrices, start, stop, image_shape)
    columns, rows = _extent(bounds)
    if rows_only:
        # Whole blocks of bits, so that the kernel has no remainder to handle.
        rows = rounded(rows, BLOCK_ROWS)
        images = aligned_zeros((len(tilts), 2, columns + 1, rows // BLOCK_ROWS), BLOCK)
    else:
        # Summed-area tables: one more row and column than pixels, the first ones 0.
        images = np.zeros((len(tilts), columns + 1, rows + 1), np.int32)
    for k, tilt in enumerate(tilts):
        part, inside = read_inside(read, tilt, bounds[k], image_shape)
        mask = np.zeros((rows, columns), np.bool_)
        mask[inside] = checked_map(part, tilt) == 1
        (pack_rows if rows_only else count_table)(mask, images[k])
    return Windows(images, np.ascontiguousarray(bounds[:, :, 0]), rows_only)


def linear_windows(
    read: ReadImage,
    tilts: Sequence[int],
    matrices: FloatArray,
    start: Sequence[int],
    stop: Sequence[int],
    image_shape: Sequence[int],
) -> tuple[Windows, BoolArray]:
    """Windows of probability or grey-value images, as float32; 0 where nothing is measured.

    Where rows are not enough, the kernels want a border of one pixel around every window.

    Parameters
    ----------
    read, tilts, matrices, start, stop, image_shape
        As for `binary_windows`.

    Returns
    -------
    Windows
    ndarray, shape (n_tilts, n_columns, n_rows) or (n_tilts, n_columns, 1), bool
        Where there is a value. One row stands for all where they are alike.
    """
    bounds, rows_only = window_bounds(matrices, start, stop, image_shape)
    border = 0 if rows_only else 1
    columns, rows = _extent(bounds)
    images = aligned_zeros((len(tilts), columns + 2 * border, rows + 2 * border), np.float32)
    measured = np.zeros((len(tilts), images.shape[1], 1), np.bool_)
    for k, tilt in enumerate(tilts):
        part, inside = read_inside(read, tilt, bounds[k], image_shape)
        down, along = (slice(s.start + border, s.stop + border) for s in inside)
        at = (k, along, down)
        with np.errstate(over="ignore"):  # then it is infinite, and counts as not measured
            part = np.ascontiguousarray(part, np.float32)
        # From (row, column) to the kernels' (column, row).
        swap_into(part[None], images[at][None])
        # A finite sum proves that no pixel is NaN or infinite, in one pass without a mask.
        alike = rows_only and part.shape[0] in (0, rows) and math.isfinite(part.sum())
        if alike and measured.shape[2] == 1:
            measured[at[:2]] = part.shape[0] > 0
            continue
        if measured.shape[2] == 1:
            # The first image with a gap: from here on every row has a mask of its own.
            measured = np.broadcast_to(measured, images.shape).copy()
        measured[at] = np.isfinite(images[at])
        images[at][~measured[at]] = 0
    return Windows(images, np.ascontiguousarray(bounds[:, :, 0]) - border, rows_only), measured


def checked_map(values: AnyArray, tilt: int) -> UInt8Array:
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
        value = wrong[0] if wrong else values.dtype
        raise InputError(
            f"map of tilt {tilt} holds {value}; a binary map is bool, or uint8 with 0 (nothing), "
            "1 (structure) and 2 (not measured): use `maps > 0` or `maps > threshold`"
        )
    return values.astype(np.uint8, copy=False)


def window_bounds(
    matrices: FloatArray, start: Sequence[int], stop: Sequence[int], image_shape: Sequence[int]
) -> tuple[IntArray, bool]:
    """Visible (first, end) per tilt and axis; in the single-axis case exactly the brick's rows.

    Parameters
    ----------
    matrices : ndarray, shape (n_tilts, 2, 4), float64
        Voxel-to-pixel matrices.
    start, stop : sequence of int
        First voxel and last voxel + 1 of the brick (z, y, x).
    image_shape : sequence of int
        Height and width of the images.

    Returns
    -------
    ndarray, shape (n_tilts, 2, 2), int64
        (first, last + 1) along rows and columns.
    bool
        Whether the geometry is the single-axis case.
    """
    bounds = visible_window(matrices, start, stop, image_shape)
    offset = row_offset(matrices)
    if offset is not None:
        bounds[:, 0] = (start[1] + offset, stop[1] + offset)
    return bounds, offset is not None


def _extent(bounds: IntArray) -> tuple[int, int]:
    """Columns and rows that hold the window of every tilt."""
    rows, columns = np.maximum(bounds[:, :, 1] - bounds[:, :, 0], 1).max(axis=0)
    return int(columns), int(rows)


def read_inside(
    read: ReadImage, tilt: int, bounds: IntArray, image_shape: Sequence[int]
) -> tuple[AnyArray, tuple[slice, slice]]:
    """Read the pixels of a window that lie in the image.

    Parameters
    ----------
    read, tilt
        The image; see `ReadImage`.
    bounds : ndarray, shape (2, 2), int64
        First and end row, first and end column of the window; rows may lie outside the image.
    image_shape : sequence of int
        Height and width of the image.

    Returns
    -------
    ndarray
        The pixels.
    tuple of slice
        Their place in the window.
    """
    (row, row_end), (column, column_end) = bounds.tolist()
    # bounds   row ... row_end      may begin above the image and end below it
    # image         0 ... height    only the overlap is read
    inside = (max(row, 0), max(min(row_end, image_shape[0]), max(row, 0)))
    part = read(tilt, inside, (column, column_end))
    position = slice(inside[0] - row, inside[0] - row + part.shape[0]), slice(0, part.shape[1])
    return part, position

"""Forward projection of a volume onto one tile of the images, brick by brick.

A *tile* is some tilts and some rows of their images, all columns. In the single-axis case a tile
sees only the volume rows of its own, so every voxel is read once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from tomodist.algorithms.lift.windows import Range, window_bounds
from tomodist.errors import InputError
from tomodist.kernels.memory import aligned_zeros, swapped
from tomodist.kernels.project import max_any, max_rows, sum_any, sum_rows
from tomodist.values.arrays import AnyArray, FloatArray, IntArray
from tomodist.values.projection import half_widths, row_offset, visible_window

if TYPE_CHECKING:
    from tomodist.values.arrays import FloatArray, IntArray
    from tomodist.values.geometry import TiltGeometry, VolumeGrid

ProjectionKind = Literal["binary", "max", "sum"]
Window = tuple[Range, ...]
ReadVolume = Callable[..., AnyArray]  # (z range, y range, x range) -> (z, y, x)

# Type of the projected images. The largest value along a ray that misses the volume is -1.
PROJECTION_TYPES: dict[str, type] = {"binary": np.int8, "max": np.int16, "sum": np.float32}
READ = (64, 512, 128)  # voxels of a volume that a tile reads at a time: long rows, few layers
LARGEST = np.iinfo(np.int16).max  # value that "max" can project


def project_tile(
    kind: ProjectionKind,
    geometry: TiltGeometry,
    grid: VolumeGrid,
    read: ReadVolume,
    bricks: Iterable[Window],
    tilts: Sequence[int],
    rows: Range,
    *,
    largest: int = LARGEST,
) -> AnyArray:
    """Project a volume onto some rows of some tilts.

    Parameters
    ----------
    kind : {"binary", "max", "sum"}
        1 where any voxel of the mask has the pixel in its footprint; the largest voxel that has;
        or the sum of voxels by the linear rule (the adjoint of the linear backprojection).
    geometry, grid
        Of the images and of the volume.
    read : callable
        ``read(z_range, y_range, x_range)`` gives those voxels.
    bricks : iterable of tuple
        Windows ((z, end), (y, end), (x, end)) that tile the volume: what is held at a time.
    tilts : sequence of int
        Which tilts.
    rows : tuple of int
        First row and last row + 1.
    largest : int
        For ``"max"``: no voxel is larger. Below 255 a byte per pixel does, in half the time.

    Returns
    -------
    ndarray, shape (len(tilts), n_rows, width)
        int8 for ``"binary"``, int16 for ``"max"`` (-1 where the ray misses the volume), float32
        for ``"sum"``.
    """
    if kind not in PROJECTION_TYPES:
        raise InputError(f"kind is {kind!r}; it must be one of {', '.join(PROJECTION_TYPES)}")
    matrices = geometry.select(tilts).matrices(grid)
    shape = (len(tilts), geometry.image_shape[1], rows[1] - rows[0])
    images = aligned_zeros(shape, _working_type(kind, largest))
    offset = row_offset(matrices)
    for window in bricks:
        seen = _seen_rows(window, matrices, offset, rows, geometry.image_shape)
        if seen is not None:
            brick = _as_rows(kind, read(*seen), images.dtype)
            _project_brick(kind, brick, seen, matrices, offset, rows, images)
    projected = swapped(images)
    if kind == "max":
        projected = projected.astype(np.int16)
        # Values were raised by one, so that 0 could mean "ray misses the volume": now -1.
        projected -= 1
    return projected


def largest_in_windows(
    scores: AnyArray,
    start: Sequence[int],
    matrices: FloatArray,
    image_shape: Sequence[int],
    largest: int,
) -> tuple[npt.NDArray[np.int16], IntArray]:
    """The largest score along each ray through a brick, where the brick is seen.

    Parameters
    ----------
    scores : ndarray, shape (nz, ny, nx), integer
        0 to `largest`.
    start : sequence of int
        First voxel (z, y, x) of the brick.
    matrices : ndarray, shape (n_tilts, 2, 4), float64
        Voxel-to-pixel matrices of the whole volume.
    image_shape : sequence of int
        Height and width of the images.
    largest : int
        No score is larger.

    Returns
    -------
    ndarray, shape (n_tilts, n_rows, n_columns), int16
        Per tilt, from the first pixel of its window; -1 where the ray misses the brick.
    ndarray, shape (n_tilts, 2, 2), int64
        Windows: (first, last + 1) along rows and columns. Rows may lie beyond the image.
    """
    stop = [a + n for a, n in zip(start, scores.shape, strict=True)]
    bounds, rows_only = window_bounds(matrices, start, stop, image_shape)
    n_rows, n_columns = np.maximum(bounds[:, :, 1] - bounds[:, :, 0], 1).max(axis=0).tolist()
    images = aligned_zeros((len(matrices), n_columns, n_rows), _working_type("max", largest))
    brick = _as_rows("max", scores, images.dtype)
    origin = np.ascontiguousarray(bounds[:, :, 0])
    first = np.asarray(start, np.int64)
    _call("max", brick, first, matrices, origin, images, rows_only=rows_only)
    return swapped(images).astype(np.int16) - np.int16(1), bounds


def _working_type(kind: ProjectionKind, largest: int) -> npt.DTypeLike:
    """For ``"max"`` values are one higher while they are projected: 0 says that a ray missed."""
    if kind == "max":
        return np.uint8 if largest < np.iinfo(np.uint8).max else np.uint16
    return PROJECTION_TYPES[kind]


def _as_rows(kind: ProjectionKind, values: AnyArray, dtype: np.dtype[Any]) -> AnyArray:
    """Brick in kernel layout: rows along y, values of the working type."""
    if kind == "binary":
        values = values != 0
    brick = swapped(values.astype(dtype, copy=False))
    if kind == "max":
        brick += 1
    return brick


def _seen_rows(
    window: Window,
    matrices: FloatArray,
    offset: int | None,
    rows: Range,
    image_shape: Sequence[int],
) -> Window | None:
    """The part of a brick that a tile can see, or None."""
    if offset is None:
        bounds = visible_window(
            matrices, [a for a, _ in window], [b for _, b in window], image_shape
        )
        hit = (bounds[:, 0, 0] < rows[1]) & (bounds[:, 0, 1] > rows[0])
        return window if hit.any() else None
    # image row = y + offset:  rows [rows[0], rows[1])  <->  y [rows[0] - offset, rows[1] - offset)
    z, (y, y_end), x = window
    first, end = max(y, rows[0] - offset), min(y_end, rows[1] - offset)
    return (z, (first, end), x) if first < end else None


def _project_brick(
    kind: ProjectionKind,
    brick: AnyArray,
    window: Window,
    matrices: FloatArray,
    offset: int | None,
    rows: Range,
    images: AnyArray,
) -> None:
    start = np.array([a for a, _ in window], np.int64)
    origin = np.tile(np.array([rows[0], 0], np.int64), (len(matrices), 1))
    if offset is None:
        _call(kind, brick, start, matrices, origin, images, rows_only=False)
        return
    first = window[1][0] + offset - rows[0]
    part = images[:, :, first : first + brick.shape[2]]
    target = np.ascontiguousarray(part)  # the images themselves where the brick has all the rows
    _call(kind, brick, start, matrices, origin, target, rows_only=True)
    if target is not part:
        part[...] = target


def _call(
    kind: ProjectionKind,
    brick: AnyArray,
    start: IntArray,
    matrices: FloatArray,
    origin: IntArray,
    images: AnyArray,
    *,
    rows_only: bool,
) -> None:
    if kind == "sum":
        # A projection has no weights of tilts; the kernel shares them with backprojection.
        weights = np.ones(len(matrices), np.float32)
        (sum_rows if rows_only else sum_any)(brick, start, matrices, weights, origin, images)
    else:
        half = half_widths(matrices)
        (max_rows if rows_only else max_any)(brick, start, matrices, half, origin, images)

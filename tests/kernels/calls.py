"""Calling a kernel on whole images and whole volumes: the layout is set up here, once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from hypothesis import settings
from numba import config

from tomodist.kernels.bits import BLOCK, BLOCK_ROWS, count_table, pack_rows
from tomodist.kernels.edges import refinement
from tomodist.kernels.votes import votes_any, votes_rows
from tomodist.planning.plan import rounded
from tomodist.values.projection import half_widths, row_offset

if TYPE_CHECKING:
    from tomodist.values.geometry import TiltGeometry, VolumeGrid

# Kernels are plain Python (NUMBA_DISABLE_JIT=1, `make test-nojit`), hundreds of times slower.
INTERPRETED = bool(config.DISABLE_JIT)
Kernel = Callable[..., None]
Array = npt.NDArray[Any]


def few(n: int) -> settings:
    """Some examples, each as slow as it is; of interpreted kernels a fifth."""
    return settings(deadline=None, max_examples=n // 5 if INTERPRETED else n)


def _origin(geometry: TiltGeometry, first_row: int = 0) -> npt.NDArray[np.int64]:
    return np.tile(np.array([first_row, 0], np.int64), (geometry.n_tilts, 1))


def _volume_rows(images: Array, offset: int, ny: int) -> Array:
    """The image row of every volume row; 0 where there is none. (tilt, column, ny)."""
    rows = np.zeros((len(images), images.shape[2], ny), images.dtype)
    for y in range(ny):
        if 0 <= y + offset < images.shape[1]:
            rows[:, :, y] = images[:, y + offset]
    return rows


def _windows(images: Array, geometry: TiltGeometry, grid: VolumeGrid, kernel: Kernel) -> Array:
    """Grey images, transposed; for the general form with a border of zeros."""
    if not kernel.__name__.endswith("_rows"):
        return np.pad(images.transpose(0, 2, 1), ((0, 0), (1, 1), (1, 1)))
    offset = row_offset(geometry.matrices(grid))
    assert offset is not None
    return _volume_rows(images, offset, grid.shape[1])


def _packed(maps: Array, geometry: TiltGeometry, grid: VolumeGrid, kernel: Kernel) -> Array:
    """Binary maps as bit rows, or for the general form as tables of counts."""
    n_tilts, height, width = maps.shape
    if not kernel.__name__.endswith("_rows"):
        tables = np.zeros((n_tilts, width + 1, height + 1), np.int32)
        for mask, table in zip(maps, tables, strict=True):
            count_table(mask != 0, table)
        return tables
    offset = row_offset(geometry.matrices(grid))
    assert offset is not None
    rows = _volume_rows(maps, offset, rounded(grid.shape[1], BLOCK_ROWS)).transpose(0, 2, 1)
    blocks = np.zeros((n_tilts, 2, width + 1, rows.shape[1] // BLOCK_ROWS), BLOCK)
    for mask, packed in zip(rows, blocks, strict=True):
        pack_rows(mask != 0, packed)
    return blocks


def empty(grid: VolumeGrid, dtype: npt.DTypeLike) -> Array:
    """A volume of zeros in kernel layout (z, x, y)."""
    nz, ny, nx = grid.shape
    return np.zeros((nz, nx, ny), dtype)


def zyx(brick: Array) -> Array:
    """From kernel layout (z, x, y)."""
    return brick.transpose(0, 2, 1)


START = np.zeros(3, np.int64)


def votes_by(
    kernel: Kernel,
    maps: Array,
    geometry: TiltGeometry,
    grid: VolumeGrid,
    dtype: npt.DTypeLike = np.uint8,
) -> Array:
    """Votes (z, y, x)."""
    matrices, votes = geometry.matrices(grid), empty(grid, dtype)
    votes[:] = 99  # the kernel sets, and does not add
    images = _packed(maps, geometry, grid, kernel)
    kernel(images, _origin(geometry), matrices, half_widths(matrices), START, votes)
    return zyx(votes)


def linear_by(
    kernel: Kernel, images: Array, geometry: TiltGeometry, grid: VolumeGrid, weights: Array
) -> Array:
    """Linear backprojection (z, y, x)."""
    total = empty(grid, np.float32)
    windows = _windows(images, geometry, grid, kernel)
    border = 0 if kernel.__name__.endswith("_rows") else 1
    kernel(windows, _origin(geometry) - border, geometry.matrices(grid), weights, START, total)
    return zyx(total)


def project_by(
    kernel: Kernel,
    volume: Array,
    geometry: TiltGeometry,
    grid: VolumeGrid,
    initial: int,
    dtype: npt.DTypeLike,
) -> Array:
    """Max-projection (tilt, height, width)."""
    matrices = geometry.matrices(grid)
    return _images_by(
        kernel, volume, geometry, grid, (matrices, half_widths(matrices)), initial, dtype
    )


def sum_by(
    kernel: Kernel, volume: Array, geometry: TiltGeometry, grid: VolumeGrid, weights: Array
) -> Array:
    """Sum projection (tilt, height, width)."""
    return _images_by(
        kernel, volume, geometry, grid, (geometry.matrices(grid), weights), 0, np.float32
    )


def _images_by(
    kernel: Kernel,
    volume: Array,
    geometry: TiltGeometry,
    grid: VolumeGrid,
    rule: tuple[Array, Array],
    initial: int,
    dtype: npt.DTypeLike,
) -> Array:
    brick = np.ascontiguousarray(volume.transpose(0, 2, 1))
    height, width = geometry.image_shape
    rows = grid.shape[1] if kernel.__name__.endswith("_rows") else height
    images = np.full((geometry.n_tilts, width, rows), initial, dtype)
    kernel(brick, START, *rule, _origin(geometry), images)
    if not kernel.__name__.endswith("_rows"):
        return images.transpose(0, 2, 1)
    offset = row_offset(geometry.matrices(grid))
    assert offset is not None
    whole = np.full((geometry.n_tilts, height, width), initial, dtype)
    for y in range(rows):
        if 0 <= y + offset < height:
            whole[:, y + offset] = images[:, :, y]
    return whole


def refined_by(
    maps: Array,
    geometry: TiltGeometry,
    grid: VolumeGrid,
    rule: tuple[int, int, int],
    *,
    keep_own: bool = True,
    rows_only: bool = False,
) -> Array:
    """Refined votes (z, y, x) for (w, k, m); the tilts must be in order."""
    matrices, (w, k, m) = geometry.matrices(grid), rule
    refined = refinement(geometry.n_tilts, w, k, m, keep_own=keep_own)
    votes = empty(grid, np.uint8 if geometry.n_tilts < 256 else np.uint16)
    kernel = votes_rows if rows_only else votes_any
    images = _packed(maps, geometry, grid, kernel)
    kernel(images, _origin(geometry), matrices, half_widths(matrices), START, votes, refined)
    return zyx(votes)

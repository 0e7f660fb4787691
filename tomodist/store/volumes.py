"""Arrays of a tomogram store: stacks of images, and OME-Zarr pyramids that xarray opens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.planning.plan import rounded
from tomodist.store.ome import level_scale, level_shapes
from tomodist.values.geometry import AXES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from tomodist.formats.zarr import ArrayHandle, Group, Stack
    from tomodist.values.arrays import AnyArray
    from tomodist.values.geometry import TiltGeometry, VolumeGrid

Range = tuple[int, int]
TILT_CHUNK = (1, 512, 512)  # rows of a brick, and half to all of the columns that it sees


def create_levels(
    volume: Group, variable: str, grid: VolumeGrid, dtype: npt.DTypeLike, brick: Sequence[int]
) -> list[ArrayHandle]:
    """Create the arrays of a pyramid, or find those that an earlier run left.

    Parameters
    ----------
    volume : Group
        Of the volume.
    variable : str
        Name of the arrays (``"scores"`` or ``"labels"``).
    grid : VolumeGrid
        Of the full-size level.
    dtype : dtype
        Of the voxels.
    brick : sequence of int
        Shard shape (z, y, x), multiples of 64.

    Returns
    -------
    list of ArrayHandle
        Full size first. Arrays that exist keep the bricks they were made with.
    """
    levels = []
    for level, shape in enumerate(level_shapes(grid.shape)):
        name = f"scale{level}"
        if not volume.has(name):
            with volume.whole(name) as group:
                _create_level(group, variable, shape, level, grid.voxel_size, dtype, brick)
        levels.append(volume.group(name).array(variable))
    return levels


def create_stack(
    group: Group,
    name: str,
    geometry: TiltGeometry,
    dtype: npt.DTypeLike,
    attributes: dict[str, Any] | None = None,
) -> ArrayHandle:
    """Create an array (tilt, y, x) of which one tilt is one brick.

    Parameters
    ----------
    group : Group
        Of the unit that is made.
    name : str
        Of the array.
    geometry : TiltGeometry
        Number and size of the images.
    dtype : dtype
        Element type.
    attributes : dict, optional
        Stored with the array.

    Returns
    -------
    ArrayHandle
    """
    ny, nx = geometry.image_shape
    chunk = (1, min(TILT_CHUNK[1], ny), min(TILT_CHUNK[2], nx))
    brick = (1, rounded(ny, chunk[1]), rounded(nx, chunk[2]))
    shape = (geometry.n_tilts, ny, nx)
    return group.create(
        name, shape, dtype, dims=("tilt", "y", "x"), brick=brick, chunk=chunk, attributes=attributes
    )


def create_tiles(
    group: Group, name: str, geometry: TiltGeometry, tilts: int, rows: int
) -> ArrayHandle:
    """Create a float32 array (tilt, y, x) cut into tiles, or find the one an earlier run left.

    Parameters
    ----------
    group : Group
        That holds the array.
    name : str
        Of the array.
    geometry : TiltGeometry
        Of the images.
    tilts, rows : int
        Of a tile, which is a shard and holds all columns; rows are a multiple of 64.

    Returns
    -------
    ArrayHandle
        One that exists keeps the tiles it was made with.
    """
    if group.has(name):
        return group.array(name)
    shape = (geometry.n_tilts, *geometry.image_shape)
    chunk = (1, rows, min(TILT_CHUNK[2], rounded(shape[2])))
    brick = (tilts, rows, rounded(shape[2], chunk[2]))
    return group.create(name, shape, np.float32, dims=("tilt", "y", "x"), brick=brick, chunk=chunk)


def create_volume(
    group: Group,
    name: str,
    grid: VolumeGrid,
    brick: Sequence[int],
    dtype: npt.DTypeLike = np.float32,
) -> ArrayHandle:
    """Create a volume without a pyramid, or find the one an earlier run left.

    Parameters
    ----------
    group : Group
        Of the unit that is made.
    name : str
        Of the array.
    grid : VolumeGrid
        Shape of the volume.
    brick : sequence of int
        Brick (z, y, x) of the plan; shards are cut to it.
    dtype : dtype
        Element type.

    Returns
    -------
    ArrayHandle
    """
    if group.has(name):
        return group.array(name)
    fitting = [min(b, rounded(n)) for b, n in zip(brick, grid.shape, strict=True)]
    return group.create(name, grid.shape, dtype, dims=AXES, brick=fitting)


def image_reader(stack: Stack) -> Callable[[int, Range, Range], AnyArray]:
    """A way to read windows of stored images, as `tomodist.algorithms.lift.windows` wants it."""

    def read(tilt: int, rows: Range, columns: Range) -> AnyArray:
        return np.asarray(stack.read((tilt, tilt + 1), rows, columns)[0])

    return read


def _create_level(
    group: Group,
    variable: str,
    shape: Sequence[int],
    level: int,
    voxel_size: float,
    dtype: npt.DTypeLike,
    brick: Sequence[int],
) -> None:
    """Create a level's array and its coordinates."""
    fitting = [min(b, rounded(n)) for b, n in zip(brick, shape, strict=True)]
    group.create(variable, shape, dtype, dims=AXES, brick=fitting)
    scale, start = level_scale(level, voxel_size)
    for axis, n in zip(AXES, shape, strict=True):
        values = [start + k * scale for k in range(n)]
        group.write_column(axis, values, [axis], {"units": "angstrom"})

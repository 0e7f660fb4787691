"""Arrays of a tomogram store: stacks of images, and OME-Zarr pyramids that xarray opens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from tomodist.formats.zarr import ArrayHandle, create_array, write_column
from tomodist.planning.plan import rounded
from tomodist.store.ome import level_scale, level_shapes
from tomodist.values.geometry import AXES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from tomodist.formats.zarr import Stack
    from tomodist.values.geometry import TiltGeometry, VolumeGrid

Range = tuple[int, int]
TILT_CHUNK = (1, 512, 512)  # rows of a brick, and half to all of the columns that it sees


def create_levels(
    folder: Path, variable: str, grid: VolumeGrid, dtype: npt.DTypeLike, brick: Sequence[int]
) -> list[ArrayHandle]:
    """Create the arrays of a pyramid, or find those that an earlier run left.

    Parameters
    ----------
    folder : Path
        Group of the volume.
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
        group = folder / f"scale{level}"
        if not (group / "zarr.json").is_file():
            _create_level(group, variable, shape, level, grid.voxel_size, dtype, brick)
        levels.append(ArrayHandle(str(group / variable)))
    return levels


def create_stack(
    path: Path,
    geometry: TiltGeometry,
    dtype: npt.DTypeLike,
    attributes: dict[str, Any] | None = None,
) -> ArrayHandle:
    """Create an array (tilt, y, x) of which one tilt is one brick."""
    ny, nx = geometry.image_shape
    chunk = (1, min(TILT_CHUNK[1], ny), min(TILT_CHUNK[2], nx))
    brick = (1, rounded(ny, chunk[1]), rounded(nx, chunk[2]))
    shape = (geometry.n_tilts, ny, nx)
    return create_array(
        path, shape, dtype, dims=("tilt", "y", "x"), brick=brick, chunk=chunk, attributes=attributes
    )


def create_tiles(path: Path, geometry: TiltGeometry, tilts: int, rows: int) -> ArrayHandle:
    """Create a float32 array (tilt, y, x) cut into tiles, or find the one an earlier run left.

    Parameters
    ----------
    path : Path
        Folder of the array.
    geometry : TiltGeometry
        Of the images.
    tilts, rows : int
        Of a tile, which is a shard and holds all columns; rows are a multiple of 64.

    Returns
    -------
    ArrayHandle
        One that exists keeps the tiles it was made with.
    """
    if (path / "zarr.json").is_file():
        return ArrayHandle(str(path))
    shape = (geometry.n_tilts, *geometry.image_shape)
    chunk = (1, rows, min(TILT_CHUNK[2], rounded(shape[2])))
    brick = (tilts, rows, rounded(shape[2], chunk[2]))
    return create_array(path, shape, np.float32, dims=("tilt", "y", "x"), brick=brick, chunk=chunk)


def create_volume(
    path: Path, grid: VolumeGrid, brick: Sequence[int], dtype: npt.DTypeLike = np.float32
) -> ArrayHandle:
    """Create a volume without a pyramid, or find the one an earlier run left."""
    if (path / "zarr.json").is_file():
        return ArrayHandle(str(path))
    fitting = [min(b, rounded(n)) for b, n in zip(brick, grid.shape, strict=True)]
    return create_array(path, grid.shape, dtype, dims=AXES, brick=fitting)


def image_reader(stack: Stack) -> Callable[[int, Range, Range], npt.NDArray[Any]]:
    """A way to read windows of stored images, as `tomodist.algorithms.lift.windows` wants it."""

    def read(tilt: int, rows: Range, columns: Range) -> npt.NDArray[Any]:
        return np.asarray(stack.read((tilt, tilt + 1), rows, columns)[0])

    return read


def _create_level(
    group: Path,
    variable: str,
    shape: Sequence[int],
    level: int,
    voxel_size: float,
    dtype: npt.DTypeLike,
    brick: Sequence[int],
) -> None:
    """Create a level's array and coordinates under another name, then rename it into being."""
    draft = group.with_name(f"{group.name}.draft")
    zarr.create_group(str(draft), overwrite=True)
    fitting = [min(b, rounded(n)) for b, n in zip(brick, shape, strict=True)]
    create_array(draft / variable, shape, dtype, dims=AXES, brick=fitting)
    scale, start = level_scale(level, voxel_size)
    for axis, n in zip(AXES, shape, strict=True):
        values = [start + k * scale for k in range(n)]
        write_column(draft / axis, values, [axis], {"units": "angstrom"})
    draft.rename(group)

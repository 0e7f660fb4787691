"""The same lifting from Python: xarray in and out, lazy until computed or stored.

Arrays may be NumPy, Dask or xarray. In the single-axis case a task holds the rows of its brick of
all maps; in any other geometry it holds all maps, so large series are better ingested and lifted
by the commands, which read windows from the store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import dask
import dask.array as da
import numpy as np
import xarray as xr

from tomodist.algorithms.lift.backproject import Lifting, Votes, WeightedMean, lift_brick
from tomodist.algorithms.lift.balanced import BalancedVotes
from tomodist.algorithms.lift.edges import RefinedEdges
from tomodist.algorithms.lift.project import PROJECTION_TYPES, ProjectionKind, project_tile
from tomodist.algorithms.threshold.curve import ThresholdCurve, count_agreement, curve_of
from tomodist.errors import InputError
from tomodist.values.geometry import AXES, TiltGeometry, VolumeGrid
from tomodist.values.projection import row_offset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.algorithms.lift.windows import Range
    from tomodist.values.arrays import AnyArray

Arrays = Any  # numpy.ndarray, dask.array.Array or xarray.DataArray
BRICK = (128, 256, 256)
ROWS = 128


def backproject(
    maps: Arrays,
    geometry: TiltGeometry,
    grid: VolumeGrid,
    kind: Literal["binary", "balanced", "linear"] = "binary",
    *,
    weights: Sequence[float] | None = None,
    brick: Sequence[int] = BRICK,
) -> xr.DataArray:
    """Backproject maps into a score volume.

    Parameters
    ----------
    maps : array, shape (n_tilts, height, width)
        For ``"binary"`` and ``"balanced"``: bool, or uint8 with 0, 1 (structure) and 2 (not
        measured). For ``"linear"``: float, NaN where nothing is measured.
    geometry : TiltGeometry
        Of the maps.
    grid : VolumeGrid
        Of the volume.
    kind : {"binary", "balanced", "linear"}
        Votes (Eq. 5 of Zeng et al.; exact integers), votes balanced between the sides from which
        tilts look (0..254, see `tomodist.algorithms.lift.balanced`), or the weighted mean of
        probabilities.
    weights : sequence of float, optional
        Of the tilts, for ``"linear"``.
    brick : sequence of int
        Chunks of the result (z, y, x).

    Returns
    -------
    DataArray, shape (nz, ny, nx)
        Lazy; uint8 or uint16 scores, or float32.

    Raises
    ------
    InputError, GeometryError

    Examples
    --------
    >>> import numpy as np, tomodist
    >>> geometry = tomodist.TiltGeometry([-30, 0, 30], image_shape=(4, 16), pixel_size=10)
    >>> maps = np.zeros((3, 4, 16), bool)
    >>> maps[:, 2, 7:9] = True
    >>> grid = tomodist.VolumeGrid((16, 4, 16), voxel_size=10)
    >>> int(tomodist.backproject(maps, geometry, grid).max())
    3

    Of label maps (a class number per pixel) the classes are lifted one by one, each as lazily:

    >>> classes = maps * np.array([2], np.uint8)
    >>> votes = {k: tomodist.backproject(classes == k, geometry, grid) for k in (1, 2)}
    >>> [int(votes[k].max()) for k in (1, 2)]
    [0, 3]
    """
    if kind not in ("binary", "balanced", "linear"):
        raise InputError(
            f"kind is {kind!r}; backprojection knows 'binary', 'balanced' and 'linear'"
        )
    if kind != "linear":
        counted = Votes if kind == "binary" else BalancedVotes
        return _lift(maps, counted(geometry, grid), brick)
    given = None if weights is None else tuple(float(w) for w in weights)
    return _lift(maps, WeightedMean(geometry, grid, given), brick)


def detect_edges(
    edge_maps: Arrays,
    geometry: TiltGeometry,
    grid: VolumeGrid,
    *,
    reach: int = RefinedEdges.reach,
    support: int = RefinedEdges.support,
    rounds: int = RefinedEdges.rounds,
    keep_own: bool = RefinedEdges.keep_own,
    brick: Sequence[int] = BRICK,
) -> xr.DataArray:
    """Votes of 2D edges after refinement between adjacent tilts (Algorithm 2).

    Parameters
    ----------
    edge_maps, geometry, grid, brick
        As for `backproject`, binary.
    reach, support, rounds, keep_own
        See `RefinedEdges`.

    Returns
    -------
    DataArray, shape (nz, ny, nx)
        Lazy votes; the edge is where they exceed a threshold T.

    Raises
    ------
    InputError, GeometryError
    """
    return _lift(edge_maps, RefinedEdges(geometry, grid, reach, support, rounds, keep_own), brick)


def project(
    volume: Arrays,
    geometry: TiltGeometry,
    kind: ProjectionKind = "binary",
    *,
    grid: VolumeGrid | None = None,
) -> xr.DataArray:
    """Project a volume onto the tilts.

    Parameters
    ----------
    volume : array, shape (nz, ny, nx)
        A mask, votes, or grey values.
    geometry : TiltGeometry
        Of the images.
    kind : {"binary", "max", "sum"}
        1 where any voxel of the mask has the pixel in its footprint; the largest vote that has
        (-1 where the ray misses the volume); or the sum by the linear rule.
    grid : VolumeGrid, optional
        Of the volume; by default what `backproject` noted on it, else voxels of the pixel size.

    Returns
    -------
    DataArray, shape (n_tilts, height, width)
        Lazy; int8, int16 or float32.

    Raises
    ------
    InputError, GeometryError
    """
    if kind not in PROJECTION_TYPES:
        raise InputError(f"kind is {kind!r}; projection knows {', '.join(PROJECTION_TYPES)}")
    grid = grid or _grid_of(volume, geometry)
    data = as_dask(volume, grid.shape, "volume")
    matrices = geometry.matrices(grid)
    offset = row_offset(matrices)
    height, width = geometry.image_shape
    rows = _cuts(height, ROWS)
    if offset is None:
        slabs = data.rechunk(-1)
    else:
        slabs = _fit_rows(data, axis=1, offset=-offset, size=height, fill=0)
        slabs = slabs.rechunk({0: -1, 1: rows, 2: -1})
    images = da.blockwise(
        _project_block,
        "tyx",
        da.arange(len(rows), chunks=1),
        "y",
        slabs,
        "ayb" if offset is not None else "abc",
        kind=kind,
        geometry=geometry,
        grid=grid,
        new_axes={"t": geometry.n_tilts, "x": width},
        adjust_chunks={"y": rows},
        concatenate=True,
        align_arrays=False,
        dtype=PROJECTION_TYPES[kind],
        meta=np.empty((0, 0, 0), PROJECTION_TYPES[kind]),
    )
    coordinates = {"tilt_angle": ("tilt", list(geometry.tilt_angles))}
    return xr.DataArray(
        images, dims=("tilt", "y", "x"), coords=coordinates, name=f"{kind}_projection"
    )


def choose_threshold(
    votes: Arrays, maps: Arrays, geometry: TiltGeometry, *, grid: VolumeGrid | None = None
) -> ThresholdCurve:
    """The threshold on the votes whose reprojection agrees best with the maps (Algorithm 1).

    Parameters
    ----------
    votes : array, shape (nz, ny, nx), integer
        From `backproject` (binary or balanced) or `detect_edges`.
    maps : array, shape (n_tilts, height, width)
        The maps that they come from.
    geometry : TiltGeometry
        Of the maps.
    grid : VolumeGrid, optional
        As for `project`.

    Returns
    -------
    ThresholdCurve
        With `thresholds`, `score` and `best`; computed, not lazy.

    Raises
    ------
    InputError
        If no map marks anything that sees the volume.
    """
    largest = project(votes, geometry, "max", grid=grid).data
    images = as_dask(maps, largest.shape, "maps").rechunk(largest.chunks)
    count = dask.delayed(count_agreement)
    levels = getattr(votes, "attrs", {}).get("levels", geometry.n_tilts)
    parts = [
        count(a, b, levels)
        for a, b in zip(largest.to_delayed().ravel(), images.to_delayed().ravel(), strict=True)
    ]
    counts = np.sum(dask.compute(*parts), axis=0)
    return curve_of(counts)


def _lift(maps: Arrays, lifting: Lifting, brick: Sequence[int]) -> xr.DataArray:
    geometry, grid = lifting.geometry, lifting.grid
    if len(brick) != 3 or min(brick) < 1:
        raise InputError(f"brick must be 3 positive sizes (z, y, x); found {tuple(brick)}")
    data = as_dask(maps, (geometry.n_tilts, *geometry.image_shape), "maps")
    offset = row_offset(geometry.matrices(grid))
    chunks = [_cuts(n, b) for n, b in zip(grid.shape, brick, strict=True)]
    if offset is None:
        data = data.rechunk(-1)
    else:
        data = _fit_rows(data, axis=1, offset=offset, size=grid.shape[1], fill=0)
        data = data.rechunk({0: -1, 1: chunks[1], 2: -1})
    pairs = [
        v
        for c, name in zip(chunks, "zyx", strict=True)
        for v in (da.arange(len(c), chunks=1), name)
    ]
    volume = da.blockwise(
        _lift_block,
        "zyx",
        *pairs,
        data,
        "tyu" if offset is not None else "tvu",
        lifting=lifting,
        brick=tuple(brick),
        offset=offset,
        adjust_chunks=dict(zip("zyx", chunks, strict=True)),
        concatenate=True,
        align_arrays=False,
        dtype=lifting.dtype,
        meta=np.empty((0, 0, 0), lifting.dtype),
    )
    coordinates = {axis: grid.axis(axis) for axis in AXES}
    attributes = {"voxel_size": grid.voxel_size, "center": list(grid.center)}
    if lifting.max_score:
        attributes["levels"] = lifting.max_score
    return xr.DataArray(volume, dims=AXES, coords=coordinates, name="scores", attrs=attributes)


def _lift_block(
    z: AnyArray,
    y: AnyArray,
    x: AnyArray,
    block: AnyArray,
    *,
    lifting: Lifting,
    brick: Sequence[int],
    offset: int | None,
) -> AnyArray:
    start = [int(k[0]) * b for k, b in zip((z, y, x), brick, strict=True)]
    stop = [min(a + b, n) for a, b, n in zip(start, brick, lifting.grid.shape, strict=True)]
    first_row = 0 if offset is None else start[1] + offset

    def read(tilt: int, rows: Range, columns: Range) -> AnyArray:
        return block[tilt, rows[0] - first_row : rows[1] - first_row, slice(*columns)]

    return lift_brick(lifting, read, start, stop)


def _project_block(
    k: AnyArray,
    block: AnyArray,
    *,
    kind: ProjectionKind,
    geometry: TiltGeometry,
    grid: VolumeGrid,
) -> AnyArray:
    first = int(k[0]) * ROWS
    rows = (first, min(first + ROWS, geometry.image_shape[0]))
    offset = row_offset(geometry.matrices(grid))
    ny = grid.shape[1]
    seen = (0, ny) if offset is None else (max(rows[0] - offset, 0), min(rows[1] - offset, ny))
    y0 = 0 if offset is None else rows[0] - offset

    def read(z: Range, y: Range, x: Range) -> AnyArray:
        return block[slice(*z), y[0] - y0 : y[1] - y0, slice(*x)]

    windows = [((0, grid.shape[0]), seen, (0, grid.shape[2]))] if seen[0] < seen[1] else []
    return project_tile(kind, geometry, grid, read, windows, range(geometry.n_tilts), rows)


def _fit_rows(data: da.Array, *, axis: int, offset: int, size: int, fill: int) -> da.Array:
    """Rows offset .. offset + size of an array, with `fill` where it has none."""
    n = data.shape[axis]
    inside = slice(max(offset, 0), max(min(offset + size, n), max(offset, 0)))
    index = tuple(inside if k == axis else slice(None) for k in range(data.ndim))
    before = min(max(-offset, 0), size)
    part = data[index]
    after = size - before - part.shape[axis]
    widths = [(before, after) if k == axis else (0, 0) for k in range(data.ndim)]
    return da.pad(part, widths, constant_values=fill) if before or after else part


def as_dask(values: Arrays, shape: Sequence[int], what: str) -> da.Array:
    """The values as a dask array, after a check of their shape.

    Parameters
    ----------
    values : ndarray, dask array or DataArray
        The values.
    shape : sequence of int
        Expected shape.
    what : str
        Name of the values, for the message.

    Returns
    -------
    dask array

    Raises
    ------
    InputError
        If the shape is another.
    """
    data = values.data if isinstance(values, xr.DataArray) else values
    if tuple(data.shape) != tuple(shape):
        raise InputError(
            f"{what} has shape {tuple(data.shape)}, but the geometry says {tuple(shape)}"
        )
    return data if isinstance(data, da.Array) else da.from_array(np.asarray(data))


def _grid_of(volume: Arrays, geometry: TiltGeometry) -> VolumeGrid:
    noted = getattr(volume, "attrs", {})
    size = noted.get("voxel_size", geometry.pixel_size)
    return VolumeGrid(volume.shape, size, noted.get("center"))


def _cuts(n: int, size: int) -> tuple[int, ...]:
    return tuple(min(size, n - k) for k in range(0, n, size))

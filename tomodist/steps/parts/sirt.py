"""Steps of SIRT: per iteration, tiles of residual images, then bricks of the next volume.

Everything in between lies in a folder, so that an interrupted run goes on where it was:

    ray_sums                      A 1, made once
    norms                         size of the residual, per iteration and tile
    residual_7, volume_6          what iteration 7 reads ...
    volume_7                      ... and writes; then the two above are removed

One rule: no array is read and written in the same pass. So any task may run twice or on any worker,
and the disk holds two volumes and two stacks at most.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tomodist.algorithms.lift.backproject import lift_brick
from tomodist.algorithms.lift.project import READ
from tomodist.planning.plan import INNER, Plan, Resources, rounded
from tomodist.planning.tiles import Tile, fitting_tile, plan_of_tiles
from tomodist.runtime.runner import Batch, task_of
from tomodist.steps.parts.filling import fill
from tomodist.store.volumes import create_tiles, create_volume, image_reader
from tomodist.values.projection import row_offset
from tomodist.values.windows import brick_windows

if TYPE_CHECKING:
    from tomodist.algorithms.reconstruct.sirt import Sirt
    from tomodist.formats.zarr import ArrayHandle, Group
    from tomodist.runtime.runner import Bar, Session, Work
    from tomodist.values.arrays import Image
    from tomodist.values.windows import Index

_BYTES = 28  # per pixel of a tile: A x twice, b, A 1, the residual twice, masks


@dataclass(frozen=True)
class Iteration:
    """What all tasks of an iteration share.

    Parameters
    ----------
    method : Sirt
        How.
    images, ray_sums, residual, norms : ArrayHandle
        b, A 1, R (b - A x), all (tilt, y, x), and the size of the residual.
    before, after : ArrayHandle
        x and the next x; x is 0 where `before` is None.
    background : tuple of float
        Of every image.
    number : int
        From 1.
    tilts_per_task : int
        Tilts whose windows a brick's task holds at a time.
    """

    method: Sirt
    images: ArrayHandle
    ray_sums: ArrayHandle
    residual: ArrayHandle
    norms: ArrayHandle
    before: ArrayHandle | None
    after: ArrayHandle
    background: tuple[float, ...]
    number: int
    tilts_per_task: int


def plan_projection(method: Sirt, resources: Resources) -> Plan:
    """Choose the tiles of the residual images: they fit a task, and every slot has work.

    Parameters
    ----------
    method : Sirt
        What is iterated.
    resources : Resources
        What the run may use.

    Returns
    -------
    Plan

    Raises
    ------
    PlanError
        If not even the smallest tile fits.
    """
    n_tilts, (height, width) = method.geometry.n_tilts, method.geometry.image_shape
    aligned = row_offset(method.geometry.matrices(method.grid)) is not None
    rows = min(rounded(height), READ[1]) if aligned else rounded(height)

    def fits(tile: Tile) -> bool:
        few = tile.count(n_tilts, height) < 2 * resources.n_slots
        return _memory(tile, width) <= resources.task_budget and not few

    if aligned:
        tile = fitting_tile(Tile(rows, n_tilts), fits)
    else:  # a tile of any other geometry sees all rows
        tile = fitting_tile(Tile(INNER, n_tilts), lambda tile: fits(Tile(rows, tile.tilts)))
        tile = Tile(rows, tile.tilts)
    n_bytes = 4 * n_tilts * height * width
    return plan_of_tiles(
        f"project, {method.iterations} times",
        (n_tilts, height, width),
        tile,
        {"tile and window": _memory(tile, width)},
        resources,
        bytes_read=method.iterations
        * (4 * method.grid.n_voxels * -(-n_tilts // tile.tilts) + 2 * n_bytes),
        bytes_written=method.iterations * n_bytes,
    )


def iterate(
    session: Session,
    folder: Group,
    images: ArrayHandle,
    volume: ArrayHandle,
    method: Sirt,
    tiles: Plan,
    bricks: Plan,
) -> Work[list[float]]:
    """Run all iterations, or those that are missing.

    Parameters
    ----------
    session : Session
        Whose progress tells the residual of every iteration.
    folder : Group
        For what lies in between; may hold what an interrupted run left, and stays.
    images : ArrayHandle
        Stack (tilt, y, x).
    volume : ArrayHandle
        Where the last iteration is written.
    method : Sirt
        How.
    tiles, bricks : Plan
        Of the residual images and of the volume.

    Yields
    ------
    Batch

    Returns
    -------
    list of float
        Size of b - A x before each iteration, as a part of that of b.
    """
    geometry = method.geometry
    ray_sums = create_tiles(folder, "ray_sums", geometry, *tiles.brick[:2])
    norms = _norms(folder, method.iterations, ray_sums)
    if not volume.missing():
        return residuals(norms, method.iterations)
    n_tiles, n_bricks = len(ray_sums.bricks()), len(volume.bricks())
    done = _finished(folder, method.iterations)
    total = n_tiles + geometry.n_tilts + method.iterations * (n_tiles + n_bricks)
    bar = session.progress.start("SIRT", total)
    for _ in range(done * (n_tiles + n_bricks)):
        session.progress.advance(bar)
    ray_sum = functools.partial(task_of, _ray_sum_tile, ray_sums, method)
    yield from fill("ray sums", ray_sums, ray_sum, bar=bar)
    background = yield from _backgrounds(images, method, bar)
    for k in range(done + 1, method.iterations + 1):
        last = k == method.iterations
        step = Iteration(
            method,
            images,
            ray_sums,
            create_tiles(folder, f"residual_{k}", geometry, *ray_sums.brick[:2]),
            norms,
            folder.array(f"volume_{k - 1}") if k > 1 else None,
            volume if last else create_volume(folder, f"volume_{k}", method.grid, bricks.brick),
            background,
            k,
            bricks.tilts_per_task,
        )
        residual = functools.partial(task_of, _residual_tile, step)
        yield from fill("residual", step.residual, residual, bar=bar)
        size = residuals(norms, k)[-1]
        session.progress.message(
            f"iteration {k} of {method.iterations}: residual {100 * size:.2f} %"
        )
        improve = functools.partial(task_of, _improve_brick, step)
        yield from fill("correction", step.after, improve, bar=bar)
        _remove(folder, k)
    return residuals(norms, method.iterations)


def residuals(norms: ArrayHandle, n: int) -> list[float]:
    """Size of the residual before each of the first `n` iterations, relative to the first.

    Parameters
    ----------
    norms : ArrayHandle
        Square norms, one per iteration and tilt.
    n : int
        Number of iterations.

    Returns
    -------
    list of float
        1 first.
    """
    sizes = np.sqrt(norms.read((0, n)).sum(axis=(1, 2)))
    return [float(v) for v in sizes / (sizes[0] or 1)]


def _memory(tile: Tile, width: int) -> int:
    window = 12 * READ[0] * min(READ[1], tile.rows) * READ[2]  # as read, transposed, and decoded
    return _BYTES * tile.tilts * tile.rows * rounded(width) + window


def _ray_sum_tile(ray_sums: ArrayHandle, method: Sirt, tile: Index) -> None:
    (first, end), rows, _ = ray_sums.window(tile)
    ray_sums.write(
        tile, method.ray_sums(brick_windows(method.grid.shape, READ), range(first, end), rows)
    )


def _residual_tile(step: Iteration, tile: Index) -> None:
    """R (b - A x) of a tile; its size is written first, as the tile's shard is the commit."""
    window = step.residual.window(tile)
    (first, end), rows, _ = window
    tilts = range(first, end)
    projected = _projected(step, tilts, rows)
    images = step.images.read(*window)
    images -= np.asarray(step.background, np.float32)[list(tilts), None, None]
    residual, size = step.method.residual(images, projected, step.ray_sums.read(*window))
    step.norms.write((step.number - 1, tile[0], tile[1]), np.full((1, 1, 1), size))
    step.residual.write(tile, residual)


def _projected(step: Iteration, tilts: range, rows: tuple[int, int]) -> Image:
    """A x; the first x is 0."""
    if step.before is None:
        shape = (len(tilts), rows[1] - rows[0], step.method.geometry.image_shape[1])
        return np.zeros(shape, np.float32)
    windows = brick_windows(step.method.grid.shape, READ)
    return step.method.project(step.before.read, windows, tilts, rows)


def _improve_brick(step: Iteration, brick: Index) -> None:
    """Write x + C A^T R (b - A x) of a brick; x is read a few layers at a time."""
    z, y, x = step.after.window(brick)
    start, stop = zip(z, y, x, strict=True)
    read = image_reader(step.residual)
    volume = lift_brick(step.method.lifting, read, start, stop, step.tilts_per_task)
    for first in range(z[0], z[1], INNER):
        layers = (first, min(first + INNER, z[1]))
        part = volume[layers[0] - z[0] : layers[1] - z[0]]
        old = step.before.read(layers, y, x) if step.before else np.zeros_like(part)
        part[...] = step.method.improve(old, part)
    step.after.write(brick, volume)


def _backgrounds(images: ArrayHandle, method: Sirt, bar: Bar) -> Work[tuple[float, ...]]:
    """What is subtracted from every image."""
    n = method.geometry.n_tilts
    function = _mean_of if method.background == "mean" else _zero_of
    means: list[tuple[int, float]] = []
    tasks = (task_of(function, images, tilt) for tilt in range(n))
    yield Batch("background", tasks, n, each=means.append, bar=bar)
    return tuple(mean for _, mean in sorted(means))


def _mean_of(images: ArrayHandle, tilt: int) -> tuple[int, float]:
    """Mean of the measured pixels of an image, read some rows at a time."""
    total, n = 0.0, 0
    for first in range(0, images.shape[1], READ[1]):
        part = images.read((tilt, tilt + 1), (first, min(first + READ[1], images.shape[1])))
        total += float(np.nansum(part, dtype=np.float64))
        n += int(np.isfinite(part).sum())
    return tilt, total / max(n, 1)


def _zero_of(images: ArrayHandle, tilt: int) -> tuple[int, float]:  # noqa: ARG001
    return tilt, 0.0


def _norms(folder: Group, iterations: int, ray_sums: ArrayHandle) -> ArrayHandle:
    """One number per iteration and tile, each a brick of its own."""
    if folder.has("norms"):
        return folder.array("norms")
    n_tilts, n_rows, _ = (max(k) + 1 for k in zip(*ray_sums.bricks(), strict=True))
    dims, shape = ("iteration", "tilts", "rows"), (iterations, n_tilts, n_rows)
    return folder.create("norms", shape, np.float64, dims=dims, brick=(1, 1, 1))


def _finished(folder: Group, iterations: int) -> int:
    """The last iteration whose volume is complete; what earlier ones left is removed."""
    for k in range(iterations - 1, 0, -1):
        name = f"volume_{k}"
        if folder.has(name) and not folder.array(name).missing():
            _remove(folder, k)
            return k
    return 0


def _remove(folder: Group, k: int) -> None:
    """Remove what only iterations up to k needed."""
    for name in (f"residual_{k}", f"volume_{k - 1}"):
        folder.remove(name)

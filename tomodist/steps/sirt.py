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

import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.algorithms.lift.backproject import lift_brick
from tomodist.algorithms.lift.project import READ
from tomodist.formats.zarr import ArrayHandle, create_array
from tomodist.planning.plan import INNER, Plan, Resources, check_fit, rounded
from tomodist.runtime.runner import OneBar, Session, Task, task_of
from tomodist.store.volumes import create_tiles, create_volume, image_reader
from tomodist.values.projection import row_offset
from tomodist.values.windows import brick_windows

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.algorithms.reconstruct.sirt import Image, Sirt
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
    tilts = n_tilts
    while _memory(tilts, rows, width) > resources.task_budget or (
        -(-n_tilts // tilts) * -(-height // rows) < 2 * resources.n_slots
    ):
        if aligned and rows > INNER:
            rows = rounded(rows // 2)
        elif tilts > 1:
            tilts = -(-tilts // 2)
        else:
            break
    n_bytes = 4 * n_tilts * height * width
    plan = Plan(
        step=f"project, {method.iterations} times",
        shape=(n_tilts, height, width),
        brick=(tilts, rows, rounded(width)),
        n_tilts=1,
        tilts_per_task=1,
        terms={"tile and window": _memory(tilts, rows, width)},
        resources=resources,
        bytes_read=method.iterations
        * (4 * method.grid.n_voxels * -(-n_tilts // tilts) + 2 * n_bytes),
        bytes_written=method.iterations * n_bytes,
    )
    check_fit(plan)
    return plan


def iterate(
    session: Session,
    folder: Path,
    images: ArrayHandle,
    volume: ArrayHandle,
    method: Sirt,
    tiles: Plan,
    bricks: Plan,
) -> list[float]:
    """Run all iterations, or those that are missing.

    Parameters
    ----------
    session : Session
        Where tasks run, and who is told the residual of every iteration.
    folder : Path
        For what lies in between; may hold what an interrupted run left, and stays.
    images : ArrayHandle
        Stack (tilt, y, x).
    volume : ArrayHandle
        Where the last iteration is written.
    method : Sirt
        How.
    tiles, bricks : Plan
        Of the residual images and of the volume.

    Returns
    -------
    list of float
        Size of b - A x before each iteration, as a part of that of b.
    """
    geometry = method.geometry
    ray_sums = create_tiles(folder / "ray_sums", geometry, *tiles.brick[:2])
    norms = _norms(folder / "norms", method.iterations, ray_sums)
    if not volume.missing():
        return residuals(norms, method.iterations)
    n_tiles, n_bricks = len(ray_sums.bricks()), len(volume.bricks())
    total = n_tiles + geometry.n_tilts + method.iterations * (n_tiles + n_bricks)
    bar = OneBar(session.progress, "SIRT", total)
    quiet = replace(session, progress=bar)
    quiet.fill("ray sums", ray_sums, lambda tile: task_of(_ray_sum_tile, ray_sums, method, tile))
    done = _finished(folder, method.iterations)
    bar.skip(done * (n_tiles + n_bricks))
    background = _backgrounds(quiet, images, method)
    for k in range(done + 1, method.iterations + 1):
        last = k == method.iterations
        step = Iteration(
            method,
            images,
            ray_sums,
            create_tiles(folder / f"residual_{k}", geometry, *ray_sums.brick[:2]),
            norms,
            ArrayHandle(str(folder / f"volume_{k - 1}")) if k > 1 else None,
            volume if last else create_volume(folder / f"volume_{k}", method.grid, bricks.brick),
            background,
            k,
            bricks.tilts_per_task,
        )
        quiet.fill("residual", step.residual, _task(_residual_tile, step))
        size = residuals(norms, k)[-1]
        bar.message(f"iteration {k} of {method.iterations}: residual {100 * size:.2f} %")
        quiet.fill("correction", step.after, _task(_improve_brick, step))
        _remove(folder, k)
    return residuals(norms, method.iterations)


def residuals(norms: ArrayHandle, n: int) -> list[float]:
    """Size of the residual before each of the first `n` iterations, relative to the first."""
    sizes = np.sqrt(norms.read((0, n)).sum(axis=(1, 2)))
    return [float(v) for v in sizes / (sizes[0] or 1)]


def _task(function: Any, step: Iteration) -> Any:  # noqa: ANN401 -- brick to task
    def task(brick: Index) -> Task:
        return task_of(function, step, brick)

    return task


def _memory(tilts: int, rows: int, width: int) -> int:
    window = 12 * READ[0] * min(READ[1], rows) * READ[2]  # as read, transposed, and decoded
    return _BYTES * tilts * rows * rounded(width) + window


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


def _backgrounds(session: Session, images: ArrayHandle, method: Sirt) -> tuple[float, ...]:
    """What is subtracted from every image."""
    n = method.geometry.n_tilts
    function = _mean_of if method.background == "mean" else _zero_of
    tasks = (task_of(function, images, tilt) for tilt in range(n))
    return tuple(mean for _, mean in sorted(session.run("background", tasks, n)))


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


def _norms(path: Path, iterations: int, ray_sums: ArrayHandle) -> ArrayHandle:
    """One number per iteration and tile, each a brick of its own."""
    if (path / "zarr.json").is_file():
        return ArrayHandle(str(path))
    n_tilts, n_rows, _ = (max(k) + 1 for k in zip(*ray_sums.bricks(), strict=True))
    dims = ("iteration", "tilts", "rows")
    return create_array(path, (iterations, n_tilts, n_rows), np.float64, dims=dims, brick=(1, 1, 1))


def _finished(folder: Path, iterations: int) -> int:
    """The last iteration whose volume is complete; what earlier ones left is removed."""
    for k in range(iterations - 1, 0, -1):
        path = folder / f"volume_{k}"
        if (path / "zarr.json").is_file() and not ArrayHandle(str(path)).missing():
            _remove(folder, k)
            return k
    return 0


def _remove(folder: Path, k: int) -> None:
    """Remove what only iterations up to k needed."""
    for name in (f"residual_{k}", f"volume_{k - 1}"):
        shutil.rmtree(folder / name, ignore_errors=True)

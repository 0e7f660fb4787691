"""Step: stored maps to a stored score volume (`scores/<label>`).

One brick is one task that reads its own windows of the maps; where there are fewer bricks than
workers, each brick's tilts are split into groups whose contributions are added in a tree.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.costs import TaskCosts, moving, reading, writing
from tomodist.errors import InputError
from tomodist.footprint import half_widths, row_offset
from tomodist.io.arrays import SomeTilts
from tomodist.io.ome import multiscales
from tomodist.io.store import Tomogram, digest
from tomodist.io.volumes import create_levels, image_reader
from tomodist.kernels.bits import BLOCK_ROWS
from tomodist.lift.backproject import Contribution, Lifting, add, lift_brick, tilt_groups
from tomodist.plan import FAN_IN, INNER, Plan, Resources, Shape3, Terms, plan_step, rounded
from tomodist.stages.execute import Session, Task, task_of, tree_of
from tomodist.stages.pyramid import fill_levels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tomodist.geometry import FloatArray
    from tomodist.io.arrays import ArrayHandle, Index, Stack

VERSION = 3  # of the algorithm; raise it when its results change


def plan_scores(
    lifting: Lifting,
    maps_itemsize: int,
    resources: Resources,
    *,
    brick: Sequence[int] | None = None,
    tilts_per_task: int | None = None,
) -> Plan:
    """Plan the backprojection.

    Parameters
    ----------
    lifting : Lifting
        How maps become scores.
    maps_itemsize : int
        Bytes per pixel of the maps.
    resources : Resources
        What the run may use.
    brick, tilts_per_task : optional
        Fix them instead of choosing.

    Returns
    -------
    Plan

    Raises
    ------
    InputError
        If `tilts_per_task` is given for a lifting that needs all tilts at once.
    PlanError
        If nothing fits.
    """
    n_tilts = lifting.geometry.n_tilts
    if not lifting.may_group and tilts_per_task not in (None, n_tilts):
        raise InputError(
            f"--tilts-per-task is {tilts_per_task}, but refining edges needs all "
            f"{n_tilts} tilts in one task; leave the option out"
        )
    if tilts_per_task is not None and tilts_per_task < 1:
        raise InputError(f"--tilts-per-task is {tilts_per_task}; it must be 1 or more")
    geometry, grid = lifting.geometry, lifting.grid
    matrices = geometry.matrices(grid)
    itemsize = lifting.dtype.itemsize
    binary, aligned = itemsize < 4, row_offset(matrices) is not None
    sums = lifting.sums_itemsize

    @functools.cache
    def window(size: Shape3) -> tuple[int, int]:
        return _window_size(matrices, size, geometry.image_shape)

    def terms(size: Shape3, tilts: int) -> Terms:
        rows, columns = window(size)
        voxels = size[0] * size[1] * size[2]
        partial_sums = 1 if tilts >= geometry.n_tilts else FAN_IN + 1
        pixel = 4.0 + 5  # as float32; whether measured, and that as float32
        if binary:  # two bits per pixel, in blocks of rows; or a table of counts
            rows, pixel = (rounded(rows, BLOCK_ROWS), 0.25) if aligned else (rows, 4)
        return {
            "map windows": int(tilts * rows * (columns + 2) * pixel),
            "one map being read": 2 * (rows + 2 * INNER) * (columns + 2 * INNER) * maps_itemsize,
            "sums": voxels * sums * partial_sums,
            "brick being written": 3 * voxels * itemsize,
        }

    def costs(size: Shape3, tilts: int) -> TaskCosts:
        rows, columns = window(size)
        voxels = size[0] * size[1] * size[2]
        leaf = reading(tilts, tilts * rows * columns * maps_itemsize)
        leaf += lifting.row_cost(aligned=aligned).of(tilts * size[0] * size[2], size[1])
        write = writing(voxels * itemsize, whole_numbers=binary)
        if tilts >= n_tilts:
            return TaskCosts(leaf + write, 0.0)
        return TaskCosts(leaf, FAN_IN * moving(voxels * sums) + write)

    def bytes_read(size: Shape3) -> int:
        rows, columns = window(size)
        return geometry.n_tilts * rows * columns * maps_itemsize

    return plan_step(
        "backproject",
        grid.shape,
        resources,
        terms,
        costs,
        n_tilts=geometry.n_tilts,
        tilts_per_task=tilts_per_task,
        brick=brick,
        may_group=lifting.may_group,
        may_spread=binary,
        bytes_read=bytes_read,
        itemsize=itemsize,
    )


def backproject_maps(
    session: Session,
    tomogram: Tomogram,
    label: str,
    lifting: Lifting,
    parameters: Mapping[str, Any],
    *,
    tilts: Sequence[int] | None = None,
    brick: Sequence[int] | None = None,
    tilts_per_task: int | None = None,
    overwrite: bool = False,
) -> Plan | None:
    """Make `scores/<label>` from `maps/<label>`.

    Parameters
    ----------
    session : Session
        Where tasks run.
    tomogram : Tomogram
        The store.
    label : str
        Which maps.
    lifting : Lifting
        How maps become scores.
    parameters : mapping
        The lifting's parameters as plain values, for the fingerprint.
    tilts : sequence of int, optional
        Tilts that take part, of which the lifting has the geometry; by default all.
    brick, tilts_per_task : optional
        Fix them instead of planning.
    overwrite : bool
        Replace scores that were made differently.

    Returns
    -------
    Plan or None
        What was run; None if the scores were there already.

    Raises
    ------
    ExistsError, PlanError, StoreError
    """
    unit, fingerprint = f"scores/{label}", _fingerprint(tomogram, label, lifting, parameters)
    if tomogram.is_current(unit, fingerprint, overwrite=overwrite):
        return None
    every = tomogram.array(f"maps/{label}", "maps")
    maps = every if tilts is None else SomeTilts(every, tuple(tilts))
    plan = plan_scores(
        lifting, maps.dtype.itemsize, session.resources, brick=brick, tilts_per_task=tilts_per_task
    )
    with tomogram.stage(unit, fingerprint) as staging:
        for change in staging.changes:
            session.progress.message(f"unfinished {unit} is started anew: {change}")
        levels = create_levels(staging.path, "scores", lifting.grid, lifting.dtype, plan.brick)
        fill_scores(session, maps, levels[0], lifting, plan)
        fill_levels(session, levels, "mean")
        ome = multiscales(label, "scores", len(levels), lifting.grid.voxel_size)
        described = {
            "n_tilts": lifting.geometry.n_tilts,
            "levels": lifting.levels,
            "score_scale": lifting.scale,
        }
        staging.describe(ome=ome, **described, **parameters)
    return plan


def scores_are(
    tomogram: Tomogram, label: str, lifting: Lifting, parameters: Mapping[str, Any]
) -> bool:
    """Whether `scores/<label>` are there, made just so."""
    unit, fingerprint = f"scores/{label}", _fingerprint(tomogram, label, lifting, parameters)
    return tomogram.is_current(unit, fingerprint, overwrite=True)


def _fingerprint(
    tomogram: Tomogram, label: str, lifting: Lifting, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """What determines the scores."""
    return {
        "step": "backproject",
        "version": VERSION,
        "maps": tomogram.digest(f"maps/{label}"),
        "geometry": digest(lifting.geometry.to_dict()),
        "grid": lifting.grid.to_dict(),
        **parameters,
    }


def fill_scores(
    session: Session, stack: Stack, volume: ArrayHandle, lifting: Lifting, plan: Plan
) -> None:
    """Backproject stored images into the missing bricks of a volume.

    Parameters
    ----------
    session : Session
        Where tasks run.
    stack, volume : ArrayHandle
        Images (tilt, y, x) and volume (z, y, x).
    lifting : Lifting
        How.
    plan : Plan
        From `plan_scores`.
    """

    def task(brick: Index) -> Task:
        return _brick_task(stack, volume, brick, lifting, plan)

    session.fill("backproject", volume, task, in_flight=plan.in_flight)


def _brick_task(
    maps: Stack, scores: ArrayHandle, brick: Index, lifting: Lifting, plan: Plan
) -> Task:
    if plan.n_groups == 1 or not lifting.may_group:
        return task_of(_write_brick, maps, scores, brick, lifting)
    groups = tilt_groups(plan.n_tilts, plan.tilts_per_task)
    leaves = [task_of(_contribute, maps, scores, brick, lifting, tilts) for tilts in groups]
    return tree_of(leaves, FAN_IN, _add, _WriteSum(scores, brick, lifting))


def _write_brick(maps: Stack, scores: ArrayHandle, brick: Index, lifting: Lifting) -> None:
    start, stop = zip(*scores.window(brick), strict=True)
    scores.write(brick, lift_brick(lifting, image_reader(maps), start, stop))


def _contribute(
    maps: Stack, scores: ArrayHandle, brick: Index, lifting: Lifting, tilts: Sequence[int]
) -> Contribution:
    start, stop = zip(*scores.window(brick), strict=True)
    return lifting.contribution(image_reader(maps), tilts, start, stop)


def _add(*parts: Contribution) -> Contribution:
    """The sum in new arrays: dask may run a task twice, so its inputs must stay as they are."""
    first, *more = parts
    return functools.reduce(add, more, first) if more else tuple(a.copy() for a in first)


class _WriteSum:
    """End of a tree: add the last parts, finish the brick, write it."""

    def __init__(self, scores: ArrayHandle, brick: Index, lifting: Lifting) -> None:
        self.scores, self.brick, self.lifting = scores, brick, lifting

    def __call__(self, *parts: Contribution) -> None:
        self.scores.write(self.brick, self.lifting.finish(_add(*parts)))


def _window_size(matrices: FloatArray, size: Shape3, image_shape: Sequence[int]) -> tuple[int, int]:
    """Rows and columns that the largest window of a brick can have."""
    reach = np.abs(matrices[:, :, :3]) @ np.array(size) + 2 * half_widths(matrices) + 4
    rows, columns = np.minimum(np.ceil(reach.max(axis=0)), image_shape).astype(int)
    return max(int(rows), size[1]), int(columns)

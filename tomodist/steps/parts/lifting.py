"""Lifting images brick by brick: its plan, and the tasks that fill a volume.

One brick is one task that reads its own windows of the images; where there are fewer bricks than
workers, each brick's tilts are split into groups whose contributions are added in a tree.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from tomodist.algorithms.lift.backproject import (
    Contribution,
    Lifting,
    add,
    lift_brick,
    tilt_groups,
)
from tomodist.errors import InputError
from tomodist.kernels.bits import BLOCK_ROWS
from tomodist.planning.costs import TaskCosts, moving, reading, writing
from tomodist.planning.plan import (
    FAN_IN,
    INNER,
    Cut,
    Plan,
    Resources,
    Shape3,
    Terms,
    plan_step,
    rounded,
)
from tomodist.runtime.runner import Task, Work, task_of, tree_of
from tomodist.steps.parts.filling import fill
from tomodist.store.volumes import image_reader
from tomodist.values.projection import half_widths, row_offset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.formats.zarr import ArrayHandle, Stack
    from tomodist.values.arrays import FloatArray
    from tomodist.values.windows import Index

_CLASS_OF_PIXEL = 0.4e-9  # seconds to take one class from a window that is held; measured


def plan_scores(
    lifting: Lifting,
    maps_itemsize: int,
    resources: Resources,
    *,
    n_classes: int = 1,
    cut: Cut = Cut(),  # noqa: B008 -- a value
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
    n_classes : int
        Classes of the same label maps that are lifted in one pass.
    cut : Cut
        Brick and tilts per task, fixed instead of chosen.

    Returns
    -------
    Plan

    Raises
    ------
    InputError
        If `tilts_per_task` is given where all tilts are needed at once.
    PlanError
        If nothing fits.
    """
    n_tilts, tilts_per_task = lifting.geometry.n_tilts, cut.tilts_per_task
    if not lifting.may_group and tilts_per_task not in (None, n_tilts):
        raise InputError(
            f"`tilts_per_task` is {tilts_per_task}, but edge refinement needs all {n_tilts} tilts "
            "in one task; remove it"
        )
    if n_classes > 1 and tilts_per_task not in (None, n_tilts):
        raise InputError(
            f"`tilts_per_task` is {tilts_per_task}, but {n_classes} classes are lifted from all "
            f"{n_tilts} tilts in one task per brick; remove it, or use a smaller `brick`"
        )
    geometry, grid = lifting.geometry, lifting.grid
    matrices = geometry.matrices(grid)
    itemsize = lifting.dtype.itemsize
    binary, aligned = lifting.binary, row_offset(matrices) is not None
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
        windows = int(tilts * rows * (columns + 2) * pixel)
        if n_classes > 1:
            windows += tilts * rows * columns * maps_itemsize
        return {
            "map windows": windows,
            "one map being read": 2 * (rows + 2 * INNER) * (columns + 2 * INNER) * maps_itemsize,
            "sums": voxels * sums * partial_sums,
            "brick being written": 3 * voxels * itemsize,
        }

    def costs(size: Shape3, tilts: int) -> TaskCosts:
        rows, columns = window(size)
        voxels = size[0] * size[1] * size[2]
        leaf = reading(tilts, tilts * rows * columns * maps_itemsize)
        lift = lifting.row_cost(aligned=aligned).of(tilts * size[0] * size[2], size[1])
        if n_classes > 1:
            lift += _CLASS_OF_PIXEL * tilts * rows * columns
        leaf += n_classes * lift
        write = n_classes * writing(voxels * itemsize, whole_numbers=binary)
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
        brick=cut.brick,
        may_group=lifting.may_group and n_classes == 1,
        may_spread=binary,
        bytes_read=bytes_read,
        itemsize=n_classes * itemsize,
    )


def fill_scores(stack: Stack, volume: ArrayHandle, lifting: Lifting, plan: Plan) -> Work[None]:
    """Backproject stored images into the missing bricks of a volume.

    Parameters
    ----------
    stack, volume : ArrayHandle
        Images (tilt, y, x) and volume (z, y, x).
    lifting : Lifting
        How.
    plan : Plan
        From `plan_scores`.

    Yields
    ------
    Batch
    """

    def task(brick: Index) -> Task:
        return _brick_task(stack, volume, brick, lifting, plan)

    yield from fill("backproject", volume, task, in_flight=plan.in_flight)


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

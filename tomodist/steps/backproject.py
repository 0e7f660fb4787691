"""Step: stored maps to a stored score volume (`scores/<label>`).

One brick is one task that reads its own windows of the maps; where there are fewer bricks than
workers, each brick's tilts are split into groups whose contributions are added in a tree.

Several classes of label maps are lifted in one pass: a task reads the window of every tilt once,
keeps it (a byte per pixel), and makes the bricks of all classes from it, one after the other; so
it holds the sums of one class at a time. The tilts that see a voxel are the same for all classes
and counted once. Tilts are not grouped then: where there are few bricks, smaller ones give the
workers something to do, and every group would hold the sums of all classes.
"""

from __future__ import annotations

import functools
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.algorithms.lift.backproject import Contribution, Lifting, add, lift_brick, tilt_groups
from tomodist.algorithms.lift.balanced import BalancedVotes
from tomodist.errors import InputError
from tomodist.kernels.bits import BLOCK_ROWS
from tomodist.planning.costs import TaskCosts, moving, reading, writing
from tomodist.planning.plan import FAN_IN, INNER, Plan, Resources, Shape3, Terms, plan_step, rounded
from tomodist.runtime.runner import Session, Task, task_of, tree_of
from tomodist.steps.pyramid import fill_levels
from tomodist.store.maps import OneClass, stored_maps
from tomodist.store.ome import multiscales
from tomodist.store.volumes import create_levels, image_reader
from tomodist.values.fingerprints import digest
from tomodist.values.maps import class_map
from tomodist.values.projection import half_widths, row_offset

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tomodist.algorithms.lift.windows import ReadImage
    from tomodist.formats.zarr import AnyArray, ArrayHandle, Stack
    from tomodist.store.tomogram import Staging, Tomogram
    from tomodist.values.geometry import FloatArray
    from tomodist.values.windows import Index, Window

VERSION = 3  # of the algorithm; raise it when its results change
_CLASS_OF_PIXEL = 0.4e-9  # seconds to take one class from a window that is held; measured


def plan_scores(
    lifting: Lifting,
    maps_itemsize: int,
    resources: Resources,
    *,
    n_classes: int = 1,
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
    n_classes : int
        Classes of the same label maps that are lifted in one pass.
    brick, tilts_per_task : optional
        Fix them instead of choosing.

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
    n_tilts = lifting.geometry.n_tilts
    if not lifting.may_group and tilts_per_task not in (None, n_tilts):
        raise InputError(
            f"--tilts-per-task is {tilts_per_task}, but refining edges needs all "
            f"{n_tilts} tilts in one task; leave the option out"
        )
    if n_classes > 1 and tilts_per_task not in (None, n_tilts):
        raise InputError(
            f"--tilts-per-task is {tilts_per_task}, but {n_classes} classes are lifted from all "
            f"{n_tilts} tilts in one task per brick; leave the option out, or give a --brick"
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
        brick=brick,
        may_group=lifting.may_group and n_classes == 1,
        may_spread=binary,
        bytes_read=bytes_read,
        itemsize=n_classes * itemsize,
    )


def backproject_maps(
    session: Session,
    tomogram: Tomogram,
    label: str | Sequence[str],
    lifting: Lifting,
    parameters: Mapping[str, Any],
    *,
    tilts: Sequence[int] | None = None,
    brick: Sequence[int] | None = None,
    tilts_per_task: int | None = None,
    overwrite: bool = False,
) -> Plan | None:
    """Make `scores/<label>` from `maps/<label>`, of one label or of several classes in one pass.

    Parameters
    ----------
    session : Session
        Where tasks run.
    tomogram : Tomogram
        The store.
    label : str or sequence of str
        Which maps; or several classes of the same label maps, which are read once for all.
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
    ExistsError, InputError, PlanError, StoreError
    """
    labels = [label] if isinstance(label, str) else label
    prints = {name: _fingerprint(tomogram, name, lifting, parameters) for name in labels}
    wanted = [
        name
        for name, made in prints.items()
        if not tomogram.is_current(f"scores/{name}", made, overwrite=overwrite)
    ]
    if not wanted:
        return None
    maps = {name: stored_maps(tomogram, name, tilts) for name in wanted}
    plan = plan_scores(
        lifting,
        maps[wanted[0]].dtype.itemsize,
        session.resources,
        n_classes=len(wanted),
        brick=brick,
        tilts_per_task=tilts_per_task,
    )
    with ExitStack() as stack:  # all are published at the end, when all are complete
        stagings: dict[str, Staging] = {}
        volumes: dict[str, list[ArrayHandle]] = {}
        for name in wanted:
            staging = stack.enter_context(tomogram.stage(f"scores/{name}", prints[name]))
            for change in staging.changes:
                session.progress.message(f"unfinished scores/{name} is started anew: {change}")
            first = volumes[wanted[0]][0] if volumes else None
            stagings[name] = staging
            volumes[name] = _create(staging, lifting, plan, first)
        _fill(session, [(maps[name], volumes[name][0]) for name in wanted], lifting, plan)
        for name in wanted:
            fill_levels(session, volumes[name], "mean")
            ome = multiscales(name, "scores", len(volumes[name]), lifting.grid.voxel_size)
            described = {
                "n_tilts": lifting.geometry.n_tilts,
                "levels": lifting.levels,
                "score_scale": lifting.scale,
            }
            stagings[name].describe(ome=ome, **described, **parameters)
    return plan


def _create(
    staging: Staging, lifting: Lifting, plan: Plan, alike: ArrayHandle | None
) -> list[ArrayHandle]:
    """The arrays of scores, or those of an earlier run; cut as the first one of the pass is."""
    given = (staging.path, "scores", lifting.grid, lifting.dtype)
    levels = create_levels(*given, alike.brick if alike else plan.brick)
    if alike and levels[0].brick != alike.brick:
        staging.clear()
        levels = create_levels(*given, alike.brick)
    return levels


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


def _fill(
    session: Session, volumes: Sequence[tuple[Stack, ArrayHandle]], lifting: Lifting, plan: Plan
) -> None:
    """Fill the volume of every class from its maps; several together if they share their pixels."""
    if len(volumes) == 1:
        fill_scores(session, *volumes[0], lifting, plan)
        return
    classes = [(maps, scores) for maps, scores in volumes if isinstance(maps, OneClass)]
    stacks = {maps.stack for maps, _ in classes}
    if len(classes) < len(volumes) or len(stacks) > 1:
        raise InputError("only classes of the same label maps are lifted together")
    (stack,) = stacks

    def task(brick: Index, lacking: list[int]) -> Task:
        targets = [(classes[k][0].value, classes[k][1]) for k in lacking]
        return task_of(_write_classes, stack, targets, brick, lifting)

    step = f"backproject {len(classes)} classes"
    session.fill_all(step, [scores for _, scores in classes], task, in_flight=plan.in_flight)


def _write_classes(
    labels: Stack, targets: Sequence[tuple[int, ArrayHandle]], brick: Index, lifting: Lifting
) -> None:
    """One brick of several classes; every window of the label maps is read once."""
    read = functools.cache(image_reader(labels))
    seen: Contribution = ()
    for value, scores in targets:
        window = scores.window(brick)
        values, seen = _lift_class(lifting, _class_reader(read, value), window, seen)
        scores.write(brick, values)
        del values  # or the next class would find it in memory


def _lift_class(
    lifting: Lifting, read: ReadImage, window: Window, seen: Contribution
) -> tuple[AnyArray, Contribution]:
    """Scores of one class, and the numbers of tilts that see each voxel, where these are counted.

    They are the same for all classes, and half of the work: the next class takes them as `seen`.
    """
    start, stop = zip(*window, strict=True)
    if not isinstance(lifting, BalancedVotes) or not lifting.coverage:
        return lift_brick(lifting, read, start, stop), ()
    votes = replace(lifting, coverage=not seen)
    total = votes.contribution(read, range(lifting.geometry.n_tilts), start, stop) + seen
    return lifting.finish(total), total[len(total) // 2 :]


def _class_reader(read: ReadImage, value: int) -> ReadImage:
    """Reads binary maps of one class where label maps are read."""
    return lambda tilt, rows, columns: class_map(read(tilt, rows, columns), value)


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

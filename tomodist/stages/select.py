"""Step: scores above a threshold become numbered structures: `labels/...`, `structures/...`.

1  label      every brick by itself, stored beside the result          resumable
2  measure    every brick's components, and pairs that touch across faces
3  merge      small tables, in this process
4  number     every brick with the final numbers                       resumable
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tomodist.costs import TaskCosts, labelling
from tomodist.io.arrays import ArrayHandle, Index, create_array
from tomodist.io.boxes import stored_boxes
from tomodist.io.ome import AXES, image_label, multiscales
from tomodist.io.structures import place_columns, support_columns
from tomodist.io.tables import Column, write_table
from tomodist.io.volumes import create_levels
from tomodist.lift.components import Measures, label_brick, measure, merge, touching
from tomodist.lift.support import supporting_boxes, triangulate
from tomodist.plan import Plan, Resources, Shape3, Terms, plan_step
from tomodist.stages.execute import Session, task_of
from tomodist.stages.pyramid import fill_levels

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tomodist.geometry import VolumeGrid
    from tomodist.io.store import Staging, Tomogram

VERSION = 3
Pair = tuple[Index, Index]
Numbers = dict[Index, npt.NDArray[np.uint32]]


@dataclass(frozen=True)
class Selection:
    """Which components become structures.

    Parameters
    ----------
    threshold : float
        A voxel is structure if its score exceeds this.
    min_voxels : int
        Smaller components are dropped.
    triangulate : bool
        The structures are objects with 2D boxes: their centres are moved to where they fit the
        boxes best, and the table tells the support by tilts and the residual. Else the centre is
        the centre of mass of the scores.
    min_tilts : int
        Objects supported by fewer tilts are dropped.
    """

    threshold: float
    min_voxels: int = 1
    min_tilts: int = 0
    triangulate: bool = False


def plan_labels(grid: VolumeGrid, resources: Resources, brick: Sequence[int] | None = None) -> Plan:
    """Plan the labelling: per voxel, scores, mask, labels, and a shard being written."""

    def terms(size: Shape3, _: int) -> Terms:
        voxels = size[0] * size[1] * size[2]
        layer = 100 * size[1] * size[2]
        return {"scores": 6 * voxels, "labels": 8 * voxels, "writing": 8 * voxels, "layer": layer}

    def costs(size: Shape3, _: int) -> TaskCosts:
        return TaskCosts(leaf=labelling(math.prod(size)), join=0.0)

    return plan_step("select", grid.shape, resources, terms, costs, brick=brick, itemsize=4)


def select_structures(
    session: Session,
    tomogram: Tomogram,
    label: str,
    selection: Selection,
    *,
    brick: Sequence[int] | None = None,
    overwrite: bool = False,
) -> bool:
    """Make `labels/<label>` and `structures/<label>` from `scores/<label>`.

    Parameters
    ----------
    session : Session
        Where tasks run.
    tomogram : Tomogram
        The store.
    label : str
        Which scores.
    selection : Selection
        Which components become structures.
    brick : sequence of int, optional
        Fix the brick instead of planning.
    overwrite : bool
        Replace results that were made differently.

    Returns
    -------
    bool
        False if the result was there already.

    Raises
    ------
    ExistsError, PlanError, StoreError
    """
    fingerprint = {
        "step": "select",
        "version": VERSION,
        "scores": tomogram.digest(f"scores/{label}"),
        "maps": tomogram.digest(f"maps/{label}"),
        **vars(selection),
    }
    units = [f"labels/{label}", f"structures/{label}"]
    current = [tomogram.is_current(u, fingerprint, overwrite=overwrite) for u in units]
    if all(current):
        return False
    plan = plan_labels(tomogram.grid, session.resources, brick)
    scores = tomogram.array(f"scores/{label}", "scale0/scores")
    with tomogram.stage(units[0], fingerprint) as staging:
        local = _local_labels(session, staging, scores, plan, selection.threshold)
        measures, numbers = _measure(session, scores, local)
        table, keep = _table(tomogram, label, measures, selection)
        levels = create_levels(staging.path, "labels", tomogram.grid, np.uint32, plan.brick)
        _number(session, local, levels[0], _renumber(numbers, keep))
        fill_levels(session, levels, "max")
        ome = multiscales(label, "labels", len(levels), tomogram.grid.voxel_size)
        ome["image-label"] = image_label(f"../../scores/{label}")
        staging.describe(ome=ome, **vars(selection))
        staging.remove("local")
        with tomogram.stage(units[1], fingerprint) as structures:
            structures.clear()
            write_table(structures.path, table)
            structures.describe(**vars(selection))
    return True


def _local_labels(
    session: Session, staging: Staging, scores: ArrayHandle, plan: Plan, threshold: float
) -> ArrayHandle:
    """Pass 1: every brick labelled by itself."""
    local = ArrayHandle(str(staging.path / "local"))
    if not staging.has("local"):
        local = create_array(
            staging.path / "local", scores.shape, np.uint32, dims=AXES, brick=plan.brick
        )
    session.fill(
        "label bricks", local, lambda brick: task_of(_label, scores, local, brick, threshold)
    )
    return local


def _label(scores: ArrayHandle, local: ArrayHandle, brick: Index, threshold: float) -> None:
    local.write(brick, label_brick(scores.read(*local.window(brick)), threshold))


def _measure(session: Session, scores: ArrayHandle, local: ArrayHandle) -> tuple[Measures, Numbers]:
    """Passes 2 and 3: measure, find what touches, merge."""
    bricks = local.bricks()
    measures: dict[Index, Measures] = {}
    pairs: dict[Pair, npt.NDArray[np.int64]] = {}
    tasks = (task_of(_measure_brick, scores, local, brick) for brick in bricks)
    for brick, rows, touches in session.run("measure", tasks, len(bricks)):
        measures[brick] = rows
        pairs.update(touches)
    ordered = {brick: measures[brick] for brick in bricks}
    return merge(ordered, {k: pairs[k] for k in sorted(pairs)})


def _measure_brick(
    scores: ArrayHandle, local: ArrayHandle, brick: Index
) -> tuple[Index, Measures, dict[Pair, npt.NDArray[np.int64]]]:
    window, shape = local.window(brick), local.shape
    labels = local.read(*window)
    rows = measure(labels, scores.read(*window), [a for a, _ in window], shape)
    touches = {}
    for axis, beyond in _neighbours(window, shape):
        neighbour = tuple(b + (k == axis) for k, b in enumerate(brick))
        face = labels.take(-1, axis=axis)
        if face.any():
            touches[brick, neighbour] = touching(face, local.read(*beyond).take(0, axis=axis))
    return brick, rows, touches


def _neighbours(
    window: Sequence[tuple[int, int]], shape: Sequence[int]
) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Axis and window of the layer just beyond each upper face that is not the volume's end."""
    for axis, (_, end) in enumerate(window):
        if end < shape[axis]:
            yield axis, [(end, end + 1) if k == axis else w for k, w in enumerate(window)]


def _number(session: Session, local: ArrayHandle, labels: ArrayHandle, numbers: Numbers) -> None:
    """Pass 4: the final numbers."""
    session.fill(
        "number structures",
        labels,
        lambda brick: task_of(_number_brick, local, labels, brick, numbers[brick]),
    )


def _number_brick(
    local: ArrayHandle, labels: ArrayHandle, brick: Index, numbers: npt.NDArray[np.uint32]
) -> None:
    labels.write(brick, numbers[local.read(*labels.window(brick))])


def _renumber(numbers: Numbers, keep: npt.NDArray[np.bool_]) -> Numbers:
    """Numbers after dropping structures: 0 for those, and no gaps."""
    final = np.concatenate([[0], np.where(keep, np.cumsum(keep), 0)]).astype(np.uint32)
    return {brick: final[old] for brick, old in numbers.items()}


def _table(
    tomogram: Tomogram, label: str, measures: Measures, selection: Selection
) -> tuple[dict[str, Column], npt.NDArray[np.bool_]]:
    """Columns of the structures that are kept, and which those are."""
    geometry, grid = tomogram.geometry, tomogram.grid
    large = measures.n_voxels >= selection.min_voxels
    rows = measures.take(large)
    if not selection.triangulate:
        return _columns(rows, rows.center, grid), large
    boxes = stored_boxes(tomogram.array(f"maps/{label}", "boxes"))
    matrices = geometry.matrices(grid)
    centers = triangulate(matrices, rows.center, boxes)
    _, residual = supporting_boxes(matrices, centers, boxes, rows.weight)
    supported = np.isfinite(residual).sum(axis=0) >= selection.min_tilts
    keep = large.copy()
    keep[large] = supported
    columns = _columns(rows.take(supported), centers[supported], grid)
    return columns | support_columns(residual[:, supported], geometry), keep


def _columns(
    rows: Measures, centers: npt.NDArray[np.float64], grid: VolumeGrid
) -> dict[str, Column]:
    size = (rows.high - rows.low + 1).astype(np.float64)
    return place_columns(centers, rows.low.astype(np.float64), size, grid.voxel_size) | {
        "n_voxels": (["structure"], rows.n_voxels, ""),
        "mean_score": (["structure"], rows.weight / np.maximum(rows.n_voxels, 1), ""),
        "highest_score": (["structure"], rows.highest, ""),
    }

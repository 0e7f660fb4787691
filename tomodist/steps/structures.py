"""Step: scores above a threshold become numbered structures: `labels/...`, `structures/...`.

1  label      every brick by itself, stored beside the result          resumable
2  measure    every brick's components, and pairs that touch across faces
3  merge      small tables, in this process
4  threshold  of every structure, by its own reprojection; measured again   (where asked for)
5  number     every brick with the final numbers                       resumable
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tomodist.algorithms.objects.components import (
    Measures,
    combine,
    label_brick,
    measure,
    merge,
    touching,
)
from tomodist.algorithms.objects.triangulation import supporting_boxes, triangulate
from tomodist.algorithms.threshold.per_structure import component_at, own_threshold
from tomodist.formats.zarr import ArrayHandle, create_array
from tomodist.planning.costs import TaskCosts, labelling
from tomodist.planning.plan import Plan, Resources, Shape3, Terms, format_bytes, plan_step
from tomodist.runtime.runner import Session, Task, task_of
from tomodist.steps.pyramid import fill_levels
from tomodist.steps.score_record import Evidence
from tomodist.store.boxes import stored_boxes
from tomodist.store.ome import image_label, multiscales
from tomodist.store.structures import support_columns, voted_columns
from tomodist.store.tables import Column, write_table
from tomodist.store.volumes import create_levels, image_reader
from tomodist.values.geometry import AXES
from tomodist.values.windows import Index

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tomodist.store.tomogram import Staging, Tomogram
    from tomodist.values.geometry import VolumeGrid

VERSION = 5
_MARGIN = 0.1  # of the highest score: by how much a threshold is raised to see what is stable
_OWN_BYTES = 24  # per voxel of a structure's box: scores, labels (twice), component, transposed
_TOGETHER = 16  # structures whose own thresholds one task finds
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
    own_thresholds : bool
        Every structure is cut down to the threshold at which its own reprojection agrees best with
        the maps: see `tomodist.algorithms.threshold.per_structure`.
    """

    threshold: float
    min_voxels: int = 1
    min_tilts: int = 0
    triangulate: bool = False
    own_thresholds: bool = False


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
        **vars(selection),
    }
    evidence = Evidence.of(tomogram, label)
    if evidence.maps is not None:
        fingerprint["maps"] = tomogram.digest(f"maps/{label}")
    units = [f"labels/{label}", f"structures/{label}"]
    current = [tomogram.is_current(u, fingerprint, overwrite=overwrite) for u in units]
    if all(current):
        return False
    plan = plan_labels(tomogram.grid, session.resources, brick)
    scores = tomogram.array(f"scores/{label}", "scale0/scores")
    with tomogram.stage(units[0], fingerprint) as staging:
        local = _local_labels(session, staging, scores, plan, selection.threshold)
        measures, numbers = _measure(
            session, scores, local, float(_sure(np.array(selection.threshold), evidence))
        )
        cut = np.full(len(measures), selection.threshold)
        if selection.own_thresholds:
            cut = _own(session, scores, tomogram.grid, measures, selection, evidence)
            measures = _measure_again(session, scores, local, numbers, cut, evidence)
        table, keep = _table(tomogram, label, measures, cut, selection, evidence)
        levels = create_levels(staging.path, "labels", tomogram.grid, np.uint32, plan.brick)
        _number(session, scores, local, levels[0], numbers, keep, cut)
        fill_levels(session, levels, "max")
        ome = multiscales(label, "labels", len(levels), tomogram.grid.voxel_size)
        ome["image-label"] = image_label(f"../../scores/{label}")
        staging.describe(ome=ome, **vars(selection))
        staging.remove("local")
        with tomogram.stage(units[1], fingerprint) as structures:
            structures.clear()
            write_table(structures.path, table)
            structures.describe(method="votes", score_scale=evidence.scale, **vars(selection))
    return True


def _sure(threshold: npt.NDArray[np.float64], evidence: Evidence) -> npt.NDArray[np.float64]:
    """A threshold higher by a tenth of the tilts: what stays above it is stable.

    Near the highest score, half of the way there.
    """
    margin, halfway = _MARGIN * evidence.levels, (threshold + evidence.levels) / 2
    return np.asarray(np.minimum(threshold + margin, halfway), np.float64)


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


def _measure(
    session: Session, scores: ArrayHandle, local: ArrayHandle, sure: float
) -> tuple[Measures, Numbers]:
    """Passes 2 and 3: measure, find what touches, merge."""
    bricks = local.bricks()
    measures: dict[Index, Measures] = {}
    pairs: dict[Pair, npt.NDArray[np.int64]] = {}
    tasks = (task_of(_measure_brick, scores, local, brick, sure) for brick in bricks)
    for brick, rows, touches in session.run("measure", tasks, len(bricks)):
        measures[brick] = rows
        pairs.update(touches)
    ordered = {brick: measures[brick] for brick in bricks}
    return merge(ordered, {k: pairs[k] for k in sorted(pairs)})


def _measure_brick(
    scores: ArrayHandle, local: ArrayHandle, brick: Index, sure: float
) -> tuple[Index, Measures, dict[Pair, npt.NDArray[np.int64]]]:
    window, shape = local.window(brick), local.shape
    labels = local.read(*window)
    rows = measure(labels, scores.read(*window), [a for a, _ in window], shape, sure)
    touches = {}
    for axis, beyond in _neighbours(window, shape):
        neighbour = tuple(b + (k == axis) for k, b in enumerate(brick))
        face = labels.take(-1, axis=axis)
        if face.any():
            touches[brick, neighbour] = touching(face, local.read(*beyond).take(0, axis=axis))
    return brick, rows, touches


def _own(
    session: Session,
    scores: ArrayHandle,
    grid: VolumeGrid,
    measures: Measures,
    selection: Selection,
    evidence: Evidence,
) -> npt.NDArray[np.float64]:
    """Pass 4: the threshold of every structure; the common one where one does not fit a task."""
    cut = np.full(len(measures), selection.threshold)
    room = session.resources.task_budget // _OWN_BYTES
    volume = np.prod(measures.high - measures.low + 1, axis=1)
    # Those that own thresholds could only make smaller still need not be looked at.
    wanted = np.flatnonzero((volume <= room) & (measures.n_voxels >= selection.min_voxels))
    if (volume > room).any():
        session.progress.message(
            f"{int((volume > room).sum())} structures are too large for one task "
            f"({format_bytes(session.resources.task_budget)}); they keep the common threshold"
        )
    groups = [wanted[k : k + _TOGETHER] for k in range(0, len(wanted), _TOGETHER)]
    tasks = (
        task_of(_own_of, scores, grid, measures.take(rows), rows, selection.threshold, evidence)
        for rows in groups
    )
    for rows, found in session.run("own thresholds", tasks, len(groups)):
        cut[rows] = found
    return cut


def _own_of(
    scores: ArrayHandle,
    grid: VolumeGrid,
    measures: Measures,
    rows: npt.NDArray[np.int64],
    threshold: float,
    evidence: Evidence,
) -> tuple[npt.NDArray[np.int64], list[float]]:
    """Own thresholds of some structures; a component lies wholly in its bounding box."""
    read, common, found = image_reader(evidence.compared), math.floor(threshold), []
    for first, low, high in zip(measures.first, measures.low, measures.high, strict=True):
        box = scores.read(*((int(a), int(b) + 1) for a, b in zip(low, high, strict=True)))
        voxel = np.array(np.unravel_index(int(first), scores.shape)) - low
        own = component_at(box, threshold, voxel)
        at = (evidence.geometry, grid, read, evidence.levels)
        best = own_threshold(own, low.tolist(), common, *at)
        found.append(max(best, threshold))
    return rows, found


def _measure_again(
    session: Session,
    scores: ArrayHandle,
    local: ArrayHandle,
    numbers: Numbers,
    cut: npt.NDArray[np.float64],
    evidence: Evidence,
) -> Measures:
    """Measure what is left of the structures at their own thresholds."""
    bricks = local.bricks()
    sure = _sure(cut, evidence)
    tasks = (
        task_of(
            _measure_cut,
            scores,
            local,
            brick,
            cut[numbers[brick][1:] - 1],
            sure[numbers[brick][1:] - 1],
        )
        for brick in bricks
    )
    found = dict(session.run("measure again", tasks, len(bricks)))
    return combine({brick: found[brick] for brick in bricks}, numbers, len(cut))


def _measure_cut(
    scores: ArrayHandle,
    local: ArrayHandle,
    brick: Index,
    cut: npt.NDArray[np.float64],
    sure: npt.NDArray[np.float64],
) -> tuple[Index, Measures]:
    window = local.window(brick)
    values = scores.read(*window)
    labels = _above(local.read(*window), values, cut)
    return brick, measure(labels, values, [a for a, _ in window], local.shape, sure, len(cut))


def _above(
    labels: npt.NDArray[np.uint32], scores: npt.NDArray[Any], cut: npt.NDArray[np.float64]
) -> npt.NDArray[np.uint32]:
    """Labels where the score exceeds the threshold of the label; 0 elsewhere."""
    limits = np.concatenate([[np.inf], cut]).astype(np.float32)
    return np.where(scores > limits[labels], labels, np.uint32(0))


def _neighbours(
    window: Sequence[tuple[int, int]], shape: Sequence[int]
) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Axis and window of the layer just beyond each upper face that is not the volume's end."""
    for axis, (_, end) in enumerate(window):
        if end < shape[axis]:
            yield axis, [(end, end + 1) if k == axis else w for k, w in enumerate(window)]


def _number(
    session: Session,
    scores: ArrayHandle,
    local: ArrayHandle,
    labels: ArrayHandle,
    numbers: Numbers,
    keep: npt.NDArray[np.bool_],
    cut: npt.NDArray[np.float64],
) -> None:
    """Pass 5: the final numbers."""
    final = _renumber(numbers, keep)

    def task(brick: Index) -> Task:
        own = cut[numbers[brick][1:] - 1]
        return task_of(_number_brick, scores, local, labels, brick, final[brick], own)

    session.fill("number structures", labels, task)


def _number_brick(
    scores: ArrayHandle,
    local: ArrayHandle,
    labels: ArrayHandle,
    brick: Index,
    numbers: npt.NDArray[np.uint32],
    cut: npt.NDArray[np.float64],
) -> None:
    window = labels.window(brick)
    found = local.read(*window)
    if len(cut):
        found = _above(found, scores.read(*window), cut)
    labels.write(brick, numbers[found])


def _renumber(numbers: Numbers, keep: npt.NDArray[np.bool_]) -> Numbers:
    """Numbers after dropping structures: 0 for those, and no gaps."""
    final = np.concatenate([[0], np.where(keep, np.cumsum(keep), 0)]).astype(np.uint32)
    return {brick: final[old] for brick, old in numbers.items()}


def _table(
    tomogram: Tomogram,
    label: str,
    measures: Measures,
    cut: npt.NDArray[np.float64],
    selection: Selection,
    evidence: Evidence,
) -> tuple[dict[str, Column], npt.NDArray[np.bool_]]:
    """Columns of the structures that are kept, and which those are."""
    large = measures.n_voxels >= max(selection.min_voxels, 1)
    rows, grid = measures.take(large), tomogram.grid
    if not selection.triangulate:
        return voted_columns(rows, rows.center, cut[large], grid, evidence.scale), large
    every = stored_boxes(tomogram.array(f"maps/{label}", "boxes"))
    boxes = [every[t] for t in evidence.tilts]
    matrices = evidence.geometry.matrices(grid)
    centers = triangulate(matrices, rows.center, boxes)
    _, residual = supporting_boxes(matrices, centers, boxes, rows.weight)
    supported = np.isfinite(residual).sum(axis=0) >= selection.min_tilts
    keep = large.copy()
    keep[large] = supported
    kept = rows.take(supported)
    columns = voted_columns(kept, centers[supported], cut[keep], grid, evidence.scale)
    per_tilt = np.full((tomogram.geometry.n_tilts, len(kept)), np.nan)
    per_tilt[list(evidence.tilts)] = residual[:, supported]
    return columns | support_columns(per_tilt, tomogram.geometry), keep

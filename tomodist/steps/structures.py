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
from tomodist.algorithms.threshold.per_structure import component_at, structure_threshold
from tomodist.planning.costs import TaskCosts, labelling
from tomodist.planning.plan import Plan, Resources, Shape3, Terms, format_bytes, plan_step
from tomodist.runtime.runner import Batch, Session, Task, Work, task_of
from tomodist.steps.parts.base import NewVolume, make_table, make_volumes
from tomodist.steps.parts.filling import fill
from tomodist.steps.parts.pyramid import plan_levels
from tomodist.steps.parts.score_record import ScoreRecord
from tomodist.store.boxes import box_rows
from tomodist.store.ome import image_label
from tomodist.store.structures import support_columns, voted_columns
from tomodist.store.volumes import image_reader
from tomodist.values.geometry import AXES
from tomodist.values.windows import Index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tomodist.formats.zarr import ArrayHandle
    from tomodist.store.place import Staging
    from tomodist.store.tables import Column
    from tomodist.store.tomogram import Label
    from tomodist.values.arrays import AnyArray, BoolArray, FloatArray, IntArray
    from tomodist.values.geometry import TiltGeometry, VolumeGrid

VERSION = 5
_MARGIN = 0.1  # of the highest score: by how much a threshold is raised to see what is stable
_BYTES_PER_VOXEL = 24  # of a structure's box: scores, labels (twice), component, transposed
_TOGETHER = 16  # structures whose own thresholds one task finds
_LOCAL = "local"  # array of the labels of single bricks, beside the result until it is complete
Pair = tuple[Index, Index]
Numbers = dict[Index, npt.NDArray[np.uint32]]


@dataclass(frozen=True)
class Selection:
    """Which components become structures.

    Parameters
    ----------
    min_voxels : int
        Smaller components are dropped.
    triangulate : bool
        The structures are objects with 2D boxes: their centres are moved to where they fit the
        boxes best, and the table tells the support by tilts and the residual. Else the centre is
        the centre of mass of the scores.
    min_tilts : int
        Objects supported by fewer tilts are dropped.
    per_structure : bool
        Every structure is cut down to the threshold at which its own reprojection agrees best with
        the maps: see `tomodist.algorithms.threshold.per_structure`.
    """

    min_voxels: int = 1
    min_tilts: int = 0
    triangulate: bool = False
    per_structure: bool = False

    def record(self, threshold: float) -> dict[str, Any]:
        """As plain values, under the names that stores have."""
        return {
            "threshold": threshold,
            "min_voxels": self.min_voxels,
            "min_tilts": self.min_tilts,
            "triangulate": self.triangulate,
            "own_thresholds": self.per_structure,
        }


@dataclass(frozen=True)
class FindStructures:
    """Step: `labels` and `structures` of a label from its scores.

    Parameters
    ----------
    label : Label
        Which scores.
    threshold : callable
        Gives the threshold on stored scores once they are there; a voxel is structure if its score
        exceeds it.
    selection : Selection
        Which components become structures.
    brick : tuple of int, optional
        Fixed instead of planned.
    """

    label: Label
    threshold: Callable[[], float]
    selection: Selection = Selection()
    brick: tuple[int, ...] | None = None

    def plans(self, resources: Resources) -> tuple[Plan, ...]:
        """Of labelling and measuring, and of the smaller levels."""
        grid = self.label.tomogram.grid
        plan = plan_labels(grid, resources, self.brick)
        return plan, plan_levels(grid, plan.brick, 4, resources)

    def is_current(self, *, overwrite: bool) -> bool:
        """Whether volume and table are there, made just so."""
        fingerprint = self._fingerprint()
        units = (self.label.labels, self.label.structures)
        current = [unit.is_current(fingerprint, overwrite=overwrite) for unit in units]
        return all(current)

    def work(self, session: Session, plans: Sequence[Plan]) -> Work[None]:
        """Label, measure, merge, cut, number; then write the table."""
        label, selection, fingerprint = self.label, self.selection, self._fingerprint()
        grid, scores = label.tomogram.grid, label.scores.volume
        record, threshold = ScoreRecord.of(label), self.threshold()
        told = selection.record(threshold)
        columns: dict[str, Column] = {}

        def fill_them(labels: list[ArrayHandle], stagings: list[Staging]) -> Work[None]:
            (volume,), (staging,) = labels, stagings
            local = yield from _local_labels(staging, scores, plans[0], threshold)
            sure = float(stable_threshold(np.array(threshold), record.max_score))
            measures, numbers = yield from _measure(scores, local, sure)
            cut = np.full(len(measures), threshold)
            if selection.per_structure:
                cut = yield from _thresholds(
                    session, scores, grid, measures, threshold, selection.min_voxels, record
                )
                measures = yield from _measure_again(scores, local, numbers, cut, record)
            boxes = box_rows(label.maps) if selection.triangulate else []
            table, keep = structure_table(
                measures,
                cut,
                selection,
                label.tomogram.geometry,
                record.tilts,
                grid,
                boxes,
                record.scale,
            )
            columns.update(table)
            yield from _number(scores, local, volume, numbers, keep, cut)

        def write_table(stagings: list[Staging]) -> None:
            stagings[0].remove(_LOCAL)
            make_table(
                label.structures,
                fingerprint,
                columns,
                method="votes",
                score_scale=record.scale,
                **told,
            )

        volume = NewVolume(label.labels, fingerprint, told, image_label(f"../../{label.scores}"))
        yield from make_volumes(
            session,
            [volume],
            grid,
            np.uint32,
            plans[0].brick,
            "max",
            fill_them,
            before_commit=write_table,
        )

    def _fingerprint(self) -> dict[str, Any]:
        """What determines the structures."""
        fingerprint = {
            "step": "select",
            "version": VERSION,
            "scores": self.label.scores.digest,
            **self.selection.record(self.threshold()),
        }
        if ScoreRecord.of(self.label).maps is not None:
            fingerprint["maps"] = self.label.maps.digest
        return fingerprint


def plan_labels(grid: VolumeGrid, resources: Resources, brick: Sequence[int] | None = None) -> Plan:
    """Plan the labelling: per voxel, scores, mask, labels, and a shard being written.

    Parameters
    ----------
    grid : VolumeGrid
        Of the volume.
    resources : Resources
        What the run may use.
    brick : sequence of int, optional
        Fixed instead of chosen.

    Returns
    -------
    Plan

    Raises
    ------
    InputError, PlanError
        If the brick makes no sense, or nothing fits.
    """

    def terms(size: Shape3, _: int) -> Terms:
        voxels = size[0] * size[1] * size[2]
        layer = 100 * size[1] * size[2]
        return {"scores": 6 * voxels, "labels": 8 * voxels, "writing": 8 * voxels, "layer": layer}

    def costs(size: Shape3, _: int) -> TaskCosts:
        return TaskCosts(leaf=labelling(math.prod(size)), join=0.0)

    return plan_step("select", grid.shape, resources, terms, costs, brick=brick, itemsize=4)


def stable_threshold(threshold: FloatArray, max_score: int) -> FloatArray:
    """A threshold higher by a tenth of the tilts: what stays above it is stable.

    Near the highest score, half of the way there.

    Parameters
    ----------
    threshold : ndarray, float64
        On stored scores.
    max_score : int
        The highest possible score.

    Returns
    -------
    ndarray, float64
    """
    margin, halfway = _MARGIN * max_score, (threshold + max_score) / 2
    return np.asarray(np.minimum(threshold + margin, halfway), np.float64)


def _local_labels(
    staging: Staging, scores: ArrayHandle, plan: Plan, threshold: float
) -> Work[ArrayHandle]:
    """Pass 1: every brick labelled by itself."""
    local = staging.array(_LOCAL)
    if not staging.has(_LOCAL):
        staging.create(_LOCAL, scores.shape, np.uint32, dims=AXES, brick=plan.brick)

    def task(brick: Index) -> Task:
        return task_of(_label, scores, local, brick, threshold)

    yield from fill("label bricks", local, task)
    return local


def _label(scores: ArrayHandle, local: ArrayHandle, brick: Index, threshold: float) -> None:
    local.write(brick, label_brick(scores.read(*local.window(brick)), threshold))


def _measure(
    scores: ArrayHandle, local: ArrayHandle, sure: float
) -> Work[tuple[Measures, Numbers]]:
    """Passes 2 and 3: measure, find what touches, merge."""
    bricks = local.bricks()
    measures: dict[Index, Measures] = {}
    pairs: dict[Pair, IntArray] = {}

    def keep(measured: tuple[Index, Measures, dict[Pair, IntArray]]) -> None:
        brick, rows, touches = measured
        measures[brick] = rows
        pairs.update(touches)

    tasks = (task_of(_measure_brick, scores, local, brick, sure) for brick in bricks)
    yield Batch("measure", tasks, len(bricks), each=keep)
    ordered = {brick: measures[brick] for brick in bricks}
    return merge(ordered, {k: pairs[k] for k in sorted(pairs)})


def _measure_brick(
    scores: ArrayHandle, local: ArrayHandle, brick: Index, sure: float
) -> tuple[Index, Measures, dict[Pair, IntArray]]:
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


def _thresholds(
    session: Session,
    scores: ArrayHandle,
    grid: VolumeGrid,
    measures: Measures,
    threshold: float,
    min_voxels: int,
    record: ScoreRecord,
) -> Work[FloatArray]:
    """Pass 4: the threshold of every structure; the common one where one does not fit a task."""
    cut = np.full(len(measures), threshold)
    room = session.resources.task_budget // _BYTES_PER_VOXEL
    volume = np.prod(measures.high - measures.low + 1, axis=1)
    # Those that a threshold of their own could only make smaller still need not be looked at.
    wanted = np.flatnonzero((volume <= room) & (measures.n_voxels >= min_voxels))
    if (volume > room).any():
        session.progress.message(
            f"{int((volume > room).sum())} structures are too large for one task "
            f"({format_bytes(session.resources.task_budget)}); they keep the common threshold"
        )

    def keep(chosen: tuple[IntArray, list[float]]) -> None:
        rows, thresholds = chosen
        cut[rows] = thresholds

    groups = [wanted[k : k + _TOGETHER] for k in range(0, len(wanted), _TOGETHER)]
    tasks = (
        task_of(_thresholds_of, scores, grid, measures.take(rows), rows, threshold, record)
        for rows in groups
    )
    yield Batch("thresholds per structure", tasks, len(groups), each=keep)
    return cut


def _thresholds_of(
    scores: ArrayHandle,
    grid: VolumeGrid,
    measures: Measures,
    rows: IntArray,
    threshold: float,
    record: ScoreRecord,
) -> tuple[IntArray, list[float]]:
    """Thresholds of some structures; a component lies wholly in its bounding box."""
    read, common, thresholds = image_reader(record.compared), math.floor(threshold), []
    for first, low, high in zip(measures.first, measures.low, measures.high, strict=True):
        box = scores.read(*((int(a), int(b) + 1) for a, b in zip(low, high, strict=True)))
        voxel = np.array(np.unravel_index(int(first), scores.shape)) - low
        component = component_at(box, threshold, voxel)
        views = (record.geometry, grid, read, record.max_score)
        best = structure_threshold(component, low.tolist(), common, *views)
        thresholds.append(max(best, threshold))
    return rows, thresholds


def _measure_again(
    scores: ArrayHandle,
    local: ArrayHandle,
    numbers: Numbers,
    cut: FloatArray,
    record: ScoreRecord,
) -> Work[Measures]:
    """Measure what is left of the structures at their own thresholds."""
    bricks = local.bricks()
    sure = stable_threshold(cut, record.max_score)
    measures: dict[Index, Measures] = {}

    def keep(measured: tuple[Index, Measures]) -> None:
        brick, rows = measured
        measures[brick] = rows

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
    yield Batch("measure again", tasks, len(bricks), each=keep)
    return combine({brick: measures[brick] for brick in bricks}, numbers, len(cut))


def _measure_cut(
    scores: ArrayHandle,
    local: ArrayHandle,
    brick: Index,
    cut: FloatArray,
    sure: FloatArray,
) -> tuple[Index, Measures]:
    window = local.window(brick)
    values = scores.read(*window)
    labels = _above(local.read(*window), values, cut)
    return brick, measure(labels, values, [a for a, _ in window], local.shape, sure, len(cut))


def _above(
    labels: npt.NDArray[np.uint32], scores: AnyArray, cut: FloatArray
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
    scores: ArrayHandle,
    local: ArrayHandle,
    labels: ArrayHandle,
    numbers: Numbers,
    keep: BoolArray,
    cut: FloatArray,
) -> Work[None]:
    """Pass 5: the final numbers."""
    final = _renumber(numbers, keep)

    def task(brick: Index) -> Task:
        own = cut[numbers[brick][1:] - 1]
        return task_of(_number_brick, scores, local, labels, brick, final[brick], own)

    yield from fill("number structures", labels, task)


def _number_brick(
    scores: ArrayHandle,
    local: ArrayHandle,
    labels: ArrayHandle,
    brick: Index,
    numbers: npt.NDArray[np.uint32],
    cut: FloatArray,
) -> None:
    window = labels.window(brick)
    components = local.read(*window)
    if len(cut):
        components = _above(components, scores.read(*window), cut)
    labels.write(brick, numbers[components])


def _renumber(numbers: Numbers, keep: BoolArray) -> Numbers:
    """Numbers after dropping structures: 0 for those, and no gaps."""
    final = np.concatenate([[0], np.where(keep, np.cumsum(keep), 0)]).astype(np.uint32)
    return {brick: final[old] for brick, old in numbers.items()}


def structure_table(
    measures: Measures,
    cut: FloatArray,
    selection: Selection,
    geometry: TiltGeometry,
    tilts: Sequence[int],
    grid: VolumeGrid,
    boxes: Sequence[FloatArray],
    scale: float = 1.0,
) -> tuple[dict[str, Column], BoolArray]:
    """Columns of the structures that are kept, and which those are.

    Parameters
    ----------
    measures : Measures
        Of all components.
    cut : ndarray, shape (n,), float64
        The threshold of each, in stored scores.
    selection : Selection
        Which of them become structures.
    geometry : TiltGeometry
        Of the whole series.
    tilts : sequence of int
        The tilts that took part.
    grid : VolumeGrid
        Of the volume.
    boxes : sequence of ndarray, shape (n_boxes, 4), float64
        y, x, height, width in pixels, of every tilt of the series; looked at for located objects.
    scale : float
        From stored scores to what tables tell.

    Returns
    -------
    dict
        Columns for `tomodist.store.tables.write_table`.
    ndarray, shape (n,), bool
        Which components are kept.
    """
    large = measures.n_voxels >= max(selection.min_voxels, 1)
    rows = measures.take(large)
    if not selection.triangulate:
        return voted_columns(rows, rows.center, cut[large], grid, scale), large
    of_tilts = [boxes[t] for t in tilts]
    matrices = geometry.select(tilts).matrices(grid)
    centers = triangulate(matrices, rows.center, of_tilts)
    _, residual = supporting_boxes(matrices, centers, of_tilts, rows.weight)
    supported = np.isfinite(residual).sum(axis=0) >= selection.min_tilts
    keep = large.copy()
    keep[large] = supported
    kept = rows.take(supported)
    columns = voted_columns(kept, centers[supported], cut[keep], grid, scale)
    per_tilt = np.full((geometry.n_tilts, len(kept)), np.nan)
    per_tilt[list(tilts)] = residual[:, supported]
    return columns | support_columns(per_tilt, geometry), keep

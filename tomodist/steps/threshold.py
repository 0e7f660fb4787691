"""Step: choose the threshold of a score volume by the agreement of its reprojection with the maps.

One task per tile (some rows of some tilts): it reads every brick of votes that the tile sees,
keeps the largest vote per pixel, and returns two histograms per tilt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tomodist.algorithms.lift.backproject import votes_dtype
from tomodist.algorithms.lift.project import READ, project_tile
from tomodist.algorithms.threshold.curve import (
    ThresholdCurve,
    count_agreement,
    curve_of,
)
from tomodist.errors import InputError
from tomodist.planning.plan import INNER, rounded
from tomodist.planning.tiles import Tile, fitting_tile, plan_of_tiles, tiles_of
from tomodist.runtime.runner import Batch, task_of
from tomodist.steps.parts.base import make_table
from tomodist.steps.parts.score_record import ScoreRecord, curve_fingerprint
from tomodist.store.boxes import box_rows
from tomodist.values.windows import brick_windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.algorithms.lift.windows import Range
    from tomodist.formats.zarr import ArrayHandle, Stack
    from tomodist.planning.plan import Plan, Resources
    from tomodist.runtime.runner import Session, Work
    from tomodist.store.tables import Column
    from tomodist.store.tomogram import Label
    from tomodist.values.arrays import IntArray
    from tomodist.values.geometry import TiltGeometry, VolumeGrid

VERSION = 2
NAME = "choose threshold"


@dataclass(frozen=True)
class ChooseThreshold:
    """Step: the threshold curve of a label, `curves`.

    Parameters
    ----------
    label : Label
        Whose scores are reprojected.
    max_score : int
        The highest score, for the plan; that of the stored scores may be lower.
    replace : bool
        Replace a curve of other scores without being told to: of a run that leaves tilts out.
    may_be_empty : bool
        Whether a label that marks no pixel is no error: it has no curve, and no structures.
    """

    label: Label
    max_score: int
    replace: bool = False
    may_be_empty: bool = False

    def plans(self, resources: Resources) -> tuple[Plan, ...]:
        """One plan."""
        return (plan_threshold(self.label.tomogram.geometry, resources, self.max_score),)

    def is_current(self, *, overwrite: bool) -> bool:
        """Whether the curve of just these scores is there."""
        fingerprint = curve_fingerprint(NAME, VERSION, self.label)
        return self.label.curves.is_current(fingerprint, overwrite=overwrite or self.replace)

    def work(self, session: Session, plans: Sequence[Plan]) -> Work[None]:
        """Compare, and store the curve."""
        label, record = self.label, ScoreRecord.of(self.label)
        if self.may_be_empty and not any(map(len, box_rows(label.maps))):
            session.progress.message(f"{label} marks no pixel: it has no structures")
            label.curves.remove()
            return
        try:
            curve = yield from compare_at_all_thresholds(
                label.scores.volume,
                record.compared,
                record.geometry,
                label.tomogram.grid,
                record.max_score,
                plans[0],
            )
        except InputError as error:  # nothing is marked that the volume could hold
            if not self.may_be_empty:
                raise
            session.progress.message(f"{label} has no structures: {error}")
            label.curves.remove()
            return
        self._keep(curve, record)

    def _keep(self, curve: ThresholdCurve, record: ScoreRecord) -> None:
        columns: dict[str, Column] = {
            "iou": (["tilt", "threshold"], curve.iou, ""),
            "precision": (["tilt", "threshold"], curve.precision, ""),
            "recall": (["tilt", "threshold"], curve.recall, ""),
            "threshold": (["threshold"], curve.thresholds * record.scale, ""),
            "tilt": (["tilt"], list(record.tilts), ""),
            "tilt_angle": (["tilt"], record.geometry.tilt_angles, "degree"),
        }
        fingerprint = curve_fingerprint(NAME, VERSION, self.label)
        make_table(self.label.curves, fingerprint, columns, best=curve.best * record.scale)


def stored_threshold(label: Label) -> float | None:
    """The threshold that a stored curve of the present scores gives, on stored scores.

    Returns
    -------
    float or None
        None if there is no curve of the present scores.
    """
    fingerprint = curve_fingerprint(NAME, VERSION, label)
    if not label.curves.is_current(fingerprint, overwrite=True):
        return None
    curve = label.curves.dataset().load()
    columns = (curve[name].values for name in ("iou", "precision", "recall"))
    return float(ThresholdCurve(*columns).best)


def plan_threshold(geometry: TiltGeometry, resources: Resources, max_score: int) -> Plan:
    """Plan the comparison: a tile fits the memory of a task, and every slot has work.

    Parameters
    ----------
    geometry : TiltGeometry
        Of the maps.
    resources : Resources
        What the run may use.
    max_score : int
        The highest score.

    Returns
    -------
    Plan

    Raises
    ------
    PlanError
        If not even a tile of 64 rows of one tilt fits the memory of a task.

    Examples
    --------
    >>> from tomodist.planning.plan import Resources
    >>> from tomodist.values.geometry import TiltGeometry
    >>> geometry = TiltGeometry(range(-60, 61, 3), (315, 326), 20.0)
    >>> plan_threshold(geometry, Resources(2, 1, 2**30), geometry.n_tilts).brick
    (11, 320, 384)
    """
    n_tilts, height = geometry.n_tilts, geometry.image_shape[0]

    def memory(tile: Tile) -> int:
        return _tile_memory(geometry, tile, max_score)

    largest = Tile(min(READ[1], rounded(height)), n_tilts)
    tile = fitting_tile(largest, lambda tile: memory(tile) <= resources.task_budget)
    n_rows = -(-height // tile.rows)
    groups = max(-(-n_tilts // tile.tilts), -(-2 * resources.n_slots // n_rows))
    tile = Tile(tile.rows, max(1, -(-n_tilts // groups)))
    stack = (n_tilts, *geometry.image_shape)
    return plan_of_tiles(NAME, stack, tile, {"tile and brick": memory(tile)}, resources)


def _tile_memory(geometry: TiltGeometry, tile: Tile, max_score: int) -> int:
    """Bytes that the task of a tile holds: the tile (as projected, as counted), a brick, a map."""
    width, itemsize = geometry.image_shape[1], votes_dtype(max_score + 1).itemsize
    held = (2 * itemsize + 2) * tile.tilts * tile.rows * width
    return held + 5 * itemsize * math.prod(READ) + 12 * (tile.rows + INNER) * width


def compare_at_all_thresholds(
    scores: ArrayHandle,
    maps: Stack,
    geometry: TiltGeometry,
    grid: VolumeGrid,
    max_score: int,
    plan: Plan,
) -> Work[ThresholdCurve]:
    """IoU of the maps with the reprojection of the scores, at every threshold.

    Parameters
    ----------
    scores : ArrayHandle
        Whole-number scores (z, y, x).
    maps : Stack
        Maps (tilt, y, x).
    geometry, grid
        Of both.
    max_score : int
        The highest possible score.
    plan : Plan
        From `plan_threshold`; where tilts were left out since, its tiles hold fewer.

    Yields
    ------
    Batch

    Returns
    -------
    ThresholdCurve
    """
    counts = np.zeros((geometry.n_tilts, 2, max_score + 1), np.int64)

    def add(counted: tuple[Sequence[int], IntArray]) -> None:
        tilts, part = counted
        counts[list(tilts)] += part

    tiles = [
        (range(tilts.start, min(tilts.stop, geometry.n_tilts)), rows)
        for tilts, rows in tiles_of(plan)
        if tilts.start < geometry.n_tilts
    ]
    tasks = (task_of(_count_tile, scores, maps, geometry, grid, max_score, *tile) for tile in tiles)
    yield Batch(NAME, tasks, len(tiles), each=add)
    return curve_of(counts)


def _count_tile(
    scores: ArrayHandle,
    maps: Stack,
    geometry: TiltGeometry,
    grid: VolumeGrid,
    max_score: int,
    tilts: Sequence[int],
    rows: Range,
) -> tuple[Sequence[int], IntArray]:
    bricks = brick_windows(scores.shape, READ)
    largest = project_tile(
        "max", geometry, grid, scores.read, bricks, tilts, rows, largest=max_score
    )
    counts = [
        count_agreement(largest[k : k + 1], maps.read((t, t + 1), rows), max_score)
        for k, t in enumerate(tilts)
    ]
    return tilts, np.concatenate(counts)

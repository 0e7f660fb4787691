"""Step: choose the threshold of 3D edges by the length of rays in them.

The criterion: `tomodist.algorithms.threshold.ray_lengths`. Two rounds of thresholds; in each, one
task per tile (some rows of some tilts) projects the mask of every threshold and returns two
histograms for each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.algorithms.lift.backproject import votes_dtype
from tomodist.algorithms.lift.project import READ, project_tile
from tomodist.algorithms.threshold.ray_lengths import (
    N_BINS,
    RayLengthCurve,
    count_ray_lengths,
    sampled_tilts,
    threshold_search,
)
from tomodist.planning.plan import rounded
from tomodist.planning.tiles import Tile, fitting_tile, plan_of_tiles, tiles_of
from tomodist.runtime.runner import Batch, task_of
from tomodist.steps.parts.base import make_table
from tomodist.steps.parts.score_record import ScoreRecord, curve_fingerprint
from tomodist.values.windows import brick_windows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tomodist.algorithms.lift.windows import Range
    from tomodist.formats.zarr import ArrayHandle, Stack
    from tomodist.planning.plan import Plan, Resources
    from tomodist.runtime.runner import Session, Work
    from tomodist.store.tables import Column
    from tomodist.store.tomogram import Label
    from tomodist.values.arrays import AnyArray, IntArray
    from tomodist.values.geometry import TiltGeometry, VolumeGrid

VERSION = 1
NAME = "choose edge threshold"


@dataclass(frozen=True)
class ChooseEdgeThreshold:
    """Step: the curve of ray lengths of a label, `edge_curves`.

    Parameters
    ----------
    label : Label
        Whose scores are compared with its 2D edges.
    own_votes : int
        1 for plain votes, 0 for refined ones; see `RefinedEdges.own_votes`.
    """

    label: Label
    own_votes: int

    def plans(self, resources: Resources) -> tuple[Plan, ...]:
        """One plan."""
        return (plan_ray_lengths(self.label.tomogram.geometry, resources),)

    def is_current(self, *, overwrite: bool) -> bool:
        """Whether the curve of just these scores is there."""
        fingerprint = curve_fingerprint(NAME, VERSION, self.label)
        return self.label.edge_curves.is_current(fingerprint, overwrite=overwrite)

    def work(self, session: Session, plans: Sequence[Plan]) -> Work[None]:  # noqa: ARG002
        """Compare, and store the curve."""
        label, record = self.label, ScoreRecord.of(self.label)
        curve = yield from compare_ray_lengths(
            label.scores.volume,
            record.compared,
            record.geometry,
            label.tomogram.grid,
            self.own_votes,
            plans[0],
        )
        columns: dict[str, Column] = {
            "kappa": (["threshold"], np.array(curve.score), ""),
            "length": (["threshold"], np.array(curve.lengths), "voxel"),
            "threshold": (["threshold"], np.array(curve.thresholds), ""),
        }
        fingerprint = curve_fingerprint(NAME, VERSION, label)
        make_table(label.edge_curves, fingerprint, columns, best=curve.best)


def stored_edge_threshold(label: Label) -> float:
    """The threshold that the stored curve of a label gives.

    Raises
    ------
    StoreError
        If there is none.
    """
    return float(label.edge_curves.attributes["best"])


def plan_ray_lengths(geometry: TiltGeometry, resources: Resources) -> Plan:
    """Plan the comparison: a tile of the sampled tilts fits the memory of a task.

    Parameters
    ----------
    geometry : TiltGeometry
        Of the maps.
    resources : Resources
        What the run may use.

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
    >>> plan_ray_lengths(geometry, Resources(2, 1, 2**30)).brick
    (13, 320, 384)
    """
    n_tilts = len(sampled_tilts(geometry))

    def memory(tile: Tile) -> int:
        return _tile_memory(geometry, tile)

    largest = Tile(min(READ[1], rounded(geometry.image_shape[0])), n_tilts)
    tile = fitting_tile(largest, lambda tile: memory(tile) <= resources.task_budget, "tilts")
    stack = (n_tilts, *geometry.image_shape)
    return plan_of_tiles(NAME, stack, tile, {"tile and brick": memory(tile)}, resources)


def _tile_memory(geometry: TiltGeometry, tile: Tile) -> int:
    """Bytes that the task of a tile holds.

    The tile in two layouts; a brick of votes, as mask, and as float32 in two layouts; and one map
    with its bins.
    """
    itemsize = votes_dtype(geometry.n_tilts).itemsize
    pixels = tile.rows * geometry.image_shape[1]
    return 8 * tile.tilts * pixels + (itemsize + 9) * math.prod(READ) + 32 * pixels


def compare_ray_lengths(
    scores: ArrayHandle,
    maps: Stack,
    geometry: TiltGeometry,
    grid: VolumeGrid,
    own_votes: int,
    plan: Plan,
) -> Work[RayLengthCurve]:
    """Agreement of long rays with the maps, at thresholds around the best.

    Parameters
    ----------
    scores : ArrayHandle
        Votes (z, y, x).
    maps : ArrayHandle or SomeTilts
        Maps (tilt, y, x) of the tilts that took part.
    geometry, grid
        Of both.
    own_votes : int
        1 for plain votes, 0 for refined ones.
    plan : Plan
        From `plan_ray_lengths`.

    Yields
    ------
    Batch

    Returns
    -------
    RayLengthCurve

    Raises
    ------
    InputError
        If there is nothing to agree.
    """
    sampled = sampled_tilts(geometry)
    tiles = [
        ([sampled[k] for k in group if k < len(sampled)], rows)
        for group, rows in tiles_of(plan)
        if group.start < len(sampled)
    ]
    search = threshold_search(geometry.n_tilts, own_votes)
    levels = next(search)
    while True:
        counts = {level: np.zeros((2, N_BINS), np.int64) for level in levels}
        tasks = (
            task_of(_count_tile, scores, maps, geometry, grid, tilts, rows, level)
            for tilts, rows in tiles
            for level in levels
        )
        yield Batch(NAME, tasks, len(tiles) * len(levels), each=_adding_to(counts))
        try:
            levels = search.send(counts)
        except StopIteration as stop:
            curve: RayLengthCurve = stop.value
            return curve


def _adding_to(counts: Mapping[int, IntArray]) -> Any:  # noqa: ANN401 -- see `Batch.each`
    def add(counted: tuple[int, IntArray]) -> None:
        level, part = counted
        counts[level][...] += part

    return add


def _count_tile(
    scores: ArrayHandle,
    maps: Stack,
    geometry: TiltGeometry,
    grid: VolumeGrid,
    tilts: Sequence[int],
    rows: Range,
    level: int,
) -> tuple[int, IntArray]:
    def above(*window: Range) -> AnyArray:
        return scores.read(*window) > level

    bricks = brick_windows(scores.shape, READ)
    lengths = project_tile("sum", geometry, grid, above, bricks, tilts, rows)
    counts = [
        count_ray_lengths(lengths[k : k + 1], maps.read((t, t + 1), rows))
        for k, t in enumerate(tilts)
    ]
    return level, np.asarray(np.sum(counts, axis=0))

"""Step: choose the threshold of 3D edges by the length of rays in them.

The criterion: `tomodist.algorithms.threshold.ray_lengths`.

Two rounds of thresholds; in each, one task per tile (some rows of some tilts) projects the mask of
every threshold and returns two histograms for each.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.algorithms.lift.backproject import tilt_groups, votes_dtype
from tomodist.algorithms.lift.project import READ, project_tile
from tomodist.algorithms.threshold.ray_lengths import (
    N_BINS,
    ChordCurve,
    CountArray,
    choose_by_chords,
    count_chords,
    sampled_tilts,
)
from tomodist.errors import PlanError
from tomodist.planning.plan import INNER, Resources, format_bytes, rounded
from tomodist.runtime.runner import Session, task_of
from tomodist.store.tables import Column, write_table
from tomodist.values.windows import brick_windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from tomodist.algorithms.lift.windows import Range
    from tomodist.formats.zarr import ArrayHandle, Stack
    from tomodist.store.tomogram import Tomogram
    from tomodist.values.geometry import TiltGeometry, VolumeGrid

VERSION = 1
STEP = "choose edge threshold"


def choose_edge_threshold(
    session: Session,
    scores: ArrayHandle,
    maps: Stack,
    geometry: TiltGeometry,
    grid: VolumeGrid,
    *,
    own: int,
) -> ChordCurve:
    """Agreement of long rays with the maps, at thresholds around the best.

    Parameters
    ----------
    session : Session
        Where tasks run.
    scores : ArrayHandle
        Votes (z, y, x).
    maps : ArrayHandle or SomeTilts
        Maps (tilt, y, x) of the tilts that took part.
    geometry, grid
        Of both.
    own : int
        1 for plain votes, 0 for refined ones; see `tomodist.algorithms.threshold.ray_lengths`.

    Returns
    -------
    ChordCurve

    Raises
    ------
    InputError
        If there is nothing to agree.
    PlanError
        If not even a tile of 64 rows of one tilt fits the memory of a task.
    """
    tilts = sampled_tilts(geometry)
    rows, size = plan_tiles(geometry, len(tilts), session.resources)
    tiles = [
        ([tilts[k] for k in group], (first, min(first + rows, geometry.image_shape[0])))
        for group in tilt_groups(len(tilts), size)
        for first in range(0, geometry.image_shape[0], rows)
    ]

    def count(levels: Sequence[int]) -> dict[int, CountArray]:
        counts = {level: np.zeros((2, N_BINS), np.int64) for level in levels}
        tasks = (
            task_of(_count_tile, scores, maps, geometry, grid, tilts, rows, level)
            for tilts, rows in tiles
            for level in levels
        )
        for level, part in session.run(STEP, tasks, len(tiles) * len(levels)):
            counts[level] += part
        return counts

    return choose_by_chords(count, geometry.n_tilts, own)


def plan_tiles(geometry: TiltGeometry, n_tilts: int, resources: Resources) -> tuple[int, int]:
    """Rows and tilts of a tile, such that it fits the memory of a task.

    Examples
    --------
    >>> from tomodist.values.geometry import TiltGeometry
    >>> geometry = TiltGeometry(range(-60, 61, 3), (315, 326), 20.0)
    >>> plan_tiles(geometry, 13, Resources(2, 1, 2**30))
    (320, 13)
    """
    rows, tilts = min(READ[1], rounded(geometry.image_shape[0])), n_tilts
    while tile_memory(geometry, rows, tilts) > resources.task_budget:
        if tilts > 1:
            tilts = -(-tilts // 2)
        elif rows > INNER:
            rows = rounded(rows // 2)
        else:
            raise PlanError(
                f"{STEP}: a tile of {rows} rows of one tilt needs "
                f"{format_bytes(tile_memory(geometry, rows, 1))}, but a task has "
                f"{format_bytes(max(resources.task_budget, 0))}; give workers more (--memory)"
            )
    return rows, tilts


def tile_memory(geometry: TiltGeometry, rows: int, tilts: int) -> int:
    """Bytes that the task of a tile holds.

    The tile in two layouts; a brick of votes, as mask, and as float32 in two layouts; and one map
    with its bins.
    """
    itemsize = votes_dtype(geometry.n_tilts).itemsize
    pixels = rows * geometry.image_shape[1]
    return 8 * tilts * pixels + (itemsize + 9) * math.prod(READ) + 32 * pixels


def _count_tile(
    scores: ArrayHandle,
    maps: Stack,
    geometry: TiltGeometry,
    grid: VolumeGrid,
    tilts: Sequence[int],
    rows: Range,
    level: int,
) -> tuple[int, CountArray]:
    def above(*window: Range) -> npt.NDArray[Any]:
        return scores.read(*window) > level

    bricks = brick_windows(scores.shape, READ)
    lengths = project_tile("sum", geometry, grid, above, bricks, tilts, rows)
    counts = [
        count_chords(lengths[k : k + 1], maps.read((t, t + 1), rows)) for k, t in enumerate(tilts)
    ]
    return level, np.asarray(np.sum(counts, axis=0))


def keep_edge_curve(tomogram: Tomogram, label: str, curve: ChordCurve) -> None:
    """Store the curve as `edge_curves/<label>`."""
    with tomogram.stage(f"edge_curves/{label}", _fingerprint(tomogram, label)) as staging:
        staging.clear()
        columns: dict[str, Column] = {
            "kappa": (["threshold"], np.array(curve.score), ""),
            "length": (["threshold"], np.array(curve.lengths), "voxel"),
            "threshold": (["threshold"], np.array(curve.thresholds), ""),
        }
        write_table(staging.path, columns)
        staging.describe(best=curve.best)


def stored_edge_threshold(tomogram: Tomogram, label: str, *, overwrite: bool) -> float | None:
    """The threshold that an earlier run chose on the same scores, or None.

    Raises
    ------
    ExistsError
        If there is a curve of other scores and `overwrite` is false.
    """
    unit = f"edge_curves/{label}"
    if tomogram.is_current(unit, _fingerprint(tomogram, label), overwrite=overwrite):
        return float(tomogram.attributes(unit)["best"])
    return None


def _fingerprint(tomogram: Tomogram, label: str) -> dict[str, Any]:
    return {
        "step": STEP,
        "version": VERSION,
        "scores": tomogram.digest(f"scores/{label}"),
        "maps": tomogram.digest(f"maps/{label}"),
    }

"""Step: choose the threshold of a score volume by the agreement of its reprojection with the maps.

One task per tile (some rows of some tilts): it reads every brick of votes that the tile sees,
keeps the largest vote per pixel, and returns two histograms per tilt.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.algorithms.lift.backproject import tilt_groups, votes_dtype
from tomodist.algorithms.lift.project import READ, project_tile
from tomodist.algorithms.threshold.curve import (
    CountArray,
    ThresholdCurve,
    count_agreement,
    curve_of,
)
from tomodist.errors import PlanError
from tomodist.planning.plan import INNER, Resources, format_bytes, rounded
from tomodist.runtime.runner import Session, task_of
from tomodist.store.tables import Column, write_table
from tomodist.values.windows import brick_windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.algorithms.lift.windows import Range
    from tomodist.formats.zarr import ArrayHandle, Stack
    from tomodist.store.tomogram import Tomogram
    from tomodist.values.geometry import TiltGeometry, VolumeGrid

VERSION = 2


def choose_threshold_of(
    session: Session,
    scores: ArrayHandle,
    maps: Stack,
    geometry: TiltGeometry,
    grid: VolumeGrid,
    levels: int,
) -> ThresholdCurve:
    """IoU of the maps with the reprojection of the scores, at every threshold.

    Parameters
    ----------
    session : Session
        Where tasks run.
    scores : ArrayHandle
        Whole-number scores (z, y, x).
    maps : Stack
        Maps (tilt, y, x).
    geometry, grid
        Of both.
    levels : int
        The highest possible score.

    Returns
    -------
    ThresholdCurve

    Raises
    ------
    PlanError
        If not even a tile of 64 rows of one tilt fits the memory of a task.
    """
    rows, tilts_per_task = plan_tiles(geometry, session.resources, levels)
    tiles = [
        (tilts, (first, min(first + rows, geometry.image_shape[0])))
        for tilts in tilt_groups(geometry.n_tilts, tilts_per_task)
        for first in range(0, geometry.image_shape[0], rows)
    ]
    tasks = (task_of(_count_tile, scores, maps, geometry, grid, levels, t, r) for t, r in tiles)
    counts = np.zeros((geometry.n_tilts, 2, levels + 1), np.int64)
    for tilts, part in session.run("choose threshold", tasks, len(tiles)):
        counts[list(tilts)] += part
    return curve_of(counts)


def plan_tiles(geometry: TiltGeometry, resources: Resources, levels: int) -> tuple[int, int]:
    """Rows and tilts of a tile, such that it fits the memory of a task and every slot has work.

    Examples
    --------
    >>> from tomodist.values.geometry import TiltGeometry
    >>> geometry = TiltGeometry(range(-60, 61, 3), (315, 326), 20.0)
    >>> plan_tiles(geometry, Resources(2, 1, 2**30), geometry.n_tilts)
    (320, 11)
    """
    rows, tilts = min(READ[1], rounded(geometry.image_shape[0])), geometry.n_tilts
    while tile_memory(geometry, rows, tilts, levels) > resources.task_budget:
        if rows > INNER:
            rows = rounded(rows // 2)
        elif tilts > 1:
            tilts = -(-tilts // 2)
        else:
            raise PlanError(
                f"choose threshold: a tile of {rows} rows of one tilt needs "
                f"{format_bytes(tile_memory(geometry, rows, 1, levels))}, but a task has "
                f"{format_bytes(max(resources.task_budget, 0))}; give workers more (--memory)"
            )
    n_tiles = -(-geometry.image_shape[0] // rows)
    groups = max(-(-geometry.n_tilts // tilts), -(-2 * resources.n_slots // n_tiles))
    return rows, max(1, -(-geometry.n_tilts // groups))


def tile_memory(geometry: TiltGeometry, rows: int, tilts: int, levels: int) -> int:
    """Bytes that the task of a tile holds: the tile (as projected, as counted), a brick, a map."""
    width, itemsize = geometry.image_shape[1], votes_dtype(levels + 1).itemsize
    held = (2 * itemsize + 2) * tilts * rows * width
    return held + 5 * itemsize * math.prod(READ) + 12 * (rows + INNER) * width


def _count_tile(
    scores: ArrayHandle,
    maps: Stack,
    geometry: TiltGeometry,
    grid: VolumeGrid,
    levels: int,
    tilts: Sequence[int],
    rows: Range,
) -> tuple[Sequence[int], CountArray]:
    bricks = brick_windows(scores.shape, READ)
    largest = project_tile("max", geometry, grid, scores.read, bricks, tilts, rows, largest=levels)
    counts = [
        count_agreement(largest[k : k + 1], maps.read((t, t + 1), rows), levels)
        for k, t in enumerate(tilts)
    ]
    return tilts, np.concatenate(counts)


def keep_curve(
    tomogram: Tomogram, label: str, curve: ThresholdCurve, tilts: Sequence[int], scale: float = 1.0
) -> None:
    """Store a threshold curve as `curves/<label>`.

    Parameters
    ----------
    tomogram : Tomogram
        The store.
    label : str
        Of which scores.
    curve : ThresholdCurve
        The curve.
    tilts : sequence of int
        The tilts that took part.
    scale : float
        From stored scores to what the curve tells: 1 for votes, less for shares.
    """
    with tomogram.stage(f"curves/{label}", _fingerprint(tomogram, label)) as staging:
        staging.clear()
        columns: dict[str, Column] = {
            "iou": (["tilt", "threshold"], curve.iou, ""),
            "precision": (["tilt", "threshold"], curve.precision, ""),
            "recall": (["tilt", "threshold"], curve.recall, ""),
            "threshold": (["threshold"], curve.thresholds * scale, ""),
            "tilt": (["tilt"], list(tilts), ""),
            "tilt_angle": (["tilt"], tomogram.geometry.select(tilts).tilt_angles, "degree"),
        }
        write_table(staging.path, columns)
        staging.describe(best=curve.best * scale)


def stored_curve(tomogram: Tomogram, label: str, *, overwrite: bool) -> ThresholdCurve | None:
    """The curve of an earlier run on the same scores, or None.

    Raises
    ------
    ExistsError
        If there is a curve of other scores and `overwrite` is false.
    """
    unit = f"curves/{label}"
    if tomogram.is_current(unit, _fingerprint(tomogram, label), overwrite=overwrite):
        curve = tomogram.dataset(unit).load()
        return ThresholdCurve(
            curve["iou"].values, curve["precision"].values, curve["recall"].values
        )
    return None


def _fingerprint(tomogram: Tomogram, label: str) -> dict[str, Any]:
    return {
        "step": "choose threshold",
        "version": VERSION,
        "scores": tomogram.digest(f"scores/{label}"),
        "maps": tomogram.digest(f"maps/{label}"),
    }

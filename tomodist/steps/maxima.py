"""Step: the highest places of a score volume become points: `structures/<name>`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tomodist.algorithms.objects.maxima import brick_maxima, halo_of
from tomodist.detect.peaks import keep_apart
from tomodist.errors import InputError, StoreError
from tomodist.planning.costs import TaskCosts, labelling
from tomodist.planning.plan import Plan, Resources, Shape3, Terms, plan_step
from tomodist.runtime.runner import Session, task_of
from tomodist.store.structures import place_columns
from tomodist.store.tables import Column, write_table
from tomodist.values.windows import brick_windows

if TYPE_CHECKING:
    from tomodist.formats.zarr import ArrayHandle
    from tomodist.store.tomogram import Tomogram
    from tomodist.values.geometry import FloatArray, VolumeGrid
    from tomodist.values.windows import Window

VERSION = 1
_FARTHEST = 64  # voxels: the halo of a brick grows with the distance


def plan_maxima(grid: VolumeGrid, distance: float, resources: Resources) -> Plan:
    """Plan the search: per voxel of a brick and its halo, scores as floats, smoothed, compared.

    Raises
    ------
    InputError
        If the distance is not positive, or more than 64 voxels.
    PlanError
        If nothing fits.
    """
    if not 0 < distance <= _FARTHEST:
        raise InputError(
            f"--distance is {distance:.4g} voxels; it must be above 0 and at most {_FARTHEST}"
        )
    halo = halo_of(distance)

    def terms(size: Shape3, _: int) -> Terms:
        return {"scores and halo": 24 * math.prod(n + 2 * halo for n in size)}

    def costs(size: Shape3, _: int) -> TaskCosts:
        return TaskCosts(leaf=5 * labelling(math.prod(n + 2 * halo for n in size)), join=0.0)

    return plan_step("pick", grid.shape, resources, terms, costs)


def pick_maxima(
    session: Session,
    tomogram: Tomogram,
    label: str,
    name: str,
    distance: float,
    threshold: float | None = None,
    *,
    overwrite: bool = False,
) -> bool:
    """Make `structures/<name>` from `scores/<label>`.

    Parameters
    ----------
    session : Session
        Where tasks run.
    tomogram : Tomogram
        The store.
    label : str
        Which scores.
    name : str
        What the points are called.
    distance : float
        Least distance of two points, in Å.
    threshold : float, optional
        As tables tell it: votes, or a share of the tilts; by default that of `structures/<label>`.
    overwrite : bool
        Replace points that were found differently.

    Returns
    -------
    bool
        False if the points were there already.

    Raises
    ------
    ExistsError, InputError, PlanError, StoreError
    """
    grid, made = tomogram.grid, tomogram.attributes(f"scores/{label}")
    if name == label:
        raise InputError(f"--name is {name!r}, the label itself; give the points another name")
    scale = made.get("score_scale", 1.0)
    least = _common(tomogram, label) if threshold is None else threshold / scale
    fingerprint = {
        "step": "pick",
        "version": VERSION,
        "made_from": {f"scores/{label}": tomogram.digest(f"scores/{label}")},
        "distance": distance,
        "threshold": least,
    }
    unit, voxels = f"structures/{name}", distance / grid.voxel_size
    if tomogram.is_current(unit, fingerprint, overwrite=overwrite):
        return False
    plan = plan_maxima(grid, voxels, session.resources)
    session.check_sees(tomogram.path)
    scores = tomogram.array(f"scores/{label}", "scale0/scores")
    windows = list(brick_windows(scores.shape, plan.brick))
    tasks = (task_of(_maxima_of, scores, window, least, voxels) for window in windows)
    found = dict(session.run("pick", tasks, len(windows)))
    centers = np.concatenate([found[w][0] for w in windows])
    heights = np.concatenate([found[w][1] for w in windows])
    kept = keep_apart(centers, heights, voxels)
    kept = kept[np.lexsort(centers[kept].T[::-1])]
    with tomogram.stage(unit, fingerprint) as staging:
        staging.clear()
        write_table(staging.path, _columns(centers[kept], heights[kept] * scale, grid, voxels))
        staging.describe(method="maxima", of=label, distance=distance, threshold=least * scale)
    return True


def _common(tomogram: Tomogram, label: str) -> float:
    """The stored threshold of a label's structures."""
    if not tomogram.has(f"structures/{label}"):
        raise StoreError(f"{tomogram.path}: no threshold is known for {label}; give --threshold")
    return float(tomogram.attributes(f"structures/{label}")["threshold"])


def _maxima_of(
    scores: ArrayHandle, window: Window, threshold: float, distance: float
) -> tuple[Window, tuple[FloatArray, FloatArray]]:
    halo = halo_of(distance)
    wide = [
        (max(a - halo, 0), min(b + halo, n)) for (a, b), n in zip(window, scores.shape, strict=True)
    ]
    inner = [slice(a - low, b - low) for (a, b), (low, _) in zip(window, wide, strict=True)]
    start = [low for low, _ in wide]
    return window, brick_maxima(scores.read(*wide), inner, start, threshold, distance)


def _columns(
    centers: FloatArray, heights: FloatArray, grid: VolumeGrid, distance: float
) -> dict[str, Column]:
    size = np.full(centers.shape, distance)
    columns = place_columns(centers, centers - (size - 1) / 2, size, grid.voxel_size)
    return columns | {"mean_score": (["structure"], heights, "")}

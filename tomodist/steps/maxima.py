"""Step: the highest places of a score volume become points: `structures/<name>`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.algorithms.objects.maxima import brick_maxima, halo_of
from tomodist.detectors.peaks import keep_apart
from tomodist.errors import InputError, StoreError
from tomodist.planning.costs import TaskCosts, labelling
from tomodist.planning.plan import Plan, Resources, Shape3, Terms, plan_step
from tomodist.runtime.runner import Batch, task_of
from tomodist.steps.parts.base import make_table
from tomodist.store.structures import place_columns
from tomodist.values.windows import brick_windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.formats.zarr import ArrayHandle
    from tomodist.runtime.runner import Session, Work
    from tomodist.store.tables import Column
    from tomodist.store.tomogram import Label
    from tomodist.values.arrays import FloatArray
    from tomodist.values.geometry import VolumeGrid
    from tomodist.values.windows import Window

VERSION = 1
_FARTHEST = 64  # voxels: the halo of a brick grows with the distance


def plan_maxima(grid: VolumeGrid, distance: float, resources: Resources) -> Plan:
    """Plan the search: per voxel of a brick and its halo, scores as floats, smoothed, compared.

    Parameters
    ----------
    grid : VolumeGrid
        Of the scores.
    distance : float
        Smallest distance between maxima, in voxels.
    resources : Resources
        Workers and their memory.

    Returns
    -------
    Plan

    Raises
    ------
    InputError
        If the distance is not positive, or more than 64 voxels.
    PlanError
        If nothing fits.
    """
    if not 0 < distance <= _FARTHEST:
        raise InputError(
            f"`distance` is {distance:.4g} voxels; it must be above 0 and at most {_FARTHEST}"
        )
    halo = halo_of(distance)

    def terms(size: Shape3, _: int) -> Terms:
        return {"scores and halo": 24 * math.prod(n + 2 * halo for n in size)}

    def costs(size: Shape3, _: int) -> TaskCosts:
        return TaskCosts(leaf=5 * labelling(math.prod(n + 2 * halo for n in size)), join=0.0)

    return plan_step("pick", grid.shape, resources, terms, costs)


@dataclass(frozen=True)
class PickMaxima:
    """Step: the `structures` of points from the scores of a label.

    Parameters
    ----------
    label : Label
        Which scores.
    points : Label
        What the points are called.
    distance : float
        Least distance of two points, in Å.
    threshold : float, optional
        As tables tell it: votes, or a share of the tilts; by default that of the structures.

    Raises
    ------
    InputError
        If the points would be called like the label.
    """

    label: Label
    points: Label
    distance: float
    threshold: float | None = None

    def __post_init__(self) -> None:
        if self.points == self.label:
            raise InputError(
                f"`name` is {self.points.name!r}, the label itself; use another name for the points"
            )

    def plans(self, resources: Resources) -> tuple[Plan, ...]:
        """Of the search."""
        return (plan_maxima(self.label.tomogram.grid, self._voxels, resources),)

    def is_current(self, *, overwrite: bool) -> bool:
        """Whether the points are there, found just so."""
        return self.points.structures.is_current(self._fingerprint(), overwrite=overwrite)

    def work(self, session: Session, plans: Sequence[Plan]) -> Work[None]:  # noqa: ARG002
        """Search brick by brick, then keep the points apart."""
        grid, scores = self.label.tomogram.grid, self.label.scores.volume
        least, scale, voxels = self._least, self._scale, self._voxels
        maxima: dict[Window, tuple[FloatArray, FloatArray]] = {}

        def keep(searched: tuple[Window, tuple[FloatArray, FloatArray]]) -> None:
            window, points = searched
            maxima[window] = points

        windows = list(brick_windows(scores.shape, plans[0].brick))
        tasks = (task_of(_maxima_of, scores, window, least, voxels) for window in windows)
        yield Batch("pick", tasks, len(windows), each=keep)
        centers = np.concatenate([maxima[w][0] for w in windows])
        heights = np.concatenate([maxima[w][1] for w in windows])
        kept = keep_apart(centers, heights, voxels)
        kept = kept[np.lexsort(centers[kept].T[::-1])]
        make_table(
            self.points.structures,
            self._fingerprint(),
            _columns(centers[kept], heights[kept] * scale, grid, voxels),
            method="maxima",
            of=self.label.name,
            distance=self.distance,
            threshold=least * scale,
        )

    @property
    def _voxels(self) -> float:
        return self.distance / self.label.tomogram.grid.voxel_size

    @property
    def _scale(self) -> float:
        scale: float = self.label.scores.attributes.get("score_scale", 1.0)
        return scale

    @property
    def _least(self) -> float:
        """The threshold on stored scores."""
        if self.threshold is not None:
            return self.threshold / self._scale
        structures = self.label.structures
        if not structures.exists():
            raise StoreError(
                f"{self.label.tomogram}: {self.label} has no threshold yet; set `threshold`"
            )
        return float(structures.attributes["threshold"])

    def _fingerprint(self) -> dict[str, Any]:
        """What determines the points."""
        scores = self.label.scores
        return {
            "step": "pick",
            "version": VERSION,
            "made_from": {scores.name: scores.digest},
            "distance": self.distance,
            "threshold": self._least,
        }


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

"""Task: 2D edges to 3D edges (Algorithm 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tomodist.algorithms.lift.edges import RefinedEdges
from tomodist.planning.plan import Cut
from tomodist.steps.structures import Selection
from tomodist.tasks.lifting import GivenThreshold, LiftingTask, RayLengthThreshold

if TYPE_CHECKING:
    from tomodist.sources.base import MapSource
    from tomodist.store.tomogram import Label
    from tomodist.tasks.lifting import Exclude, Threshold


def edge_detection(
    label: Label,
    source: MapSource,
    *,
    reach: int = RefinedEdges.reach,
    support: int = RefinedEdges.support,
    rounds: int = RefinedEdges.rounds,
    keep_own: bool = RefinedEdges.keep_own,
    threshold: float | None = None,
    min_voxels: int = 1,
    exclude: Exclude = (),
    cut: Cut = Cut(),  # noqa: B008 -- a value
) -> LiftingTask:
    """Algorithm 2: votes of 2D edges that survive refinement between adjacent tilts.

    Parameters
    ----------
    label : Label
        Name of the structures.
    source : MapSource
        Where the 2D edges come from.
    reach, support, rounds, keep_own
        See `RefinedEdges`.
    threshold : float, optional
        On the votes; by default where rays that stay long in the result agree best with the 2D
        edges (see `tomodist.algorithms.threshold.ray_lengths`).
    min_voxels : int
        Smaller structures are dropped.
    exclude : tuple of int, or "auto"
        Tilts that take no part; or those that disagree with the rest.
    cut : Cut
        Brick and tilts per task, fixed instead of planned.

    Returns
    -------
    LiftingTask

    Raises
    ------
    InputError
        If numbers contradict each other.
    """
    tomogram = label.tomogram
    lifting = RefinedEdges(tomogram.geometry, tomogram.grid, reach, support, rounds, keep_own)
    chosen: Threshold = RayLengthThreshold(label, lifting.own_votes)
    if threshold is not None:
        chosen = GivenThreshold(label, threshold, shares=False)
    return LiftingTask(label, source, lifting, chosen, Selection(min_voxels), exclude, cut)

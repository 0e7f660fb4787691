"""Task: 2D masks to a 3D segmentation (Algorithm 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tomodist.algorithms.lift.backproject import Votes
from tomodist.algorithms.lift.balanced import BalancedVotes
from tomodist.planning.plan import Cut
from tomodist.steps.structures import Selection
from tomodist.tasks.lifting import GivenThreshold, LiftingTask, ReprojectionThreshold

if TYPE_CHECKING:
    from tomodist.algorithms.lift.backproject import Lifting
    from tomodist.sources.base import MapSource
    from tomodist.store.tomogram import Label
    from tomodist.tasks.lifting import Exclude, Threshold

VotesKind = Literal["balanced", "plain"]


def segmentation(
    label: Label,
    source: MapSource,
    votes: VotesKind = "balanced",
    *,
    sectors: int = BalancedVotes.sectors,
    coverage: bool = BalancedVotes.coverage,
    per_structure: bool = True,
    threshold: float | None = None,
    min_voxels: int = 1,
    exclude: Exclude = (),
    cut: Cut = Cut(),  # noqa: B008 -- a value
    may_be_empty: bool = False,
) -> LiftingTask:
    """Algorithm 1: votes, and the threshold whose reprojection agrees best.

    Parameters
    ----------
    label : Label
        Name of the structures.
    source : MapSource
        Where the 2D masks come from.
    votes : {"balanced", "plain"}
        As in `tomodist.algorithms.lift.balanced`, or as in the paper.
    sectors, coverage
        Of balanced votes; see `BalancedVotes`.
    per_structure : bool
        Whether every structure gets a threshold of its own, not below the common one.
    threshold : float, optional
        On the votes; of balanced votes a share, 0 to 1. By default the one whose reprojection
        agrees best.
    min_voxels : int
        Smaller structures are dropped.
    exclude : tuple of int, or "auto"
        Tilts that take no part; or those that disagree with the rest.
    cut : Cut
        Brick and tilts per task, fixed instead of planned.
    may_be_empty : bool
        Whether masks that mark nothing are no error.

    Returns
    -------
    LiftingTask

    Raises
    ------
    InputError
        If a number makes no sense.
    """
    geometry, grid = label.tomogram.geometry, label.tomogram.grid
    lifting: Lifting = Votes(geometry, grid)
    if votes == "balanced":
        lifting = BalancedVotes(geometry, grid, sectors, coverage)
    return LiftingTask(
        label,
        source,
        lifting,
        threshold_of(
            label, lifting, threshold, replace=exclude == "auto", may_be_empty=may_be_empty
        ),
        Selection(min_voxels, per_structure=per_structure),
        exclude,
        cut,
    )


def threshold_of(
    label: Label,
    lifting: Lifting,
    value: float | None,
    *,
    replace: bool = False,
    may_be_empty: bool = False,
) -> Threshold:
    """The threshold on votes: as given, or by reprojection.

    Parameters
    ----------
    label : Label
        Whose scores.
    lifting : Lifting
        How they are made.
    value : float, optional
        As given.
    replace, may_be_empty
        See `ReprojectionThreshold`.

    Returns
    -------
    GivenThreshold or ReprojectionThreshold

    Raises
    ------
    InputError
        If the value makes no sense.
    """
    if value is not None:
        return GivenThreshold(label, value, shares=lifting.scale != 1)
    return ReprojectionThreshold(label, lifting.max_score or 0, replace, may_be_empty)

"""What a command does to a tomogram, as a value: segment, edges, locate."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tomodist.errors import InputError
from tomodist.io.store import Tomogram, check_label
from tomodist.lift.backproject import Lifting, Votes
from tomodist.lift.balanced import BalancedVotes
from tomodist.lift.edges import RefinedEdges
from tomodist.lift.seen import LinkRule
from tomodist.stages.backproject import plan_scores
from tomodist.stages.select import plan_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.plan import Plan, Resources
    from tomodist.stages.sources import MapSource


LocateMethod = Literal["tracks", "votes"]
VotesKind = Literal["balanced", "plain"]


@dataclass(frozen=True)
class Task:
    """What one command does to a tomogram.

    Parameters
    ----------
    label : str
        Name of the structures.
    source : DetectorMaps or ImportedMaps
        Where the 2D maps come from.
    lifting : Lifting
        How they become a score volume.
    parameters : dict
        The lifting's parameters as plain values.
    threshold : float, optional
        On the scores; by default the one whose reprojection agrees best. On balanced votes it is a
        share, 0 to 1.
    min_voxels, min_tilts : int
        Smaller or less supported structures are dropped.
    triangulate : bool
        Centres from the 2D boxes rather than from the centre of mass.
    own_thresholds : bool
        Every structure gets a threshold of its own, not below the common one.
    exclude : tuple of int, or "auto"
        Tilts that take no part; or those that disagree with the rest.
    brick, tilts_per_task : optional
        Fixed instead of planned.

    Raises
    ------
    InputError
        If the threshold is negative or no number, or there is no such tilt.
    """

    label: str
    source: MapSource
    lifting: Lifting
    parameters: dict[str, Any] = field(default_factory=dict)
    threshold: float | None = None
    min_voxels: int = 1
    min_tilts: int = 0
    triangulate: bool = False
    own_thresholds: bool = False
    exclude: tuple[int, ...] | Literal["auto"] = ()
    brick: Sequence[int] | None = None
    tilts_per_task: int | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 <= self.threshold < math.inf:
            raise InputError(f"--threshold is {self.threshold}; it must be a number, 0 or more")
        if self.shares and self.threshold is not None and self.threshold >= 1:
            raise InputError(
                f"--threshold is {self.threshold:g}, but balanced votes are shares: give a number "
                "below 1, or --votes plain"
            )
        if self.exclude != "auto":
            _check_excluded(self.exclude, self.lifting.geometry.n_tilts)

    @property
    def shares(self) -> bool:
        """Whether scores are shares of the tilts rather than numbers of them."""
        return isinstance(self.lifting, BalancedVotes)

    def without(self, excluded: Sequence[int]) -> tuple[tuple[int, ...], Lifting]:
        """The tilts that are left, and the lifting of these."""
        n_tilts = self.lifting.geometry.n_tilts
        tilts = tuple(t for t in range(n_tilts) if t not in set(excluded))
        lifting: Any = self.lifting  # a dataclass, whichever it is
        geometry = lifting.geometry.select(tilts)
        return tilts, dataclasses.replace(lifting, geometry=geometry) if excluded else lifting

    def plans(self, resources: Resources) -> list[Plan]:
        """What the steps over volumes would cost.

        Raises
        ------
        PlanError
            If one of them cannot fit.
        """
        scores = plan_scores(
            self.lifting, 1, resources, brick=self.brick, tilts_per_task=self.tilts_per_task
        )
        return [scores, plan_labels(self.lifting.grid, resources)]


def _check_excluded(exclude: Sequence[int], n_tilts: int) -> None:
    wrong = [t for t in exclude if not 0 <= t < n_tilts]
    if wrong:
        raise InputError(f"--exclude-tilts {wrong[0]}: the series has tilts 0 to {n_tilts - 1}")
    if len(set(exclude)) >= n_tilts:
        raise InputError(f"--exclude-tilts leaves none of the {n_tilts} tilts; name fewer")


@dataclass(frozen=True)
class LinkTask:
    """Locating objects by tracks: no volume is made.

    Parameters
    ----------
    label : str
        Name of the structures.
    source : MapSource
        Where the 2D boxes come from.
    rule : LinkRule
        Which of them belong together.
    exclude : tuple of int
        Tilts that take no part.
    """

    label: str
    source: MapSource
    rule: LinkRule
    exclude: tuple[int, ...] = ()

    def plans(self, _: Resources) -> list[Plan]:
        """No step over a volume."""
        return []


def segmentation(
    tomogram: Tomogram,
    label: str,
    source: MapSource,
    votes: VotesKind = "balanced",
    *,
    sectors: int = BalancedVotes.sectors,
    coverage: bool = BalancedVotes.coverage,
    own_thresholds: bool = True,
    **options: Any,  # noqa: ANN401
) -> Task:
    """Algorithm 1: votes, and the threshold whose reprojection agrees best.

    Parameters
    ----------
    tomogram, label, source
        See `Task`.
    votes : {"balanced", "plain"}
        As in `tomodist.lift.balanced`, or as in the paper.
    sectors, coverage
        Of balanced votes.
    own_thresholds : bool
        Whether every structure gets a threshold of its own.
    **options
        The other fields of `Task`.

    Returns
    -------
    Task
    """
    geometry, grid = tomogram.geometry, tomogram.grid
    lifting: Lifting = Votes(geometry, grid)
    parameters: dict[str, Any] = {"lifting": "votes"}
    if votes == "balanced":
        lifting = BalancedVotes(geometry, grid, sectors, coverage)
        parameters = {"lifting": "balanced votes", "sectors": sectors, "coverage": coverage}
    return Task(
        check_label(label), source, lifting, parameters, own_thresholds=own_thresholds, **options
    )


def edge_detection(
    tomogram: Tomogram,
    label: str,
    source: MapSource,
    refinement: dict[str, Any] | None = None,
    **options: Any,  # noqa: ANN401
) -> Task:
    """Algorithm 2: votes of 2D edges that survive refinement between adjacent tilts.

    Parameters
    ----------
    tomogram, label, source
        See `Task`.
    refinement : dict, optional
        ``reach``, ``support``, ``rounds``, ``keep_own`` of `RefinedEdges`.
    **options
        The other fields of `Task`. Without a threshold, it is the one at which rays that stay long
        in the result agree best with the maps (see `tomodist.lift.chords`).

    Returns
    -------
    Task

    Raises
    ------
    InputError
        If numbers contradict each other.
    """
    lifting = RefinedEdges(tomogram.geometry, tomogram.grid, **(refinement or {}))
    parameters = {
        "lifting": "refined edges",
        "reach": lifting.reach,
        "support": lifting.support,
        "rounds": lifting.rounds,
        "keep_own": lifting.keep_own,
    }
    return Task(check_label(label), source, lifting, parameters, **options)


def localisation(
    tomogram: Tomogram,
    label: str,
    source: MapSource,
    *,
    min_tilts: int | None = None,
    **options: Any,  # noqa: ANN401
) -> Task:
    """Algorithm 3: votes of filled 2D boxes, their components, and the boxes that support each.

    Parameters
    ----------
    tomogram, label, source
        See `Task`.
    min_tilts : int, optional
        Structures supported by fewer tilts are dropped; by default a quarter of the tilts.
    **options
        The other fields of `Task`.

    Returns
    -------
    Task
    """
    lifting = Votes(tomogram.geometry, tomogram.grid)
    return Task(
        check_label(label),
        source,
        lifting,
        {"lifting": "votes"},
        min_tilts=_enough(tomogram, min_tilts),
        triangulate=True,
        **options,
    )


def tracking(
    tomogram: Tomogram,
    label: str,
    source: MapSource,
    *,
    min_tilts: int | None = None,
    tolerance: float = LinkRule.tolerance,
    exclude: Sequence[int] = (),
) -> LinkTask:
    """Algorithm 3 without a volume: 2D boxes linked across tilts, each track one object.

    Parameters
    ----------
    tomogram, label, source
        See `LinkTask`.
    min_tilts : int, optional
        Objects seen in fewer tilts are dropped; by default a quarter of the tilts.
    tolerance : float
        In pixels; see `LinkRule`.
    exclude : sequence of int
        Tilts that take no part.

    Returns
    -------
    LinkTask
    """
    rule = LinkRule(_enough(tomogram, min_tilts), tolerance)
    _check_excluded(exclude, tomogram.geometry.n_tilts)
    return LinkTask(check_label(label), source, rule, tuple(sorted(set(exclude))))


def _enough(tomogram: Tomogram, min_tilts: int | None) -> int:
    """Tilts that have to support an object: as given, or a quarter."""
    return max(3, -(-tomogram.geometry.n_tilts // 4)) if min_tilts is None else min_tilts

"""What segment, edges and locate share: 2D maps become scores, a threshold, and structures.

detect --> maps --> backproject --> scores --> choose threshold --> curve --> find structures
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tomodist.errors import ExistsError, InputError
from tomodist.planning.plan import Cut
from tomodist.steps.backproject import Backproject
from tomodist.steps.detect import DetectMaps
from tomodist.steps.parts.score_record import ScoreRecord
from tomodist.steps.ray_lengths import ChooseEdgeThreshold, stored_edge_threshold
from tomodist.steps.structures import FindStructures, Selection
from tomodist.steps.threshold import ChooseThreshold, stored_threshold
from tomodist.store.curves import tilt_agreement
from tomodist.tasks.results import LabelResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.algorithms.lift.backproject import Lifting
    from tomodist.planning.plan import Plan, Resources
    from tomodist.runtime.runner import Session, Work
    from tomodist.sources.base import MapSource
    from tomodist.steps.parts.base import Step
    from tomodist.store.tomogram import Label

Exclude = tuple[int, ...] | Literal["auto"]


@dataclass(frozen=True)
class ReprojectionThreshold:
    """The threshold at which the reprojection agrees best with the maps.

    Parameters
    ----------
    label : Label
        Whose scores.
    max_score : int
        The highest score of the lifting.
    replace : bool
        As for `ChooseThreshold`.
    may_be_empty : bool
        As for `ChooseThreshold`; then the threshold is 0.
    """

    label: Label
    max_score: int
    replace: bool = False
    may_be_empty: bool = False

    def steps(self) -> tuple[Step, ...]:
        """The step that chooses it."""
        return (ChooseThreshold(self.label, self.max_score, self.replace, self.may_be_empty),)

    def __call__(self) -> float:
        """The threshold on stored scores, once it is chosen."""
        chosen = stored_threshold(self.label)
        return 0.0 if chosen is None else chosen


@dataclass(frozen=True)
class RayLengthThreshold:
    """The threshold at which rays that stay long in the result agree best with the 2D edges.

    Parameters
    ----------
    label : Label
        Whose scores.
    own_votes : int
        As for `ChooseEdgeThreshold`.
    """

    label: Label
    own_votes: int

    def steps(self) -> tuple[Step, ...]:
        """The step that chooses it."""
        return (ChooseEdgeThreshold(self.label, self.own_votes),)

    def __call__(self) -> float:
        """The threshold on stored scores, once it is chosen."""
        return stored_edge_threshold(self.label)


@dataclass(frozen=True)
class GivenThreshold:
    """A threshold that a user gives.

    Parameters
    ----------
    label : Label
        Whose scores.
    value : float
        On the scores; of scores that are shares, a share.
    shares : bool
        Whether the scores are shares of the tilts rather than numbers of them.

    Raises
    ------
    InputError
        If it is negative, no number, or not a share where it has to be one.
    """

    label: Label
    value: float
    shares: bool

    def __post_init__(self) -> None:
        if not 0 <= self.value < math.inf:
            raise InputError(f"`threshold` is {self.value}; it must be a number, 0 or more")
        if self.shares and self.value >= 1:
            raise InputError(
                f"`threshold` is {self.value:g}, but balanced votes are shares: use a number "
                "below 1, or plain `votes`"
            )

    def steps(self) -> tuple[Step, ...]:
        """Nothing has to be done for it."""
        return ()

    def __call__(self) -> float:
        """The threshold on stored scores."""
        return self.value * ScoreRecord.of(self.label).max_score if self.shares else self.value


Threshold = ReprojectionThreshold | RayLengthThreshold | GivenThreshold


@dataclass(frozen=True)
class LiftingTask:
    """Lifting the maps of one label.

    Parameters
    ----------
    label : Label
        Name of the structures.
    source : MapSource
        Where the 2D maps come from.
    lifting : Lifting
        How they become a score volume.
    threshold : Threshold
        Above which a voxel is structure.
    selection : Selection
        Which components become structures.
    exclude : tuple of int, or "auto"
        Tilts that take no part; or those that disagree with the rest.
    cut : Cut
        Brick and tilts per task, fixed instead of planned.

    Raises
    ------
    InputError
        If there is no such tilt.
    """

    label: Label
    source: MapSource
    lifting: Lifting
    threshold: Threshold
    selection: Selection = Selection()  # noqa: RUF009 -- a value
    exclude: Exclude = ()
    cut: Cut = Cut()  # noqa: RUF009 -- a value

    def __post_init__(self) -> None:
        if self.exclude != "auto":
            check_excluded(self.exclude, self.lifting.geometry.n_tilts)

    def steps(self) -> tuple[Step, ...]:
        """Maps, scores, threshold, structures."""
        return (
            DetectMaps(self.label, self.source),
            self._scores(),
            *self.threshold.steps(),
            FindStructures(self.label, self.threshold, self.selection),
        )

    def check(self, *, overwrite: bool) -> None:
        """Refuse to replace structures that another method found."""
        if not overwrite:
            check_method(self.label, linked=False)

    def check_seen(self, session: Session) -> None:
        """Workers must see the store."""
        session.check_sees(str(self.label.tomogram), self.label.tomogram.place.exists)

    def result(self, _: Sequence[Any]) -> LabelResult:
        """The structures, and the threshold as tables tell it."""
        return LabelResult(self.label, self.threshold() * ScoreRecord.of(self.label).scale)

    def _scores(self) -> Step:
        labels = (self.label,)
        if self.exclude == "auto":
            every = Backproject(labels, self.lifting, exclusion="auto", cut=self.cut)
            return BackprojectAgreeing(every)
        excluded = tuple(sorted(set(self.exclude)))
        how: Literal["given"] | None = "given" if excluded else None
        return Backproject(labels, self.lifting, excluded, how, self.cut)


@dataclass(frozen=True)
class BackprojectAgreeing:
    """Step: `scores` of a label without the tilts that disagree with the rest.

    Which these are is known only after all tilts have been lifted together; then the rest is lifted
    again. The scores say of which tilts they are, so an interrupted run goes on at either time.

    Parameters
    ----------
    every : Backproject
        Of all tilts of one label.
    """

    every: Backproject

    def plans(self, resources: Resources) -> tuple[Plan, ...]:
        """Of the backprojection, and of the curve that tells which tilts disagree."""
        return *self.every.plans(resources), *self._choose.plans(resources)

    def is_current(self, *, overwrite: bool) -> bool:
        """Whether scores are there from which tilts were left out for this reason."""
        scores = self._label.scores
        if not scores.exists():
            return False
        excluded = tuple(scores.attributes.get("excluded", ()))
        if excluded and replace(self.every, excluded=excluded).is_current(overwrite=True):
            return True
        every = self.every.is_current(overwrite=overwrite)
        return every and self._choose.is_current(overwrite=True) and not self._disagreeing()

    def work(self, session: Session, plans: Sequence[Plan]) -> Work[None]:
        """Lift all, find out who disagrees, lift the rest."""
        *of_scores, of_curve = plans
        if not self.every.is_current(overwrite=True):
            yield from self.every.work(session, of_scores)
        if not self._choose.is_current(overwrite=True):
            yield from self._choose.work(session, [of_curve])
        excluded = self._disagreeing()
        if excluded:
            words = ", ".join(map(str, excluded))
            session.progress.message(f"tilts that disagree with the rest are left out: {words}")
            yield from replace(self.every, excluded=excluded).work(session, of_scores)

    def _disagreeing(self) -> tuple[int, ...]:
        """Tilts that disagree with the rest, by the stored curve."""
        agreement = tilt_agreement(self._label.curves)
        if agreement is None:
            return ()
        return tuple(np.flatnonzero(agreement.consistency.disagrees).tolist())

    @property
    def _label(self) -> Label:
        return self.every.labels[0]

    @property
    def _choose(self) -> ChooseThreshold:
        return ChooseThreshold(self._label, self.every.lifting.max_score or 0, replace=True)


def check_excluded(exclude: Sequence[int], n_tilts: int) -> None:
    """Refuse tilts that are not there, or leaving out all of them.

    Parameters
    ----------
    exclude : sequence of int
        Sections, from 0.
    n_tilts : int
        Number of tilts of the series.

    Raises
    ------
    InputError
    """
    wrong = [t for t in exclude if not 0 <= t < n_tilts]
    if wrong:
        raise InputError(
            f"`exclude` names tilt {wrong[0]}, but the series has tilts 0 to {n_tilts - 1}"
        )
    if len(set(exclude)) >= n_tilts:
        raise InputError(f"`exclude` leaves none of the {n_tilts} tilts; exclude fewer")


def check_method(label: Label, *, linked: bool) -> None:
    """Refuse, before anything is done, to replace structures that another method found.

    Parameters
    ----------
    label : Label
        Label that is about to be made.
    linked : bool
        Whether its structures will be linked boxes, not components of a volume.

    Raises
    ------
    ExistsError
    """
    structures = label.structures
    if not structures.exists():
        return
    were_linked = structures.attributes["fingerprint"]["step"] == "link"
    if were_linked != linked:
        method = "tracks" if were_linked else "votes"
        raise ExistsError(
            f"{label.tomogram}: {structures} exists and was found by the method {method!r}; use "
            "`overwrite` to replace it, or another `label`"
        )


def enough_tilts(n_tilts: int, min_tilts: int | None) -> int:
    """Tilts that have to support an object: as given, or a quarter.

    Parameters
    ----------
    n_tilts : int
        Number of tilts of the series.
    min_tilts : int, optional
        What was asked for.

    Returns
    -------
    int
    """
    return max(3, -(-n_tilts // 4)) if min_tilts is None else min_tilts

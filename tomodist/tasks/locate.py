"""Task: 2D boxes to 3D boxes (Algorithm 3), by tracks or by votes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tomodist.algorithms.lift.backproject import Votes
from tomodist.algorithms.objects.box_index import LinkRule
from tomodist.planning.plan import Cut
from tomodist.steps.detect import DetectMaps
from tomodist.steps.structures import Selection
from tomodist.steps.tracks import LinkBoxes
from tomodist.tasks.lifting import LiftingTask, check_excluded, check_method, enough_tilts
from tomodist.tasks.results import LabelResult
from tomodist.tasks.segment import threshold_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.runtime.runner import Session
    from tomodist.sources.base import MapSource
    from tomodist.steps.parts.base import Step
    from tomodist.store.tomogram import Label
    from tomodist.tasks.lifting import Exclude

LocateMethod = Literal["tracks", "votes"]


@dataclass(frozen=True)
class TrackingTask:
    """Locating objects by tracks: no volume is made.

    Parameters
    ----------
    label : Label
        Name of the structures.
    source : MapSource
        Where the 2D boxes come from.
    rule : LinkRule
        Which of them belong together.
    exclude : tuple of int
        Tilts that take no part.
    """

    label: Label
    source: MapSource
    rule: LinkRule
    exclude: tuple[int, ...] = ()

    def steps(self) -> tuple[Step, ...]:
        """Boxes, then structures."""
        return (
            DetectMaps(self.label, self.source),
            LinkBoxes(self.label, self.rule, self.exclude),
        )

    def check(self, *, overwrite: bool) -> None:
        """Refuse to replace structures that another method found."""
        if not overwrite:
            check_method(self.label, linked=True)

    def check_seen(self, session: Session) -> None:
        """Workers must see the store."""
        session.check_sees(str(self.label.tomogram), self.label.tomogram.place.exists)

    def result(self, _: Sequence[Any]) -> LabelResult:
        """The structures."""
        return LabelResult(self.label)


def tracking(
    label: Label,
    source: MapSource,
    *,
    min_tilts: int | None = None,
    tolerance: float = LinkRule.tolerance,
    exclude: Sequence[int] = (),
) -> TrackingTask:
    """Algorithm 3 without a volume: 2D boxes linked across tilts, each track one object.

    Parameters
    ----------
    label, source
        See `TrackingTask`.
    min_tilts : int, optional
        Objects seen in fewer tilts are dropped; by default a quarter of the tilts.
    tolerance : float
        In pixels; see `LinkRule`.
    exclude : sequence of int
        Tilts that take no part.

    Returns
    -------
    TrackingTask

    Raises
    ------
    InputError
        If a number makes no sense, or there is no such tilt.
    """
    n_tilts = label.tomogram.geometry.n_tilts
    check_excluded(exclude, n_tilts)
    rule = LinkRule(enough_tilts(n_tilts, min_tilts), tolerance)
    return TrackingTask(label, source, rule, tuple(sorted(set(exclude))))


def localisation(
    label: Label,
    source: MapSource,
    *,
    min_tilts: int | None = None,
    threshold: float | None = None,
    min_voxels: int = 1,
    exclude: Exclude = (),
    cut: Cut = Cut(),  # noqa: B008 -- a value
) -> LiftingTask:
    """Algorithm 3: votes of filled 2D boxes, their components, and the boxes that support each.

    Parameters
    ----------
    label : Label
        Name of the structures.
    source : MapSource
        Where the 2D boxes come from.
    min_tilts : int, optional
        Structures supported by fewer tilts are dropped; by default a quarter of the tilts.
    threshold : float, optional
        On the votes; by default the one whose reprojection agrees best.
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
        If a number makes no sense, or there is no such tilt.
    """
    geometry, grid = label.tomogram.geometry, label.tomogram.grid
    lifting = Votes(geometry, grid)
    least = enough_tilts(geometry.n_tilts, min_tilts)
    chosen = threshold_of(label, lifting, threshold, replace=exclude == "auto")
    selection = Selection(min_voxels, least, triangulate=True)
    return LiftingTask(label, source, lifting, chosen, selection, exclude, cut)

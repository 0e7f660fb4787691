"""Task: the highest places of a score volume as points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tomodist.tasks.results import LabelResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.runtime.runner import Session
    from tomodist.steps.maxima import PickMaxima
    from tomodist.steps.parts.base import Step


@dataclass(frozen=True)
class PickTask:
    """Picking the maxima of the scores of a label.

    Parameters
    ----------
    pick : PickMaxima
        The only step.
    """

    pick: PickMaxima

    def steps(self) -> tuple[Step, ...]:
        """One step."""
        return (self.pick,)

    def check(self, *, overwrite: bool) -> None:
        """Nothing that the step does not see."""

    def check_seen(self, session: Session) -> None:
        """Workers must see the store."""
        tomogram = self.pick.label.tomogram
        session.check_sees(str(tomogram), tomogram.place.exists)

    def result(self, _: Sequence[Any]) -> LabelResult:
        """The points, and the least score as tables tell it."""
        points = self.pick.points
        return LabelResult(points, points.structures.attributes["threshold"])

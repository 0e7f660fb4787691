"""Task: 2D detection alone, or annotations put into a store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tomodist.steps.annotate import LabelVolume
from tomodist.steps.detect import DetectMaps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.runtime.runner import Session
    from tomodist.sources.annotations import ProjectedMask
    from tomodist.sources.base import MapSource
    from tomodist.steps.parts.base import Step
    from tomodist.store.tomogram import Label


@dataclass(frozen=True)
class DetectionTask:
    """Making the 2D maps of a label; and, of a 3D annotation, its volume.

    Parameters
    ----------
    label : Label
        Name of the structures.
    source : MapSource
        Where the maps come from.
    mask : ProjectedMask, optional
        The 3D annotation whose projections the maps are.
    """

    label: Label
    source: MapSource
    mask: ProjectedMask | None = None

    def steps(self) -> tuple[Step, ...]:
        """The volume, if there is one, and the maps."""
        maps = DetectMaps(self.label, self.source)
        return (maps,) if self.mask is None else (LabelVolume(self.label, self.mask), maps)

    def check(self, *, overwrite: bool) -> None:
        """Nothing that the steps do not see."""

    def check_seen(self, session: Session) -> None:
        """Workers must see the store."""
        session.check_sees(str(self.label.tomogram), self.label.tomogram.place.exists)

    def result(self, _: Sequence[Any]) -> Label:
        """The label."""
        return self.label

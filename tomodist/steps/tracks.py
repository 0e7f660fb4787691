"""Step: 2D boxes linked across tilts become located structures: the `structures` of a label.

Boxes are small (a row each), so this needs no task; no volume is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tomodist.algorithms.objects.tracks import link_boxes
from tomodist.steps.parts.base import make_table
from tomodist.store.boxes import box_rows
from tomodist.store.structures import track_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.algorithms.objects.box_index import LinkRule
    from tomodist.planning.plan import Plan, Resources
    from tomodist.runtime.runner import Session, Work
    from tomodist.store.tomogram import Label

VERSION = 1


@dataclass(frozen=True)
class LinkBoxes:
    """Step: the `structures` of a label from the boxes in its maps.

    Parameters
    ----------
    label : Label
        Which boxes.
    rule : LinkRule
        Which of them belong together.
    exclude : tuple of int
        Tilts whose boxes are not used.
    """

    label: Label
    rule: LinkRule
    exclude: tuple[int, ...] = ()

    def plans(self, _: Resources) -> tuple[Plan, ...]:
        """Nothing to plan."""
        return ()

    def is_current(self, *, overwrite: bool) -> bool:
        """Whether the structures are there, made just so."""
        return self.label.structures.is_current(self._fingerprint(), overwrite=overwrite)

    def work(self, session: Session, plans: Sequence[Plan]) -> Work[None]:  # noqa: ARG002
        """Link, and remove volumes that belong to structures found otherwise."""
        label, tomogram = self.label, self.label.tomogram
        bar = session.progress.start(f"link {label}", 1)
        boxes = [
            rows[:0] if tilt in self.exclude else rows
            for tilt, rows in enumerate(box_rows(label.maps))
        ]
        tracks = link_boxes(tomogram.geometry, tomogram.grid, boxes, self.rule)
        columns = track_columns(tracks, tomogram.geometry, tomogram.grid)
        make_table(
            label.structures, self._fingerprint(), columns, method="tracks", **vars(self.rule)
        )
        for unit in (label.scores, label.curves, label.labels):  # of votes; they would disagree
            unit.remove()
        session.progress.advance(bar)
        yield from ()

    def _fingerprint(self) -> dict[str, Any]:
        """What determines the structures."""
        excluded = {"excluded": list(self.exclude)} if self.exclude else {}
        maps = self.label.maps.digest
        return {"step": "link", "version": VERSION, "maps": maps, **vars(self.rule), **excluded}

"""Task: a stack and its alignment become a tomogram store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tomodist.steps.ingest import Ingest
from tomodist.store.tomogram import Tomogram

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tomodist.runtime.runner import Session
    from tomodist.steps.ingest import Series
    from tomodist.steps.parts.base import Step


@dataclass(frozen=True)
class IngestTask:
    """Putting a tilt series into a store.

    Parameters
    ----------
    path : Path
        Of the store; created if it is not there.
    series : Series
        From `tomodist.steps.ingest.describe_series`.
    """

    path: Path
    series: Series

    def steps(self) -> tuple[Step, ...]:
        """One step."""
        return (Ingest(self.path, self.series),)

    def check(self, *, overwrite: bool) -> None:
        """Everything about the input was checked when it was described."""

    def check_seen(self, session: Session) -> None:
        """The step checks this, once the store is there."""

    def result(self, _: Sequence[Any]) -> Tomogram:
        """The store."""
        return Tomogram.open(self.path)

"""What a person sees: progress bars on stderr, tables on stdout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType


class _Rate(ProgressColumn):
    """Tasks per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f}/s" if speed else "")


class Bars:
    """Progress of a session as bars with rate and time left."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bars = Progress(
            TextColumn("{task.description:<22}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def start(self, step: str, total: int) -> TaskID:
        """A step of `total` tasks begins; gives its bar.

        Parameters
        ----------
        step : str
            Name of the step.
        total : int
            Number of its tasks.

        Returns
        -------
        TaskID
            Of the new bar.
        """
        return self._bars.add_task(step, total=total)

    def advance(self, bar: TaskID) -> None:
        """One task of a step is done."""
        self._bars.advance(bar)

    def message(self, text: str) -> None:
        """Print a line above the bars."""
        self._console.print(text)


def print_table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table on stdout; numbers right-aligned.

    Parameters
    ----------
    title : str
        Printed above.
    head : sequence of str
        Names of the columns.
    rows : iterable of sequence
        One value per column.
    """
    table = Table(title=title, title_justify="left", title_style="bold")
    rows = [list(row) for row in rows]
    for k, name in enumerate(head):
        number = bool(rows) and all(isinstance(row[k], int | float) for row in rows)
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(f"{v:.2f}" if isinstance(v, float) else str(v) for v in row))
    out().print(table)


def print_line(text: str) -> None:
    """Print a line on stdout."""
    out().print(text, soft_wrap=True)


def out() -> Console:
    """Console on stdout; wide enough for tables where there is no terminal."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=120)

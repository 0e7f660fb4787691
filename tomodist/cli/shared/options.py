"""Options that several commands share, and the session that they describe."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from tomodist.cli.shared.console import Bars

if TYPE_CHECKING:
    from tomodist.runtime.runner import Session

Command = Callable[..., Any]
STORE = click.Path(path_type=Path)
_UNITS = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


class Bytes(click.ParamType):  # type: ignore[type-arg]
    """A number of bytes such as ``2GiB`` or ``500M``."""

    name = "size"

    def convert(
        self,
        value: Any,  # noqa: ANN401 -- click passes what it got
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        """Parse it."""
        found = re.fullmatch(r"(\d+\.?\d*)\s*([kmgtb]?)i?b?", str(value).strip().lower())
        if not found or not float(found[1]) or not (found[2] or float(found[1]) >= 2**20):
            self.fail(f"{value!r} is not a size; write it like 2GiB or 500MiB", param, ctx)
        return int(float(found[1]) * _UNITS[found[2]])


class Brick(click.ParamType):  # type: ignore[type-arg]
    """Three multiples of 64, such as ``128,256,256``."""

    name = "z,y,x"

    def convert(
        self,
        value: Any,  # noqa: ANN401
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[int, ...]:
        """Parse it."""
        parts = tuple(int(p) for p in re.findall(r"\d+", str(value)))
        if len(parts) != 3 or any(p % 64 or not p for p in parts):
            self.fail(f"{value!r} is not three multiples of 64, such as 128,256,256", param, ctx)
        return parts


def whole_numbers(text: str) -> list[int] | None:
    """Numbers and ranges such as ``0,3-5``; None if it is something else.

    Examples
    --------
    >>> whole_numbers("0,3-5")
    [0, 3, 4, 5]
    """
    found: list[int] = []
    for part in text.replace(",", " ").split():
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if not match:
            return None
        found += range(int(match[1]), int(match[2] or match[1]) + 1)
    return found


class Tilts(click.ParamType):  # type: ignore[type-arg]
    """Numbers of tilts such as ``0,3-5,38``, or ``auto``."""

    name = "tilts"

    def convert(
        self,
        value: Any,  # noqa: ANN401
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[int, ...] | Literal["auto"]:
        """Parse it."""
        if isinstance(value, tuple):
            return value
        if str(value).strip() == "auto":
            return "auto"
        numbers = whole_numbers(str(value))
        if numbers is None:
            self.fail(f"{value!r} is not numbers of tilts like 0,3-5,38, or auto", param, ctx)
        return tuple(numbers)


class Classes(click.ParamType):  # type: ignore[type-arg]
    """Names of classes such as ``granule,membrane``, or ``auto``."""

    name = "names"

    def convert(
        self,
        value: Any,  # noqa: ANN401
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, ...] | Literal["auto"]:
        """Parse it."""
        if isinstance(value, tuple):
            return value
        names = tuple(name.strip() for name in str(value).split(","))
        if not all(names):
            self.fail(f"{value!r} has an empty name; write it like granule,membrane", param, ctx)
        return "auto" if names == ("auto",) else names


def cluster_options(command: Command) -> Command:
    """Where the work runs: --cluster, --workers, --memory."""
    options = [
        click.option(
            "--cluster",
            default="local",
            show_default=True,
            help="local (worker processes), threads, or the address of a dask scheduler.",
        ),
        click.option("--workers", type=int, help="Processes or threads. [default: one per core]"),
        click.option("--memory", type=Bytes(), help="Per worker process. [default: 80 % of free]"),
    ]
    return _apply(options, command)


@dataclass(frozen=True)
class WorkOptions:
    """What the options of `work_options` say."""

    brick: tuple[int, ...] | None
    tilts_per_task: int | None
    overwrite: bool
    dry_run: bool
    cluster: str
    workers: int | None
    memory: int | None

    @property
    def where(self) -> tuple[str, int | None, int | None]:
        """Arguments of `session_of`."""
        return self.cluster, self.workers, self.memory


@dataclass(frozen=True)
class RunOptions(WorkOptions):
    """What the options of `lifting_options` say, but store and label."""

    threshold: float | None
    min_voxels: int
    exclude: tuple[int, ...] | Literal["auto"]

    @property
    def excluded(self) -> tuple[int, ...]:
        """Tilts that are named."""
        return () if self.exclude == "auto" else self.exclude

    def of_task(self) -> dict[str, Any]:
        """Those that are fields of `tomodist.tasks.lifting.Task`."""
        names = ("threshold", "min_voxels", "exclude", "brick", "tilts_per_task")
        return {name: getattr(self, name) for name in names}


def gathered(kind: type, name: str, command: Command) -> Command:
    """Hand a command one value of a dataclass instead of one argument per option."""
    fields = [field.name for field in dataclasses.fields(kind)]

    @functools.wraps(command)
    def call(**given: Any) -> Any:  # noqa: ANN401 -- whatever click passes
        value = kind(**{field: given.pop(field) for field in fields})
        return command(**{name: value}, **given)

    return call


def lifting_options(command: Command) -> Command:
    """What every 3D task takes: ``store``, ``label`` and, as one value, ``run``."""
    return _lifting(command, click.option("--label", required=True, help="Name of the structures."))


def labels_options(command: Command) -> Command:
    """The same for tasks whose sources may name several labels: ``label`` may be None."""
    words = "Name of the structures; with --boxes, one of its classes. [default: every class]"
    return _lifting(command, click.option("--label", help=words))


def _lifting(command: Command, label: Callable[[Command], Command]) -> Command:
    options: list[Callable[[Command], Command]] = [
        click.argument("store", type=STORE),
        label,
        click.option(
            "--threshold",
            type=float,
            help="On the votes; of balanced votes a share, 0 to 1. [default: where reprojection "
            "fits best; for edges, where long rays agree best with the 2D edges]",
        ),
        click.option("--min-voxels", default=1, show_default=True, help="Drop smaller structures."),
        click.option(
            "--exclude-tilts",
            "exclude",
            type=Tilts(),
            default="",
            help="Tilts that take no part, such as 0,3-5 (from 0); or auto: those that disagree.",
        ),
    ]
    return _apply(options, work_options(gathered(RunOptions, "run", command)))


def work_options(command: Command) -> Command:
    """How work on a volume is cut, whether it runs, and where."""
    options = [
        click.option("--brick", type=Brick(), help="Of the volume. [default: planned]"),
        click.option("--tilts-per-task", type=int, help="[default: planned]"),
        click.option("--overwrite", is_flag=True, help="Replace what was made differently."),
        click.option("--dry-run", is_flag=True, help="Check everything, print the plan, stop."),
    ]
    return _apply(options, cluster_options(command))


@contextmanager
def session_of(cluster: str, workers: int | None, memory: int | None) -> Iterator[Session]:
    """Open the session that the cluster options describe, with progress bars."""
    from tomodist.runtime.cluster import open_session

    with (
        Bars() as bars,
        open_session(cluster, n_workers=workers, memory_limit=memory, progress=bars) as session,
    ):
        yield session


def _apply(options: Sequence[Callable[[Command], Command]], command: Command) -> Command:
    for option in reversed(options):
        command = option(command)
    return command

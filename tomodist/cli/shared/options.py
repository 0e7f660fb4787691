"""Options that several commands share, in groups, and the session that they describe.

One rule: the same thing has the same name and the same words in every command.
"""

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
import cloup

from tomodist.cli.shared.console import Bars

if TYPE_CHECKING:
    from tomodist.planning.plan import Cut
    from tomodist.runtime.runner import Session

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]
STORE = click.Path(path_type=Path)


class GroupedCommand(cloup.Command):
    """A command whose help shows its options in groups.

    cloup stores the options of a command in its groups, and several commands have groups of the
    same name: each gets its own.
    """

    def __init__(self, *args: Any, **more: Any) -> None:  # noqa: ANN401 -- as click passes them
        own: dict[str, cloup.OptionGroup] = {}
        for option in more.get("params") or ():
            if (shared := getattr(option, "group", None)) is not None:
                option.group = own.setdefault(shared.title, cloup.OptionGroup(shared.title))
        super().__init__(*args, **more)


INPUT = cloup.OptionGroup("Input")
DETECTION = cloup.OptionGroup("2D detection")
LIFTING = cloup.OptionGroup("Lifting to 3D")
SELECTION = cloup.OptionGroup("Selection")
TRAINING = cloup.OptionGroup("Training")
OUTPUT = cloup.OptionGroup("Output")
RUN = cloup.OptionGroup("Run")
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
        match = re.fullmatch(r"(\d+\.?\d*)\s*([kmgtb]?)i?b?", str(value).strip().lower())
        if not match or not float(match[1]) or not (match[2] or float(match[1]) >= 2**20):
            self.fail(f"{value!r} is not a size; write it like 2GiB or 500MiB", param, ctx)
        return int(float(match[1]) * _UNITS[match[2]])


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
    numbers: list[int] = []
    for part in text.replace(",", " ").split():
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if not match:
            return None
        numbers += range(int(match[1]), int(match[2] or match[1]) + 1)
    return numbers


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


def frame_option(what: str) -> Decorator:
    """--frame: on which images maps or boxes lie."""
    return cloup.option(
        "--frame",
        type=click.Choice(["aligned", "raw"]),
        default="aligned",
        show_default=True,
        group=INPUT,
        help=f"Images on which {what} lie: the stored, aligned ones, or the raw ones.",
    )


def overwrite_option(what: str) -> Decorator:
    """--overwrite."""
    return cloup.option("--overwrite", is_flag=True, group=RUN, help=f"Replace {what}.")


def exclude_option(extra: str = "") -> Decorator:
    """--exclude-tilts."""
    return cloup.option(
        "--exclude-tilts",
        "exclude",
        type=Tilts(),
        default="",
        group=SELECTION,
        help=f"Tilts to leave out, counted from 0, such as 0,3-5{extra}. [default: none]",
    )


def cluster_options(command: Command) -> Command:
    """Where the work runs: --cluster, --workers, --memory."""
    options: list[Decorator] = [
        cloup.option(
            "--cluster",
            default="local",
            show_default=True,
            group=RUN,
            help="Where tasks run: local (worker processes), threads (of this process), or the "
            "address of a dask scheduler, such as tcp://10.0.0.1:8786.",
        ),
        cloup.option(
            "--workers",
            "workers",
            type=int,
            group=RUN,
            help="Number of worker processes or threads. [default: one per core]",
        ),
        cloup.option(
            "--memory",
            type=Bytes(),
            group=RUN,
            help="Memory per worker process, such as 4GiB. [default: 80 % of the free memory, in "
            "equal shares]",
        ),
    ]
    return apply(options, command)


@dataclass(frozen=True)
class WorkOptions:
    """Where and how work runs: the options of `work_options`."""

    brick: tuple[int, ...] | None = None
    tilts_per_task: int | None = None
    overwrite: bool = False
    dry_run: bool = False
    cluster: str = "local"
    workers: int | None = None
    memory: int | None = None

    @property
    def where(self) -> tuple[str, int | None, int | None]:
        """Arguments of `session_of`."""
        return self.cluster, self.workers, self.memory

    @property
    def cut(self) -> Cut:
        """Brick and tilts per task, where they are fixed."""
        from tomodist.planning.plan import Cut

        return Cut(self.brick, self.tilts_per_task)


@dataclass(frozen=True)
class RunOptions(WorkOptions):
    """The options of `lifting_options` but store and label."""

    threshold: float | None = None
    min_voxels: int = 1
    exclude: tuple[int, ...] | Literal["auto"] = ()

    @property
    def excluded(self) -> tuple[int, ...]:
        """Tilts that are named."""
        return () if self.exclude == "auto" else self.exclude


def gathered(kind: type, name: str, command: Command) -> Command:
    """Hand a command one value of a dataclass instead of one argument per option.

    Parameters
    ----------
    kind : type
        Dataclass whose fields are options of the command.
    name : str
        Argument of the command that gets the value.
    command : callable
        Command.

    Returns
    -------
    callable
        Command that takes the options one by one.
    """
    fields = [field.name for field in dataclasses.fields(kind)]

    @functools.wraps(command)
    def call(**arguments: Any) -> Any:  # noqa: ANN401 -- whatever click passes
        value = kind(**{f: arguments.pop(f) for f in fields if f in arguments})
        return command(**{name: value}, **arguments)

    return call


def lifting_options(command: Command) -> Command:
    """What every 3D task takes: ``store``, ``label`` and, as one value, ``run``."""
    label = cloup.option("--label", required=True, group=INPUT, help="Name of the structures.")
    return _lifting(command, label)


def labels_options(command: Command) -> Command:
    """The same for tasks whose sources may name several labels: ``label`` may be None."""
    words = (
        "Name of the structures; with --boxes or a model, one of its classes. "
        "[default: every class]"
    )
    return _lifting(command, cloup.option("--label", group=INPUT, help=words))


def _lifting(command: Command, label: Decorator) -> Command:
    options: list[Decorator] = [
        store_argument,
        label,
        cloup.option(
            "--threshold",
            type=float,
            group=SELECTION,
            help="Score above which a voxel is structure: a number of votes; of balanced votes a "
            "share, 0 to 1. [default: chosen from the data]",
        ),
        cloup.option(
            "--min-voxels",
            default=1,
            show_default=True,
            group=SELECTION,
            help="Smallest structure that is kept, in voxels.",
        ),
        exclude_option("; or auto: those that disagree with the rest"),
    ]
    return apply(options, work_options(gathered(RunOptions, "run", command)))


def plan_options(command: Command) -> Command:
    """How work on a volume is cut, and where it would run."""
    options: list[Decorator] = [
        cloup.option(
            "--brick",
            type=Brick(),
            group=RUN,
            help="Size of the bricks in voxels, multiples of 64, such as 128,256,256. "
            "[default: planned]",
        ),
        cloup.option(
            "--tilts-per-task",
            type=int,
            group=RUN,
            help="Number of tilts that a task takes at a time. [default: planned]",
        ),
    ]
    return apply(options, cluster_options(command))


def work_options(command: Command) -> Command:
    """How work on a volume is cut, whether it runs, and where."""
    options: list[Decorator] = [
        overwrite_option("results that were made differently"),
        cloup.option(
            "--dry-run", is_flag=True, group=RUN, help="Check everything, print the plan, and stop."
        ),
    ]
    return plan_options(apply(options, command))


def store_argument(command: Command) -> Command:
    """The tomogram store."""
    return cloup.argument("store", type=STORE, help="Tomogram store, made by `tomodist ingest`.")(
        command
    )


@contextmanager
def session_of(cluster: str, workers: int | None, memory: int | None) -> Iterator[Session]:
    """Open the session that the cluster options describe, with progress bars.

    Parameters
    ----------
    cluster : str
        "threads", "local" or the address of a scheduler.
    workers : int, optional
        Number of workers.
    memory : int, optional
        Memory of a worker in bytes.

    Returns
    -------
    Session
        Open while the context lasts.
    """
    from tomodist.runtime.cluster import open_session  # imports dask

    with (
        Bars() as bars,
        open_session(cluster, n_workers=workers, memory_limit=memory, progress=bars) as session,
    ):
        yield session


def apply(options: Sequence[Decorator], command: Command) -> Command:
    """Add options to a command, in this order.

    Parameters
    ----------
    options : sequence of decorator
        In the order of the help.
    command : callable
        Command.

    Returns
    -------
    callable
        Command with the options.
    """
    for option in reversed(options):
        command = option(command)
    return command

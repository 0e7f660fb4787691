"""``tomodist plan``: what a run would cost; nothing is run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import cloup

from tomodist.cli.shared.options import (
    INPUT,
    GroupedCommand,
    WorkOptions,
    plan_options,
    store_argument,
)
from tomodist.cli.shared.running import run_tasks
from tomodist.cli.shared.show import open_tomogram

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tomodist.store.tomogram import Tomogram
    from tomodist.tasks.base import Task

_LABEL = "plan"  # of the tasks, which are not run


@cloup.command(
    "plan",
    cls=GroupedCommand,
    epilog="Example: tomodist plan TS_01.zarr --workers 16 --memory 4GiB",
)
@store_argument
@cloup.option(
    "--task",
    type=click.Choice(["segment", "locate", "edges", "reconstruct"]),
    default="segment",
    show_default=True,
    group=INPUT,
    help="Task to plan, with its default options and a classical detector.",
)
@plan_options
def command(store: Path, task: str, **work: Any) -> None:  # noqa: ANN401 -- see `WorkOptions`
    """Print bricks, tasks, memory and bytes of all steps of a task, and run nothing.

    The plan is that of the command itself, as with its --dry-run. Of locate it is that of --method
    votes; tracks make no volume.
    """
    options = WorkOptions(**work, dry_run=True)
    tomogram = open_tomogram(store)
    run_tasks([_TASKS[task](tomogram, options)], options)


def _segment(tomogram: Tomogram, options: WorkOptions) -> Task[Any]:
    from tomodist.detectors.classical import GlobalThreshold
    from tomodist.sources.base import DetectorMaps
    from tomodist.tasks.segment import segmentation

    source = DetectorMaps(GlobalThreshold())
    return segmentation(tomogram.label(_LABEL), source, cut=options.cut)


def _locate(tomogram: Tomogram, options: WorkOptions) -> Task[Any]:
    from tomodist.detectors.classical import GlobalThreshold
    from tomodist.sources.base import DetectorMaps
    from tomodist.tasks.locate import localisation

    source = DetectorMaps(GlobalThreshold(), "box")
    return localisation(tomogram.label(_LABEL), source, cut=options.cut)


def _edges(tomogram: Tomogram, options: WorkOptions) -> Task[Any]:
    from tomodist.detectors.classical import DogEdges
    from tomodist.sources.base import DetectorMaps
    from tomodist.tasks.edges import edge_detection

    return edge_detection(tomogram.label(_LABEL), DetectorMaps(DogEdges()), cut=options.cut)


def _reconstruct(tomogram: Tomogram, options: WorkOptions) -> Task[Any]:
    from tomodist.tasks.reconstruct import ReconstructionTask, method_of

    method = method_of(tomogram, "wbp")
    return ReconstructionTask(tomogram.reconstruction(_LABEL), method, options.cut)


_TASKS: dict[str, Callable[[Tomogram, WorkOptions], Task[Any]]] = {
    "segment": _segment,
    "locate": _locate,
    "edges": _edges,
    "reconstruct": _reconstruct,
}

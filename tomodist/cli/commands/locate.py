"""``tomodist locate``: 2D boxes to 3D boxes (Algorithm 3)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
import cloup

from tomodist.cli.shared.options import (
    LIFTING,
    SELECTION,
    GroupedCommand,
    RunOptions,
    labels_options,
)
from tomodist.cli.shared.running import run_tasks
from tomodist.cli.shared.show import open_tomogram, show
from tomodist.cli.shared.sources import SourceOptions, source_options
from tomodist.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.tasks.base import Task
    from tomodist.tasks.locate import LocateMethod


@cloup.command(
    "locate",
    cls=GroupedCommand,
    epilog="Example: tomodist locate TS_01.zarr --detector blobs --diameter 100 --dark "
    "--label gold",
)
@cloup.option(
    "--method",
    type=click.Choice(["tracks", "votes"]),
    default="tracks",
    show_default=True,
    group=LIFTING,
    help="Method: tracks links boxes across tilts; votes finds the components of the votes of "
    "filled boxes.",
)
@cloup.option(
    "--tolerance",
    type=float,
    group=LIFTING,
    help="Distance by which a 2D box may be off a track, in pixels, beside 15 % of its size. "
    "[default: 2]",
)
@cloup.option(
    "--min-tilts",
    type=int,
    group=SELECTION,
    help="Smallest number of tilts that show a structure. [default: a quarter of the tilts]",
)
@source_options
@labels_options
def command(
    store: Path,
    label: str | None,
    method: LocateMethod,
    min_tilts: int | None,
    tolerance: float | None,
    source: SourceOptions,
    run: RunOptions,
) -> None:
    """Lift 2D boxes to 3D boxes, with their support and residual in every tilt."""
    from tomodist.tasks.locate import localisation, tracking

    _check_options(method, tolerance, run)
    tomogram = open_tomogram(store)
    tasks: list[Task[Any]] = []
    for name, maps in source.sources(tomogram, label, "box").items():
        of = tomogram.label(name)
        if method == "votes":
            tasks.append(
                localisation(
                    of,
                    maps,
                    min_tilts=min_tilts,
                    threshold=run.threshold,
                    min_voxels=run.min_voxels,
                    exclude=run.exclude,
                    cut=run.cut,
                )
            )
            continue
        task = tracking(of, maps, min_tilts=min_tilts, exclude=run.excluded)
        rule = task.rule if tolerance is None else replace(task.rule, tolerance=tolerance)
        tasks.append(replace(task, rule=rule))
    for result in run_tasks(tasks, run):
        show(result)


def _check_options(method: LocateMethod, tolerance: float | None, run: RunOptions) -> None:
    """Refuse options of the other method."""
    is_used = {
        "--threshold": run.threshold is not None,
        "--min-voxels": run.min_voxels != 1,
        "--exclude-tilts auto": run.exclude == "auto",
        "--brick": run.brick is not None,
        "--tilts-per-task": run.tilts_per_task is not None,
    }
    if method == "votes":
        is_used = {"--tolerance": tolerance is not None}
    wrong = [name for name, used in is_used.items() if used]
    if wrong:
        other = "votes" if method == "tracks" else "tracks"
        raise InputError(
            f"{wrong[0]} applies only to --method {other}, but --method is {method}; remove it, or "
            f"use --method {other}"
        )

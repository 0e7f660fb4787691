"""``tomodist locate``: 2D boxes to 3D boxes (Algorithm 3)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from tomodist.cli.shared.options import RunOptions, labels_options
from tomodist.cli.shared.sources import MapOptions, detector_options
from tomodist.cli.shared.tasks import open_tomogram, run_or_plan
from tomodist.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.tasks.lifting import LocateMethod


@click.command(
    "locate",
    epilog="Example: tomodist locate TS_01.zarr --detector blobs --diameter 100 --dark "
    "--label gold",
)
@click.option(
    "--method",
    type=click.Choice(["tracks", "votes"]),
    default="tracks",
    show_default=True,
    help="Link boxes across tilts, or find components of the votes of filled boxes.",
)
@click.option("--min-tilts", type=int, help="Drop structures seen in fewer. [default: a quarter]")
@click.option(
    "--tolerance",
    type=float,
    help="Of tracks: how far a 2D box may be off, in pixels, beside 15 % of its size. [default: 2]",
)
@detector_options
@labels_options
def command(
    store: Path,
    label: str | None,
    method: LocateMethod,
    min_tilts: int | None,
    tolerance: float | None,
    given: MapOptions,
    run: RunOptions,
) -> None:
    """Lift 2D boxes to 3D boxes, with their support and residual in every tilt."""
    from tomodist.tasks.lifting import LinkTask, Task, localisation, tracking

    _check_options(method, tolerance, run)
    tomogram = open_tomogram(store)
    tasks: list[Task | LinkTask] = []
    for name, source in given.sources(tomogram, label, "box").items():
        if method == "votes":
            options = run.of_task()
            tasks.append(localisation(tomogram, name, source, min_tilts=min_tilts, **options))
            continue
        task = tracking(tomogram, name, source, min_tilts=min_tilts, exclude=run.excluded)
        rule = task.rule if tolerance is None else replace(task.rule, tolerance=tolerance)
        tasks.append(replace(task, rule=rule))
    run_or_plan(tomogram, tasks, run)


def _check_options(method: LocateMethod, tolerance: float | None, run: RunOptions) -> None:
    """Refuse options of the other method."""
    given = {
        "--threshold": run.threshold is not None,
        "--min-voxels": run.min_voxels != 1,
        "--exclude-tilts auto": run.exclude == "auto",
        "--brick": run.brick is not None,
        "--tilts-per-task": run.tilts_per_task is not None,
    }
    if method == "votes":
        given = {"--tolerance": tolerance is not None}
    wrong = [name for name, there in given.items() if there]
    if wrong:
        other = "votes" if method == "tracks" else "tracks"
        raise InputError(
            f"{wrong[0]} is of --method {other}, but --method is {method}; leave it out, or give "
            f"--method {other}"
        )

"""``tomodist locate``: 2D boxes to 3D boxes (Algorithm 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tomodist.cli.options import RunOptions, labels_options
from tomodist.cli.tasks import MapOptions, detector_options, open_tomogram, run_or_plan

if TYPE_CHECKING:
    from pathlib import Path


@click.command(
    "locate",
    epilog="Example: tomodist locate TS_01.zarr --detector blobs --diameter 100 --dark "
    "--label gold",
)
@click.option("--min-tilts", type=int, help="Drop structures seen in fewer. [default: a quarter]")
@detector_options
@labels_options
def command(
    store: Path, label: str | None, min_tilts: int | None, given: MapOptions, run: RunOptions
) -> None:
    """Lift 2D boxes to 3D boxes, with their support and residual in every tilt."""
    from tomodist.pipeline import localisation

    tomogram = open_tomogram(store)
    tasks = [
        localisation(tomogram, name, source, min_tilts=min_tilts, **run.of_task())
        for name, source in given.sources(tomogram, label, "box").items()
    ]
    run_or_plan(tomogram, tasks, run)

"""``tomodist segment``: 2D masks to a 3D segmentation (Algorithm 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tomodist.cli.options import RunOptions, labels_options
from tomodist.cli.tasks import MapOptions, detector_options, open_tomogram, run_or_plan

if TYPE_CHECKING:
    from pathlib import Path


@click.command(
    "segment", epilog="Example: tomodist segment TS_01.zarr --maps granules.mrc --label granule"
)
@detector_options
@labels_options
def command(store: Path, label: str | None, given: MapOptions, run: RunOptions) -> None:
    """Lift 2D masks to 3D: votes, and the threshold whose reprojection agrees best."""
    from tomodist.pipeline import segmentation

    tomogram = open_tomogram(store)
    tasks = [
        segmentation(tomogram, name, source, **run.of_task())
        for name, source in given.sources(tomogram, label, "mask").items()
    ]
    run_or_plan(tomogram, tasks, run)

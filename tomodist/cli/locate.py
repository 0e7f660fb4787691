"""``tomodist locate``: 2D boxes to 3D boxes (Algorithm 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tomodist.cli.options import lifting_options
from tomodist.cli.tasks import detector_options, map_source, open_tomogram, run_or_plan

if TYPE_CHECKING:
    from pathlib import Path


@click.command(
    "locate",
    epilog="Example: tomodist locate TS_01.zarr --detector blobs --diameter 100 --dark "
    "--label gold",
)
@click.option("--min-tilts", type=int, help="Drop structures seen in fewer. [default: a quarter]")
@detector_options
@lifting_options
def command(
    store: Path,
    label: str,
    min_tilts: int | None,
    maps: str | None,
    maps_frame: str,
    detector: str | None,
    diameter: float | None,
    sensitivity: float | None,
    smooth: float,
    min_size: float,
    threshold: float | None,
    min_voxels: int,
    brick: tuple[int, ...] | None,
    tilts_per_task: int | None,
    *,
    dark: bool,
    overwrite: bool,
    dry_run: bool,
    cluster: str,
    workers: int | None,
    memory: int | None,
) -> None:
    """Lift 2D boxes to 3D boxes, with their support and residual in every tilt."""
    from tomodist.pipeline import localisation

    tomogram = open_tomogram(store)
    source = map_source(
        tomogram,
        maps,
        maps_frame,
        detector,
        diameter,
        sensitivity,
        smooth,
        min_size,
        dark=dark,
        form="box",
    )
    task = localisation(
        tomogram,
        label,
        source,
        min_tilts=min_tilts,
        threshold=threshold,
        min_voxels=min_voxels,
        brick=brick,
        tilts_per_task=tilts_per_task,
    )
    run_or_plan(
        tomogram,
        task,
        cluster=cluster,
        workers=workers,
        memory=memory,
        overwrite=overwrite,
        dry_run=dry_run,
    )

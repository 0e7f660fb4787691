"""``tomodist segment``: 2D masks to a 3D segmentation (Algorithm 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tomodist.cli.options import lifting_options
from tomodist.cli.tasks import detector_options, map_source, open_tomogram, run_or_plan

if TYPE_CHECKING:
    from pathlib import Path


@click.command(
    "segment", epilog="Example: tomodist segment TS_01.zarr --maps granules.mrc --label granule"
)
@detector_options
@lifting_options
def command(
    store: Path,
    label: str,
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
    """Lift 2D masks to 3D: votes, and the threshold whose reprojection agrees best."""
    from tomodist.pipeline import segmentation

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
        form="mask",
    )
    task = segmentation(
        tomogram,
        label,
        source,
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

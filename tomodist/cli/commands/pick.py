"""``tomodist pick``: the highest places of a score volume as points, for particle pickers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tomodist.cli.shared.options import STORE, cluster_options, session_of
from tomodist.cli.shared.tasks import open_tomogram, print_structures

if TYPE_CHECKING:
    from pathlib import Path


@click.command("pick", epilog="Example: tomodist pick TS_01.zarr --label ribosome --distance 250")
@click.argument("store", type=STORE)
@click.option("--label", required=True, help="Whose scores.")
@click.option("--distance", type=float, required=True, help="Least distance of two points, in Å.")
@click.option(
    "--threshold",
    type=float,
    help="Least score; a share of the tilts, or votes. [default: label's]",
)
@click.option("--name", help="Of the points. [default: LABEL-points]")
@click.option("--overwrite", is_flag=True, help="Replace points that were found differently.")
@cluster_options
def command(
    store: Path,
    label: str,
    distance: float,
    threshold: float | None,
    name: str | None,
    cluster: str,
    workers: int | None,
    memory: int | None,
    *,
    overwrite: bool,
) -> None:
    """Pick the local maxima of the scores of a label; export them as STAR or for copick."""
    from tomodist.steps.maxima import pick_maxima, plan_maxima
    from tomodist.store.tomogram import check_label

    tomogram = open_tomogram(store)
    points = check_label(name or f"{label}-points")
    with session_of(cluster, workers, memory) as session:
        plan_maxima(tomogram.grid, distance / tomogram.grid.voxel_size, session.resources)
        pick_maxima(session, tomogram, label, points, distance, threshold, overwrite=overwrite)
    found = tomogram.label(points).structures.attributes
    print_structures(tomogram, points, found["threshold"])

"""``tomodist segment``: 2D masks to a 3D segmentation (Algorithm 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tomodist.cli.options import RunOptions, labels_options
from tomodist.cli.tasks import MapOptions, detector_options, open_tomogram, run_or_plan
from tomodist.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.pipeline import VotesKind


@click.command(
    "segment", epilog="Example: tomodist segment TS_01.zarr --maps granules.mrc --label granule"
)
@click.option(
    "--votes",
    type=click.Choice(["balanced", "plain"]),
    default="balanced",
    show_default=True,
    help="Tilts agree from every side; or all votes are alike, as in the paper.",
)
@click.option("--sectors", type=int, help="Of balanced votes. [default: 3]")
@click.option(
    "--coverage", is_flag=True, help="Balanced votes as shares of the tilts that see a voxel."
)
@click.option(
    "--own-thresholds/--one-threshold",
    default=True,
    help="Every structure is cut at the threshold that fits it best. [default]",
)
@detector_options
@labels_options
def command(
    store: Path,
    label: str | None,
    votes: VotesKind,
    sectors: int | None,
    given: MapOptions,
    run: RunOptions,
    *,
    coverage: bool,
    own_thresholds: bool,
) -> None:
    """Lift 2D masks to 3D: votes, and the threshold whose reprojection agrees best."""
    from tomodist.pipeline import segmentation

    if votes == "plain" and (coverage or sectors is not None):
        raise InputError("--sectors and --coverage are of --votes balanced; leave them out")
    options = {"own_thresholds": own_thresholds, "coverage": coverage, **run.of_task()}
    if sectors is not None:
        options["sectors"] = sectors
    tomogram = open_tomogram(store)
    tasks = [
        segmentation(tomogram, name, source, votes, **options)
        for name, source in given.sources(tomogram, label, "mask").items()
    ]
    run_or_plan(tomogram, tasks, run)

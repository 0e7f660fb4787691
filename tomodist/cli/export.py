"""``tomodist export``: results as files of other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from tomodist.cli.console import Bars, print_line
from tomodist.cli.options import STORE
from tomodist.cli.tasks import open_tomogram

if TYPE_CHECKING:
    from pathlib import Path


@click.command(
    "export", epilog="Example: tomodist export TS_01.zarr --label gold --format star -o gold.star"
)
@click.argument("store", type=STORE)
@click.option("--label", required=True, help="Name of the structures.")
@click.option("--format", "file_format", type=click.Choice(["star", "csv", "mrc"]), required=True)
@click.option(
    "--volume",
    type=click.Choice(["mask", "labels", "scores"]),
    default="mask",
    show_default=True,
    help="Which volume, for mrc.",
)
@click.option("-o", "--output", type=STORE, required=True, help="The file.")
@click.option("--overwrite", is_flag=True, help="Replace the file.")
def command(
    store: Path,
    label: str,
    file_format: Literal["star", "csv", "mrc"],
    volume: Literal["mask", "labels", "scores"],
    output: Path,
    *,
    overwrite: bool,
) -> None:
    """Write structures as STAR (RELION 5) or CSV, or a volume as MRC."""
    from tomodist.cluster import local_resources
    from tomodist.stages.execute import Session
    from tomodist.stages.export import export_result

    tomogram = open_tomogram(store)
    with Bars() as bars:
        session = Session(local_resources(1, None), None, bars)
        export_result(
            session, tomogram, label, output, file_format, volume=volume, overwrite=overwrite
        )
    print_line(f"written: {output}")

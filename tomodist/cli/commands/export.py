"""``tomodist export``: results as files of other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tomodist.cli.shared.console import Bars, print_line
from tomodist.cli.shared.options import STORE
from tomodist.cli.shared.tasks import open_tomogram
from tomodist.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.steps.export import Format, VolumeName

FORMATS = ("star", "csv", "mrc", "zarr", "copick", "ndjson")


@click.command(
    "export", epilog="Example: tomodist export TS_01.zarr --label gold --format star -o gold.star"
)
@click.argument("store", type=STORE)
@click.option("--label", help="Name of the structures.")
@click.option("--reconstruction", help="Name of a reconstruction, instead of --label.")
@click.option("--format", "file_format", type=click.Choice(FORMATS), required=True)
@click.option(
    "--volume",
    type=click.Choice(["mask", "labels", "scores", "shares"]),
    help="Which volume of a label, for mrc and zarr (scores only). [default: mask]",
)
@click.option("--user", default="tomodist", show_default=True, help="Of copick's picks.")
@click.option("--session", default="0", show_default=True, help="Of copick's picks; 0 is a tool's.")
@click.option(
    "-o", "--output", type=STORE, required=True, help="The file; for copick the project's folder."
)
@click.option("--overwrite", is_flag=True, help="Replace the file.")
def command(
    store: Path,
    label: str | None,
    reconstruction: str | None,
    file_format: Format,
    volume: VolumeName | None,
    user: str,
    session: str,
    output: Path,
    *,
    overwrite: bool,
) -> None:
    """Write structures as STAR (RELION 5), CSV, copick or portal points, or a volume.

    Volumes are MRC or OME-Zarr.
    """
    from tomodist.runtime.cluster import local_resources
    from tomodist.runtime.runner import Session
    from tomodist.steps.export import export_result

    tomogram = open_tomogram(store)
    name, what = _wanted(label, reconstruction, volume)
    with Bars() as bars:
        here = Session(local_resources(1, None), None, bars)
        written = export_result(
            here,
            tomogram,
            name,
            output,
            file_format,
            volume=what,
            user=user,
            pick_session=session,
            overwrite=overwrite,
        )
    print_line(f"written: {written}")


def _wanted(
    label: str | None, reconstruction: str | None, volume: VolumeName | None
) -> tuple[str, VolumeName]:
    """Name of what is exported, and which volume it is."""
    if label is not None and reconstruction is None:
        return label, volume or "mask"
    if reconstruction is None or label is not None:
        raise InputError("give either --label (structures) or --reconstruction (grey values)")
    if volume is not None:
        raise InputError(f"--volume {volume} is of a --label; leave it out for a --reconstruction")
    return reconstruction, "reconstruction"

"""``tomodist export``: results as files of other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import cloup

from tomodist.cli.shared.console import Bars, print_line
from tomodist.cli.shared.options import (
    INPUT,
    OUTPUT,
    STORE,
    GroupedCommand,
    overwrite_option,
    store_argument,
)
from tomodist.cli.shared.show import open_tomogram
from tomodist.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.steps.export import Format, VolumeName

FORMATS = ("star", "csv", "mrc", "zarr", "copick", "ndjson")


@cloup.command(
    "export",
    cls=GroupedCommand,
    epilog="Example: tomodist export TS_01.zarr --label gold --format star -o gold.star",
)
@store_argument
@cloup.option("--label", group=INPUT, help="Name of the structures.")
@cloup.option("--reconstruction", group=INPUT, help="Name of a reconstruction, instead of --label.")
@cloup.option(
    "--volume",
    type=click.Choice(["mask", "labels", "scores", "shares"]),
    group=INPUT,
    help="Volume of a label, for mrc and zarr (zarr: scores only). [default: mask]",
)
@cloup.option(
    "--format",
    "file_format",
    type=click.Choice(FORMATS),
    required=True,
    group=OUTPUT,
    help="Format of the file: a table of structures (star, csv), points (copick, ndjson) or a "
    "volume (mrc, zarr).",
)
@cloup.option(
    "-o",
    "--output",
    type=STORE,
    required=True,
    group=OUTPUT,
    help="File to write; for copick, the folder of the project.",
)
@cloup.option(
    "--user", default="tomodist", show_default=True, group=OUTPUT, help="User of copick's picks."
)
@cloup.option(
    "--session",
    default="0",
    show_default=True,
    group=OUTPUT,
    help="Session of copick's picks; 0 stands for a tool.",
)
@overwrite_option("the file")
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
    from tomodist.steps.export import export_result

    tomogram = open_tomogram(store)
    name, what = _volume_of(label, reconstruction, volume)
    with Bars() as bars:
        written = export_result(
            bars,
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


def _volume_of(
    label: str | None, reconstruction: str | None, volume: VolumeName | None
) -> tuple[str, VolumeName]:
    """Name of what is exported, and which volume it is."""
    if label is not None and reconstruction is None:
        return label, volume or "mask"
    if reconstruction is None or label is not None:
        raise InputError("either --label (structures) or --reconstruction (grey values) is needed")
    if volume is not None:
        raise InputError("--volume applies only to --label; remove it for --reconstruction")
    return reconstruction, "reconstruction"

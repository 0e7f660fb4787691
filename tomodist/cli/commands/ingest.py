"""``tomodist ingest``: a stack and its alignment become a tomogram store."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click
import cloup

from tomodist.cli.shared.console import print_table
from tomodist.cli.shared.options import (
    INPUT,
    OUTPUT,
    RUN,
    STORE,
    GroupedCommand,
    WorkOptions,
    cluster_options,
    exclude_option,
    overwrite_option,
)
from tomodist.cli.shared.running import run_tasks
from tomodist.errors import InputError


@cloup.command(
    "ingest",
    cls=GroupedCommand,
    epilog="Example: tomodist ingest TS_01.mrc --tilt-angles TS_01.tlt --alignment TS_01.xf "
    "--thickness 300 --bin 4 -o TS_01.zarr",
)
@cloup.argument("stack", type=click.Path(path_type=Path), help="Tilt series, an MRC stack.")
@cloup.option(
    "--tilt-angles",
    type=click.Path(),
    group=INPUT,
    help="File of tilt angles, .tlt or .rawtlt. [default: those of the header]",
)
@cloup.option(
    "--alignment",
    type=click.Path(),
    group=INPUT,
    help="Alignment, IMOD's .xf. [default: the stack is aligned]",
)
@cloup.option(
    "--x-tilt",
    default="0",
    show_default=True,
    group=INPUT,
    help="Pitch of the specimen: degrees, or an .xtilt file.",
)
@cloup.option(
    "--tilt-axis-angle",
    type=float,
    group=INPUT,
    help="Angle of the tilt axis from vertical, in degrees counter-clockwise, of a stack without "
    "--alignment; 90 is an axis along x. [default: 0]",
)
@cloup.option(
    "--pixel-size",
    type=float,
    group=INPUT,
    help="Pixel size of the stack, in Å. [default: that of the header]",
)
@exclude_option()
@cloup.option(
    "--bin",
    "binning",
    default=1,
    show_default=True,
    group=OUTPUT,
    help="Binning: number of pixels averaged along each side.",
)
@cloup.option(
    "--thickness",
    type=int,
    group=OUTPUT,
    help="Thickness of the volume, in voxels after binning. [default: half the width]",
)
@cloup.option(
    "--resample/--no-resample",
    "resampled",
    default=True,
    group=OUTPUT,
    help="Whether images are resampled once into the aligned frame, or kept raw with their "
    "geometry. [default: resample]",
)
@cloup.option(
    "-o",
    "--output",
    type=STORE,
    group=OUTPUT,
    help="Store to create. [default: the stack's name with .zarr]",
)
@overwrite_option("a tilt series that was made differently")
@cloup.option("--dry-run", is_flag=True, group=RUN, help="Check everything, then stop.")
@cluster_options
def command(
    stack: Path,
    tilt_angles: str | None,
    alignment: str | None,
    x_tilt: str,
    tilt_axis_angle: float | None,
    pixel_size: float | None,
    thickness: int | None,
    binning: int,
    *,
    resampled: bool,
    exclude: tuple[int, ...] | Literal["auto"],
    output: Path | None,
    overwrite: bool,
    dry_run: bool,
    cluster: str,
    workers: int | None,
    memory: int | None,
) -> None:
    """Check a tilt series and put it into a tomogram store."""
    from tomodist.steps.ingest import describe_series
    from tomodist.tasks.ingest import IngestTask

    series = describe_series(
        stack,
        tilt_angles=tilt_angles,
        alignment=alignment,
        x_tilt=_number_or_path(x_tilt),
        tilt_axis_angle=tilt_axis_angle,
        pixel_size=pixel_size,
        thickness=thickness,
        binning=binning,
        resampled=resampled,
        exclude=_sections(exclude),
    )
    store = output or stack.with_suffix(".zarr")
    if not dry_run:
        _check_output(store)
        options = WorkOptions(overwrite=overwrite, cluster=cluster, workers=workers, memory=memory)
        run_tasks([IngestTask(store, series)], options)
    geometry, grid = series.geometry, series.grid
    angles = geometry.tilt_angles
    rows = [
        ("images", f"{geometry.n_tilts} x {geometry.image_shape[0]} x {geometry.image_shape[1]}"),
        ("pixel size", f"{geometry.pixel_size:g} Å"),
        ("tilt angles", f"{min(angles):.2f}° to {max(angles):.2f}°"),
        ("volume (z, y, x)", " x ".join(map(str, grid.shape))),
        ("volume size", " x ".join(f"{n * grid.voxel_size / 10:.0f}" for n in grid.shape) + " nm"),
        ("store", f"{store}{' (dry run: not made)' if dry_run else ''}"),
    ]
    print_table(f"ingest {stack.name}", ("what", "value"), rows)


def _check_output(store: Path) -> None:
    if not store.resolve().parent.is_dir():
        raise InputError(f"--output {store}: folder {store.resolve().parent} not found")


def _number_or_path(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _sections(exclude: tuple[int, ...] | Literal["auto"]) -> tuple[int, ...]:
    if exclude == "auto":
        raise InputError("--exclude-tilts auto needs 2D maps; name the tilts, such as 0,3-5")
    return exclude

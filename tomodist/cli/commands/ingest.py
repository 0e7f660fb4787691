"""``tomodist ingest``: a stack and its alignment become a tomogram store."""

from __future__ import annotations

from pathlib import Path

import click

from tomodist.cli.shared.console import print_table
from tomodist.cli.shared.options import STORE, cluster_options, session_of, whole_numbers


@click.command(
    "ingest",
    epilog="Example: tomodist ingest TS_01.mrc --tilt-angles TS_01.tlt --alignment TS_01.xf "
    "--thickness 300 --bin 4 -o TS_01.zarr",
)
@click.argument("stack", type=click.Path(path_type=Path))
@click.option("--tilt-angles", type=click.Path(), help=".tlt or .rawtlt. [default: the header]")
@click.option("--alignment", type=click.Path(), help="IMOD .xf. [default: the stack is aligned]")
@click.option("--x-tilt", default="0", show_default=True, help=".xtilt file, or degrees.")
@click.option(
    "--tilt-axis-angle",
    type=float,
    help="Without --alignment: from vertical, counter-clockwise; 90 is an axis along x.",
)
@click.option("--pixel-size", type=float, help="In Å. [default: the header]")
@click.option(
    "--thickness", type=int, help="Of the volume, in voxels after binning. [default: width / 2]"
)
@click.option("--bin", "binning", default=1, show_default=True, help="Area mean of N x N pixels.")
@click.option(
    "--resample/--no-resample",
    "resampled",
    default=True,
    help="Resample once into the aligned frame, or keep raw images with their geometry.",
)
@click.option("--exclude", default="", help="Sections to leave out, from 0, such as 0,3-5,40.")
@click.option("-o", "--output", type=STORE, help="Store. [default: the stack's name with .zarr]")
@click.option("--overwrite", is_flag=True, help="Replace a tilt series that was made differently.")
@click.option("--dry-run", is_flag=True, help="Check everything, then stop.")
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
    exclude: str,
    output: Path | None,
    overwrite: bool,
    dry_run: bool,
    cluster: str,
    workers: int | None,
    memory: int | None,
) -> None:
    """Check a tilt series and put it into a tomogram store."""
    from tomodist.steps.ingest import describe_series, ingest_series

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
        with session_of(cluster, workers, memory) as session:
            ingest_series(session, store, series, overwrite=overwrite)
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
    from tomodist.errors import InputError

    if not store.resolve().parent.is_dir():
        raise InputError(f"--output {store}: there is no folder {store.resolve().parent}")


def _number_or_path(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _sections(text: str) -> list[int]:
    found = whole_numbers(text)
    if found is None:
        raise click.BadParameter(
            f"{text!r} is not a list of sections such as 0,3-5,40", param_hint="--exclude"
        )
    return found

"""``tomodist annotate``: true masks or boxes into a store, to train on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from tomodist.cli.shared.console import print_line
from tomodist.cli.shared.options import STORE, Tilts, cluster_options, session_of
from tomodist.cli.shared.tasks import open_tomogram
from tomodist.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.sources.base import MapSource
    from tomodist.store.tomogram import Tomogram


@click.command(
    "annotate",
    epilog="Example: tomodist annotate TS_01.zarr --maps drawn.tif --tilts 5,20,35 --label granule",
)
@click.argument("store", type=STORE)
@click.option("--label", required=True, help="Name of what is annotated.")
@click.option("--maps", type=click.Path(), help="2D masks: MRC, TIFF, NPY or Zarr (tilt, y, x).")
@click.option("--boxes", type=click.Path(), help="2D boxes or points, as of locate --boxes.")
@click.option(
    "--volume", type=click.Path(), help="3D mask (MRC, Zarr, OME-Zarr); projected to the tilts."
)
@click.option(
    "--from", "taken", help="A label of the store whose maps and boxes you have looked at."
)
@click.option("--value", type=float, help="Which value is it. [default: any but 0]")
@click.option("--unknown", type=float, help="Of --maps: the value that says nothing, such as 255.")
@click.option(
    "--tilts", type=Tilts(), help="That were annotated, such as 5,20-22 (from 0). [default: all]"
)
@click.option(
    "--frame",
    type=click.Choice(["aligned", "raw"]),
    default="aligned",
    show_default=True,
    help="Whether --maps or --boxes lie on the stored or on the raw images.",
)
@click.option("--diameter", type=float, help="Of points in --boxes, in Å.")
@click.option("--overwrite", is_flag=True, help="Replace annotations made differently.")
@cluster_options
def command(
    store: Path,
    label: str,
    maps: str | None,
    boxes: str | None,
    volume: str | None,
    taken: str | None,
    value: float | None,
    unknown: float | None,
    tilts: tuple[int, ...] | Literal["auto"] | None,
    frame: Literal["aligned", "raw"],
    diameter: float | None,
    *,
    overwrite: bool,
    cluster: str,
    workers: int | None,
    memory: int | None,
) -> None:
    """Put annotations into a store: 2D masks or boxes, or a 3D mask and its projections.

    Tilts that are not named in --tilts, and pixels of the value --unknown, say nothing, and
    training ignores them.
    """
    from tomodist.sources.annotations import projected_mask, sparse, taken_from
    from tomodist.sources.stack import import_maps
    from tomodist.steps.annotate import label_volume
    from tomodist.steps.detect import detect_maps
    from tomodist.store.tomogram import check_label

    if sum(given is not None for given in (maps, boxes, volume, taken)) != 1:
        raise InputError("give one of --maps, --boxes, --volume and --from")
    if tilts == "auto":
        raise InputError("--tilts names the annotated tilts; auto cannot know them")
    tomogram = open_tomogram(store)
    check_label(label)
    mask = None if volume is None else projected_mask(tomogram, volume, value)
    if mask is not None:
        source: MapSource = mask
    elif taken is not None:
        source = taken_from(tomogram, taken)
    elif boxes is not None:
        source = _boxes(tomogram, boxes, label, frame, diameter)
    else:
        source = import_maps(tomogram, str(maps), frame, value=value, ignored=unknown)
    source = sparse(source, tilts, tomogram.geometry.n_tilts)
    with session_of(cluster, workers, memory) as session:
        if mask is not None:
            label_volume(session, tomogram, label, mask, overwrite=overwrite)
        made = detect_maps(session, tomogram, label, source, overwrite=overwrite)
    n = len(tilts) if tilts is not None else tomogram.geometry.n_tilts
    print_line(
        f"annotated: {label} on {n} of {tomogram.geometry.n_tilts} tilts, store: {tomogram}"
        if made
        else f"nothing to do: maps/{label} is there already, made just so"
    )


def _boxes(
    tomogram: Tomogram,
    path: str,
    label: str,
    frame: Literal["aligned", "raw"],
    diameter: float | None,
) -> MapSource:
    """The boxes of a file: its only class, or that of the label."""
    from tomodist.sources.boxes import import_boxes
    from tomodist.sources.placement import PointOptions

    found = import_boxes(tomogram, path, frame, form="box", options=PointOptions(diameter))
    if len(found) == 1:
        return next(iter(found.values()))
    if label not in found:
        there = ", ".join(sorted(found))
        raise InputError(f"{path} has no class {label!r} (there: {there}); give one as --label")
    return found[label]

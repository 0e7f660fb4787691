"""``tomodist annotate``: true masks or boxes into a store, to train on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click
import cloup

from tomodist.cli.shared.console import print_line
from tomodist.cli.shared.options import (
    INPUT,
    OUTPUT,
    SELECTION,
    GroupedCommand,
    Tilts,
    WorkOptions,
    cluster_options,
    frame_option,
    overwrite_option,
    store_argument,
)
from tomodist.cli.shared.running import run_tasks
from tomodist.cli.shared.show import open_tomogram
from tomodist.cli.shared.sources import maps_option
from tomodist.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.sources.base import MapSource
    from tomodist.store.tomogram import Tomogram


@cloup.command(
    "annotate",
    cls=GroupedCommand,
    epilog="Example: tomodist annotate TS_01.zarr --maps drawn.tif --tilts 5,20,35 --label granule",
)
@store_argument
@cloup.option("--label", required=True, group=OUTPUT, help="Name of what is annotated.")
@maps_option
@cloup.option(
    "--boxes",
    type=click.Path(),
    group=INPUT,
    help="2D boxes or points, in the formats of `tomodist locate --boxes`.",
)
@cloup.option(
    "--volume",
    type=click.Path(),
    group=INPUT,
    help="3D mask (MRC, Zarr, OME-Zarr), which is projected onto the tilts.",
)
@cloup.option(
    "--from",
    "detection",
    group=INPUT,
    help="Label of the store whose maps and boxes you have checked.",
)
@frame_option("--maps or --boxes")
@cloup.option(
    "--value",
    type=float,
    group=INPUT,
    help="Value of the masks that is structure. [default: any value but 0]",
)
@cloup.option(
    "--unknown",
    type=float,
    group=INPUT,
    help="Value of --maps where nothing is known, such as 255. [default: none]",
)
@cloup.option("--diameter", type=float, group=INPUT, help="Diameter of points in --boxes, in Å.")
@cloup.option(
    "--tilts",
    type=Tilts(),
    group=SELECTION,
    help="Tilts that were annotated, counted from 0, such as 5,20-22. [default: all]",
)
@overwrite_option("annotations that were made differently")
@cluster_options
def command(
    store: Path,
    label: str,
    maps: str | None,
    boxes: str | None,
    volume: str | None,
    detection: str | None,
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
    from tomodist.tasks.detect import DetectionTask

    if sum(source is not None for source in (maps, boxes, volume, detection)) != 1:
        raise InputError("exactly one of --maps, --boxes, --volume and --from is needed")
    if tilts == "auto":
        raise InputError("--tilts names the annotated tilts; auto does not apply")
    tomogram = open_tomogram(store)
    of = tomogram.label(label)
    mask = None if volume is None else projected_mask(tomogram, volume, value)
    if mask is not None:
        source: MapSource = mask
    elif detection is not None:
        source = taken_from(tomogram.label(detection))
    elif boxes is not None:
        source = _boxes(tomogram, boxes, label, frame, diameter)
    else:
        source = import_maps(tomogram, str(maps), frame, value=value, ignored=unknown)
    source = sparse(source, tilts, tomogram.geometry.n_tilts)
    task = DetectionTask(of, source, mask)
    options = WorkOptions(overwrite=overwrite, cluster=cluster, workers=workers, memory=memory)
    run_tasks([task], options)
    n = len(tilts) if tilts is not None else tomogram.geometry.n_tilts
    print_line(f"annotated: {label} on {n} of {tomogram.geometry.n_tilts} tilts, store: {tomogram}")


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

    options = PointOptions(diameter)
    classes = import_boxes(tomogram, path, frame, form="box", options=options)
    if len(classes) == 1:
        return next(iter(classes.values()))
    if label not in classes:
        available = ", ".join(sorted(classes))
        raise InputError(f"{path} has no class {label!r} (available: {available})")
    return classes[label]

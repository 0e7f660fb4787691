"""``tomodist info``: what a store holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cloup

from tomodist.cli.shared.console import print_table
from tomodist.cli.shared.options import (
    GroupedCommand,
    store_argument,
)
from tomodist.cli.shared.show import open_tomogram

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tomodist.store.tomogram import Tomogram, Unit


@cloup.command("info", cls=GroupedCommand, epilog="Example: tomodist info TS_01.zarr")
@store_argument
def command(store: Path) -> None:
    """Show what a tomogram store holds and how it was made."""
    tomogram = open_tomogram(store)
    rows = [*_series_rows(tomogram), *_result_rows(tomogram)]
    print_table(str(store), ("what", "content", "made with"), rows)


def _series_rows(tomogram: Tomogram) -> list[tuple[str, str, str]]:
    if not tomogram.series.exists():
        return [("tilt_series", "not there yet; run `tomodist ingest`", "")]
    geometry, grid = tomogram.geometry, tomogram.grid
    angles, (ny, nx) = geometry.tilt_angles, geometry.image_shape
    images = (
        f"{geometry.n_tilts} images of {nx} x {ny} pixels of {geometry.pixel_size:g} Å, "
        f"{min(angles):g}° to {max(angles):g}°"
    )
    volume = " x ".join(map(str, grid.shape))
    attributes = tomogram.series.attributes
    made = [str(attributes.get("source", "in memory")), *_treatment(attributes)]
    return [
        ("tilt_series", images, ", ".join(made)),
        ("volume (z, y, x)", f"{volume} voxels of {grid.voxel_size:g} Å", ""),
    ]


def _treatment(attributes: dict[str, Any]) -> Iterator[str]:
    """What was done to the raw images, in words."""
    if "resampled" in attributes:
        yield "resampled into the aligned frame" if attributes["resampled"] else "raw frame kept"
        yield f"alignment {attributes['alignment'] or 'none'}"
        yield f"binned by {attributes['binning']}"
        yield f"{attributes['raw_shape'][0] - len(attributes['transforms'])} tilts left out"


def _result_rows(tomogram: Tomogram) -> list[tuple[str, str, str]]:
    rows = []
    for unit in tomogram.units("maps", "scores", "labels", "structures", "reconstructions"):
        record = {k: v for k, v in unit.attributes.items() if k != "fingerprint"}
        made = ", ".join(f"{k}={v}" for k, v in record.items() if not isinstance(v, dict | list))
        source = unit.outdated()
        remark = f"OUT OF DATE: {source} was changed or removed; " if source else ""
        rows.append((unit.name, _content(unit), remark + made))
    return rows


def _content(unit: Unit) -> str:
    from tomodist.store.maps import stored_classes
    from tomodist.values.maps import class_words

    data = unit.dataset()
    if unit.kind == "structures":
        return f"{data.sizes['structure']} structures"
    array = data["maps" if unit.kind == "maps" else unit.variable]
    content = f"{' x '.join(map(str, array.shape))} {array.dtype}"
    classes = class_words(stored_classes(unit))
    return f"{content}: {classes}" if classes else content

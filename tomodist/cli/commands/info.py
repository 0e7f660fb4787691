"""``tomodist info``: what a store holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tomodist.cli.shared.console import print_table
from tomodist.cli.shared.options import STORE
from tomodist.cli.shared.tasks import open_tomogram

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tomodist.store.tomogram import Tomogram


@click.command("info", epilog="Example: tomodist info TS_01.zarr")
@click.argument("store", type=STORE)
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
    for kind in ("maps", "scores", "labels", "structures", "reconstructions"):
        for label in tomogram.names(kind):
            attributes = tomogram.attributes(f"{kind}/{label}")
            made = {k: v for k, v in attributes.items() if k != "fingerprint"}
            text = ", ".join(f"{k}={v}" for k, v in made.items() if not isinstance(v, dict | list))
            outdated = tomogram.outdated(f"{kind}/{label}")
            remark = f"OUTDATED: made from another {outdated}; " if outdated else ""
            rows.append((f"{kind}/{label}", _content(tomogram, kind, label), remark + text))
    return rows


def _content(tomogram: Tomogram, kind: str, label: str) -> str:
    from tomodist.store.maps import stored_classes
    from tomodist.values.maps import class_words

    data = tomogram.dataset(f"{kind}/{label}")
    if kind == "structures":
        return f"{data.sizes['structure']} structures"
    array = data[kind.removesuffix("s") if kind == "reconstructions" else kind]
    content = f"{' x '.join(map(str, array.shape))} {array.dtype}"
    classes = class_words(stored_classes(tomogram, f"{kind}/{label}"))
    return f"{content}: {classes}" if classes else content

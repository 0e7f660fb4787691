"""``tomodist edges``: 2D edges to 3D edges, refined between adjacent tilts (Algorithm 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tomodist.cli.shared.options import RunOptions, lifting_options
from tomodist.cli.shared.sources import denoise_option
from tomodist.cli.shared.tasks import open_tomogram, run_or_plan

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.detect.base import MapDetector
    from tomodist.detect.denoise import Method


@click.command("edges", epilog="Example: tomodist edges TS_01.zarr --sigma 2 --label membrane")
@click.option("--maps", type=click.Path(), help="2D edges made elsewhere.")
@click.option(
    "--maps-frame", type=click.Choice(["aligned", "raw"]), default="aligned", show_default=True
)
@click.option("--sigma", default=2.0, show_default=True, help="Of the detector, in pixels.")
@click.option("--fraction", type=float, help="2D threshold between minimum and maximum, 0 to 1.")
@click.option("--clip", type=(float, float), help="Percentiles to clip images to, such as 1 99.")
@click.option("--hide-blobs", type=float, help="Diameter (Å) of dark beads that are no edges.")
@denoise_option
@click.option("--dark/--bright", default=True, help="Edges are dark lines. [default]")
@click.option("--reach", default=2, show_default=True, help="w: tilts to either side that support.")
@click.option(
    "--support", default=3, show_default=True, help="k: tilts of 2 w + 1 that must agree."
)
@click.option(
    "--rounds", default=0, show_default=True, help="m: rounds of refinement; for clean images."
)
@click.option("--keep-own/--fill", default=True, help="Marks need support; or support alone marks.")
@lifting_options
def command(
    store: Path,
    label: str,
    maps: str | None,
    maps_frame: str,
    sigma: float,
    fraction: float | None,
    clip: tuple[float, float] | None,
    hide_blobs: float | None,
    reach: int,
    support: int,
    rounds: int,
    denoise: Method,
    run: RunOptions,
    *,
    dark: bool,
    keep_own: bool,
) -> None:
    """Lift 2D edges to 3D.

    With --rounds, marks that neighbouring tilts do not support are removed: more precise on clean
    images, but on noisy ones it removes the edges first.
    """
    from tomodist.detect.bead_mask import BeadsMasked
    from tomodist.detect.classical import Blobs, DogEdges
    from tomodist.detect.denoise import Denoised
    from tomodist.sources.base import DetectorMaps, MapSource
    from tomodist.sources.stack import import_maps
    from tomodist.tasks.lifting import edge_detection

    tomogram = open_tomogram(store)
    source: MapSource
    if maps is None:
        level = DogEdges.threshold if fraction is None else fraction
        edges = DogEdges(sigma=sigma, threshold=level, dark=dark, clip=clip)
        detector: MapDetector = Denoised(edges, denoise)
        if hide_blobs is not None:
            beads = Blobs(hide_blobs)
            beads.diameter_px(tomogram.geometry.pixel_size)  # says now what every tilt would
            detector = BeadsMasked(detector, beads)
        source = DetectorMaps(detector)
    else:
        source = import_maps(tomogram, maps, "raw" if maps_frame == "raw" else "aligned")
    refinement = {"reach": reach, "support": support, "rounds": rounds, "keep_own": keep_own}
    task = edge_detection(tomogram, label, source, refinement, **run.of_task())
    run_or_plan(tomogram, task, run)

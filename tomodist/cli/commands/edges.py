"""``tomodist edges``: 2D edges to 3D edges, refined between adjacent tilts (Algorithm 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import cloup

from tomodist.cli.shared.options import (
    DETECTION,
    LIFTING,
    GroupedCommand,
    RunOptions,
    frame_option,
    lifting_options,
)
from tomodist.cli.shared.running import run_tasks
from tomodist.cli.shared.show import open_tomogram, show
from tomodist.cli.shared.sources import dark_option, denoise_option, maps_option

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.detectors.base import MapDetector
    from tomodist.detectors.denoise import Method
    from tomodist.sources.base import MapSource


@cloup.command(
    "edges",
    cls=GroupedCommand,
    epilog="Example: tomodist edges TS_01.zarr --sigma 2 --label membrane",
)
@maps_option
@frame_option("--maps")
@cloup.option(
    "--sigma",
    default=2.0,
    show_default=True,
    group=DETECTION,
    help="Width of the difference of Gaussians, in pixels.",
)
@cloup.option(
    "--fraction",
    type=float,
    group=DETECTION,
    help="2D threshold as a fraction, 0 to 1, of the way from the lowest to the highest response. "
    "[default: from the response]",
)
@cloup.option(
    "--clip",
    type=(float, float),
    group=DETECTION,
    help="Percentiles to which images are clipped, such as 1 99. [default: not clipped]",
)
@cloup.option(
    "--hide-blobs",
    type=float,
    group=DETECTION,
    help="Diameter of dark beads to mask before detection, in Å. [default: none is masked]",
)
@denoise_option
@dark_option
@cloup.option(
    "--reach",
    default=2,
    show_default=True,
    group=LIFTING,
    help="Number of tilts to either side that support a mark (w of the paper).",
)
@cloup.option(
    "--support",
    default=3,
    show_default=True,
    group=LIFTING,
    help="Number of the 2 w + 1 tilts that must agree (k of the paper).",
)
@cloup.option(
    "--rounds",
    default=0,
    show_default=True,
    group=LIFTING,
    help="Number of rounds of refinement (m of the paper); for clean images.",
)
@cloup.option(
    "--keep-own/--fill",
    default=True,
    group=LIFTING,
    help="Whether a tilt keeps only marks of its own that are supported, or support alone sets a "
    "mark. [default: keep-own]",
)
@lifting_options
def command(
    store: Path,
    label: str,
    maps: str | None,
    frame: Literal["aligned", "raw"],
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

    Without --threshold, the threshold is chosen where long rays in the result agree best with the
    2D edges. With --rounds, marks that neighbouring tilts do not support are removed: more precise
    on clean images, but on noisy ones it removes the edges first.
    """
    from tomodist.detectors.bead_mask import BeadsMasked
    from tomodist.detectors.classical import Blobs, DogEdges
    from tomodist.detectors.denoise import Denoised
    from tomodist.sources.base import DetectorMaps
    from tomodist.sources.stack import import_maps
    from tomodist.tasks.edges import edge_detection

    tomogram = open_tomogram(store)
    source: MapSource
    if maps is None:
        level = DogEdges.threshold if fraction is None else fraction
        edges = DogEdges(sigma=sigma, threshold=level, dark=dark, clip=clip)
        detector: MapDetector = Denoised(edges, denoise)
        if hide_blobs is not None:
            beads = Blobs(hide_blobs)
            beads.diameter_px(tomogram.geometry.pixel_size)  # fails now, not on every tilt
            detector = BeadsMasked(detector, beads)
        source = DetectorMaps(detector)
    else:
        source = import_maps(tomogram, maps, frame)
    task = edge_detection(
        tomogram.label(label),
        source,
        reach=reach,
        support=support,
        rounds=rounds,
        keep_own=keep_own,
        threshold=run.threshold,
        min_voxels=run.min_voxels,
        exclude=run.exclude,
        cut=run.cut,
    )
    for result in run_tasks([task], run):
        show(result)

"""``tomodist pick``: the highest places of a score volume as points, for particle pickers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cloup

from tomodist.cli.shared.options import (
    INPUT,
    OUTPUT,
    SELECTION,
    GroupedCommand,
    WorkOptions,
    cluster_options,
    overwrite_option,
    store_argument,
)
from tomodist.cli.shared.running import run_tasks
from tomodist.cli.shared.show import open_tomogram, print_structures

if TYPE_CHECKING:
    from pathlib import Path


@cloup.command(
    "pick",
    cls=GroupedCommand,
    epilog="Example: tomodist pick TS_01.zarr --label ribosome --distance 250",
)
@store_argument
@cloup.option("--label", required=True, group=INPUT, help="Label whose scores are searched.")
@cloup.option(
    "--distance",
    type=float,
    required=True,
    group=SELECTION,
    help="Smallest distance between two points, in Å.",
)
@cloup.option(
    "--threshold",
    type=float,
    group=SELECTION,
    help="Lowest score of a point: a share of the tilts, or a number of votes. [default: that of "
    "the label's structures]",
)
@cloup.option("--name", group=OUTPUT, help="Name of the points. [default: LABEL-points]")
@overwrite_option("points that were found differently")
@cluster_options
def command(
    store: Path,
    label: str,
    distance: float,
    threshold: float | None,
    name: str | None,
    cluster: str,
    workers: int | None,
    memory: int | None,
    *,
    overwrite: bool,
) -> None:
    """Pick the local maxima of the scores of a label; export them as STAR or for copick."""
    from tomodist.steps.maxima import PickMaxima
    from tomodist.tasks.pick import PickTask

    tomogram = open_tomogram(store)
    points = tomogram.label(name or f"{label}-points")
    task = PickTask(PickMaxima(tomogram.label(label), points, distance, threshold))
    options = WorkOptions(overwrite=overwrite, cluster=cluster, workers=workers, memory=memory)
    for result in run_tasks([task], options):
        print_structures(result.label, result.threshold)

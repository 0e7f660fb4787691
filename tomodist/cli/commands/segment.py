"""``tomodist segment``: 2D masks to a 3D segmentation (Algorithm 1)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import click

from tomodist.cli.shared.classes import run_classes_or_plan
from tomodist.cli.shared.options import Classes, RunOptions, labels_options
from tomodist.cli.shared.sources import MapOptions, detector_options
from tomodist.cli.shared.tasks import open_tomogram, run_or_plan
from tomodist.cli.shared.volume import run_volume_or_plan
from tomodist.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.tasks.lifting import VotesKind


@click.command(
    "segment", epilog="Example: tomodist segment TS_01.zarr --maps granules.mrc --label granule"
)
@click.option(
    "--votes",
    type=click.Choice(["balanced", "plain"]),
    default="balanced",
    show_default=True,
    help="Tilts agree from every side; or all votes are alike, as in the paper.",
)
@click.option("--sectors", type=int, help="Of balanced votes. [default: 3]")
@click.option(
    "--coverage/--no-coverage",
    default=None,
    help="Balanced votes are shares of the tilts that see a voxel; or of all. [default: coverage]",
)
@click.option(
    "--own-thresholds/--one-threshold",
    default=True,
    help="Structures are cut further down where their own reprojection is surely better. [default]",
)
@click.option(
    "--classes",
    type=Classes(),
    help="Names of the values 1, 2, ... of --maps, such as granule,membrane; or auto: they are "
    "called LABEL-1, LABEL-2, ... [default: anything but 0 is one class]",
)
@click.option(
    "--reconstruction", default="wbp", show_default=True, help="That a model of volumes looks at."
)
@detector_options
@labels_options
def command(
    store: Path,
    label: str | None,
    votes: VotesKind,
    sectors: int | None,
    classes: tuple[str, ...] | Literal["auto"] | None,
    reconstruction: str,
    given: MapOptions,
    run: RunOptions,
    *,
    coverage: bool | None,
    own_thresholds: bool,
) -> None:
    """Lift 2D masks to 3D: votes, and the threshold whose reprojection agrees best.

    With --classes, masks hold a number per class: every class becomes a label of its own, and
    LABEL the class of every voxel. A --model of volumes looks at a reconstruction instead, and
    nothing is lifted.
    """
    from tomodist.tasks.classes import class_segmentation
    from tomodist.tasks.lifting import segmentation

    if votes == "plain" and (coverage is not None or sectors is not None):
        raise InputError("--sectors and --coverage are of --votes balanced; leave them out")
    options = {"own_thresholds": own_thresholds, **run.of_task()}
    given_votes = {"sectors": sectors, "coverage": coverage}
    options |= {name: value for name, value in given_votes.items() if value is not None}
    tomogram = open_tomogram(store)
    model = given.volume_model()
    if model is not None:
        given.check_of_volume(
            {
                "--votes plain": votes == "plain",
                "--sectors": sectors is not None,
                "--coverage": coverage is not None,
                "--one-threshold": not own_thresholds,
                "--classes": classes is not None,
                "--tilts-per-task": run.tilts_per_task is not None,
            }
        )
        cut = replace(run, threshold=given.probability or run.threshold)
        run_volume_or_plan(tomogram, model, reconstruction, label, cut)
        return
    if classes is not None:
        source, name = given.classes_of(tomogram, classes, label)
        run_classes_or_plan(
            tomogram, class_segmentation(tomogram, name, source, votes, **options), run
        )
        return
    tasks = [
        segmentation(tomogram, name, source, votes, **options)
        for name, source in given.sources(tomogram, label, "mask").items()
    ]
    run_or_plan(tomogram, tasks, run)

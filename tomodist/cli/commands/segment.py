"""``tomodist segment``: 2D masks to a 3D segmentation (Algorithm 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import click
import cloup

from tomodist.cli.shared.options import (
    DETECTION,
    INPUT,
    LIFTING,
    Classes,
    GroupedCommand,
    RunOptions,
    labels_options,
)
from tomodist.cli.shared.running import run_tasks
from tomodist.cli.shared.show import open_tomogram, show
from tomodist.cli.shared.sources import SourceOptions, source_options
from tomodist.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.learned.model.opened import Model
    from tomodist.store.tomogram import Tomogram
    from tomodist.tasks.base import Task
    from tomodist.tasks.segment import VotesKind


@cloup.command(
    "segment",
    cls=GroupedCommand,
    epilog="Example: tomodist segment TS_01.zarr --maps granules.mrc --label granule",
)
@cloup.option(
    "--classes",
    type=Classes(),
    group=INPUT,
    help="Names of the values 1, 2, ... of --maps, such as granule,membrane; or auto: LABEL-1, "
    "LABEL-2, ..., or the classes of a model. [default: any value but 0 is structure]",
)
@cloup.option(
    "--reconstruction",
    default="wbp",
    show_default=True,
    group=DETECTION,
    help="Name of the reconstruction to which a 3D model is applied.",
)
@cloup.option(
    "--votes",
    type=click.Choice(["balanced", "plain"]),
    default="balanced",
    show_default=True,
    group=LIFTING,
    help="Scores: balanced, where tilts have to agree from every side; or plain, a number of "
    "tilts, as in the paper.",
)
@cloup.option(
    "--sectors",
    type=int,
    group=LIFTING,
    help="Number of sectors of the tilt range in balanced votes. [default: 3]",
)
@cloup.option(
    "--coverage/--no-coverage",
    default=None,
    group=LIFTING,
    help="Whether balanced votes are shares of the tilts that see a voxel, or of all tilts. "
    "[default: coverage]",
)
@cloup.option(
    "--per-structure/--one-threshold",
    "per_structure",
    default=True,
    group=LIFTING,
    help="Whether a structure is cut further down where its own reprojection is clearly better. "
    "[default: per-structure]",
)
@source_options
@labels_options
def command(
    store: Path,
    label: str | None,
    votes: VotesKind,
    sectors: int | None,
    classes: tuple[str, ...] | Literal["auto"] | None,
    reconstruction: str,
    source: SourceOptions,
    run: RunOptions,
    *,
    coverage: bool | None,
    per_structure: bool,
) -> None:
    """Lift 2D masks to 3D: votes, and the threshold whose reprojection agrees best.

    With --classes, masks hold a number per class: every class becomes a label of its own, and
    LABEL holds the class of every voxel. A 3D model is applied to a reconstruction instead, and
    nothing is lifted.
    """
    if votes == "plain" and (coverage is not None or sectors is not None):
        raise InputError("--sectors and --coverage apply only to --votes balanced; remove them")
    votes_options = {"sectors": sectors, "coverage": coverage}
    options = {
        "votes": votes,
        "per_structure": per_structure,
        "threshold": run.threshold,
        "min_voxels": run.min_voxels,
        "exclude": run.exclude,
        "cut": run.cut,
        **{name: value for name, value in votes_options.items() if value is not None},
    }
    tomogram = open_tomogram(store)
    model = source.volume_model()
    tasks: list[Task[Any]]
    if model is not None:
        source.check_for_volume(
            {
                "--votes plain": votes == "plain",
                "--sectors": sectors is not None,
                "--coverage": coverage is not None,
                "--one-threshold": not per_structure,
                "--classes": classes is not None,
                "--tilts-per-task": run.tilts_per_task is not None,
                "--exclude-tilts": bool(run.exclude),
            }
        )
        threshold = source.probability or run.threshold
        tasks = [_volume_task(tomogram, model, reconstruction, label, threshold, run)]
    elif classes is not None:
        tasks = [_classes_task(tomogram, source, classes, label, options)]
    else:
        tasks = _mask_tasks(tomogram, source, label, options)
    for result in run_tasks(tasks, run):
        show(result)


def _mask_tasks(
    tomogram: Tomogram, source: SourceOptions, label: str | None, options: dict[str, Any]
) -> list[Task[Any]]:
    from tomodist.tasks.segment import segmentation

    sources = source.sources(tomogram, label, "mask")
    return [segmentation(tomogram.label(name), maps, **options) for name, maps in sources.items()]


def _classes_task(
    tomogram: Tomogram,
    source: SourceOptions,
    classes: tuple[str, ...] | Literal["auto"],
    label: str | None,
    options: dict[str, Any],
) -> Task[Any]:
    from tomodist.tasks.classes import ClassesTask
    from tomodist.tasks.segment import segmentation

    maps, name = source.classes_of(tomogram, classes, label)
    common = segmentation(tomogram.label(name), maps, **options, may_be_empty=True)
    return ClassesTask(common, maps.classes)


def _volume_task(
    tomogram: Tomogram,
    model: Model,
    reconstruction: str,
    label: str | None,
    threshold: float | None,
    run: RunOptions,
) -> Task[Any]:
    from tomodist.cli.shared.learned import labels_of
    from tomodist.steps.detect_volume import VolumeDetection
    from tomodist.tasks.volume import VolumeTask

    labels = {name: target for target, name in labels_of(model, label).items()}
    detection = VolumeDetection(model, reconstruction, labels)
    detection.check(tomogram)
    model.check()
    return VolumeTask(tomogram, detection, threshold, run.min_voxels, run.brick)

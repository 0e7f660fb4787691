"""``tomodist train``: a detector of your own, from annotated tilts or volumes."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import click
import cloup

from tomodist.cli.shared.console import print_line, print_table
from tomodist.cli.shared.options import (
    INPUT,
    OUTPUT,
    RUN,
    STORE,
    TRAINING,
    Bytes,
    Command,
    Decorator,
    GroupedCommand,
    WorkOptions,
    apply,
    gathered,
    overwrite_option,
)
from tomodist.cli.shared.running import run_tasks
from tomodist.cli.shared.show import open_tomogram

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tomodist.learned.model.card import ModelCard
    from tomodist.learned.training.examples import Loader
    from tomodist.tasks.training import TrainingTask


@dataclass(frozen=True)
class TrainOptions:
    """The options of `train_options`."""

    stores: tuple[Path, ...]
    label: tuple[str, ...]
    output: Path
    validation: tuple[Path, ...]
    network: str
    option: tuple[str, ...]
    pixel_size: float | None
    steps: int
    patience: int
    batch: int | None
    side: int | None
    learning_rate: float
    seed: int
    memory: int
    overwrite: bool
    dry_run: bool

    def task(
        self, task: Literal["segment", "boxes"], reconstruction: str | None = None
    ) -> TrainingTask:
        """The task; everything but the annotations is checked here.

        Parameters
        ----------
        task : {"segment", "boxes"}
            What is learnt.
        reconstruction : str, optional
            Reconstruction that a 3D network learns from; None: the images.

        Returns
        -------
        TrainingTask
        """
        from tomodist.learned.training.schedule import Schedule
        from tomodist.tasks.training import TrainingTask, class_names

        labels, classes = class_names(self.label)
        solid = reconstruction is not None
        schedule = Schedule(
            steps=self.steps,
            patience=self.patience,
            batch=self.batch if self.batch is not None else (4 if solid else 8),
            side=self.side if self.side is not None else (48 if solid else 128),
            learning_rate=self.learning_rate,
            seed=self.seed,
            memory=self.memory,
        )
        return TrainingTask(
            task,
            tuple(open_tomogram(path) for path in self.stores),
            labels,
            classes,
            self.output.absolute(),
            tuple(open_tomogram(path) for path in self.validation),
            reconstruction,
            self.network,
            dict(_option(text) for text in self.option),
            self.pixel_size,
            schedule,
        )


def train_options(command: Command) -> Command:
    """Stores, labels, --output and how to train: one value, ``options``."""
    options: list[Decorator] = [
        cloup.argument(
            "stores", type=STORE, nargs=-1, required=True, help="Tomogram stores to learn from."
        ),
        cloup.option(
            "--label",
            multiple=True,
            required=True,
            group=INPUT,
            help="Label to learn, one per class; LABEL=CLASS gives the class another name.",
        ),
        cloup.option(
            "--validation",
            type=STORE,
            multiple=True,
            group=INPUT,
            help="Store to validate with. [default: the last of three or more, else a block of "
            "each]",
        ),
        cloup.option(
            "-o", "--output", type=STORE, required=True, group=OUTPUT, help="Model folder to write."
        ),
        cloup.option(
            "--network", default="residual-unet", show_default=True, group=TRAINING, help=_NETWORKS
        ),
        cloup.option(
            "--option",
            multiple=True,
            group=TRAINING,
            help="Option of the network, such as widths=32,64,128. [default: the network's]",
        ),
        cloup.option(
            "--pixel-size",
            type=float,
            group=TRAINING,
            help="Pixel size of the model, in Å. [default: that of the first store]",
        ),
        cloup.option(
            "--steps",
            default=1000,
            show_default=True,
            group=TRAINING,
            help="Largest number of training steps.",
        ),
        cloup.option(
            "--patience",
            default=10,
            show_default=True,
            group=TRAINING,
            help="Number of validations (every 50 steps) without a better one, after which "
            "training ends.",
        ),
        cloup.option(
            "--batch",
            type=int,
            group=TRAINING,
            help="Number of patches per step. [default: 8, in 3D 4]",
        ),
        cloup.option(
            "--side",
            type=int,
            group=TRAINING,
            help="Side of a patch, in pixels. [default: 128, in 3D 48]",
        ),
        cloup.option(
            "--learning-rate",
            default=2e-3,
            show_default=True,
            group=TRAINING,
            help="Learning rate of the first steps.",
        ),
        cloup.option(
            "--seed",
            default=0,
            show_default=True,
            group=TRAINING,
            help="Seed of all random numbers.",
        ),
        cloup.option(
            "--memory",
            type=Bytes(),
            default="2GiB",
            show_default=True,
            group=RUN,
            help="Memory for examples.",
        ),
        overwrite_option("a model that was trained differently"),
        cloup.option(
            "--dry-run",
            is_flag=True,
            group=RUN,
            help="Check everything, print what is learnt, and stop.",
        ),
    ]
    return apply(options, gathered(TrainOptions, "options", command))


_NETWORKS = (
    "Network: residual-unet, dense-unet, monai:CLASS such as monai:SegResNet; for boxes also "
    "faster-rcnn."
)


@cloup.group(
    "train", epilog="Example: tomodist train segment TS_01.zarr --label granule -o granules/"
)
def command() -> None:
    """Train a detector on annotated tilt series, or reconstructions.

    Ctrl-C keeps the best network so far, and the same command continues. Several processes share
    the work under torchrun (torchrun --nproc-per-node 4 -m tomodist train segment ...).
    """


@command.command(
    "segment",
    cls=GroupedCommand,
    epilog="Example: tomodist train segment TS_01.zarr TS_02.zarr --label granule -o granules/",
)
@cloup.option(
    "--3d",
    "solid",
    is_flag=True,
    group=INPUT,
    help="Learn in 3D, on reconstructions and label volumes.",
)
@cloup.option(
    "--reconstruction",
    default="wbp",
    show_default=True,
    group=INPUT,
    help="Name of the reconstructions that --3d learns from.",
)
@train_options
def train_segment(reconstruction: str, options: TrainOptions, *, solid: bool) -> None:
    """Train a network that tells, pixel by pixel (or voxel by voxel), where each class is."""
    _run(options.task("segment", reconstruction if solid else None), options)


@command.command(
    "boxes",
    cls=GroupedCommand,
    epilog="Example: tomodist train boxes TS_01.zarr --label mitochondrion -o mitochondria/",
)
@functools.partial(train_options)
def train_boxes(options: TrainOptions) -> None:
    """Train a network that finds objects and their boxes.

    The boxes of a label are those that were annotated; those of masks surround their connected
    parts.
    """
    _run(options.task("boxes"), options)


def _run(task: TrainingTask, options: TrainOptions) -> None:
    if options.dry_run:
        if not _is_finished(task, options):
            _print_plan(task)
        return
    work = WorkOptions(overwrite=options.overwrite, cluster="threads")
    if _is_finished(task, options):
        return
    (card,) = run_tasks([task], work)
    if os.environ.get("RANK", "0") == "0":  # of torchrun
        print_training(card, task.output)
    if card.training["stopped"] == "interrupted":
        raise KeyboardInterrupt


def _is_finished(task: TrainingTask, options: TrainOptions) -> bool:
    """Whether the model is there; says so."""
    from tomodist.tasks.train import finished_model

    finished = finished_model(task, task.fingerprint(), overwrite=options.overwrite) is not None
    if finished:
        print_line(f"nothing to do: {task.output} is there already, trained in this way")
    return finished


def _print_plan(task: TrainingTask) -> None:
    """What is learnt from, and how."""
    parts = task.loaders()
    rows = [
        (title, len(loaders), sum(x.n_bytes for x in loaders) / 2**20, _names(loaders))
        for title, loaders in (
            ("learnt from", parts.training),
            ("validated with", parts.validation),
        )
    ]
    print_table("training", ("what", "examples", "MiB", "which"), rows)
    names, schedule = ", ".join(task.classes), task.schedule
    print_line(
        f"network: {task.network} in {task.dims}D at {task.size:g} Å, classes {names}; "
        f"{schedule.steps} steps of {schedule.batch} patches"
    )


def _names(loaders: Sequence[Loader], most: int = 12) -> str:
    """Names of some examples."""
    names = [loader.name for loader in loaders]
    return "; ".join(names[:most]) + ("; ..." if len(names) > most else "")


def print_training(card: ModelCard, folder: Path) -> None:
    """Print what was learnt.

    Parameters
    ----------
    card : ModelCard
        Of the trained model.
    folder : Path
        Folder of the model.
    """
    measured = card.metrics["validation"]
    rows = [
        (
            name,
            *(values[name] for measure, values in measured.items() if isinstance(values, dict)),
            threshold,
        )
        for name, threshold in zip(card.classes, card.thresholds, strict=True)
    ]
    measures = [measure for measure, values in measured.items() if isinstance(values, dict)]
    print_table("on what was held out", ("class", *measures, "threshold"), rows)
    made = card.training
    how = {"steps": "all steps", "patience": "no better for long", "interrupted": "interrupted"}
    print_line(
        f"best after step {made['best_step']} of {made['history'][-1]['step']} "
        f"({how[made['stopped']]}); {made['weights']} weights"
    )
    print_line(f"model: {folder}")
    print_line(f"picture: {folder / 'training.png'}")


def _option(text: str) -> tuple[str, Any]:
    """A network's option: numbers as numbers, commas as lists."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--option")
    parts = [_number(part) for part in value.split(",")]
    return name, tuple(parts) if len(parts) > 1 else parts[0]


def _number(text: str) -> Any:  # noqa: ANN401 -- int, float, bool or str
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)

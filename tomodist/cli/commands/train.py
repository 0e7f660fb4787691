"""``tomodist train``: a detector of your own, from annotated tilts or volumes."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import click

from tomodist.cli.shared.console import Bars, print_line, print_table
from tomodist.cli.shared.options import STORE, Bytes, Command, gathered
from tomodist.cli.shared.tasks import open_tomogram

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tomodist.learned.model.card import ModelCard
    from tomodist.learned.training.examples import Loader
    from tomodist.tasks.training import TrainingTask


@dataclass(frozen=True)
class TrainOptions:
    """What the options of `train_options` say."""

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
        """What is to be done; everything but the annotations is checked here."""
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
    """Stores, labels, --output and how to train: one value, ``given``."""
    options = [
        click.argument("stores", type=STORE, nargs=-1, required=True),
        click.option(
            "--label",
            multiple=True,
            required=True,
            help="What is learnt, one per class: its maps in the stores; LABEL=CLASS to call it "
            "otherwise.",
        ),
        click.option("-o", "--output", type=STORE, required=True, help="The model folder."),
        click.option(
            "--validation",
            type=STORE,
            multiple=True,
            help="Store to judge by. [default: the last of three or more, else a block of each]",
        ),
        click.option("--network", default="residual-unet", show_default=True, help=_NETWORKS),
        click.option("--option", multiple=True, help="Of the network, such as widths=32,64,128."),
        click.option(
            "--pixel-size", type=float, help="Of the model, Å. [default: that of the first store]"
        ),
        click.option("--steps", default=1000, show_default=True, help="At most."),
        click.option(
            "--patience",
            default=10,
            show_default=True,
            help="Validations (every 50 steps) without a better one, after which it ends.",
        ),
        click.option("--batch", type=int, help="Patches per step. [default: 8, in 3D 4]"),
        click.option("--side", type=int, help="Of a patch, pixels. [default: 128, in 3D 48]"),
        click.option("--learning-rate", default=2e-3, show_default=True),
        click.option("--seed", default=0, show_default=True),
        click.option("--memory", type=Bytes(), default="2GiB", show_default=True,
                     help="For examples."),
        click.option("--overwrite", is_flag=True, help="Replace a model trained otherwise."),
        click.option("--dry-run", is_flag=True, help="Check everything, say what is learnt, stop."),
    ]  # fmt: skip
    command = gathered(TrainOptions, "given", command)
    for option in reversed(options):
        command = option(command)
    return command


_NETWORKS = "residual-unet, dense-unet, monai:CLASS such as monai:SegResNet; of boxes faster-rcnn."


@click.group(
    "train", epilog="Example: tomodist train segment TS_01.zarr --label granule -o granules/"
)
def command() -> None:
    """Train a detector on annotated tilt series, or reconstructions.

    Ctrl-C keeps the best network so far, and the same command goes on. Several processes share the
    work under torchrun (torchrun --nproc-per-node 4 -m tomodist train segment ...).
    """


@command.command(
    "segment",
    epilog="Example: tomodist train segment TS_01.zarr TS_02.zarr --label granule -o granules/",
)
@click.option("--3d", "solid", is_flag=True, help="Learn on reconstructions and label volumes.")
@click.option(
    "--reconstruction", default="wbp", show_default=True, help="Of --3d: which one of the stores."
)
@train_options
def train_segment(reconstruction: str, given: TrainOptions, *, solid: bool) -> None:
    """Train a network that says, pixel by pixel (or voxel by voxel), where each class is."""
    _run(given.task("segment", reconstruction if solid else None), given)


@command.command(
    "boxes",
    epilog="Example: tomodist train boxes TS_01.zarr --label mitochondrion -o mitochondria/",
)
@functools.partial(train_options)
def train_boxes(given: TrainOptions) -> None:
    """Train a network that finds objects and their boxes.

    Boxes of a label are those that were annotated; of masks, those around their connected parts.
    """
    _run(given.task("boxes"), given)


def _run(task: TrainingTask, given: TrainOptions) -> None:
    from tomodist.tasks.train import finished_model, run_training

    if finished_model(task, task.fingerprint(), overwrite=given.overwrite) is not None:
        print_line(f"nothing to do: {task.output} is there already, trained just so")
        return
    if given.dry_run:
        parts = task.loaders()
        rows = [
            (title, len(loaders), sum(x.n_bytes for x in loaders) / 2**20, _names(loaders))
            for title, loaders in (("learnt from", parts.training), ("judged by", parts.validation))
        ]
        print_table("training", ("what", "examples", "MiB", "which"), rows)
        names, plan = ", ".join(task.classes), task.schedule
        print_line(
            f"network: {task.network} in {task.dims}D at {task.size:g} Å, classes {names}; "
            f"{plan.steps} steps of {plan.batch} patches"
        )
        return
    with Bars() as bars:
        card = run_training(task, progress=bars, overwrite=given.overwrite)
    if os.environ.get("RANK", "0") == "0":  # of torchrun
        print_training(card, task.output)
    if card.training["stopped"] == "interrupted":
        raise KeyboardInterrupt


def _names(loaders: Sequence[Loader], most: int = 12) -> str:
    """Names of some examples."""
    names = [loader.name for loader in loaders]
    return "; ".join(names[:most]) + ("; ..." if len(names) > most else "")


def print_training(card: ModelCard, folder: Path) -> None:
    """Print what was learnt."""
    found = card.metrics["validation"]
    rows = [
        (
            name,
            *(values[name] for measure, values in found.items() if isinstance(values, dict)),
            threshold,
        )
        for name, threshold in zip(card.classes, card.thresholds, strict=True)
    ]
    measures = [measure for measure, values in found.items() if isinstance(values, dict)]
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
    name, there, value = text.partition("=")
    if not there or not name:
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

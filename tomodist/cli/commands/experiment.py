"""``tomodist experiment NAME``: the experiments of the paper on simulated specimens."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cloup

from tomodist.cli.shared.console import print_line, print_table
from tomodist.cli.shared.options import (
    INPUT,
    OUTPUT,
    STORE,
    Command,
    Decorator,
    apply,
    cluster_options,
    gathered,
    overwrite_option,
    session_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tomodist.experiments import Experiment, Report

EXPERIMENTS = ("sphere", "granules", "mitochondria")


class _Experiments(click.Group):
    """Finds an experiment's module when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Names."""
        return list(EXPERIMENTS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The experiment, or None."""
        if cmd_name not in EXPERIMENTS:
            return None
        command = importlib.import_module(f"tomodist.cli.experiments.{cmd_name}").command
        return command if isinstance(command, click.Command) else None


@click.group(
    "experiment",
    cls=_Experiments,
    epilog="Example: tomodist experiment sphere --seeds 10 --output sphere/",
)
def command() -> None:
    """Repeat an experiment of the paper on simulated specimens whose truth is known."""


@dataclass(frozen=True)
class ExperimentOptions:
    """The options of `experiment_options`."""

    seeds: int
    output: Path | None
    overwrite: bool
    cluster: str
    workers: int | None
    memory: int | None


def experiment_options(seeds: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """--seeds (with its default), --output, --overwrite and where to run: one value, ``run``."""

    def add(command: Command) -> Command:
        options: list[Decorator] = [
            cloup.option(
                "--seeds",
                type=click.IntRange(min=1),
                default=seeds,
                show_default=True,
                group=INPUT,
                help="Number of specimens per condition; it may be raised later.",
            ),
            cloup.option(
                "-o",
                "--output",
                type=STORE,
                group=OUTPUT,
                help="Folder to write to. [default: experiment_NAME]",
            ),
            overwrite_option("cases that were run before, or differently"),
        ]
        return apply(options, cluster_options(gathered(ExperimentOptions, "run", command)))

    return add


def run_and_print(
    experiment: Experiment, run: ExperimentOptions, measures: tuple[str, ...] = ()
) -> tuple[Report, Path]:
    """Run an experiment, print the tables of some measures (or of all), and name the files.

    Parameters
    ----------
    experiment : Experiment
        What is run.
    run : ExperimentOptions
        Output, seeds and cluster.
    measures : tuple of str
        Measures whose tables are printed; none: all.

    Returns
    -------
    report : Report
        All results.
    folder : Path
        Folder of the report.
    """
    from tomodist.experiments import run_experiment

    folder = run.output or Path(f"experiment_{experiment.name}")
    with session_of(run.cluster, run.workers, run.memory) as session:
        report = run_experiment(session, experiment, folder, overwrite=run.overwrite)
    for algorithm, measure in report.tables:
        if not measures or measure in measures:
            head, lines = report.table(algorithm, measure)
            print_table(f"{algorithm}: {measure}", head, lines)
    for suffix in ("md", "csv", "json", "png"):
        print_line(f"written: {(folder / experiment.name).with_suffix(f'.{suffix}')}")
    return report, folder

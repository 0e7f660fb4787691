"""``tomodist experiment NAME``: the experiments of the paper on simulated specimens."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tomodist.cli.shared.console import print_line, print_table
from tomodist.cli.shared.options import STORE, cluster_options, gathered, session_of

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
    """What the options of `experiment_options` say."""

    seeds: int
    output: Path | None
    overwrite: bool
    cluster: str
    workers: int | None
    memory: int | None


def experiment_options(seeds: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """--seeds (with its default), --output, --overwrite and where to run: one value, ``run``."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        options = [
            click.option(
                "--seeds",
                type=click.IntRange(min=1),
                default=seeds,
                show_default=True,
                help="Specimens per condition; more may be asked for later.",
            ),
            click.option("-o", "--output", type=STORE, help="Folder. [default: experiment_NAME]"),
            click.option(
                "--overwrite", is_flag=True, help="Run anew what was run before or differently."
            ),
        ]
        command = cluster_options(gathered(ExperimentOptions, "run", command))
        for option in reversed(options):
            command = option(command)
        return command

    return add


def run_and_print(
    experiment: Experiment, run: ExperimentOptions, measures: tuple[str, ...] = ()
) -> tuple[Report, Path]:
    """Run an experiment, print the tables of some measures (or of all), and name the files."""
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

"""``tomodist experiment tilts``: series of which some tilts are misaligned, dark or wrong."""

from __future__ import annotations

import click

from tomodist.cli.commands.experiment import ExperimentOptions, experiment_options, run_and_print


@click.command("tilts", epilog="Example: tomodist experiment tilts --seeds 10 -o tilts/")
@experiment_options(10)
def command(run: ExperimentOptions) -> None:
    """Ask whether bad tilts are found by their agreement, and whether leaving them out helps."""
    from tomodist.experiments.segmentation import bad_tilts_experiment

    run_and_print(bad_tilts_experiment(run.seeds), run)

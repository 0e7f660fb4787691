"""``tomodist experiment localisation``: tracks beside votes and components."""

from __future__ import annotations

import click

from tomodist.cli.commands.experiment import ExperimentOptions, experiment_options, run_and_print


@click.command(
    "localisation", epilog="Example: tomodist experiment localisation --seeds 10 -o localisation/"
)
@experiment_options(10)
def command(run: ExperimentOptions) -> None:
    """Compare two ways from 2D boxes to 3D boxes by how many objects they find, and where."""
    from tomodist.experiments.localisation import experiment

    run_and_print(experiment(run.seeds), run)

"""``tomodist experiment segmentation``: forms of Algorithm 1 on degraded true masks."""

from __future__ import annotations

import click

from tomodist.cli.commands.experiment import ExperimentOptions, experiment_options, run_and_print


@click.command(
    "segmentation", epilog="Example: tomodist experiment segmentation --seeds 10 -o segmentation/"
)
@experiment_options(10)
def command(run: ExperimentOptions) -> None:
    """Compare plain, balanced, weighted, soft and fitted votes by their IoU with the truth."""
    from tomodist.experiments.segmentation import experiment

    run_and_print(experiment(run.seeds), run)

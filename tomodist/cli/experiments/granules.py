"""``tomodist experiment granules``: a 2D network and lifting against 3D networks."""

from __future__ import annotations

import click

from tomodist.cli.commands.experiment import ExperimentOptions, experiment_options, run_and_print


@click.command("granules", epilog="Example: tomodist experiment granules --seeds 5 -o granules/")
@click.option("--steps", default=1000, show_default=True, help="Of the 2D network's training.")
@click.option("--size", default=256, show_default=True, help="Of images, in pixels.")
@experiment_options(seeds=5)
def command(steps: int, size: int, run: ExperimentOptions) -> None:
    """Train on one simulated tomogram, find granules in another: 2D and lifted, or in 3D."""
    from tomodist.experiments.granules import Settings, experiment

    shape = (round(size / 2.56), size, size)
    run_and_print(experiment(run.seeds, settings=Settings(shape, steps)), run)

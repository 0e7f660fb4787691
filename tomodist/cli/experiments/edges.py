"""``tomodist experiment edges``: ablation of Algorithm 2."""

from __future__ import annotations

import math

import click

from tomodist.cli.commands.experiment import ExperimentOptions, experiment_options, run_and_print


@click.command(
    "edges", epilog="Example: tomodist experiment edges --part threshold --seeds 10 -o edges/"
)
@click.option(
    "--part",
    type=click.Choice(["refinement", "threshold", "denoise", "detector"]),
    default="refinement",
    show_default=True,
    help="What is varied.",
)
@click.option("--size", default=100, show_default=True, help="Of the volume, in voxels each way.")
@click.option(
    "--snr",
    type=float,
    multiple=True,
    default=(math.inf, 1.0, 0.3, 0.1),
    show_default=True,
    help="Variance of the signal over that of the noise; inf: none. May be given again.",
)
@click.option(
    "--step",
    type=float,
    multiple=True,
    default=(2.0, 5.0),
    show_default=True,
    help="Between tilts of ±50°, in degrees. May be given again.",
)
@click.option("--sigma", default=2.0, show_default=True, help="Of the detector, in pixels.")
@click.option("--first-seed", default=0, show_default=True, help="Lowest of the seeds.")
@experiment_options(seeds=10)
def command(
    part: str,
    size: int,
    snr: tuple[float, ...],
    step: tuple[float, ...],
    sigma: float,
    first_seed: int,
    run: ExperimentOptions,
) -> None:
    """Compare refinements, thresholds, denoising or detectors on shells of many kinds."""
    from tomodist.experiments.edges import PARTS, edges_experiment

    chosen = next(name for name in PARTS if name == part)
    experiment = edges_experiment(
        chosen,
        run.seeds,
        size=size,
        snrs=snr,
        steps=step,
        sigma=sigma,
        first_seed=first_seed,
    )
    run_and_print(experiment, run)

"""One command for each ablation, with the options that all experiments have."""

from __future__ import annotations

import math

import click

from tomodist.cli.commands.experiment import ExperimentOptions, experiment_options, run_and_print


@click.group(
    "python -m tests.ablations",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: python -m tests.ablations segmentation --seeds 10 -o segmentation/",
)
def group() -> None:
    """Compare forms of the algorithms on simulated specimens whose truth is known."""


@group.command(
    "segmentation",
    epilog="Example: python -m tests.ablations segmentation --seeds 10 -o segmentation/",
)
@experiment_options(10)
def segmentation(run: ExperimentOptions) -> None:
    """Compare plain, balanced, weighted, soft and fitted votes by their IoU with the truth."""
    from tests.ablations.segmentation import experiment

    run_and_print(experiment(run.seeds), run)


@group.command("tilts", epilog="Example: python -m tests.ablations tilts --seeds 10 -o tilts/")
@experiment_options(10)
def tilts(run: ExperimentOptions) -> None:
    """Ask whether bad tilts are found by their agreement, and whether leaving them out helps."""
    from tests.ablations.segmentation import bad_tilts_experiment

    run_and_print(bad_tilts_experiment(run.seeds), run)


@group.command(
    "localisation",
    epilog="Example: python -m tests.ablations localisation --seeds 10 -o localisation/",
)
@experiment_options(10)
def localisation(run: ExperimentOptions) -> None:
    """Compare two ways from 2D boxes to 3D boxes by how many objects they find, and where."""
    from tests.ablations.localisation import experiment

    run_and_print(experiment(run.seeds), run)


@group.command(
    "edges",
    epilog="Example: python -m tests.ablations edges --part threshold --seeds 10 -o edges/",
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
def edges(
    part: str,
    size: int,
    snr: tuple[float, ...],
    step: tuple[float, ...],
    sigma: float,
    first_seed: int,
    run: ExperimentOptions,
) -> None:
    """Compare refinements, thresholds, denoising or detectors on shells of many kinds."""
    from tests.ablations.edges import PARTS, edges_experiment

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

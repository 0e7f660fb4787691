"""``tomodist experiment sphere``: the edges of a hollow sphere, round by round."""

from __future__ import annotations

import cloup

from tomodist.cli.commands.experiment import ExperimentOptions, experiment_options, run_and_print
from tomodist.cli.shared.console import print_line
from tomodist.cli.shared.options import GroupedCommand

_SHOWN = (
    "F1 within 1, shown part",
    "F1 within 2, shown part",
    "precision within 2",
    "recall within 2, shown part",
    "surface distance, mean",
)


@cloup.command(
    "sphere",
    cls=GroupedCommand,
    epilog="Example: tomodist experiment sphere --snr 0.1 --seeds 10 -o sphere/",
)
@cloup.option(
    "--snr",
    default=0.3,
    show_default=True,
    help="Variance of the signal over that of the noise; inf: none.",
)
@cloup.option(
    "--angles",
    type=(float, float, float),
    default=(-50.0, 50.0, 2.0),
    show_default=True,
    help="First, last, step, in degrees.",
)
@cloup.option("--size", default=100, show_default=True, help="Side of the volume, in voxels.")
@cloup.option(
    "--rounds", default=3, show_default=True, help="Largest number of rounds of refinement."
)
@cloup.option("--reach", default=2, show_default=True, help="Number of tilts to either side (w).")
@cloup.option(
    "--support", default=4, show_default=True, help="Number of 2 w + 1 tilts that agree (k)."
)
@cloup.option(
    "--sigma", default=2.0, show_default=True, help="Scale of the edge detector in pixels."
)
@experiment_options(seeds=10)
def command(
    snr: float,
    angles: tuple[float, float, float],
    size: int,
    rounds: int,
    reach: int,
    support: int,
    sigma: float,
    run: ExperimentOptions,
) -> None:
    """Find the edges of a hollow sphere, and see what every round of refinement does."""
    from tomodist.experiments.sphere import Settings, sphere_experiment, sphere_figure
    from tomodist.pictures.sphere import draw_sphere
    from tomodist.simulate import TiltScheme

    tilts = TiltScheme(*angles).angles
    settings = Settings(size, snr, tilts, sigma, rounds, reach, support)
    _, folder = run_and_print(sphere_experiment(run.seeds, settings), run, _SHOWN)
    print_line(f"picture: {draw_sphere(sphere_figure(settings), folder / 'sphere_figure.png')}")

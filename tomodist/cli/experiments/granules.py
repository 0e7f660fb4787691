"""``tomodist experiment granules``: a 2D network and lifting against 3D networks."""

from __future__ import annotations

import cloup

from tomodist.cli.commands.experiment import ExperimentOptions, experiment_options, run_and_print
from tomodist.cli.shared.options import (
    INPUT,
    TRAINING,
    GroupedCommand,
)


@cloup.command(
    "granules",
    cls=GroupedCommand,
    epilog="Example: tomodist experiment granules --seeds 5 -o granules/",
)
@cloup.option(
    "--steps",
    default=1000,
    show_default=True,
    group=TRAINING,
    help="Training steps of the 2D network.",
)
@cloup.option(
    "--size", default=256, show_default=True, group=INPUT, help="Side of the images, in pixels."
)
@experiment_options(seeds=5)
def command(steps: int, size: int, run: ExperimentOptions) -> None:
    """Train on one simulated tomogram, find granules in another: 2D and lifted, or in 3D."""
    from tomodist.experiments.granules import Settings, experiment

    shape = (round(size / 2.56), size, size)
    run_and_print(experiment(run.seeds, settings=Settings(shape, steps)), run)

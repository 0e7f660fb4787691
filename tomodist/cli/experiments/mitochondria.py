"""``tomodist experiment mitochondria``: boxes of trained detectors, lifted to 3D."""

from __future__ import annotations

import cloup

from tomodist.cli.commands.experiment import ExperimentOptions, experiment_options, run_and_print
from tomodist.cli.shared.console import print_line
from tomodist.cli.shared.options import (
    INPUT,
    TRAINING,
    GroupedCommand,
)


@cloup.command(
    "mitochondria",
    cls=GroupedCommand,
    epilog="Example: tomodist experiment mitochondria --seeds 5 -o mitochondria/",
)
@cloup.option("--steps", default=400, show_default=True, group=TRAINING, help="Training steps.")
@cloup.option(
    "--size", default=256, show_default=True, group=INPUT, help="Side of the images, in pixels."
)
@experiment_options(seeds=5)
def command(steps: int, size: int, run: ExperimentOptions) -> None:
    """Learn boxes from one or three simulated tomograms, and find mitochondria in another."""
    from tomodist.experiments.mitochondria import Settings, experiment
    from tomodist.learned.networks.faster_rcnn import is_available

    has_torchvision = is_available()
    shape = (round(size / 2.56), size, size)
    settings = Settings(shape, steps=steps, faster_rcnn=has_torchvision)
    run_and_print(experiment(run.seeds, settings=settings), run)
    if not has_torchvision:
        print_line("left out: the paper's Faster R-CNN, because torchvision cannot be imported")

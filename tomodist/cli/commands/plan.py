"""``tomodist plan``: what a run would cost; nothing is run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tomodist.cli.shared.options import STORE, Brick, Bytes
from tomodist.cli.shared.tasks import open_tomogram, print_plans

if TYPE_CHECKING:
    from pathlib import Path


@click.command("plan", epilog="Example: tomodist plan TS_01.zarr --workers 16 --memory 4GiB")
@click.argument("store", type=STORE)
@click.option(
    "--task",
    type=click.Choice(["segment", "locate", "edges", "reconstruct"]),
    default="segment",
    show_default=True,
)
@click.option("--workers", type=int, help="Worker processes. [default: one per core]")
@click.option("--memory", type=Bytes(), help="Per worker process. [default: 80 % of free]")
@click.option("--brick", type=Brick(), help="Of the score volume. [default: planned]")
@click.option("--tilts-per-task", type=int, help="[default: planned]")
def command(
    store: Path,
    task: str,
    workers: int | None,
    memory: int | None,
    brick: tuple[int, ...] | None,
    tilts_per_task: int | None,
) -> None:
    """Print bricks, tasks, memory and bytes of a run on a store, and run nothing.

    Of locate, that is of --method votes; tracks make no volume.
    """
    from tomodist.algorithms.lift.backproject import Lifting, Votes
    from tomodist.algorithms.lift.balanced import BalancedVotes
    from tomodist.algorithms.lift.edges import RefinedEdges
    from tomodist.runtime.cluster import local_resources
    from tomodist.steps.backproject import plan_scores
    from tomodist.steps.structures import plan_labels
    from tomodist.tasks.reconstruct import Reconstruction, method_of

    tomogram = open_tomogram(store)
    resources = local_resources(workers, memory)
    if task == "reconstruct":
        method = method_of(tomogram, "wbp")
        print_plans(Reconstruction("wbp", method, brick, tilts_per_task).plans(resources))
        return
    geometry, grid = tomogram.geometry, tomogram.grid
    liftings: dict[str, Lifting] = {
        "segment": BalancedVotes(geometry, grid),
        "edges": RefinedEdges(geometry, grid),
        "locate": Votes(geometry, grid),
    }
    lifting = liftings[task]
    scores = plan_scores(lifting, 1, resources, brick=brick, tilts_per_task=tilts_per_task)
    print_plans([scores, plan_labels(grid, resources)])

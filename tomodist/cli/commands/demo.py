"""``tomodist demo``: simulate, run the three tasks, compare with the truth."""

from __future__ import annotations

from pathlib import Path

import cloup

from tomodist.cli.shared.console import print_line, print_table
from tomodist.cli.shared.options import (
    OUTPUT,
    STORE,
    GroupedCommand,
    cluster_options,
    session_of,
)


@cloup.command("demo", cls=GroupedCommand, epilog="Example: tomodist demo -o demo/")
@cloup.option(
    "-o",
    "--output",
    type=STORE,
    default=Path("demo"),
    show_default=True,
    group=OUTPUT,
    help="Folder for files, stores and pictures.",
)
@cluster_options
def command(output: Path, cluster: str, workers: int | None, memory: int | None) -> None:
    """Simulate a small tomogram, run the three tasks on it, and compare with the known truth."""
    from tomodist.tasks.demo import run_demo

    with session_of(cluster, workers, memory) as session:
        results = run_demo(session, output)
    print_table(
        "demo: against the known truth",
        ("task", "structures", "measure", "value", "precision", "recall"),
        [(r.task, r.structures, r.measure, r.value, r.precision, r.recall) for r in results],
    )
    for picture in sorted(output.glob("*.png")):
        print_line(f"picture: {picture.resolve()}")

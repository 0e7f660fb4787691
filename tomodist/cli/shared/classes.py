"""What ``tomodist segment --classes`` does: several classes, their tables and pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tomodist.cli.shared.console import print_line, print_table
from tomodist.cli.shared.tasks import print_disagreeing, print_structures, session_or_plan

if TYPE_CHECKING:
    from tomodist.cli.shared.options import RunOptions
    from tomodist.store.tomogram import Tomogram
    from tomodist.tasks.classes import ClassesTask


def run_classes_or_plan(tomogram: Tomogram, task: ClassesTask, run: RunOptions) -> None:
    """Segment all classes and print their summaries, or only print the plan."""
    from tomodist.pictures import draw_all, draw_classes
    from tomodist.tasks.classes import run_classes

    with session_or_plan(task.plans, run) as session:
        if session is None:
            return
        thresholds = run_classes(session, tomogram, task, overwrite=run.overwrite)
    rows = []
    for value, name in task.classes.items():
        pictures = draw_all(tomogram, name)
        print_structures(tomogram, name, thresholds[name])
        print_disagreeing(tomogram, name)
        for picture in pictures:
            print_line(f"picture: {picture}")
        n = tomogram.label(name).structures.dataset().sizes["structure"]
        rows.append((value, name, round(thresholds[name], 3), n))
    head = ("value", "class", "score above", "structures")
    print_table(f"classes of labels/{task.label}, the largest share decides", head, rows)
    print_line(f"picture: {draw_classes(tomogram, task.label)}")

"""The one runner of the command line: plan, say what is planned or run it, show what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tomodist.cli.shared.console import print_line
from tomodist.cli.shared.options import session_of
from tomodist.cli.shared.show import print_plans

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.cli.shared.options import WorkOptions
    from tomodist.planning.plan import Resources
    from tomodist.runtime.runner import Session
    from tomodist.tasks.base import PlannedTask, Task


def run_tasks(tasks: Sequence[Task[Any]], options: WorkOptions) -> list[Any]:
    """Plan tasks, then run them one by one; or only print the plan.

    What cannot fit is refused before workers are started, and what is finished needs none; only a
    cluster that runs already has to be asked what it has.

    Parameters
    ----------
    tasks : sequence of Task
        Of one command.
    options : WorkOptions
        Where they run, and whether.

    Returns
    -------
    list
        The results; empty if only the plan was printed.

    Raises
    ------
    TomodistError
    """
    from tomodist.runtime.cluster import resources_of

    if "://" in options.cluster:
        with session_of(*options.where) as session:
            planned = _planned(tasks, session.resources)
            return _shown(planned) if options.dry_run else _run(session, planned, options)
    resources = resources_of(*options.where)
    planned = _planned(tasks, resources)
    if options.dry_run:
        return _shown(planned)
    if all(task.is_current(overwrite=options.overwrite) for task in planned):
        print_line("nothing to do: everything is there already, made in this way")
        return [task.task.result([None] * len(task.steps)) for task in planned]
    # Without plans nothing is for workers: tables are compared in this process.
    cluster = options.cluster if any(task.plans for task in planned) else "threads"
    # The free memory changes by the second: the session gets what was planned with.
    with session_of(cluster, options.workers, resources.memory_limit) as session:
        return _run(session, planned, options)


def _shown(planned: Sequence[PlannedTask[Any]]) -> list[Any]:
    """Print the plans; nothing results from them."""
    print_plans(planned)
    return []


def _planned(tasks: Sequence[Task[Any]], resources: Resources) -> list[PlannedTask[Any]]:
    from tomodist.tasks.base import plan

    return [plan(task, resources) for task in tasks]


def _run(session: Session, planned: Sequence[PlannedTask[Any]], options: WorkOptions) -> list[Any]:
    from tomodist.tasks.base import run

    return [run(session, task, overwrite=options.overwrite) for task in planned]

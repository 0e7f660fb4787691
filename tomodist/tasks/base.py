"""What a user asks, as a value that gives its steps; and the one function that runs it.

    planned = plan(task, resources)      all steps are planned; what cannot fit is refused
    run(session, planned)                what is current is skipped, the rest is made; a result

One rule: nothing is made before every step of a task has been planned, and a plan is made once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.planning.plan import Plan, Resources
    from tomodist.runtime.runner import Session, Work
    from tomodist.steps.parts.base import Step

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Task(Protocol[R_co]):
    """What a user asks."""

    def steps(self) -> Sequence[Step]:
        """The steps, in the order in which they need each other."""

    def check(self, *, overwrite: bool) -> None:
        """Refuse what can be seen to be wrong before anything is done.

        Raises
        ------
        ExistsError, InputError, StoreError
        """

    def check_seen(self, session: Session) -> None:
        """Refuse workers that do not see what the task reads and writes.

        Raises
        ------
        StoreError
        """

    def result(self, outcomes: Sequence[Any]) -> R_co:
        """What came of it.

        Parameters
        ----------
        outcomes : sequence
            What the work of every step returned; None of a step that was current.
        """


@dataclass(frozen=True, eq=False)
class PlannedTask(Generic[R]):
    """A task with its steps and the plans of each.

    Parameters
    ----------
    task : Task
        What is asked.
    steps : tuple of Step
        Its steps.
    step_plans : tuple of tuple of Plan
        Of every step.
    resources : Resources
        For which they hold.
    """

    task: Task[R]
    steps: tuple[Step, ...]
    step_plans: tuple[tuple[Plan, ...], ...]
    resources: Resources

    @property
    def plans(self) -> list[Plan]:
        """The plans of all steps, in order."""
        return [plan for plans in self.step_plans for plan in plans]

    def is_current(self, *, overwrite: bool = False) -> bool:
        """Whether everything is there, made just so; nothing is done.

        Raises
        ------
        ExistsError
            If something was made differently and `overwrite` is false.
        """
        self.task.check(overwrite=overwrite)
        return all(step.is_current(overwrite=overwrite) for step in self.steps)

    def work(self, session: Session, *, overwrite: bool = False) -> Work[R]:
        """Everything that is not done yet, step by step.

        Parameters
        ----------
        session : Session
            Where tasks run.
        overwrite : bool
            Replace results that were made differently.

        Yields
        ------
        Batch

        Returns
        -------
        object
            The result of the task.
        """
        self.task.check(overwrite=overwrite)
        self.task.check_seen(session)
        outcomes = []
        for step, plans in zip(self.steps, self.step_plans, strict=True):
            current = step.is_current(overwrite=overwrite)
            outcomes.append(None if current else (yield from step.work(session, plans)))
        return self.task.result(outcomes)


def plan(task: Task[R], resources: Resources) -> PlannedTask[R]:
    """Plan all steps of a task.

    Parameters
    ----------
    task : Task
        What is asked.
    resources : Resources
        What the run may use.

    Returns
    -------
    PlannedTask

    Raises
    ------
    InputError, PlanError
        If a step makes no sense, or cannot fit.
    """
    steps = tuple(task.steps())
    return PlannedTask(task, steps, tuple(step.plans(resources) for step in steps), resources)


def run(session: Session, task: Task[R] | PlannedTask[R], *, overwrite: bool = False) -> R:
    """Do everything of a task that is not done yet.

    Parameters
    ----------
    session : Session
        Where tasks run.
    task : Task or PlannedTask
        What is asked; planned already, for no more than the session has, or not yet.
    overwrite : bool
        Replace results that were made differently.

    Returns
    -------
    object
        The result of the task.

    Raises
    ------
    TomodistError
        Of the step that failed; finished steps stay.
    """
    planned = task if isinstance(task, PlannedTask) else plan(task, session.resources)
    return session.run(planned.work(session, overwrite=overwrite))

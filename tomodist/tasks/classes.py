"""Task: several classes of one stack of label maps, in one pass.

    label maps --> maps/<label>, maps/<class> --> scores/<class>   one pass for all classes
                                                       |
                  labels/<label> <-- labels/<class> <--+           class by class

A class is a label like any other: it has votes, a threshold, structures, pictures and exports of
its own, and may overlap others in 3D. The labels of all together give every voxel one class at most
(see `tomodist.steps.semantic`).

A class that marks nothing has results without structures, and the others go on: no threshold could
be chosen, and any gives nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tomodist.errors import InputError
from tomodist.steps.backproject import Backproject
from tomodist.steps.classes import ReferClasses
from tomodist.steps.detect import DetectMaps
from tomodist.steps.semantic import DecideClasses
from tomodist.steps.structures import FindStructures
from tomodist.tasks.lifting import check_method
from tomodist.tasks.results import ClassesResult
from tomodist.values.maps import NOT_MEASURED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.runtime.runner import Session
    from tomodist.steps.parts.base import Step
    from tomodist.store.tomogram import Label
    from tomodist.tasks.lifting import LiftingTask


@dataclass(frozen=True)
class ClassesTask:
    """Segmenting all classes of label maps.

    Parameters
    ----------
    common : LiftingTask
        What is done to every class, with the label and the source of the label maps.
    names : dict of int to str
        Names of the classes by value.

    Raises
    ------
    InputError
        If tilts are to be left out by their agreement, which every class judges otherwise.
    """

    common: LiftingTask
    names: dict[int, str]

    def __post_init__(self) -> None:
        if self.common.exclude == "auto":
            raise InputError(
                "`exclude` is 'auto', which would leave out other tilts of every class, but all "
                "classes are lifted from the same ones; run without it, look at the tilts that "
                "disagree in the tables of the classes, and name them, such as 0,7"
            )

    @property
    def label(self) -> Label:
        """Of the label maps, and of the semantic volume."""
        return self.common.label

    @property
    def classes(self) -> dict[int, Label]:
        """Labels of the classes by value."""
        return {value: self.label.tomogram.label(name) for value, name in self.names.items()}

    @property
    def tasks(self) -> dict[int, LiftingTask]:
        """The task of every class, by value."""
        common = self.common
        return {
            value: replace(common, label=label, threshold=replace(common.threshold, label=label))
            for value, label in self.classes.items()
        }

    def steps(self) -> tuple[Step, ...]:
        """Pixels once, scores in one pass, then class by class, then the decision."""
        tasks, common = self.tasks.values(), self.common
        excluded = tuple(sorted(set(common.exclude))) if common.exclude != "auto" else ()
        scores = Backproject(
            tuple(self.classes.values()),
            common.lifting,
            excluded,
            "given" if excluded else None,
            common.cut,
        )
        return (
            DetectMaps(self.label, common.source, NOT_MEASURED),
            ReferClasses(self.label, self.classes),
            scores,
            *(step for task in tasks for step in task.threshold.steps()),
            *(FindStructures(task.label, task.threshold, task.selection) for task in tasks),
            DecideClasses(self.label, self.classes),
        )

    def check(self, *, overwrite: bool) -> None:
        """Refuse to replace structures of another method, or maps that are no such class."""
        if overwrite:
            return
        for label in self.classes.values():
            check_method(label, linked=False)
        ReferClasses(self.label, self.classes).check_replaceable()

    def check_seen(self, session: Session) -> None:
        """Workers must see the store."""
        self.common.check_seen(session)

    def result(self, outcomes: Sequence[Any]) -> ClassesResult:
        """The structures of every class."""
        classes = {value: task.result(outcomes) for value, task in self.tasks.items()}
        return ClassesResult(self.label, classes)

"""Several classes of one stack of label maps, in one pass: the order of the steps.

    label maps --> maps/<label>, maps/<class> --> scores/<class>   one pass for all classes
                                                       |
                  labels/<label> <-- labels/<class> <--+           class by class

A class is a label like any other: it has votes, a threshold, structures, pictures and exports of
its own, and may overlap others in 3D. `labels/<label>` gives every voxel one class at most (see
`tomodist.steps.semantic`).

A class that marks nothing has results without structures, and the others go on: no threshold could
be chosen, and any gives nothing.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tomodist.errors import InputError
from tomodist.steps.backproject import plan_scores
from tomodist.steps.classes import check_class_labels, refer_classes
from tomodist.steps.detect import detect_maps
from tomodist.steps.semantic import decide_classes, plan_decision
from tomodist.steps.structures import plan_labels
from tomodist.store.boxes import stored_boxes
from tomodist.tasks.lifting import Task, segmentation
from tomodist.tasks.run import check_method, find_above, make_scores_of, threshold_of
from tomodist.values.maps import NOT_MEASURED

if TYPE_CHECKING:
    from tomodist.planning.plan import Plan, Resources
    from tomodist.runtime.runner import Session
    from tomodist.sources.base import LabelMaps
    from tomodist.store.tomogram import Tomogram
    from tomodist.tasks.lifting import VotesKind


@dataclass(frozen=True)
class ClassesTask:
    """Segmenting all classes of label maps.

    Parameters
    ----------
    common : Task
        What is done to every class; its label is that of the label maps.
    classes : dict of int to str
        Names by value.

    Raises
    ------
    InputError
        If tilts are to be left out by their agreement, which every class judges otherwise.
    """

    common: Task
    classes: dict[int, str]

    def __post_init__(self) -> None:
        if self.common.exclude == "auto":
            raise InputError(
                "--exclude-tilts auto would leave out other tilts of every class, but all classes "
                "are lifted from the same ones; run without it, look at the tilts that disagree "
                "in the tables of the classes, and name them (--exclude-tilts 0,7)"
            )

    @property
    def label(self) -> str:
        """Of the label maps, and of the semantic volume."""
        return self.common.label

    @property
    def excluded(self) -> tuple[int, ...]:
        """Tilts that take no part."""
        exclude = self.common.exclude
        return () if exclude == "auto" else tuple(sorted(set(exclude)))

    @property
    def tasks(self) -> dict[int, Task]:
        """The task of every class, by value."""
        return {v: dataclasses.replace(self.common, label=n) for v, n in self.classes.items()}

    def plans(self, resources: Resources) -> list[Plan]:
        """What the steps over volumes would cost.

        Raises
        ------
        InputError, PlanError
            If one of them cannot fit, or makes no sense.
        """
        given, n_classes = self.common, len(self.classes)
        scores = plan_scores(
            given.lifting,
            1,
            resources,
            n_classes=n_classes,
            brick=given.brick,
            tilts_per_task=given.tilts_per_task,
        )
        grid = given.lifting.grid
        return [scores, plan_labels(grid, resources), plan_decision(grid, n_classes, resources)]


def class_segmentation(
    tomogram: Tomogram,
    label: str,
    source: LabelMaps,
    votes: VotesKind = "balanced",
    **options: Any,  # noqa: ANN401
) -> ClassesTask:
    """Algorithm 1 for all classes of label maps.

    Parameters
    ----------
    tomogram : Tomogram
        The store.
    label : str
        Of the label maps.
    source : ImportedClasses or DetectedClasses
        From `tomodist.sources.classes.import_classes`.
    votes, **options
        As for `tomodist.tasks.lifting.segmentation`.

    Returns
    -------
    ClassesTask
    """
    return ClassesTask(segmentation(tomogram, label, source, votes, **options), source.classes)


def run_classes(
    session: Session, tomogram: Tomogram, task: ClassesTask, *, overwrite: bool = False
) -> dict[str, float]:
    """Do everything that is not done yet.

    Parameters
    ----------
    session : Session
        Where tasks run.
    tomogram : Tomogram
        The store.
    task : ClassesTask
        What to do.
    overwrite : bool
        Replace results that were made differently.

    Returns
    -------
    dict of str to float
        The threshold of every class.

    Raises
    ------
    TomodistError
        Of the step that failed; finished steps stay.
    """
    task.plans(session.resources)
    session.check_sees(tomogram.path)
    for one in task.tasks.values():
        check_method(tomogram, one, overwrite=overwrite)
    check_class_labels(tomogram, task.label, task.classes, overwrite=overwrite)
    label, source = task.label, task.common.source
    detect_maps(session, tomogram, label, source, unmeasured=NOT_MEASURED, overwrite=overwrite)
    refer_classes(session, tomogram, label, task.classes, overwrite=overwrite)
    names, excluded = list(task.classes.values()), task.excluded
    make_scores_of(session, tomogram, task.common, names, excluded, overwrite=overwrite)
    thresholds = {}
    for one in task.tasks.values():
        threshold = _threshold(session, tomogram, one, overwrite=overwrite)
        thresholds[one.label] = find_above(session, tomogram, one, threshold, overwrite=overwrite)
    decide_classes(session, tomogram, label, task.classes, overwrite=overwrite)
    return thresholds


def _threshold(session: Session, tomogram: Tomogram, task: Task, *, overwrite: bool) -> float:
    """The threshold of one class; 0 where nothing is marked that the volume could hold."""
    boxes = stored_boxes(tomogram.array(f"maps/{task.label}", "boxes"))
    if task.threshold is None and not any(map(len, boxes)):
        session.progress.message(f"{task.label} marks no pixel: it has no structures")
        return 0.0
    try:
        return threshold_of(session, tomogram, task, overwrite=overwrite)
    except InputError as error:
        session.progress.message(f"{task.label} has no structures: {error}")
        return 0.0

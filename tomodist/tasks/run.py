"""Run a task on a tomogram, step by step; what is there already stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.algorithms.lift.edges import RefinedEdges
from tomodist.errors import ExistsError
from tomodist.steps.backproject import backproject_maps, scores_are
from tomodist.steps.detect import detect_maps
from tomodist.steps.ray_lengths import choose_edge_threshold, keep_edge_curve, stored_edge_threshold
from tomodist.steps.score_record import Evidence
from tomodist.steps.structures import Selection, select_structures
from tomodist.steps.threshold import choose_threshold_of, keep_curve, stored_curve
from tomodist.steps.tracks import link_structures
from tomodist.store.curves import stored_consistency
from tomodist.tasks.lifting import LinkTask, Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.algorithms.lift.backproject import Lifting
    from tomodist.algorithms.threshold.curve import ThresholdCurve
    from tomodist.runtime.runner import Session
    from tomodist.store.tomogram import Tomogram


def run_task(
    session: Session, tomogram: Tomogram, task: Task | LinkTask, *, overwrite: bool = False
) -> float | None:
    """Do everything that is not done yet.

    Parameters
    ----------
    session : Session
        Where tasks run.
    tomogram : Tomogram
        The store.
    task : Task or LinkTask
        What to do.
    overwrite : bool
        Replace results that were made differently.

    Returns
    -------
    float or None
        The threshold that was used; tracks have none.

    Raises
    ------
    TomodistError
        Of the step that failed; finished steps stay.
    """
    task.plans(session.resources)
    session.check_sees(tomogram.path)
    check_method(tomogram, task, overwrite=overwrite)
    detect_maps(session, tomogram, task.label, task.source, overwrite=overwrite)
    if isinstance(task, LinkTask):
        link_structures(
            session, tomogram, task.label, task.rule, exclude=task.exclude, overwrite=overwrite
        )
        return None
    _make_scores(session, tomogram, task, overwrite=overwrite)
    threshold = threshold_of(session, tomogram, task, overwrite=overwrite)
    return find_above(session, tomogram, task, threshold, overwrite=overwrite)


def threshold_of(
    session: Session, tomogram: Tomogram, task: Task, *, overwrite: bool = False
) -> float:
    """The threshold on the stored scores of a task: as given, from an earlier run, or chosen now.

    Raises
    ------
    ExistsError, InputError, PlanError, StoreError
    """
    evidence = Evidence.of(tomogram, task.label)
    if task.threshold is not None:
        return task.threshold * evidence.levels if task.shares else task.threshold
    if isinstance(task.lifting, RefinedEdges):
        return _edge_threshold(session, tomogram, task, evidence, overwrite=overwrite)
    again = overwrite or task.exclude == "auto"  # the curve of all tilts may be there
    return float(_curve(session, tomogram, task, evidence, overwrite=again).best)


def find_above(
    session: Session, tomogram: Tomogram, task: Task, threshold: float, *, overwrite: bool = False
) -> float:
    """Make the structures of a task from its scores above a threshold; as tables tell it.

    Raises
    ------
    ExistsError, PlanError, StoreError
    """
    selection = Selection(
        threshold, task.min_voxels, task.min_tilts, task.triangulate, task.own_thresholds
    )
    select_structures(session, tomogram, task.label, selection, overwrite=overwrite)
    return threshold * Evidence.of(tomogram, task.label).scale


def _make_scores(session: Session, tomogram: Tomogram, task: Task, *, overwrite: bool) -> None:
    """Backproject the tilts that take part.

    Those that disagree are known only after all have been lifted together; then the rest is lifted
    again. The scores say of which tilts they are, so an interrupted run goes on at either time.
    """
    if task.exclude != "auto":
        excluded = tuple(sorted(set(task.exclude)))
        make_scores_of(session, tomogram, task, task.label, excluded, overwrite=overwrite)
        return
    unit = f"scores/{task.label}"
    if tomogram.has(unit):
        excluded = tuple(tomogram.attributes(unit).get("excluded", ()))
        if excluded and scores_are(tomogram, task.label, *_scored(task, excluded)):
            return
    make_scores_of(session, tomogram, task, task.label, (), overwrite=overwrite)
    _curve(session, tomogram, task, Evidence.of(tomogram, task.label), overwrite=True)
    agreement = stored_consistency(tomogram, task.label)
    excluded = tuple(np.flatnonzero(agreement[2].disagrees).tolist()) if agreement else ()
    if excluded:
        words = ", ".join(map(str, excluded))
        session.progress.message(f"tilts that disagree with the rest are left out: {words}")
        make_scores_of(session, tomogram, task, task.label, excluded, overwrite=True)


def _scored(task: Task, excluded: tuple[int, ...]) -> tuple[Lifting, dict[str, Any]]:
    """The lifting of the tilts that are left, and what determines the scores."""
    parameters = dict(task.parameters)
    if excluded or task.exclude:
        how = "auto" if task.exclude == "auto" else "given"
        parameters |= {"exclude": how, "excluded": list(excluded)}
    return task.without(excluded)[1], parameters


def make_scores_of(
    session: Session,
    tomogram: Tomogram,
    task: Task,
    labels: str | Sequence[str],
    excluded: tuple[int, ...],
    *,
    overwrite: bool,
) -> None:
    """Make the scores of a label, or of several classes in one pass, without some tilts.

    Raises
    ------
    ExistsError, InputError, PlanError, StoreError
    """
    lifting, parameters = _scored(task, excluded)
    backproject_maps(
        session,
        tomogram,
        labels,
        lifting,
        parameters,
        tilts=task.without(excluded)[0] if excluded else None,
        brick=task.brick,
        tilts_per_task=task.tilts_per_task,
        overwrite=overwrite,
    )


def _curve(
    session: Session, tomogram: Tomogram, task: Task, evidence: Evidence, *, overwrite: bool
) -> ThresholdCurve:
    """The threshold curve, from an earlier run or now."""
    found = stored_curve(tomogram, task.label, overwrite=overwrite)
    if found is not None:
        return found
    scores = tomogram.array(f"scores/{task.label}", "scale0/scores")
    grid = task.lifting.grid
    curve = choose_threshold_of(
        session, scores, evidence.compared, evidence.geometry, grid, evidence.levels
    )
    keep_curve(tomogram, task.label, curve, evidence.tilts, evidence.scale)
    return curve


def _edge_threshold(
    session: Session, tomogram: Tomogram, task: Task, evidence: Evidence, *, overwrite: bool
) -> float:
    """The threshold of edges, from an earlier run or now."""
    found = stored_edge_threshold(tomogram, task.label, overwrite=overwrite)
    if found is not None:
        return found
    scores = tomogram.array(f"scores/{task.label}", "scale0/scores")
    grid, own = task.lifting.grid, 0 if task.parameters.get("rounds") else 1
    maps = evidence.compared
    curve = choose_edge_threshold(session, scores, maps, evidence.geometry, grid, own=own)
    keep_edge_curve(tomogram, task.label, curve)
    return float(curve.best)


def check_method(tomogram: Tomogram, task: Task | LinkTask, *, overwrite: bool) -> None:
    """Refuse, before anything is done, to replace structures that another method found.

    Raises
    ------
    ExistsError
    """
    unit = f"structures/{task.label}"
    if overwrite or not tomogram.has(unit):
        return
    linked = tomogram.attributes(unit)["fingerprint"]["step"] == "link"
    if linked != isinstance(task, LinkTask):
        method = "tracks" if linked else "votes"
        raise ExistsError(
            f"{tomogram.path}: {unit} exists and was found by {method}; use --overwrite to replace "
            "it, or another --label"
        )

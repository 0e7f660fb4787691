"""Running comparisons: scores of each, their sums, and the same as plain values."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tomodist.errors import InputError
from tomodist.runtime.cluster import open_session
from tomodist.steps.compare import (
    VolumePair,
    compare_boxes,
    compare_points,
    compare_volumes,
    plan_comparison,
)
from tomodist.tasks.comparisons import Comparison, Kind, Pair, Rules, prepare

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tomodist.metrics import Scores
    from tomodist.planning.plan import Plan, Resources
    from tomodist.runtime.runner import Session
    from tomodist.sources.truth import MaskVolume

FORMAT = 1  # of the plain values


@dataclass(frozen=True, eq=False)
class Result:
    """Scores of one comparison."""

    comparison: Comparison
    scores: Scores


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All comparisons of a call with their scores.

    Parameters
    ----------
    results : tuple of Result
        As they were asked for.
    rules : Rules
        By which they were compared.
    """

    results: tuple[Result, ...]
    rules: Rules

    def __getitem__(self, label: str) -> Scores:
        """Scores of the first comparison with this label."""
        for result in self.results:
            if result.comparison.label == label:
                return result.scores
        there = ", ".join(result.comparison.label for result in self.results)
        raise KeyError(f"no result is labelled {label!r} (there: {there})")

    @property
    def pooled(self) -> dict[Kind, Scores]:
        """Sums of the scores of each kind."""
        kinds = dict.fromkeys(result.comparison.kind for result in self.results)
        return {kind: functools.reduce(operator.add, self._of(kind)) for kind in kinds}

    def _of(self, kind: Kind) -> list[Any]:
        return [result.scores for result in self.results if result.comparison.kind == kind]

    def to_dict(self) -> dict[str, Any]:
        """Every count and measure as plain values."""
        sizes = {result.comparison.voxel_size for result in self.results}
        size = sizes.pop() if len(sizes) == 1 else None
        return {
            "format": FORMAT,
            "max_distance_voxels": self.rules.max_distance,
            "distance_angstrom": self.rules.distance,
            "within": None if self.rules.within is None else str(self.rules.within),
            "results": [
                {
                    "label": one.comparison.label,
                    "kind": one.comparison.kind,
                    "found": one.comparison.found,
                    "truth": one.comparison.truth,
                    "value": one.comparison.value,
                    "voxel_size_angstrom": one.comparison.voxel_size,
                    **one.scores.to_dict(one.comparison.voxel_size),
                }
                for one in self.results
            ],
            "pooled": {kind: scores.to_dict(size) for kind, scores in self.pooled.items()},
        }


def evaluate(
    result: str | Path,
    truth: str | Path | Mapping[str, str | Path],
    *,
    kind: Kind | None = None,
    value: float | None = None,
    max_distance: int = 32,
    distance: float | None = None,
    within: str | Path | None = None,
    pixel_size: float | None = None,
    session: Session | None = None,
) -> Evaluation:
    """Compare results with the truth.

    Parameters
    ----------
    result : str or Path
        A tomogram store, or a volume or table that was made elsewhere.
    truth : str, Path, or mapping
        Of a store, the truth of every label; of a file, its truth. Volumes are MRC, Zarr or
        OME-Zarr; tables CSV or STAR.
    kind : {"mask", "edges", "boxes", "points"}, optional
        How all are compared; by default what the truth is.
    value : float, optional
        Which value of the true volume is the class; by default anything but 0.
    max_distance : int
        Surface distances up to so many voxels are told apart.
    distance : float, optional
        How far in Å a point may be from the true one.
    within : str or Path, optional
        A volume; only what lies in it counts.
    pixel_size : float, optional
        In Å, of files that do not say it.
    session : Session, optional
        Where tasks run; by default threads of this process.

    Returns
    -------
    Evaluation
        Scores by label: ``evaluation["gold"]``; their sums: ``evaluation.pooled``.

    Raises
    ------
    InputError, StoreError, PlanError
    """
    named = isinstance(truth, Mapping)
    truths = truth.items() if isinstance(truth, Mapping) else [("", truth)]
    pairs = [Pair(Path(path), name if named else None, kind, value) for name, path in truths]
    rules = Rules(max_distance, distance, None if within is None else Path(within), pixel_size)
    comparisons = prepare(Path(result), pairs, rules)
    if session is None and needs_session(comparisons):
        with open_session("threads") as threads:
            return compare_all(threads, comparisons, rules)
    return compare_all(session, comparisons, rules)


def needs_session(comparisons: Sequence[Comparison]) -> bool:
    """Whether any of them is one of volumes."""
    return any(isinstance(c.sides, VolumePair) for c in comparisons)


def compare_all(
    session: Session | None,
    comparisons: Sequence[Comparison],
    rules: Rules,
    *,
    brick: Sequence[int] | None = None,
) -> Evaluation:
    """Run comparisons, one after the other.

    Parameters
    ----------
    session : Session, optional
        Where tasks run; volumes need one.
    comparisons : sequence of Comparison
        From `prepare`.
    rules : Rules
        By which they were prepared.
    brick : sequence of int, optional
        Fix the brick instead of planning.

    Returns
    -------
    Evaluation

    Raises
    ------
    InputError, PlanError, StoreError
    """
    if session is not None:
        plans(comparisons, session.resources, brick)
        for volume in _volumes(comparisons):
            session.check_sees(Path(volume.source.path).parent)
    results = [Result(c, _compare(session, c, brick)) for c in comparisons]
    return Evaluation(tuple(results), rules)


def plans(
    comparisons: Sequence[Comparison], resources: Resources, brick: Sequence[int] | None = None
) -> list[Plan]:
    """What the comparisons of volumes would cost.

    Raises
    ------
    InputError, PlanError
        If the brick makes no sense, or a comparison cannot fit.
    """
    pairs = [c.sides for c in comparisons if isinstance(c.sides, VolumePair)]
    return [plan_comparison(pair, resources, brick) for pair in pairs]


def _volumes(comparisons: Sequence[Comparison]) -> Iterator[MaskVolume]:
    for comparison in comparisons:
        if isinstance(comparison.sides, VolumePair):
            pair = comparison.sides
            yield from (v for v in (pair.found, pair.truth, pair.within) if v is not None)


def _compare(
    session: Session | None, comparison: Comparison, brick: Sequence[int] | None
) -> Scores:
    if not isinstance(comparison.sides, VolumePair):
        if comparison.distance is None:
            return compare_boxes(*comparison.sides)
        return compare_points(*comparison.sides, comparison.distance)
    if session is None:
        raise InputError(f"{comparison.label} is a volume, for which a session is needed")
    return compare_volumes(session, comparison.sides, name=comparison.label, brick=brick)

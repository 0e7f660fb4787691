"""Running comparisons: scores of each, their sums, and the same as plain values."""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    from tomodist.runtime.runner import Session, Work
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
        raise KeyError(f"no result is labelled {label!r} (available: {there})")

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


@dataclass(frozen=True, eq=False)
class CompareStep:
    """Step: one comparison. It makes no unit, so it is never current.

    Parameters
    ----------
    comparison : Comparison
        From `prepare`.
    brick : tuple of int, optional
        Fixed instead of planned.
    """

    comparison: Comparison
    brick: tuple[int, ...] | None = None

    def plans(self, resources: Resources) -> tuple[Plan, ...]:
        """Of volumes; tables are small."""
        sides = self.comparison.sides
        if not isinstance(sides, VolumePair):
            return ()
        return (plan_comparison(sides, resources, self.brick),)

    def is_current(self, *, overwrite: bool) -> bool:  # noqa: ARG002 -- as of all steps
        """Never: nothing is stored."""
        return False

    def work(self, session: Session, plans: Sequence[Plan]) -> Work[Scores]:  # noqa: ARG002
        """Compare."""
        comparison = self.comparison
        if isinstance(comparison.sides, VolumePair):
            volume_scores = yield from compare_volumes(comparison.sides, plans[0], comparison.label)
            return volume_scores
        if comparison.distance is None:
            return compare_boxes(*comparison.sides)
        return compare_points(*comparison.sides, comparison.distance)


@dataclass(frozen=True, eq=False)
class EvaluationTask:
    """Comparing results with the truth.

    Parameters
    ----------
    comparisons : tuple of Comparison
        From `prepare`.
    rules : Rules
        By which they were prepared.
    brick : tuple of int, optional
        Fixed instead of planned.
    """

    comparisons: tuple[Comparison, ...]
    rules: Rules
    brick: tuple[int, ...] | None = None

    @property
    def has_volumes(self) -> bool:
        """Whether any of them is one of volumes, for which workers pay."""
        return any(isinstance(c.sides, VolumePair) for c in self.comparisons)

    def steps(self) -> tuple[CompareStep, ...]:
        """One step per comparison."""
        return tuple(CompareStep(comparison, self.brick) for comparison in self.comparisons)

    def check(self, *, overwrite: bool) -> None:
        """All that can be wrong was found by `prepare`."""

    def check_seen(self, session: Session) -> None:
        """Workers must see all volumes."""
        for volume in self._volumes():
            folder = Path(volume.source.path).parent
            session.check_sees(str(folder), folder.exists)

    def result(self, outcomes: Sequence[Scores]) -> Evaluation:
        """All scores."""
        pairs = zip(self.comparisons, outcomes, strict=True)
        return Evaluation(tuple(Result(*pair) for pair in pairs), self.rules)

    def _volumes(self) -> Iterator[MaskVolume]:
        for comparison in self.comparisons:
            if isinstance(comparison.sides, VolumePair):
                pair = comparison.sides
                yield from (v for v in (pair.found, pair.truth, pair.within) if v is not None)


def evaluation_task(
    result: Path, pairs: Sequence[Pair], rules: Rules, brick: tuple[int, ...] | None = None
) -> EvaluationTask:
    """Open and check everything that is to be compared.

    Parameters
    ----------
    result, pairs, rules
        See `prepare`.
    brick : tuple of int, optional
        Fixed instead of planned.

    Returns
    -------
    EvaluationTask

    Raises
    ------
    InputError, StoreError
        Of the first pair that cannot be compared.
    """
    return EvaluationTask(tuple(prepare(result, pairs, rules)), rules, brick)

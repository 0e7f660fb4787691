from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import pytest

from tests.ablations.edges import PARTS, Part, edges_experiment
from tomodist.errors import InputError
from tomodist.experiments import Report, run_experiment
from tomodist.runtime.cluster import open_session

if TYPE_CHECKING:
    from pathlib import Path

F1 = "F1 within 2, shown part"


def mean(report: Report, algorithm: str, measure: str, variant: str) -> float:
    (condition,) = report.names(algorithm, measure, "condition")
    return statistics.mean(report.values(algorithm, measure, variant, condition).values())


@pytest.mark.parametrize("part", PARTS)
def test_every_part_measures_its_variants(part: Part, tmp_path: Path) -> None:
    experiment = edges_experiment(part, 1, size=40, snrs=[1.0], steps=[5.0])
    with open_session("threads") as session:
        report = run_experiment(session, experiment, tmp_path)
    for algorithm, measure in report.tables:
        variants = report.names(algorithm, measure, "variant")
        assert experiment.baseline in variants
        values = {v: mean(report, algorithm, measure, v) for v in variants}
        assert all(0 <= value <= 1 for value in values.values())
        assert len(set(values.values())) > 2
    best = {"threshold": "no refinement"}.get(part, "edges")
    if part == "threshold":
        values = {v: mean(report, best, F1, v) for v in report.names(best, F1, "variant")}
        assert values["best (from the truth)"] == max(values.values())
        assert values["ray lengths"] > values["reprojection IoU"]
    else:
        for variant in report.names(best, f"{F1}, best T", "variant"):
            chosen = mean(report, best, f"{F1}, T from ray lengths", variant)
            assert chosen <= mean(report, best, f"{F1}, best T", variant)


def test_an_unknown_part_is_refused() -> None:
    wrong: Part = "colour"  # type: ignore[assignment]
    with pytest.raises(InputError, match="part is 'colour'; it must be one of refinement"):
        edges_experiment(wrong, 1)

from __future__ import annotations

import csv
import json
import math
from typing import TYPE_CHECKING

import matplotlib.image
import numpy as np
import pytest

from tomodist.errors import ExistsError, InputError
from tomodist.experiments import Case, Experiment, Report, Row, run_cases, run_experiment
from tomodist.runtime.cluster import open_session

if TYPE_CHECKING:
    from pathlib import Path


def measure(case: Case) -> list[Row]:
    """Two variants with the same noise; "better" lies 0.1 above "plain"."""
    noise = float(np.random.default_rng(case.seed).normal())
    gain = case.settings.get("gain", 0.1)
    return [
        Row("a", "plain", case.condition, case.seed, "score", noise),
        Row("a", "better", case.condition, case.seed, "score", noise + gain),
    ]


def fails_at_2(case: Case) -> list[Row]:
    if case.seed == 2:
        raise KeyboardInterrupt
    return measure(case)


def nothing(case: Case) -> list[Row]:
    return [Row("a", "plain", case.condition, case.seed, "score", math.nan)]


CASES = tuple(Case(condition, seed) for condition in ("dim", "bright") for seed in range(4))


def files(folder: Path) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in (folder / "cases").iterdir()}


@pytest.mark.parametrize("cluster", ["threads", "local"])
def test_rows_are_in_the_order_of_the_cases_on_any_number_of_workers(
    cluster: str, tmp_path: Path
) -> None:
    expected = [row for case in CASES for row in measure(case)]
    with open_session(cluster, n_workers=2) as session:
        assert run_cases(session, measure, CASES, tmp_path) == expected


def test_a_finished_case_is_not_run_again_and_more_seeds_may_follow(tmp_path: Path) -> None:
    with open_session("threads") as session:
        run_cases(session, measure, CASES[:3], tmp_path)
        before = files(tmp_path)
        rows = run_cases(session, measure, CASES, tmp_path)
        after = files(tmp_path)
        assert {name: after[name] for name in before} == before
        assert len(after) == len(CASES)
        assert rows == [row for case in CASES for row in measure(case)]
        run_cases(session, measure, CASES[:1], tmp_path, overwrite=True)
        assert len([n for n, t in files(tmp_path).items() if after[n] != t]) == 1


def test_other_settings_are_other_cases(tmp_path: Path) -> None:
    with open_session("threads") as session:
        run_cases(session, measure, [Case("dim", 0)], tmp_path)
        rows = run_cases(session, measure, [Case("dim", 0, {"gain": 5.0})], tmp_path)
    assert rows[1].value - rows[0].value == pytest.approx(5)


def test_an_interrupted_experiment_keeps_what_was_finished(tmp_path: Path) -> None:
    with open_session("threads", n_workers=1) as session, pytest.raises(KeyboardInterrupt):
        run_cases(session, fails_at_2, CASES[:3], tmp_path)  # one after it may have started
    assert {name.split("_")[1] for name in files(tmp_path)} == {"seed0", "seed1"}


def test_no_number_stays_no_number(tmp_path: Path) -> None:
    with open_session("threads") as session:
        (row,) = run_cases(session, nothing, [Case("dim", 0)], tmp_path)
    assert math.isnan(row.value)


def test_a_table_has_mean_spread_and_paired_difference() -> None:
    values = {"plain": (1.0, 2.0, 3.0), "other": (1.5, 1.9, 3.5)}
    rows = [
        Row("a", variant, "dim", seed, "score", value)
        for variant, numbers in values.items()
        for seed, value in enumerate(numbers)
    ]
    head, lines = Report("x", rows).table("a", "score")
    assert head == ["variant", "dim"]
    assert lines == [
        ["plain", "2.000 ± 1.000"],
        ["other", "**2.300 ± 1.058** (+0.300, 2 of 3)"],
    ]
    _, lines = Report("x", rows, lower=("score",)).table("a", "score")
    assert lines == [
        ["plain", "**2.000 ± 1.000**"],
        ["other", "2.300 ± 1.058 (+0.300, 1 of 3)"],
    ]


def test_the_report_holds_every_row(tmp_path: Path) -> None:
    experiment = Experiment("trial", measure, CASES, {"size": 3})
    with open_session("threads") as session:
        report = run_experiment(session, experiment, tmp_path)
    with (tmp_path / "trial.csv").open(newline="") as file:
        head, *lines = csv.reader(file)
    assert tuple(head) == Row._fields
    assert [float(line[-1]) for line in lines] == [row.value for row in report.rows]
    content = json.loads((tmp_path / "trial.json").read_text())
    assert content["parameters"] == {"size": 3}
    assert {"python", "numpy", "tomodist"} <= set(content["versions"])
    assert [row["value"] for row in content["rows"]] == [row.value for row in report.rows]
    assert "(+0.100, 4 of 4)" in (tmp_path / "trial.md").read_text()
    assert matplotlib.image.imread(tmp_path / "trial.png").std() > 0.05


def test_a_report_of_other_parameters_is_not_replaced_unasked(tmp_path: Path) -> None:
    with open_session("threads") as session:
        run_experiment(session, Experiment("trial", measure, CASES, {"size": 3}), tmp_path)
        other = Experiment("trial", measure, CASES, {"size": 4})
        with pytest.raises(ExistsError, match="size was 3 and is 4; use `overwrite`"):
            run_experiment(session, other, tmp_path)
        run_experiment(session, other, tmp_path, overwrite=True)
        with pytest.raises(InputError, match="has no cases"):
            run_experiment(session, Experiment("trial", measure, ()), tmp_path)

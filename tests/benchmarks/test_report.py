from __future__ import annotations

from typing import Any

import pytest

from tests.benchmarks.report import report, seconds


def case(name: str, median: float, updates: int = 0, cores: int = 1, **extra: Any) -> Any:
    stats = {"median": median, "min": median / 2, "rounds": 3}
    info = {"updates": updates, "cores": cores, **extra}
    return {"name": name, "stats": stats, "extra_info": info}


def run_of(*cases: Any) -> dict[str, Any]:
    info = {"cpu": {"brand_raw": "A CPU", "count": 2}, "machine": "m", "python_version": "3.11.7"}
    machine = {**info, "versions": {"numba": "0.68.1"}}
    return {"benchmarks": list(cases), "machine_info": machine, "datetime": "2026-01-02T03:04:05"}


RUN = run_of(
    case("linear", 0.1, 10**9),
    case("linear, scipy.sparse CSR", 1.0, 5 * 10**9),
    case("linear, two threads", 0.0625, 10**9, cores=2),
    case("bare interpreter", 0.02),
    case("import tomodist", 0.07),
    case("first call of votes_rows", 9.0, seconds=[8.0, 1.5, 0.5, 2.5]),
)


def cells(statistic: str = "median") -> dict[str, list[str]]:
    lines = report(RUN, statistic, markdown=True).splitlines()
    rows = [[c.strip() for c in text[1:-1].split("|")] for text in lines if text[:1] == "|"]
    assert set(rows[1]) == {"---"}
    return {row[0]: row[1:] for row in rows[2:]}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("linear", ["0.1", "10", "", "≥ 8 GUPS", "yes"]),
        ("linear, scipy.sparse CSR", ["1", "5", "linear is 2 x as fast", "≥ 4 x", "NO"]),
        (
            "linear, two threads",
            ["0.0625", "8", "1.6 x as fast as one (linear)", "≥ 1.9 x", "NO"],
        ),
        ("import tomodist", ["0.07", "", "0.05 s more than bare interpreter", "≤ 0.3 s", "yes"]),
        ("first call of votes_rows", ["1.5", "", "", "≤ 1 s", "NO"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_row_states_speed_ratio_and_target(name: str, expected: list[str]) -> None:
    assert cells()[name] == expected


def test_minima_where_they_are_asked_for() -> None:
    assert cells("min")["linear"][:2] == ["0.05", "20"]
    assert seconds(RUN["benchmarks"][-1], "min") == 0.5


def test_the_machine_and_what_was_not_measured_are_said() -> None:
    text = report(RUN, "median", markdown=False)
    assert "A CPU, 2 cores; Python 3.11.7, numba 0.68.1; 2026-01-02T03:04 UTC" in text
    assert "Not measured: linear, NumPy by rows; linear, NumPy by planes; linear, ASTRA" in text
    assert "votes" not in cells()

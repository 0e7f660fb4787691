"""The experiments on Algorithm 1, at tiny size: cases are reproducible, and their claims hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.ablations import segmentation
from tests.ablations.commands import group
from tests.ablations.segmentation import VARIANTS, make, run_bad_tilts, run_case
from tests.cli.materials import THREADS
from tomodist.cli import run
from tomodist.experiments import Case
from tomodist.formats.files import read_json

if TYPE_CHECKING:
    from pathlib import Path

DENSE = "±60° by 3°"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmentation, "SHAPE", (48, 96, 96))


def settings(structure: str, errors: str) -> dict[str, object]:
    return {"structure": structure, "scheme": DENSE, "errors": errors}


def test_every_variant_finds_the_structure() -> None:
    rows = run_case(Case("none", 1, settings("mitochondrion", "none")))
    measured = {row.variant: row.value for row in rows if row.measure == "IoU"}
    assert set(measured) == set(VARIANTS)
    assert min(measured.values()) > 0.4
    assert measured["plain, best threshold (knows the truth)"] >= measured["plain"]


def test_the_default_is_better_than_plain_votes() -> None:
    gains = []
    for seed in range(3):
        rows = run_case(Case("some", seed, settings("mitochondrion", "some")))
        measured = {row.variant: row.value for row in rows if row.measure == "IoU"}
        gains.append(measured["balanced, coverage, own thresholds (default)"] - measured["plain"])
    assert np.mean(gains) > 0.01


@pytest.mark.long
def test_the_same_case_gives_the_same_rows() -> None:
    case = Case("some", 2, settings("granule", "some"))
    first, again = run_case(case), run_case(case)
    assert first == again


def test_a_spoiled_series_is_repaired() -> None:
    rows = run_bad_tilts(Case("none", 0, {"structure": "mitochondrion", "errors": "none"}))
    measured = {(row.variant, row.measure): row.value for row in rows}
    assert measured["those that disagree left out", "bad tilts found"] == 1
    assert measured["those that disagree left out", "IoU"] >= measured["all tilts", "IoU"] - 0.01


def test_shifted_fields_leave_part_of_the_volume_unseen() -> None:
    whole, part = make("granule", DENSE, "none", 0), make("granule", DENSE, "none", 0, 0.35)
    assert part.maps.sum() < 0.95 * whole.maps.sum()
    np.testing.assert_array_equal(whole.truth, part.truth)


def test_the_command_writes_its_report_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segmentation, "SCHEMES", {"±60° by 10°": (60, 10)})
    monkeypatch.setattr(segmentation, "ERRORS", {"few": segmentation.ERRORS["few"]})
    monkeypatch.setattr(segmentation, "STRUCTURES", ("granule",))
    monkeypatch.setattr(
        segmentation, "VARIANTS", {k: v for k, v in VARIANTS.items() if "plain" in k}
    )
    command = ["segmentation", "--seeds", "1", "-o", str(tmp_path), *THREADS]
    assert run(command, group) == 0
    report = read_json(tmp_path / "segmentation.json")
    assert {row["variant"] for row in report["rows"]} == {k for k in VARIANTS if "plain" in k}
    before = [path.stat().st_mtime_ns for path in sorted((tmp_path / "cases").iterdir())]
    assert run(command, group) == 0
    assert before == [path.stat().st_mtime_ns for path in sorted((tmp_path / "cases").iterdir())]

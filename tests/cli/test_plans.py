"""A task is planned once, before anything is done; `tomodist plan` says the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.materials import THREADS, ingest, tomodist, tree, write_series
from tomodist.steps.backproject import Backproject
from tomodist.steps.detect import DetectMaps
from tomodist.steps.structures import FindStructures
from tomodist.steps.threshold import ChooseThreshold

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.planning.plan import Plan, Resources
    from tomodist.steps.parts.base import Step

BEADS = ("--label", "beads", "--detector", "blobs", "--diameter", "60", "--dark")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    assert ingest(write_series(tmp_path), tmp_path / "t.zarr") == 0
    return tmp_path / "t.zarr"


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("step", [DetectMaps, Backproject, ChooseThreshold, FindStructures])
def test_every_step_is_planned_once(
    store: Path, step: type[Step], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, plans = [], step.plans

    def counted(self: Step, resources: Resources) -> tuple[Plan, ...]:
        calls.append(self)
        return plans(self, resources)

    monkeypatch.setattr(step, "plans", counted)
    assert tomodist("segment", store, *BEADS, *THREADS) == 0
    assert len(calls) == 1


@pytest.mark.usefixtures("without_pictures")
def test_the_command_plan_says_what_a_dry_run_says(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    before = tree(store)
    assert tomodist("segment", store, *BEADS, *THREADS, "--dry-run") == 0
    dry = capsys.readouterr().out
    assert tomodist("plan", store, "--task", "segment", *THREADS) == 0
    asked = capsys.readouterr().out
    assert tree(store) == before

    def lifting(text: str) -> list[str]:
        return [line for line in text.splitlines() if "backproject" in line or "threshold" in line]

    assert lifting(dry) == lifting(asked) != []


def test_what_cannot_fit_is_refused_before_workers_start(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def started(*_: object) -> None:
        raise AssertionError("workers were started")

    monkeypatch.setattr("tomodist.runtime.cluster.open_session", started)
    before = tree(store)
    assert tomodist("segment", store, *BEADS, *THREADS, "--memory", "300MiB") == 1
    assert "--memory" in capsys.readouterr().err
    assert tree(store) == before

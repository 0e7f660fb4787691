"""Measured memory stays within the plan, and the volume is larger than the worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.benchmarks.bench_out_of_core import run
from tomodist.planning.plan import MiB

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.long
def test_the_largest_worker_is_within_the_plan(tmp_path: Path) -> None:
    """`make bench` does it for plain votes, with a volume four times as large as all workers."""
    shape, memory = (256, 1024, 2048), 500 * MiB
    report = run(tmp_path, shape, n_tilts=11, workers=1, memory=memory, balanced=True)
    assert report["volume_bytes"] > report["workers_bytes"]
    for step in ("backproject", "threshold", "select"):
        assert report[step]["largest_worker_bytes"] <= report["planned_bytes"], step
    assert report["structures"] >= 200  # the beads, and a few ghosts of so few tilts

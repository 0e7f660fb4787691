"""What a user waits for before the first voxel: the import, and the first call of a kernel."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.benchmarks.cases import FEW
from tests.benchmarks.first_call import N_TILTS, SHAPE

if TYPE_CHECKING:
    from tests.benchmarks.conftest import Measure

ROOT = Path(__file__).parents[2]


def interpret(*arguments: str) -> str:
    """What a fresh interpreter prints."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("case", "program"),
    [
        ("bare interpreter", "print('ready')"),
        ("import tomodist", "import tomodist; print('ready')"),
    ],
)
def test_import(measure: Measure, case: str, program: str) -> None:
    assert measure(case, lambda: interpret("-c", program)) == "ready"


@pytest.mark.parametrize("kernel", ["linear_rows", "votes_rows"])
def test_first_call(measure: Measure, kernel: str) -> None:
    """The first of all calls may have to compile; it is a warm-up where this is measured."""

    def run() -> float:
        seconds, total = map(float, interpret("-m", "tests.benchmarks.first_call", kernel).split())
        measure.add_seconds(seconds)
        return total

    found = measure(f"first call of {kernel}", run, rounds=FEW)
    assert found == pytest.approx(N_TILTS * math.prod(SHAPE), rel=1e-5)

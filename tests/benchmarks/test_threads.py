"""Two threads, each with half of the volume, against one: kernels release the GIL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks.cases import Problem
    from tests.benchmarks.conftest import Measure

Array = npt.NDArray[Any]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


def halves(volume: Array) -> list[tuple[int, Array]]:
    """First layer and voxels of both."""
    middle = len(volume) // 2
    return [(0, volume[:middle]), (middle, volume[middle:])]


def test_linear(measure: Measure, aligned: Problem, pool: ThreadPoolExecutor) -> None:
    total = aligned.volume(np.float32)
    assert aligned.grey.rows_only

    def run() -> Array:
        list(pool.map(lambda half: aligned.backproject(half[1], half[0]), halves(total)))
        return total

    case = "linear, two threads"
    found = measure(case, run, aligned.updates, setup=lambda: total.fill(0), cores=2)
    np.testing.assert_array_equal(found, aligned.backprojected)


def test_votes(measure: Measure, aligned: Problem, pool: ThreadPoolExecutor) -> None:
    votes = aligned.volume(np.uint8)
    assert aligned.binary.rows_only

    def run() -> Array:
        list(pool.map(lambda half: aligned.vote(half[1], first=half[0]), halves(votes)))
        return votes

    found = measure("votes, two threads", run, aligned.updates, cores=2)
    np.testing.assert_array_equal(found, aligned.votes)

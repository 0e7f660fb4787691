"""Algorithm 2: its rounds against one vote backprojection, which is what 0 rounds give."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

from tests.benchmarks.cases import FEW
from tests.benchmarks.numpy_forms import refined_by_planes
from tomodist.kernels.edges import refinement

if TYPE_CHECKING:
    from tests.benchmarks.cases import Problem, Size
    from tests.benchmarks.conftest import Measure

REACH, SUPPORT = 2, 5  # all of five neighbours


def by_numpy(problem: Problem, rounds: int, n_layers: int) -> npt.NDArray[np.uint8]:
    votes = np.zeros((n_layers, *problem.votes.shape[1:]), np.uint8)
    rule = (REACH, SUPPORT, rounds)
    refined_by_planes(problem.map_columns, problem.matrices, problem.half, votes, rule)
    return votes


@pytest.mark.parametrize("rounds", [0, 1, 2, 5])
def test_rounds(measure: Measure, aligned: Problem, size: Size, rounds: int) -> None:
    votes = aligned.volume(np.uint8)
    rule = refinement(aligned.geometry.n_tilts, REACH, SUPPORT, rounds, keep_own=True)
    case = f"Algorithm 2, {rounds} rounds"
    found = measure(case, lambda: aligned.vote(votes, rule), aligned.updates)
    np.testing.assert_array_equal(
        found[: size.few_layers], by_numpy(aligned, rounds, size.few_layers)
    )
    assert np.all(found <= aligned.votes)
    assert found.any()


def test_rounds_in_numpy(measure: Measure, aligned: Problem, size: Size) -> None:
    updates = aligned.updates * size.few_layers // aligned.grid.shape[0]
    case = "Algorithm 2, 5 rounds, NumPy by planes"
    found = measure(case, lambda: by_numpy(aligned, 5, size.few_layers), updates, rounds=FEW)
    assert found.any()

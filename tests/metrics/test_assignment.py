from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from tests.metrics.masks import dense_matches
from tomodist.metrics.assignment import assign, near_pairs


@pytest.mark.parametrize("shape", [(1, 9), (9, 1), (25, 25), (12, 40), (40, 12)], ids=str)
@pytest.mark.parametrize("share", [0.03, 0.2, 1.0])
def test_the_sparse_solution_is_the_dense_one(shape: tuple[int, int], share: float) -> None:
    random = np.random.default_rng(shape)
    cost, allowed = random.random(shape), random.random(shape) < share
    rows, columns = np.nonzero(allowed)
    kept = assign((rows, columns), cost[allowed], *shape)
    pairs = list(zip(rows[kept].tolist(), columns[kept].tolist(), strict=True))
    assert pairs == dense_matches(cost, allowed)


def test_costs_of_nothing_are_pairs_too() -> None:
    pairs = np.array([0, 1, 1]), np.array([0, 0, 1])
    assert assign(pairs, np.zeros(3), 2, 2).tolist() == [0, 2]


def test_another_pair_is_worth_any_cost() -> None:
    """A chain in which the cheap pairs would leave half of the objects alone."""
    n = 50
    rows = np.concatenate([np.arange(n), np.arange(n - 1)])
    columns = np.concatenate([np.arange(n), np.arange(1, n)])
    cost = np.concatenate([np.ones(n), np.zeros(n - 1)])
    assert assign((rows, columns), cost, n, n).tolist() == list(range(n))


@pytest.mark.parametrize("norm", [2, np.inf])
def test_near_pairs_are_all_within_the_radius_of_each_point(norm: float) -> None:
    random = np.random.default_rng(3)
    a, b = random.uniform(0, 10, (30, 3)), random.uniform(0, 10, (45, 3))
    radius = random.uniform(0, 5, 30)
    apart = cdist(a, b, "euclidean" if norm == 2 else "chebyshev")
    expected = {tuple(pair) for pair in np.argwhere(apart <= radius[:, None]).tolist()}
    rows, columns = near_pairs(a, b, radius, norm=norm)
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == expected
    assert len(rows) == len(expected) > 30
    none = np.zeros((0, 3))
    assert [len(side) for side in near_pairs(none, b, np.zeros(0))] == [0, 0]
    assert [len(side) for side in near_pairs(a, none, radius)] == [0, 0]

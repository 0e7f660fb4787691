from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from tests.metrics.masks import dense_matches
from tomodist.errors import InputError
from tomodist.metrics import Agreement, box_iou, iou, match_boxes, match_points


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_box_iou_agrees_with_counting_voxels(ndim: int) -> None:
    random = np.random.default_rng(ndim)
    low = random.integers(0, 6, size=(7, ndim))
    size = random.integers(1, 6, size=(7, ndim))
    masks = []
    for a, n in zip(low, size, strict=True):
        masks.append(np.zeros((12,) * ndim, bool))
        masks[-1][tuple(map(slice, a, a + n))] = True
    centers = low + (size - 1) / 2
    found = box_iou(centers[:4], size[:4], centers[4:], size[4:])
    expected = [[iou(a, b) for b in masks[4:]] for a in masks[:4]]
    assert found == pytest.approx(np.array(expected))
    assert np.count_nonzero(found) > 0


def test_boxes_that_only_touch_do_not_overlap() -> None:
    assert box_iou([[0, 0]], [[2, 2]], [[2, 0]], [[2, 2]]) == 0


def test_box_iou_with_no_boxes_is_empty() -> None:
    assert box_iou([], [], [[1, 2, 3]], [[1, 1, 1]]).shape == (0, 1)
    assert box_iou([], [], [], []).shape == (0, 0)


def test_as_many_points_as_possible_are_matched() -> None:
    # The nearest pair (0, 0) would leave the others alone; the best assignment matches both.
    found = match_points([[0.0], [-4.0]], [[-1.0], [4.0]], max_distance=5)
    assert found.pairs == ((0, 1), (1, 0))
    assert found.center_errors == (4.0, 3.0)


def test_of_equally_many_the_nearest_are_matched() -> None:
    found = match_points([[0, 0], [1, 0]], [[1.1, 0], [0.2, 0]], max_distance=5)
    assert found.pairs == ((0, 1), (1, 0))
    assert found.mean_center_error == pytest.approx(0.15)


def test_points_count_once() -> None:
    found = match_points([[0, 0, 0], [0, 0, 1], [0, 0, 2]], [[0, 0, 1], [9, 9, 9]], 3)
    assert found.pairs == ((1, 0),)
    assert (found.precision, found.recall) == (1 / 3, 1 / 2)
    assert found.f1 == pytest.approx(0.4)


def test_matching_agrees_with_trying_everything() -> None:
    random = np.random.default_rng(2)
    for _ in range(20):
        a, b = random.uniform(0, 10, (4, 2)), random.uniform(0, 10, (5, 2))
        distance = cdist(a, b)
        best = max(
            (
                (distance[range(4), p] <= 3).sum(),
                -distance[range(4), p][distance[range(4), p] <= 3].sum(),
            )
            for p in map(list, itertools.permutations(range(5), 4))
        )
        found = match_points(a, b, 3)
        assert (len(found.pairs), -sum(found.center_errors)) == pytest.approx(best)


def test_boxes_match_by_overlap() -> None:
    centers, sizes = [[10, 10], [30, 30], [50, 50]], [[8, 8], [8, 8], [8, 8]]
    moved = [[51, 50], [10, 12], [30, 37]]
    found = match_boxes(moved, sizes, centers, sizes, min_iou=0.5)
    assert found.pairs == ((0, 2), (1, 0))
    assert found.center_errors == (1, 2)
    assert (found.precision, found.recall) == (2 / 3, 2 / 3)
    assert len(match_boxes(moved, sizes, centers, sizes, min_iou=0.01).pairs) == 3
    assert len(match_boxes(moved, sizes, centers, sizes, min_iou=0.7).pairs) == 1


def test_boxes_that_do_not_overlap_never_match() -> None:
    assert match_boxes([[0]], [[1]], [[9]], [[1]], min_iou=0).pairs == ()


@pytest.mark.parametrize(
    ("predicted", "truth", "expected"),
    [([], [], (1, 1, 1)), ([[1, 1]], [], (0, 1, 0)), ([], [[1, 1]], (1, 0, 0))],
)
def test_matching_of_nothing(
    predicted: list[list[float]], truth: list[list[float]], expected: tuple[float, float, float]
) -> None:
    ones = [[1.0] * len(p) for p in predicted], [[1.0] * len(t) for t in truth]
    for found in (
        match_points(predicted, truth, 2),
        match_boxes(predicted, ones[0], truth, ones[1]),
    ):
        assert (found.precision, found.recall, found.f1) == expected
        assert math.isnan(found.mean_center_error)


def test_matches_of_tomograms_add_up() -> None:
    first, second = match_points([[0]], [[0.5], [7.0]], 1), match_points([[3], [8]], [[3]], 1)
    assert first + second == Agreement(2, 3, 2, 3)


@pytest.mark.parametrize("n", [(1, 1), (7, 60), (60, 7), (90, 110)], ids=str)
@pytest.mark.parametrize("distance", [0.2, 1.0, 3.0, 100.0])
def test_sparse_matching_of_points_equals_the_dense_assignment(
    n: tuple[int, int], distance: float
) -> None:
    """From a few pairs by themselves to one crowd in which everything may match everything."""
    random = np.random.default_rng(n)
    a, b = random.uniform(0, 10, (n[0], 3)), random.uniform(0, 10, (n[1], 3))
    apart = cdist(a, b)
    found = match_points(a, b, distance)
    assert list(found.pairs) == dense_matches(apart / distance, apart <= distance)
    assert found.center_errors == pytest.approx([apart[pair] for pair in found.pairs])
    assert (found.n_predicted, found.n_truth) == n


@pytest.mark.parametrize("min_iou", [0, 0.05, 0.25, 0.5])
@pytest.mark.parametrize("seed", [0, 1])
def test_sparse_matching_of_boxes_equals_the_dense_assignment(min_iou: float, seed: int) -> None:
    """Sizes from 0.3 to 12, so that large boxes hold many small ones."""
    random = np.random.default_rng(seed)
    centers, sizes = random.uniform(0, 14, (80, 3)), np.exp(random.uniform(-1.2, 2.5, (80, 3)))
    moved = centers[:60] + random.normal(0, 0.3, (60, 3))
    other = sizes[:60] * np.exp(random.normal(0, 0.2, (60, 3)))
    overlap = box_iou(moved, other, centers, sizes)
    expected = dense_matches(1 - overlap, (overlap > 0) & (overlap >= min_iou))
    assert list(match_boxes(moved, other, centers, sizes, min_iou=min_iou).pairs) == expected
    assert len(expected) > 5


def test_points_at_the_very_distance_match() -> None:
    assert match_points([[0, 0, 0]], [[1, 2, 2]], 3).pairs == ((0, 0),)
    assert match_points([[0.1, 0, 0]], [[0.4, 0, 0]], 0.3).pairs == ((0, 0),) * (0.4 - 0.1 <= 0.3)
    assert match_points([[5, 5]], [[5, 5]], 1e-9).center_errors == (0.0,)


def test_tens_of_thousands_of_objects_are_matched_in_seconds() -> None:
    """A dense matrix of them would hold 7 GB."""
    n, random = 30_000, np.random.default_rng(0)
    truth = random.permutation(np.stack(np.unravel_index(np.arange(n), (32, 32, 30)), 1)) * 10.0
    moved, sizes = truth + random.uniform(-1, 1, (n, 3)), np.full((n, 3), 8.0)
    start = time.process_time()
    assert match_points(moved, truth, 4).pairs == tuple((k, k) for k in range(n))
    assert match_boxes(moved, sizes, truth, sizes, min_iou=0.25).predicted_hits == n
    assert time.process_time() - start < 60


def test_one_large_box_costs_nothing() -> None:
    """It would make all small ones candidates of each other, were they asked for together."""
    n, random = 20_000, np.random.default_rng(0)
    centers = np.append(random.uniform(0, 1000, (n, 3)), [[500, 500, 500]], axis=0)
    sizes = np.append(np.full((n, 3), 3.0), [[900, 900, 900]], axis=0)
    found = match_boxes(centers, sizes, centers, sizes)
    assert found.predicted_hits == n + 1
    assert found.mean_center_error == found.median_center_error == 0


def test_the_median_is_of_the_pairs() -> None:
    found = match_points([[0], [10], [20]], [[1], [10], [25]], 6)
    assert (found.median_center_error, found.mean_center_error) == (1.0, 2.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: match_points([[1, 2]], [[1, 2, 3]], 1), r"shape \(n, ndim\)"),
        (lambda: match_points([1, 2], [1, 2], 1), r"shape \(n, ndim\)"),
        (lambda: match_points([[1]], [[1]], 0), "`max_distance` must be positive; found 0"),
        (lambda: match_points([[1]], [[math.nan]], 1), "not finite; remove"),
        (lambda: match_points(np.zeros((5000, 1)), np.zeros((5000, 1)), 1), "25000000 pairs"),
        (lambda: box_iou([[1, 1]], [[1, 0]], [[1, 1]], [[1, 1]]), "positive size"),
        (lambda: match_boxes([[1, 1]], [[1, 1]], [[1, 1]], [[1, -1]]), "positive size"),
        (lambda: box_iou([[1, 1]], [[1, 1]] * 2, [[1, 1]], [[1, 1]]), "positive size"),
    ],
    ids=["ndims", "flat", "distance", "nan", "crowd", "size", "negative", "count"],
)
def test_bad_objects_are_refused(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(InputError, match=message):
        call()

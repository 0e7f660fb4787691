from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy.spatial.distance import cdist

from tomodist.errors import InputError
from tomodist.metrics import (
    Agreement,
    Confusion,
    box_iou,
    iou,
    match_boxes,
    match_points,
    tolerant_f1,
)

BoolArray = npt.NDArray[np.bool_]

A: BoolArray = np.array([[1, 1, 0], [0, 1, 0]], dtype=bool)
B: BoolArray = np.array([[0, 1, 1], [0, 1, 1]], dtype=bool)
NONE: BoolArray = np.zeros((2, 3), dtype=bool)


def random_masks(seed: int = 0, share: float = 0.02) -> tuple[BoolArray, BoolArray]:
    random = np.random.default_rng(seed)
    return random.random((21, 30, 17)) < share, random.random((21, 30, 17)) < share


def test_iou_counts_voxels() -> None:
    assert iou(A, B) == 2 / 5
    assert iou(A, A) == 1
    assert iou(A, ~A) == 0
    assert iou(A.astype(np.uint8) * 3, B) == 2 / 5


@pytest.mark.parametrize(
    ("a", "b", "expected"), [(NONE, NONE, 1.0), (A, NONE, 0.0), (NONE, A, 0.0)]
)
def test_iou_of_nothing(
    a: BoolArray,
    b: BoolArray,
    expected: float,
) -> None:
    assert iou(a, b) == expected


def test_confusion_of_two_masks() -> None:
    found = Confusion.of(predicted=A, truth=B)
    assert found == Confusion(tp=2, fp=1, fn=2)
    assert found.dice == 4 / 7
    assert found.precision == 2 / 3
    assert found.recall == 2 / 4


def test_dice_is_the_harmonic_mean_of_precision_and_recall() -> None:
    found = Confusion(7, 3, 5)
    assert 1 / found.dice == pytest.approx((1 / found.precision + 1 / found.recall) / 2)
    assert found.dice == pytest.approx(2 * found.iou / (1 + found.iou))


def test_confusions_of_bricks_add_up_to_the_whole() -> None:
    predicted, truth = random_masks(share=0.4)
    bricks = itertools.product(range(0, 21, 8), range(0, 30, 11))
    parts = (
        Confusion.of(predicted[z : z + 8, y : y + 11], truth[z : z + 8, y : y + 11])
        for z, y in bricks
    )
    assert sum(parts, Confusion()) == Confusion.of(predicted, truth)


def test_nothing_found_where_nothing_is() -> None:
    empty = Confusion()
    assert (empty.iou, empty.dice, empty.precision, empty.recall) == (1, 1, 1, 1)
    missed = Confusion(fn=4)
    assert (missed.iou, missed.dice, missed.precision, missed.recall) == (0, 0, 1, 0)


def test_edges_hit_within_the_tolerance() -> None:
    truth, predicted = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    truth[10, 2:12] = True
    predicted[12, 2:7] = True  # two voxels away, over half of the length
    predicted[18, 18] = True  # far from everything
    near = tolerant_f1(predicted, truth, tolerance_voxels=2)
    # columns 2..6 are straight below; nothing beside them is within 2 voxels
    assert near == Agreement(predicted_hits=5, n_predicted=6, truth_hits=5, n_truth=10)
    assert near.f1 == pytest.approx(2 * (5 / 6) * (1 / 2) / (5 / 6 + 1 / 2))
    assert tolerant_f1(predicted, truth, 1.9).f1 == 0


def test_distance_is_euclidean() -> None:
    truth, predicted = np.zeros((9, 9, 9), bool), np.zeros((9, 9, 9), bool)
    truth[4, 4, 4] = predicted[5, 5, 5] = True
    assert tolerant_f1(predicted, truth, 1.74).f1 == 1
    assert tolerant_f1(predicted, truth, 1.73).f1 == 0


def test_tolerant_f1_agrees_with_all_distances() -> None:
    predicted, truth = random_masks(3)
    apart = cdist(np.argwhere(predicted), np.argwhere(truth)) <= 2.5
    found = tolerant_f1(predicted, truth, 2.5)
    assert found == Agreement(
        int(apart.any(axis=1).sum()), apart.shape[0], int(apart.any(axis=0).sum()), apart.shape[1]
    )


def test_without_tolerance_it_is_dice() -> None:
    predicted, truth = random_masks(4, share=0.3)
    assert tolerant_f1(predicted, truth, 0).f1 == pytest.approx(Confusion.of(predicted, truth).dice)


def test_bricks_with_a_halo_add_up_to_the_whole() -> None:
    predicted, truth = random_masks(5)
    total, halo, step = Agreement(), 3, 6
    for z in range(0, 21, step):
        low, high = max(z - halo, 0), min(z + step + halo, 21)
        inner = (slice(z - low, min(z + step, 21) - low), slice(None), slice(None))
        total += tolerant_f1(predicted[low:high], truth[low:high], 2.5, inner=inner)
    assert total == tolerant_f1(predicted, truth, 2.5)


@pytest.mark.parametrize(
    ("predicted", "truth", "expected"),
    [(NONE, NONE, (1, 1, 1)), (A, NONE, (0, 1, 0)), (NONE, A, (1, 0, 0))],
)
def test_edges_of_nothing(
    predicted: BoolArray,
    truth: BoolArray,
    expected: tuple[float, float, float],
) -> None:
    found = tolerant_f1(predicted, truth, 3)
    assert (found.precision, found.recall, found.f1) == expected


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


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: iou(A, A.T), r"one shape; found \(2, 3\) and \(3, 2\)"),
        (lambda: tolerant_f1(A, B, -1), "tolerance_voxels must be 0 or more; found -1"),
        (lambda: tolerant_f1(A, B, math.nan), "tolerance_voxels must be 0 or more; found nan"),
        (lambda: match_points([[1, 2]], [[1, 2, 3]], 1), r"shape \(n, ndim\)"),
        (lambda: match_points([1, 2], [1, 2], 1), r"shape \(n, ndim\)"),
        (lambda: match_points([[1]], [[1]], 0), "max_distance must be positive; found 0"),
        (lambda: box_iou([[1, 1]], [[1, 0]], [[1, 1]], [[1, 1]]), "positive size"),
        (lambda: box_iou([[1, 1]], [[1, 1]] * 2, [[1, 1]], [[1, 1]]), "positive size"),
    ],
    ids=["shapes", "tolerance", "nan", "ndims", "flat", "distance", "size", "count"],
)
def test_bad_input_is_refused(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(InputError, match=message):
        call()

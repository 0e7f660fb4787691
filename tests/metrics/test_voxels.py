from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from tests.metrics.masks import random_masks, smooth_masks
from tomodist.errors import InputError
from tomodist.metrics import Agreement, Confusion, iou, tolerant_f1

if TYPE_CHECKING:
    from tomodist.values.arrays import BoolArray

A: BoolArray = np.array([[1, 1, 0], [0, 1, 0]], dtype=bool)
B: BoolArray = np.array([[0, 1, 1], [0, 1, 1]], dtype=bool)
NONE: BoolArray = np.zeros((2, 3), dtype=bool)


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


@pytest.mark.parametrize("tolerance", [1, 2, 3.2, math.inf])
def test_only_what_is_counted_counts_but_all_of_it_may_be_near(tolerance: float) -> None:
    predicted, truth = random_masks(6)
    counted = np.asarray(np.random.default_rng(7).random(truth.shape) < 0.5)
    apart: BoolArray = np.asarray(
        cdist(np.argwhere(predicted), np.argwhere(truth)) <= tolerance, dtype=np.bool_
    )
    mine, theirs = np.asarray(counted[predicted]), np.asarray(counted[truth])
    assert tolerant_f1(predicted, truth, tolerance, counted=counted) == Agreement(
        int(apart[mine].any(axis=1).sum()),
        int(mine.sum()),
        int(apart[:, theirs].any(axis=0).sum()),
        int(theirs.sum()),
    )


def test_a_tolerance_without_end_finds_everything() -> None:
    predicted, truth = smooth_masks((9, 12, 10))
    found = tolerant_f1(predicted, truth, math.inf)
    assert (found.f1, found.n_truth) == (1.0, int(np.count_nonzero(truth)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: iou(A, A.T), r"one shape; found \(2, 3\) and \(3, 2\)"),
        (lambda: tolerant_f1(A, B, 1, counted=A.T), r"one shape; found \(2, 3\) and \(3, 2\)"),
        (lambda: tolerant_f1(A, B, -1), "`tolerance_voxels` must be 0 or more; found -1"),
        (lambda: tolerant_f1(A, B, math.nan), "`tolerance_voxels` must be 0 or more; found nan"),
    ],
    ids=["shapes", "region", "tolerance", "nan"],
)
def test_bad_masks_are_refused(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(InputError, match=message):
        call()

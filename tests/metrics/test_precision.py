from __future__ import annotations

import numpy as np
import pytest

from tomodist.errors import InputError
from tomodist.metrics.precision import RankedHits, rank_boxes


def ranked(scores: list[float], hits: list[int], n_truth: int) -> RankedHits:
    return RankedHits(np.array(scores), np.array(hits, np.bool_), n_truth)


@pytest.mark.parametrize(
    ("hits", "n_truth", "expected"),
    [
        pytest.param([1, 1], 2, 1.0, id="all right"),
        pytest.param([0, 0], 2, 0.0, id="all wrong"),
        pytest.param([1, 1], 4, 0.5, id="half of the truth"),
        pytest.param([0, 1], 1, 0.5, id="a wrong one first"),
        pytest.param([1, 0], 1, 1.0, id="a wrong one last costs nothing"),
        # Precisions at the hits 1, 2/3, 3/5; the curve is flat from one hit to the next.
        pytest.param([1, 0, 1, 0, 1], 3, (1 + 2 / 3 + 3 / 5) / 3, id="a mixture"),
        # Precisions at the hits 1/2, 2/3, 3/4: the best at a higher recall counts before, too.
        pytest.param([0, 1, 1, 1], 3, 3 / 4, id="the envelope"),
    ],
)
def test_average_precision_is_what_a_hand_computes(
    hits: list[int], n_truth: int, expected: float
) -> None:
    scores = np.linspace(0.9, 0.1, len(hits)).tolist()
    assert ranked(scores, hits, n_truth).average_precision == pytest.approx(expected)


def test_nothing_found_where_nothing_is_is_right() -> None:
    assert RankedHits.nothing().average_precision == 1
    assert RankedHits.nothing().f1(0.5) == 1
    assert ranked([0.5], [0], 0).average_precision == 0
    assert ranked([], [], 3).average_precision == 0


def test_the_order_of_equal_scores_and_of_images_does_not_matter() -> None:
    first, second = ranked([0.5, 0.5, 0.2], [1, 0, 1], 2), ranked([0.5, 0.9], [0, 1], 2)
    turned = ranked([0.2, 0.5, 0.5], [1, 0, 1], 2)
    # 0.9: 1 of 1; 0.5: 2 of 4; 0.2: 3 of 5
    expected = (1 + 3 / 5 + 3 / 5) / 4
    for together in (first + second, second + first, second + turned):
        assert together.average_precision == pytest.approx(expected)


def test_f1_counts_what_is_above_the_threshold() -> None:
    three = ranked([0.9, 0.6, 0.3], [1, 0, 1], 2)
    assert three.f1(0.3) == pytest.approx(2 * 1 / (2 + 2))
    assert three.f1(0.29) == pytest.approx(2 * 2 / (3 + 2))
    assert three.f1(0.95) == 0


def test_of_thresholds_as_good_the_middle_one_is_chosen() -> None:
    thresholds = np.arange(10, 91) / 100
    clear = ranked([0.8, 0.7, 0.3], [1, 1, 0], 2)  # 0.30 to 0.69 are perfect
    assert clear.best_threshold(thresholds) == 0.49
    assert ranked([0.95], [1], 1).best_threshold(thresholds) == 0.5
    assert ranked([0.05], [1], 1).best_threshold(thresholds) == 0.5  # none finds it


def test_a_truth_is_taken_once_by_the_surest_box() -> None:
    found = rank_boxes(
        [[10, 10], [10, 11], [30, 30]], [[8, 8]] * 3, [0.6, 0.9, 0.5], [[10, 10]], [[8, 8]]
    )
    assert found.hit.tolist() == [False, True, False]
    assert found.n_truth == 1


def test_a_box_takes_the_best_truth_that_is_left() -> None:
    # The first takes the nearer truth, so the second is left with the other, and takes it.
    true = [[0.0, 0.0], [0.0, 2.0]]
    found = rank_boxes([[0, 0.5], [0, 0.6]], [[8, 8]] * 2, [0.9, 0.8], true, [[8, 8]] * 2)
    assert found.hit.tolist() == [True, True]


def test_height_and_width_are_not_confused() -> None:
    one = ([[5.0, 9.0]], [[2.0, 12.0]])
    assert rank_boxes(*one, [1], *one).hit.tolist() == [True]
    assert rank_boxes(*one, [1], one[0], [[12.0, 2.0]]).hit.tolist() == [False]


def test_overlap_decides_at_the_limit() -> None:
    near = ([[0, 2]], [[4, 8]], [1], [[0, 0]], [[4, 8]])  # 6 of 10 in common
    assert rank_boxes(*near, min_iou=0.6).hit.all()
    assert not rank_boxes(*near, min_iou=0.61).hit.any()
    apart = ([[0, 9]], [[4, 8]], [1], [[0, 0]], [[4, 8]])
    assert not rank_boxes(*apart, min_iou=0).hit.any()


def test_no_boxes_are_no_hits() -> None:
    assert rank_boxes([], [], [], [[1, 1]], [[2, 2]]).n_truth == 1
    assert rank_boxes([[1, 1]], [[2, 2]], [0.5], [], []).hit.tolist() == [False]
    assert rank_boxes([[1, 1]], [[0, 2]], [0.5], [[1, 1]], [[2, 2]]).hit.tolist() == [False]


def test_boxes_without_scores_are_refused() -> None:
    with pytest.raises(InputError, match="2 boxes, but 1 scores"):
        rank_boxes([[1, 1], [2, 2]], [[2, 2]] * 2, [0.5], [], [])

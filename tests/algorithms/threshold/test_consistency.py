"""Tilts that disagree: by construction, and none where all agree."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from tomodist.algorithms.threshold.consistency import Consistency, consistency_of

ANGLES = np.arange(-60.0, 61, 3)
Array = npt.NDArray[np.float64]


def smooth(seed: int, noise: float = 0.02) -> Array:
    """IoU that falls with the angle, and some noise."""
    random = np.random.default_rng(seed)
    return np.asarray(0.8 - 0.3 * (ANGLES / 60) ** 2 + random.normal(0, noise, len(ANGLES)))


def found(iou: Array, angles: Array = ANGLES) -> list[int]:
    return np.flatnonzero(consistency_of(angles.tolist(), iou, iou, iou).disagrees).tolist()


@pytest.mark.parametrize("seed", range(5))
def test_steep_tilts_are_no_outliers(seed: int) -> None:
    assert found(smooth(seed)) == []


@pytest.mark.parametrize("seed", range(5))
def test_tilts_that_drop_are_named_wherever_they_are(seed: int) -> None:
    iou = smooth(seed)
    iou[[0, 13, 14, 40]] -= 0.3
    assert found(iou) == [0, 13, 14, 40]


def test_the_order_of_the_stack_does_not_matter() -> None:
    iou, order = smooth(0), np.random.default_rng(1).permutation(len(ANGLES))
    iou[20] = 0.1
    assert [order[k] for k in found(iou[order], ANGLES[order])] == [20]


def test_a_noisy_series_tolerates_more() -> None:
    iou = smooth(1, noise=0.15)
    assert len(found(iou)) <= 1
    iou[20] -= 0.2
    assert 20 not in found(iou)


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_of_few_tilts_none_disagrees(n: int) -> None:
    iou = np.full(n, 0.8)
    assert found(iou, ANGLES[:n]) == []
    iou[0] = 0.1
    assert found(iou, ANGLES[:n]) == []


def test_no_tilt_is_expected_to_agree_more_than_wholly() -> None:
    iou = np.array([0.1, 0.3, 0.5, 0.7, 0.9, 1.0, 1.0, 1.0])
    assert consistency_of(range(8), iou, iou, iou).expected.max() <= 1


@pytest.mark.parametrize(
    ("iou", "precision", "recall", "says"),
    [
        (0.0, 0.0, 1.0, "marks nothing"),
        (0.2, 0.9, 0.2, "no other tilt supports"),
        (0.2, 0.2, 0.9, "lacks much"),
        (0.2, 0.35, 0.35, "misaligned"),
    ],
)
def test_reasons(iou: float, precision: float, recall: float, says: str) -> None:
    a, b, c = (np.array([v]) for v in (iou, precision, recall))
    assert says in Consistency(a, b, c, expected=np.array([0.8]), tolerated=0.1).reason(0)

"""Scored boxes against the true ones: average precision, and the threshold of the best F1.

One rule: boxes of all images are ranked together, so images are judged one by one, and what they
give is added before anything is read from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tomodist.errors import InputError
from tomodist.metrics.objects import box_iou

if TYPE_CHECKING:
    from tomodist.values.arrays import BoolArray, FloatArray


@dataclass(frozen=True, eq=False)
class RankedHits:
    """Scored predictions, each a hit or not; they add.

    Parameters
    ----------
    score : ndarray, shape (n,), float64
        Larger is surer.
    hit : ndarray, shape (n,), bool
        Whether the prediction is a truth that no surer one is.
    n_truth : int
        How many truths there are.

    Examples
    --------
    >>> ranked = RankedHits(np.array([0.9, 0.8, 0.7]), np.array([True, False, True]), 2)
    >>> round(ranked.average_precision, 4), ranked.f1(0.75), round(ranked.f1(0.5), 4)
    (0.8333, 0.5, 0.8)
    """

    score: FloatArray
    hit: BoolArray
    n_truth: int

    @classmethod
    def nothing(cls) -> RankedHits:
        """No predictions and no truths: where a sum starts."""
        return cls(np.zeros(0), np.zeros(0, np.bool_), 0)

    def __add__(self, other: RankedHits) -> RankedHits:
        return RankedHits(
            np.concatenate([self.score, other.score]),
            np.concatenate([self.hit, other.hit]),
            self.n_truth + other.n_truth,
        )

    @property
    def average_precision(self) -> float:
        """Area under the curve of precision over recall.

        Notes
        -----
        At each recall precision is the best one at that recall or a higher one, and the area is
        exact, as in PASCAL VOC since 2010; COCO samples the same curve at 101 places. Predictions
        of equal scores come together, so their order has no say.
        """
        if not self.n_truth:
            return 0.0 if len(self.score) else 1.0
        order = np.argsort(-self.score, kind="stable")
        score, hits = self.score[order], np.cumsum(self.hit[order])
        # Last prediction of every group of equal scores: within a group the order is arbitrary.
        last = np.flatnonzero(np.append(np.diff(score) != 0, np.ones(min(len(score), 1), np.bool_)))
        precision = hits[last] / (last + 1)
        # Precision at a recall is the best at this or any higher recall.
        best = np.maximum.accumulate(precision[::-1])[::-1]
        return float(np.sum(np.diff(hits[last], prepend=0) * best) / self.n_truth)

    def f1(self, threshold: float) -> float:
        """F1 of the predictions of a higher score than `threshold`."""
        kept = self.score > threshold
        return _f1(int(self.hit[kept].sum()), int(kept.sum()), self.n_truth)

    def best_threshold(self, thresholds: npt.ArrayLike) -> float:
        """Threshold with the best F1; the middle one of equals.

        Parameters
        ----------
        thresholds : array_like, shape (n,), float
            To choose from, ascending; one or more.

        Returns
        -------
        float
        """
        candidates = np.asarray(thresholds, np.float64)
        values = np.array([self.f1(t) for t in candidates])
        equal = np.flatnonzero(values >= values.max() - 1e-12)
        return float(candidates[equal[(len(equal) - 1) // 2]])


def rank_boxes(
    centers: npt.ArrayLike,
    sizes: npt.ArrayLike,
    scores: npt.ArrayLike,
    true_centers: npt.ArrayLike,
    true_sizes: npt.ArrayLike,
    *,
    min_iou: float = 0.5,
) -> RankedHits:
    """Judge the boxes of one image: the surest first, each takes the best truth that is left.

    Parameters
    ----------
    centers, sizes : array_like, shape (n, ndim), float
        Boxes that span center ± size / 2, in any one unit; of size 0 they hit nothing.
    scores : array_like, shape (n,), float
        Larger is surer.
    true_centers, true_sizes : array_like, shape (n_truth, ndim), float
        True boxes.
    min_iou : float
        Boxes that overlap less, or not at all, are not the same.

    Returns
    -------
    RankedHits

    Raises
    ------
    InputError
        If the shapes do not fit together, or a number is not finite.

    Examples
    --------
    >>> rank_boxes([[0, 0], [0, 1]], [[4, 4], [4, 4]], [0.5, 0.9], [[0, 0]], [[4, 4]]).hit
    array([False,  True])
    """
    score = np.asarray(scores, np.float64).reshape(-1)
    if len(np.asarray(centers)) != len(score):
        raise InputError(f"there are {len(np.asarray(centers))} boxes, but {len(score)} scores")
    hit = np.zeros(len(score), np.bool_)
    # Boxes of size 0 overlap nothing; box_iou needs positive sizes.
    lengths = np.maximum(np.asarray(sizes, np.float64), 1e-9)
    overlap = box_iou(centers, lengths, true_centers, true_sizes)
    n_truth = overlap.shape[1]
    free = np.ones(n_truth, np.bool_)
    for k in np.argsort(-score, kind="stable") if n_truth else ():
        left = np.where(free, overlap[k], 0.0)
        best = int(left.argmax())
        if left[best] > 0 and left[best] >= min_iou:
            hit[k], free[best] = True, False
    return RankedHits(score, hit, n_truth)


def _f1(hits: int, n: int, n_truth: int) -> float:
    return 2 * hits / (n + n_truth) if n + n_truth else 1.0

"""Algorithm 1: the threshold on the votes whose reprojection agrees best with the maps.

All integer thresholds in one pass: FP(1(M > T)) = 1(maxFP(M) > T), so the histograms of maxFP(M)
over the pixels of map value 1 and over those of value 0 give, for every tilt and every T,

    intersection = #{value 1, maxFP > T},    union = #{value 1} + #{value 0, maxFP > T}.

Pixels whose ray misses the volume, and pixels that are not measured, do not count; the IoU of
empty with empty is 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from tomodist.algorithms.lift.windows import checked_map
from tomodist.errors import InputError
from tomodist.kernels.counts import count_values

if TYPE_CHECKING:
    from tomodist.values.arrays import AnyArray, FloatArray, IntArray


@dataclass(frozen=True)
class ThresholdCurve:
    """Agreement of the reprojection with the maps at every threshold.

    Parameters
    ----------
    iou, precision, recall : ndarray, shape (n_tilts, n_thresholds), float64
        Of map and reprojection, per tilt: their IoU, the share of the reprojection that is marked,
        and the share of the marks that is reprojected.

    Attributes
    ----------
    thresholds : ndarray, shape (n_thresholds,), int64
        T = 0 .. the highest possible score - 1; a voxel is structure if its score exceeds T.
    score : ndarray, shape (n_thresholds,), float64
        Mean IoU over the tilts.
    best : int
        The threshold of the highest score; the lowest of equals.
    """

    iou: FloatArray
    precision: FloatArray
    recall: FloatArray

    @property
    def thresholds(self) -> IntArray:
        """All thresholds."""
        return np.arange(self.iou.shape[1])

    @property
    def score(self) -> FloatArray:
        """Mean IoU over the tilts, at every threshold."""
        return cast("FloatArray", self.iou.mean(axis=0))

    @property
    def best(self) -> int:
        """The threshold of the highest score."""
        return int(np.argmax(self.score))


def count_agreement(largest: AnyArray, maps: AnyArray, max_score: int) -> IntArray:
    """Histograms of the largest score along each pixel's rays, by map value.

    Parameters
    ----------
    largest : ndarray, shape (n_tilts, h, w), int16
        Max-projection of the scores; -1 where the ray misses the volume.
    maps : ndarray, shape (n_tilts, h, w), bool or uint8
        0, 1 or 2 (not measured).
    max_score : int
        The highest possible score: of votes, the number of tilts.

    Returns
    -------
    ndarray, shape (n_tilts, 2, max_score + 1), int64
        Of map value 0 and of map value 1.

    Raises
    ------
    InputError
        If a score is higher than that, or negative.
    """
    if largest.size and not -1 <= largest.min() <= largest.max() <= max_score:
        raise InputError(
            f"scores are {largest.min()} to {largest.max()}, but the highest possible score is "
            f"{max_score}; use the scores of these tilts"
        )
    counts = np.zeros((len(maps), 2, max_score + 1), np.int64)
    for t, (vote, image) in enumerate(zip(largest, maps, strict=True)):
        count_values(vote, checked_map(image, t), counts[t])
    return counts


def curve_of(counts: IntArray) -> ThresholdCurve:
    """The IoU at every threshold, from histograms of the whole images.

    Parameters
    ----------
    counts : ndarray, shape (n_tilts, 2, max_score + 1), int64
        Sum of `count_agreement` over all tiles.

    Returns
    -------
    ThresholdCurve

    Raises
    ------
    InputError
        If no pixel of value 1 sees the volume: there is nothing to agree with.
    """
    marked = counts[:, 1].sum(axis=1, keepdims=True)
    if not marked.any():
        raise InputError(
            "no map marks any pixel that sees the volume, so no threshold can be chosen; "
            "check the maps (is the detector too strict?) or set `threshold`"
        )
    # Cumulative counts from the top: column T holds the pixels whose maximum exceeds T.
    above = counts[:, :, ::-1].cumsum(axis=2)[:, :, ::-1][:, :, 1:]  # pixels with maxFP > T
    both, reprojected = above[:, 1], above.sum(axis=1)
    return ThresholdCurve(
        _share(both, marked + above[:, 0]), _share(both, reprojected), _share(both, marked)
    )


def _share(part: IntArray, whole: IntArray) -> FloatArray:
    """Quotients; 1 where there is nothing."""
    return np.where(whole > 0, part / np.maximum(whole, 1), 1.0)

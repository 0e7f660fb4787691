"""Which tilts disagree with the rest: misaligned, dark, or wrongly annotated ones.

A tilt is judged by the IoU of its map with the reprojection of what all tilts say together. This
IoU changes slowly with the angle (steep tilts see more, and overlap more), so each tilt is compared
with the line through its neighbours in angle (Theil and Sen's, of which outliers are no part): it
disagrees if it lies far below.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.values.arrays import BoolArray, FloatArray

_REACH = 6  # neighbours on either side
_FEWEST = 7  # tilts; of fewer none can be said to disagree
_SIGMAS = 4.0
_LEAST = 0.1  # a smaller loss of IoU is no reason to leave a tilt out
_MAD = 1.4826


@dataclass(frozen=True, eq=False)
class Consistency:
    """How well every tilt agrees with what all say together.

    Parameters
    ----------
    iou, precision, recall : ndarray, shape (n_tilts,), float64
        Of map and reprojection; precision is the share of the reprojection that the map marks,
        recall the share of the marks that is reprojected.
    expected : ndarray, shape (n_tilts,), float64
        IoU that the neighbours in angle let expect.
    tolerated : float
        By how much a tilt may be below it.
    """

    iou: FloatArray
    precision: FloatArray
    recall: FloatArray
    expected: FloatArray
    tolerated: float

    @property
    def disagrees(self) -> BoolArray:
        """Tilts far below their neighbours: shape (n_tilts,), bool."""
        return np.asarray(self.expected - self.iou > self.tolerated)

    def reason(self, tilt: int) -> str:
        """Reason why a tilt disagrees, in words."""
        if self.recall[tilt] == 1 and self.iou[tilt] == 0:
            return "its map marks nothing"
        if self.precision[tilt] > 2 * self.recall[tilt]:
            return "its map marks much that no other tilt supports"
        if self.recall[tilt] > 2 * self.precision[tilt]:
            return "its map lacks much of what the others show"
        return "its marks lie elsewhere (misaligned?)"


def consistency_of(
    tilt_angles: Sequence[float], iou: FloatArray, precision: FloatArray, recall: FloatArray
) -> Consistency:
    """Compare every tilt with its neighbours in angle.

    Parameters
    ----------
    tilt_angles : sequence of float
        In degrees.
    iou, precision, recall : ndarray, shape (n_tilts,), float64
        Per tilt, at the chosen threshold.

    Returns
    -------
    Consistency

    Notes
    -----
    With d_t = expected IoU - IoU_t, a tilt disagrees if d_t exceeds max(0.1, 4 · 1.4826 · MAD(d)).

    References
    ----------
    P. K. Sen, J. Am. Stat. Assoc. 63, 1379-1389 (1968), doi:10.1080/01621459.1968.10480934.

    Examples
    --------
    >>> iou = np.array([0.8, 0.8, 0.79, 0.1, 0.8, 0.81, 0.8])
    >>> found = consistency_of(range(-30, 40, 10), iou, iou, iou)
    >>> np.flatnonzero(found.disagrees)
    array([3])
    """
    angles = np.asarray(tilt_angles, np.float64)
    order = np.argsort(angles, kind="stable")
    expected = np.array(iou, np.float64)
    for rank, t in enumerate(order):
        # Up to _REACH neighbours in angle on either side, without the tilt itself.
        around = np.concatenate([order[max(rank - _REACH, 0) : rank], order[rank + 1 :][:_REACH]])
        if len(around):
            expected[t] = min(_line_at(angles[t], angles[around], iou[around]), 1.0)
    below = expected - iou
    scatter = _MAD * float(np.median(np.abs(below - np.median(below))))
    tolerated = max(_LEAST, _SIGMAS * scatter) if len(order) >= _FEWEST else np.inf
    return Consistency(iou, precision, recall, expected, tolerated)


def _line_at(x: float, xs: FloatArray, ys: FloatArray) -> float:
    """Value at x of the robust line through some points."""
    i, j = np.triu_indices(len(xs), 1)
    run = xs[j] - xs[i]
    # Theil-Sen: the median slope over all pairs; a few outliers do not move it.
    slopes = ((ys[j] - ys[i])[run != 0]) / run[run != 0]
    slope = float(np.median(slopes)) if len(slopes) else 0.0
    return float(np.median(ys + slope * (x - xs)))

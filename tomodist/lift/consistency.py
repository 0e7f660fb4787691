"""Which tilts disagree with the rest: misaligned, dark, or wrongly annotated ones.

A tilt is judged by the IoU of its map with the reprojection of what all tilts say together. This
IoU changes slowly with the angle (steep tilts see more, and overlap more), so each tilt is compared
with its neighbours in angle: it disagrees if it lies far below their median.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.geometry import FloatArray

_REACH = 6  # neighbours on either side
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
        Median IoU of the neighbours in angle.
    tolerated : float
        By how much a tilt may be below it.
    """

    iou: FloatArray
    precision: FloatArray
    recall: FloatArray
    expected: FloatArray
    tolerated: float

    @property
    def disagrees(self) -> npt.NDArray[np.bool_]:
        """Tilts far below their neighbours: shape (n_tilts,), bool."""
        return np.asarray(self.expected - self.iou > self.tolerated)

    def reason(self, tilt: int) -> str:
        """In words, what is wrong with a tilt."""
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
    With d_t = median of the neighbours' IoU - IoU_t, a tilt disagrees if d_t exceeds
    max(0.1, 4 · 1.4826 · MAD(d)).

    Examples
    --------
    >>> iou = np.array([0.8, 0.8, 0.79, 0.1, 0.8, 0.81, 0.8])
    >>> found = consistency_of(range(-30, 40, 10), iou, iou, iou)
    >>> np.flatnonzero(found.disagrees)
    array([3])
    """
    order = np.argsort(tilt_angles, kind="stable")
    expected = np.empty(len(order))
    for place, t in enumerate(order):
        around = np.concatenate(
            [order[max(place - _REACH, 0) : place], order[place + 1 :][:_REACH]]
        )
        expected[t] = np.median(iou[around]) if len(around) else iou[t]
    below = expected - iou
    scatter = _MAD * float(np.median(np.abs(below - np.median(below))))
    return Consistency(iou, precision, recall, expected, max(_LEAST, _SIGMAS * scatter))

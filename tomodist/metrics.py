"""Agreement of a result with the truth.

One rule: every measure is a quotient of counts, and the counts add up, so that a volume is judged
brick by brick and a data set tomogram by tomogram: ``sum`` of the parts is the whole. A quotient
of nothing by nothing is 1: where there is nothing to find and nothing is found, all is right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from tomodist.errors import InputError

if TYPE_CHECKING:
    from tomodist.geometry import FloatArray

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Confusion:
    """Counts of voxels; they add.

    Parameters
    ----------
    tp, fp, fn : int
        Voxels that are in both, in the prediction alone, in the truth alone.

    Examples
    --------
    >>> Confusion(6, 2, 0) + Confusion(0, 0, 4)
    Confusion(tp=6, fp=2, fn=4)
    >>> (Confusion(6, 2, 4).iou, Confusion(6, 2, 4).precision, Confusion(6, 2, 4).recall)
    (0.5, 0.75, 0.6)
    """

    tp: int = 0
    fp: int = 0
    fn: int = 0

    @classmethod
    def of(cls, predicted: npt.ArrayLike, truth: npt.ArrayLike) -> Self:
        """Compare two masks.

        Parameters
        ----------
        predicted, truth : array_like, any one shape, bool
            Anything but 0 is inside.

        Returns
        -------
        Confusion

        Raises
        ------
        InputError
            If the shapes differ.
        """
        a, b = _masks(predicted, truth)
        both = int(np.count_nonzero(a & b))
        return cls(both, int(np.count_nonzero(a)) - both, int(np.count_nonzero(b)) - both)

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @property
    def iou(self) -> float:
        """Intersection over union."""
        return _quotient(self.tp, self.tp + self.fp + self.fn)

    @property
    def dice(self) -> float:
        """2 tp / (2 tp + fp + fn), which is also F1."""
        return _quotient(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def precision(self) -> float:
        """Share of the prediction that is true."""
        return _quotient(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Share of the truth that is predicted."""
        return _quotient(self.tp, self.tp + self.fn)


@dataclass(frozen=True)
class Agreement:
    """Counts of things that have a counterpart on the other side; they add.

    Parameters
    ----------
    predicted_hits, n_predicted : int
        Predictions near a truth, of all predictions.
    truth_hits, n_truth : int
        Truths near a prediction, of all truths.

    Examples
    --------
    >>> agreement = Agreement(3, 4, 3, 6)
    >>> agreement.precision, agreement.recall, agreement.f1
    (0.75, 0.5, 0.6)
    """

    predicted_hits: int = 0
    n_predicted: int = 0
    truth_hits: int = 0
    n_truth: int = 0

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(
            self.predicted_hits + other.predicted_hits,
            self.n_predicted + other.n_predicted,
            self.truth_hits + other.truth_hits,
            self.n_truth + other.n_truth,
        )

    @property
    def precision(self) -> float:
        """Share of the predictions that hit."""
        return _quotient(self.predicted_hits, self.n_predicted)

    @property
    def recall(self) -> float:
        """Share of the truths that are hit."""
        return _quotient(self.truth_hits, self.n_truth)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        p, r = self.precision, self.recall
        return 2 * p * r / (p + r) if p + r else 0.0


@dataclass(frozen=True)
class Matches(Agreement):
    """One-to-one matches of predictions with truths; a sum of matches keeps the counts only.

    Parameters
    ----------
    predicted_hits, n_predicted, truth_hits, n_truth : int
        As in `Agreement`; both hits are the number of pairs.
    pairs : tuple of tuple of int
        (index of the prediction, index of the truth), by prediction.
    center_errors : tuple of float
        Distance between the centres of each pair, in the unit of the centres.
    """

    pairs: tuple[tuple[int, int], ...] = ()
    center_errors: tuple[float, ...] = ()

    @property
    def mean_center_error(self) -> float:
        """Mean of `center_errors`; nan if there is no pair."""
        return float(np.mean(self.center_errors)) if self.center_errors else math.nan


def iou(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Intersection over union of two masks.

    Parameters
    ----------
    a, b : array_like, any one shape, bool
        Anything but 0 is inside.

    Returns
    -------
    float
        0..1; 1 if both are empty.

    Raises
    ------
    InputError
        If the shapes differ.

    Examples
    --------
    >>> iou([True, True, False], [False, True, False])
    0.5
    """
    return Confusion.of(a, b).iou


def tolerant_f1(
    predicted: npt.ArrayLike,
    truth: npt.ArrayLike,
    tolerance_voxels: float,
    *,
    inner: tuple[slice, ...] | None = None,
) -> Agreement:
    """Compare edges that need to agree only within a distance.

    Parameters
    ----------
    predicted, truth : array_like, any one shape, bool
        Edge voxels.
    tolerance_voxels : float
        An edge voxel hits if one of the other side is at most so far away, in voxels.
    inner : tuple of slice, optional
        Part of the arrays that is counted. For exact sums over bricks give each brick with a halo
        of ``ceil(tolerance_voxels)`` voxels, and count its inside.

    Returns
    -------
    Agreement
        With ``precision``, ``recall`` and ``f1``.

    Raises
    ------
    InputError
        If the shapes differ, or the tolerance is negative.

    Examples
    --------
    >>> tolerant_f1([1, 0, 0, 0, 1], [0, 1, 0, 0, 0], tolerance_voxels=1)
    Agreement(predicted_hits=1, n_predicted=2, truth_hits=1, n_truth=1)
    """
    if not tolerance_voxels >= 0:
        raise InputError(f"tolerance_voxels must be 0 or more; found {tolerance_voxels}")
    a, b = _masks(predicted, truth)
    inner = inner or (slice(None),) * a.ndim
    a_hits, b_hits = a & _near(b, tolerance_voxels), b & _near(a, tolerance_voxels)
    counts = (np.count_nonzero(mask[inner]) for mask in (a_hits, a, b_hits, b))
    return Agreement(*map(int, counts))


def box_iou(
    centers_a: npt.ArrayLike,
    sizes_a: npt.ArrayLike,
    centers_b: npt.ArrayLike,
    sizes_b: npt.ArrayLike,
) -> FloatArray:
    """Intersection over union of every pair of axis-aligned boxes.

    Parameters
    ----------
    centers_a, sizes_a : array_like, shape (n_a, ndim), float
        Boxes that span center ± size / 2, in any one unit.
    centers_b, sizes_b : array_like, shape (n_b, ndim), float
        The others.

    Returns
    -------
    ndarray, shape (n_a, n_b), float64
        0..1.

    Raises
    ------
    InputError
        If the shapes do not fit together, or a size is not positive.

    Examples
    --------
    >>> box_iou([[0, 0]], [[2, 2]], [[0, 0], [1, 0], [5, 5]], [[2, 2], [2, 2], [1, 1]]).round(3)
    array([[1.   , 0.333, 0.   ]])
    """
    ca, sa, cb, sb = _same_ndim(centers_a, sizes_a, centers_b, sizes_b)
    if ca.shape != sa.shape or cb.shape != sb.shape or np.any(sa <= 0) or np.any(sb <= 0):
        raise InputError(
            "every box needs a centre and a positive size along each axis; found shapes "
            f"{ca.shape}, {sa.shape} and {cb.shape}, {sb.shape}"
        )
    low = np.maximum((ca - sa / 2)[:, None], (cb - sb / 2)[None])
    high = np.minimum((ca + sa / 2)[:, None], (cb + sb / 2)[None])
    common = np.prod(np.clip(high - low, 0, None), axis=2)
    union = np.prod(sa, axis=1)[:, None] + np.prod(sb, axis=1)[None] - common
    return np.asarray(common / union, dtype=np.float64)


def match_boxes(
    centers_a: npt.ArrayLike,
    sizes_a: npt.ArrayLike,
    centers_b: npt.ArrayLike,
    sizes_b: npt.ArrayLike,
    *,
    min_iou: float = 0.5,
) -> Matches:
    """Match predicted with true boxes, one to one: as many as possible, then as well as possible.

    Parameters
    ----------
    centers_a, sizes_a : array_like, shape (n_predicted, ndim), float
        Predicted boxes, which span center ± size / 2, in any one unit.
    centers_b, sizes_b : array_like, shape (n_truth, ndim), float
        True boxes.
    min_iou : float
        Pairs below it, and pairs that do not overlap, are never matched.

    Returns
    -------
    Matches

    Raises
    ------
    InputError
        If the shapes do not fit together, or a size is not positive.

    Examples
    --------
    >>> match_boxes([[0, 0], [9, 9]], [[4, 4], [2, 2]], [[0, 1]], [[4, 4]])
    Matches(predicted_hits=1, n_predicted=2, truth_hits=1, n_truth=1, pairs=((0, 0),), \
center_errors=(1.0,))
    """
    overlap = box_iou(centers_a, sizes_a, centers_b, sizes_b)
    distances = _distances(centers_a, centers_b)
    return _match(1 - overlap, (overlap > 0) & (overlap >= min_iou), distances)


def match_points(points_a: npt.ArrayLike, points_b: npt.ArrayLike, max_distance: float) -> Matches:
    """Match predicted with true points, one to one: as many as possible, then as near as possible.

    Parameters
    ----------
    points_a : array_like, shape (n_predicted, ndim), float
        Predicted points, in any one unit.
    points_b : array_like, shape (n_truth, ndim), float
        True points.
    max_distance : float
        Pairs farther apart are never matched.

    Returns
    -------
    Matches

    Raises
    ------
    InputError
        If the shapes do not fit together, or `max_distance` is not positive.

    Examples
    --------
    >>> match_points([[0, 0], [5, 0]], [[5, 1], [50, 0]], max_distance=2).pairs
    ((1, 0),)
    """
    if not max_distance > 0:
        raise InputError(f"max_distance must be positive; found {max_distance}")
    distances = _distances(points_a, points_b)
    return _match(distances / max_distance, distances <= max_distance, distances)


def _match(cost: FloatArray, allowed: BoolArray, distances: FloatArray) -> Matches:
    """Optimal assignment; costs of allowed pairs are within 0..1."""
    never = min(cost.shape) + 1.0  # dearer than all allowed pairs together
    rows, columns = linear_sum_assignment(np.where(allowed, cost, never))
    kept = allowed[rows, columns]
    rows, columns = rows[kept], columns[kept]
    return Matches(
        len(rows),
        cost.shape[0],
        len(rows),
        cost.shape[1],
        tuple(zip(rows.tolist(), columns.tolist(), strict=True)),
        tuple(distances[rows, columns].tolist()),
    )


def _near(mask: BoolArray, distance: float) -> BoolArray:
    """Voxels at most so far from a voxel of the mask."""
    if not mask.any():
        return mask
    return np.asarray(distance_transform_edt(~mask) <= distance)


def _masks(a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[BoolArray, BoolArray]:
    first, second = np.asarray(a, dtype=np.bool_), np.asarray(b, dtype=np.bool_)
    if first.shape != second.shape:
        raise InputError(f"the masks must have one shape; found {first.shape} and {second.shape}")
    return first, second


def _distances(a: npt.ArrayLike, b: npt.ArrayLike) -> FloatArray:
    first, second = _same_ndim(a, b)
    return cdist(first, second)


def _same_ndim(*points: npt.ArrayLike) -> list[FloatArray]:
    """Arrays of shape (n, ndim), of which empty ones take the ndim of the others."""
    arrays = [np.asarray(p, dtype=np.float64) for p in points]
    ndims = {a.shape[1:] for a in arrays if a.size}
    if len(ndims) > 1 or any(len(shape) != 1 for shape in ndims):
        shapes = [a.shape for a in arrays]
        raise InputError(f"points must have the shape (n, ndim) with one ndim; found {shapes}")
    (ndim,) = ndims.pop() if ndims else (1,)
    return [a if a.size else np.zeros((0, ndim)) for a in arrays]


def _quotient(part: int, whole: int) -> float:
    return part / whole if whole else 1.0

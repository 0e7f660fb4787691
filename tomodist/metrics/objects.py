"""Objects in 3D: boxes that overlap, and points that are near, matched one to one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tomodist.errors import InputError
from tomodist.metrics.assignment import Pairs, assign, near_pairs
from tomodist.metrics.counts import Agreement

if TYPE_CHECKING:
    import numpy.typing as npt

    from tomodist.values.arrays import FloatArray


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

    @property
    def median_center_error(self) -> float:
        """Median of `center_errors`; nan if there is no pair."""
        return float(np.median(self.center_errors)) if self.center_errors else math.nan


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
        If the shapes do not fit together, a size is not positive, or a number is not finite.

    Examples
    --------
    >>> box_iou([[0, 0]], [[2, 2]], [[0, 0], [1, 0], [5, 5]], [[2, 2], [2, 2], [1, 1]]).round(3)
    array([[1.   , 0.333, 0.   ]])
    """
    ca, sa, cb, sb = _boxes(centers_a, sizes_a, centers_b, sizes_b)
    return _overlap(ca[:, None], sa[:, None], cb[None], sb[None])


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
        If the shapes do not fit together, a size is not positive, or a number is not finite.

    Examples
    --------
    >>> match_boxes([[0, 0], [9, 9]], [[4, 4], [2, 2]], [[0, 1]], [[4, 4]])
    Matches(predicted_hits=1, n_predicted=2, truth_hits=1, n_truth=1, pairs=((0, 0),), \
center_errors=(1.0,))
    """
    ca, sa, cb, sb = _boxes(centers_a, sizes_a, centers_b, sizes_b)
    i, j = _touching(ca, sa, cb, sb)
    overlap = _overlap(ca[i], sa[i], cb[j], sb[j])
    allowed = (overlap > 0) & (overlap >= min_iou)
    pairs = i[allowed], j[allowed]
    return _matches(pairs, 1 - overlap[allowed], _distances(ca, cb, pairs), len(ca), len(cb))


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
        If the shapes do not fit together, a number is not finite, or the
        distance is not positive.

    Examples
    --------
    >>> match_points([[0, 0], [5, 0]], [[5, 1], [50, 0]], max_distance=2).pairs
    ((1, 0),)
    """
    if not max_distance > 0:
        raise InputError(f"`max_distance` must be positive; found {max_distance}")
    a, b = _same_ndim(points_a, points_b)
    i, j = near_pairs(a, b, max_distance)
    distances = _distances(a, b, (i, j))
    allowed = distances <= max_distance
    pairs, distances = (i[allowed], j[allowed]), distances[allowed]
    return _matches(pairs, distances / max_distance, distances, len(a), len(b))


def _matches(pairs: Pairs, cost: FloatArray, distances: FloatArray, n_a: int, n_b: int) -> Matches:
    kept = assign(pairs, cost, n_a, n_b)
    rows, columns = (side[kept].tolist() for side in pairs)
    matched = tuple(zip(rows, columns, strict=True))
    return Matches(len(kept), n_a, len(kept), n_b, matched, tuple(distances[kept].tolist()))


def _touching(ca: FloatArray, sa: FloatArray, cb: FloatArray, sb: FloatArray) -> Pairs:
    """Pairs of boxes of which the cubes around them touch.

    Boxes of about one size are asked for together, or a single large one would make all of them
    candidates of everything around it.
    """
    reach_a, reach_b = sa.max(axis=1, initial=0) / 2, sb.max(axis=1, initial=0) / 2
    # Boxes whose largest half side is in the same octave are searched together.
    octave = np.ceil(np.log2(reach_b))
    pairs: list[Pairs] = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
    for size in np.unique(octave):
        rows = np.flatnonzero(octave == size)
        i, j = near_pairs(ca, cb[rows], reach_a + 2.0**size, norm=np.inf)
        pairs.append((i, rows[j]))
    first, second = zip(*pairs, strict=True)
    return np.concatenate(first), np.concatenate(second)


def _overlap(ca: FloatArray, sa: FloatArray, cb: FloatArray, sb: FloatArray) -> FloatArray:
    """Intersection over union of boxes, shape (..., ndim) each."""
    low = np.maximum(ca - sa / 2, cb - sb / 2)
    high = np.minimum(ca + sa / 2, cb + sb / 2)
    common = np.prod(np.clip(high - low, 0, None), axis=-1)
    union = np.prod(sa, axis=-1) + np.prod(sb, axis=-1) - common
    return np.asarray(common / union, dtype=np.float64)


def _distances(a: FloatArray, b: FloatArray, pairs: Pairs) -> FloatArray:
    return np.asarray(np.linalg.norm(a[pairs[0]] - b[pairs[1]], axis=1), dtype=np.float64)


def _boxes(*arrays: npt.ArrayLike) -> list[FloatArray]:
    """Centres and sizes of two sets of boxes."""
    ca, sa, cb, sb = _same_ndim(*arrays)
    if ca.shape != sa.shape or cb.shape != sb.shape or np.any(sa <= 0) or np.any(sb <= 0):
        raise InputError(
            "every box needs a centre and a positive size along each axis; found shapes "
            f"{ca.shape}, {sa.shape} and {cb.shape}, {sb.shape}"
        )
    return [ca, sa, cb, sb]


def _same_ndim(*points: npt.ArrayLike) -> list[FloatArray]:
    """Arrays of shape (n, ndim), of which empty ones take the ndim of the others."""
    arrays = [np.asarray(p, dtype=np.float64) for p in points]
    ndims = {a.shape[1:] for a in arrays if a.size}
    if len(ndims) > 1 or any(len(shape) != 1 for shape in ndims):
        shapes = [a.shape for a in arrays]
        raise InputError(f"points must have the shape (n, ndim) with one ndim; found {shapes}")
    if not all(np.isfinite(a).all() for a in arrays):
        raise InputError("a position or size is not finite; remove such rows")
    (ndim,) = ndims.pop() if ndims else (1,)
    return [a if a.size else np.zeros((0, ndim)) for a in arrays]

"""Masks and edges, voxel by voxel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tomodist.errors import InputError
from tomodist.metrics.counts import Agreement, Confusion, same_masks
from tomodist.metrics.distances import squared_distances

if TYPE_CHECKING:
    import numpy.typing as npt

    from tomodist.values.arrays import BoolArray


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
    counted: npt.ArrayLike | None = None,
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
    counted : array_like, same shape, bool, optional
        Only voxels in here are counted; what they are near to may be anywhere.

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
        raise InputError(f"`tolerance_voxels` must be 0 or more; found {tolerance_voxels}")
    a, b = same_masks(predicted, truth)
    near_a, near_b = _near(a, tolerance_voxels), _near(b, tolerance_voxels)
    if counted is not None:
        a, part = same_masks(a, counted)
        a, b = a & part, b & part
    inner = inner or (slice(None),) * a.ndim
    counts = (np.count_nonzero(mask[inner]) for mask in (a & near_b, a, b & near_a, b))
    return Agreement(*map(int, counts))


def _near(mask: BoolArray, distance: float) -> BoolArray:
    """Voxels at most so far from a voxel of the mask."""
    if not mask.any():
        return mask
    reach = min(distance, math.hypot(*mask.shape))
    return np.asarray(squared_distances(mask, reach) <= reach * reach)

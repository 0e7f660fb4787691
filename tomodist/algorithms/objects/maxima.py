"""Points of a score volume: its highest places, at least some distance apart.

Scores are smoothed first, because votes are whole numbers and their tops are flat. A brick with a
halo of `halo` voxels gives just the maxima that the whole volume has in it, so any bricks will do.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects, gaussian_filter, label, maximum_filter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.values.arrays import AnyArray, BoolArray, Float32Array, FloatArray

_SMOOTHING = 0.25  # sigma over distance: what is nearer than half of that is one hill
_TRUNCATE = 3.0  # sigmas


def halo_of(distance: float) -> int:
    """Voxels around a brick that its maxima depend on."""
    return math.ceil(_TRUNCATE * _SMOOTHING * distance) + 2


def brick_maxima(
    scores: AnyArray,
    inner: Sequence[slice],
    start: Sequence[int],
    threshold: float,
    distance: float,
) -> tuple[FloatArray, FloatArray]:
    """Local maxima in a brick.

    Parameters
    ----------
    scores : ndarray, shape (nz, ny, nx)
        The brick and its halo, as far as the volume reaches; NaN counts as 0.
    inner : sequence of slice
        The brick itself in `scores`.
    start : sequence of int
        Volume index (z, y, x) of the first voxel of `scores`.
    threshold : float
        Only voxels whose score exceeds this.
    distance : float
        Least distance of two points, in voxels; it also sets the smoothing.

    Returns
    -------
    ndarray, shape (n, 3), float64
        Volume indices (z, y, x), between voxels: the top of the parabola along each axis.
    ndarray, shape (n,), float64
        Smoothed scores there.
    """
    sigma = _SMOOTHING * distance
    values = np.nan_to_num(scores.astype(np.float32))
    smoothed = gaussian_filter(values, sigma, mode="constant", truncate=_TRUNCATE)
    # A flat top is one maximum of several equal voxels; _one_per_top keeps its middle.
    tops = (maximum_filter(smoothed, 3, mode="constant") == smoothed) & (values > threshold)
    index = _one_per_top(tops)
    ends = np.array([(s.indices(n)[:2]) for s, n in zip(inner, tops.shape, strict=True)])
    index = index[((index >= ends[:, 0]) & (index < ends[:, 1])).all(axis=1)]
    height: FloatArray = smoothed[tuple(index.T)].astype(np.float64)
    return (index + np.asarray(start)) + _between(smoothed, index), height  # in this order: bitwise


def _one_per_top(tops: BoolArray) -> npt.NDArray[np.intp]:
    """The voxel of each flat top that is nearest to its middle: shape (n, 3)."""
    labels, n = label(tops, np.ones((3, 3, 3)))
    middles = np.empty((n, 3), np.intp)
    for k, window in enumerate(find_objects(labels)):
        voxels = np.argwhere(labels[window] == k + 1)
        nearest = np.argmin(((voxels - voxels.mean(axis=0)) ** 2).sum(axis=1))
        middles[k] = voxels[nearest] + [s.start for s in window]
    return middles


def _between(values: Float32Array, index: npt.NDArray[np.intp]) -> FloatArray:
    """Offset from a voxel to the top of the parabola through its neighbours, along each axis."""
    padded = np.pad(values, 1).astype(np.float64)
    here = padded[tuple((index + 1).T)]
    offset = np.zeros(index.shape)
    for axis in range(3):
        step = np.eye(3, dtype=np.intp)[axis]
        before, after = (padded[tuple((index + 1 + s * step).T)] for s in (-1, 1))
        # Parabola through (-1, before), (0, here), (1, after): its top is at (before - after) / (2
        # bend).
        bend = before - 2 * here + after
        np.divide((before - after) / 2, bend, out=offset[:, axis], where=bend < 0)
    return np.clip(offset, -0.5, 0.5)

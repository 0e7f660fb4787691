"""Ellipsoids on the integer lattice of a volume or an image.

One rule: the value at a lattice point depends on that point alone, never on the window in which it
is asked for, so that any window equals the same slice of the whole, bit for bit. An ellipsoid (or,
in an image, an ellipse) is {q : (q - center)ᵀ covariance⁻¹ (q - center) < 1}; the half sizes of its
bounding box are the square roots of the diagonal of the covariance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tomodist.values.arrays import FloatArray, IntArray

_POINTS_PER_SLAB = 1 << 16  # 0.5 MiB of float64: stays in a core's cache


def slabs(
    center: FloatArray, covariance: FloatArray, start: Sequence[int], stop: Sequence[int]
) -> Iterator[tuple[tuple[slice, ...], FloatArray]]:
    """Walk the part of a window that lies in an ellipsoid's bounding box.

    Parameters
    ----------
    center : ndarray, shape (ndim,), float64
        In index coordinates.
    covariance : ndarray, shape (ndim, ndim), float64
        In squared index units.
    start, stop : sequence of int
        First point and last point + 1 of the window.

    Yields
    ------
    index : tuple of slice
        Where the slab lies in an array of the window's shape.
    radius_sq : ndarray, float64
        Squared radius relative to the surface: below 1 inside the ellipsoid.

    Examples
    --------
    >>> [(index, radius_sq)] = slabs(np.array([4.0]), np.array([[4.0]]), [3], [9])
    >>> index, radius_sq
    ((slice(0, 4, None),), array([0.25, 0.  , 0.25, 1.  ]))
    """
    first, last = _clip(center, np.sqrt(np.diag(covariance)), start, stop)
    if np.any(first >= last):
        return
    form = np.asarray(np.linalg.inv(covariance), dtype=np.float64)
    offsets = [np.arange(a, b) - c for a, b, c in zip(first, last, center, strict=True)]
    inside = [slice(*ab) for ab in np.stack([first - start, last - start], axis=1).tolist()]
    # Slabs along the first axis that stay in the cache.
    step = max(1, _POINTS_PER_SLAB // int(np.prod((last - first)[1:])))
    for k in range(0, len(offsets[0]), step):
        part = offsets[0][k : k + step]
        begin = inside[0].start + k
        index = (slice(begin, begin + len(part)), *inside[1:])
        yield index, _radius_sq(form, [part, *offsets[1:]])


def _clip(
    center: FloatArray, half: FloatArray, start: Sequence[int], stop: Sequence[int]
) -> tuple[IntArray, IntArray]:
    """First point and last point + 1 of the bounding box, inside the window."""
    first = np.clip(np.ceil(center - half), start, stop)
    last = np.clip(np.floor(center + half) + 1, start, stop)
    return first.astype(np.int64), last.astype(np.int64)


def _radius_sq(form: FloatArray, offsets: Sequence[FloatArray]) -> FloatArray:
    """Sum over i, j of form[i, j] · offset_i · offset_j, on the grid that the offsets span."""
    axes = np.meshgrid(*offsets, indexing="ij", sparse=True)
    total = np.zeros([len(o) for o in offsets])
    for i, a in enumerate(axes):
        cross = sum((2 * form[i, j] * axes[j] for j in range(i)), form[i, i] * a)
        total += a * cross
    return total

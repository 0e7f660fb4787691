"""Mean and deviation of a volume from sums of its bricks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.learned.detectors.normalise import Statistics

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from tomodist.formats.zarr import ArrayHandle
    from tomodist.values.windows import Index


Sums = tuple[float, float, int]


def brick_sums(volume: ArrayHandle, brick: Index) -> Sums:
    """Sum, sum of squares and number of the known voxels of a brick.

    Parameters
    ----------
    volume : ArrayHandle
        The volume; NaN counts as unknown.
    brick : tuple of int
        Index of the brick.

    Returns
    -------
    tuple of float, float, int
        Sum, sum of squares, and number of voxels.
    """
    (z, end), y, x = volume.window(brick)
    total, squares, n = 0.0, 0.0, 0
    depth = volume.chunk[0]
    for first in range(z, end, depth):
        # Some layers at a time, so that a brick is never held as float64.
        values = volume.read((first, min(first + depth, end)), y, x)
        known = values[np.isfinite(values)].astype(np.float64)
        total, squares = total + float(known.sum()), squares + float(known @ known)
        n += known.size
    return total, squares, n


def sums_of(values: npt.NDArray[np.floating[Any]]) -> Sums:
    """Sum, sum of squares and number of the known values.

    Examples
    --------
    >>> sums_of(np.array([1.0, 2.0, np.nan]))
    (3.0, 5.0, 2)
    """
    known = values[np.isfinite(values)].astype(np.float64)
    return float(known.sum()), float(known @ known), known.size


def combined(parts: Iterable[Sums]) -> Statistics:
    """Mean and deviation from sums; (0, 1) of nothing.

    Examples
    --------
    >>> combined([(6.0, 20.0, 2), (0.0, 0.0, 0)])
    Statistics(mean=3.0, deviation=1.0)
    """
    total, squares, n = (sum(column) for column in zip(*parts, strict=True))
    if not n:
        return Statistics(0.0, 1.0)
    mean = total / n
    return Statistics(mean, math.sqrt(max(squares / n - mean**2, 0.0)))

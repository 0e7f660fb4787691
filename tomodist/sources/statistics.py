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
    """Sum, sum of squares and number of the known voxels of a brick, some layers at a time."""
    (z, end), y, x = volume.window(brick)
    total, squares, n = 0.0, 0.0, 0
    depth = volume.chunk[0]
    for first in range(z, end, depth):
        part = sums_of(volume.read((first, min(first + depth, end)), y, x))
        total, squares, n = total + part[0], squares + part[1], n + part[2]
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

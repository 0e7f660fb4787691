"""Random masks, and slow references, for the tests of measures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.optimize import linear_sum_assignment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.values.arrays import BoolArray, FloatArray


def random_masks(seed: int = 0, share: float = 0.02) -> tuple[BoolArray, BoolArray]:
    random = np.random.default_rng(seed)
    return random.random((21, 30, 17)) < share, random.random((21, 30, 17)) < share


def smooth_masks(shape: Sequence[int], seed: int = 0) -> tuple[BoolArray, BoolArray]:
    """Masks like structures: lumps that reach the border, and a little of each by itself."""
    random = np.random.default_rng(seed)
    both, *own = (gaussian_filter(random.normal(size=shape), 2.5) for _ in range(3))
    first, second = ((both + 0.5 * mine) > 0.05 for mine in own)
    return first, second


def slow_surface(mask: BoolArray) -> BoolArray:
    """Every voxel of which some face neighbour inside the volume is not in the mask."""
    found = np.zeros_like(mask)
    for place in np.argwhere(mask):
        for axis in range(mask.ndim):
            for step in (-1, 1):
                beside = place.copy()
                beside[axis] += step
                if 0 <= beside[axis] < mask.shape[axis] and not mask[tuple(beside)]:
                    found[tuple(place)] = True
    return found


def slow_distances(asked: BoolArray, mask: BoolArray, reach: float) -> FloatArray:
    """Distance of every voxel that is asked for to the nearest one of a mask; `reach` at most."""
    if not mask.any():
        return np.full(np.count_nonzero(asked), float(reach))
    return np.minimum(np.asarray(distance_transform_edt(~mask))[asked], reach)


def dense_matches(cost: FloatArray, allowed: BoolArray) -> list[tuple[int, int]]:
    """Optimal assignment of a whole matrix; a forbidden pair is dearer than all allowed ones."""
    never = min(cost.shape) + 1.0
    rows, columns = linear_sum_assignment(np.where(allowed, cost, never))
    kept = allowed[rows, columns]
    return list(zip(rows[kept].tolist(), columns[kept].tolist(), strict=True))

"""How far the surface of a mask lies from that of another.

One rule: a distance is a squared integer number of voxels and is counted, so that histograms add up
over bricks, classes and tomograms, exactly; beyond a reach it counts as the reach, and the share of
these is reported. Where a structure leaves the volume, the volume's face is no surface of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from tomodist.errors import InputError
from tomodist.metrics.counts import same_masks
from tomodist.metrics.distances import squared_distances

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.values.arrays import BoolArray, FloatArray, IntArray

Place = tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class Histogram:
    """How many voxels there are at every squared distance; histograms of one reach add.

    Parameters
    ----------
    counts : ndarray, shape (reach^2 + 2,), int64
        ``counts[k]`` voxels at a distance of sqrt(k) voxels; the last, of those beyond the reach.

    Examples
    --------
    >>> found = Histogram(np.array([6, 0, 2, 0, 0, 2]))  # a reach of 2 voxels
    >>> round(found.mean, 3), found.percentile(95), found.beyond
    (0.683, 2.0, 0.2)
    """

    counts: IntArray

    @classmethod
    def empty(cls, reach: int) -> Histogram:
        """Nothing counted yet."""
        return cls(np.zeros(reach**2 + 2, np.int64))

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram(self.counts + other.counts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and np.array_equal(self.counts, other.counts)

    @property
    def n(self) -> int:
        """Voxels in all."""
        return int(self.counts.sum())

    @property
    def distances(self) -> FloatArray:
        """Distance of every bin in voxels; of the last, the reach."""
        squared = np.arange(len(self.counts), dtype=np.float64)
        return np.sqrt(np.minimum(squared, len(self.counts) - 2))

    @property
    def mean(self) -> float:
        """Mean distance in voxels; nan of nothing."""
        return float(self.counts @ self.distances) / self.n if self.n else math.nan

    @property
    def beyond(self) -> float:
        """Share of voxels beyond the reach; nan of nothing."""
        return int(self.counts[-1]) / self.n if self.n else math.nan

    def percentile(self, percent: float) -> float:
        """Smallest distance in voxels that so many percent of the voxels do not exceed."""
        if not self.n:
            return math.nan
        rank = math.ceil(self.n * percent / 100)
        bin_ = int(np.searchsorted(np.cumsum(self.counts), max(rank, 1)))
        return float(self.distances[bin_])


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances from either surface to the other; they add.

    Parameters
    ----------
    predicted, truth : Histogram
        From the predicted surface to the true one, and back.
    """

    predicted: Histogram
    truth: Histogram

    @classmethod
    def empty(cls, reach: int) -> SurfaceDistances:
        """Nothing counted yet."""
        return cls(Histogram.empty(reach), Histogram.empty(reach))

    def __add__(self, other: SurfaceDistances) -> SurfaceDistances:
        return SurfaceDistances(self.predicted + other.predicted, self.truth + other.truth)

    @property
    def both(self) -> Histogram:
        """Both directions, each voxel of either surface counting once."""
        return self.predicted + self.truth


def surface(mask: npt.ArrayLike) -> BoolArray:
    """Voxels of a mask that have a face in common with a voxel outside it.

    Parameters
    ----------
    mask : array_like, any shape, bool
        Anything but 0 is inside. Beyond the array nothing is known, so its border is no surface.

    Returns
    -------
    ndarray, shape of mask, bool

    Examples
    --------
    >>> surface([0, 1, 1, 1, 0, 1, 1]).astype(int)
    array([0, 1, 0, 1, 0, 1, 0])
    """
    inside = np.asarray(mask, dtype=np.bool_)
    deep = inside.copy()
    for axis in range(inside.ndim):
        ahead, behind = np.moveaxis(deep, axis, 0), np.moveaxis(inside, axis, 0)
        # A voxel is deep inside if both neighbours along every axis are inside.
        ahead[1:] &= behind[:-1]
        ahead[:-1] &= behind[1:]
    return inside & ~deep


def surface_distances(
    predicted: npt.ArrayLike,
    truth: npt.ArrayLike,
    reach: int,
    *,
    counted: npt.ArrayLike | None = None,
) -> SurfaceDistances:
    """Distances between the surfaces of two masks.

    Parameters
    ----------
    predicted, truth : array_like, any one shape, bool
        Anything but 0 is inside.
    reach : int
        In voxels; larger distances are counted as one.
    counted : array_like, same shape, bool, optional
        Only surface voxels in here are counted; their nearest ones may be anywhere. For exact sums
        over bricks give each brick with a halo of ``reach + 1`` voxels, and count its inside.

    Returns
    -------
    SurfaceDistances

    Raises
    ------
    InputError
        If the shapes differ, or the reach is below 1.

    Examples
    --------
    >>> found = surface_distances([0, 1, 1, 0, 0, 0, 0], [0, 1, 1, 1, 1, 0, 0], reach=3)
    >>> found.predicted.mean, found.truth.mean  # 1 -> 1, 2 -> 1; 1 -> 1, 4 -> 2
    (0.5, 1.0)
    """
    if reach < 1:
        raise InputError(f"`reach` must be 1 voxel or more; found {reach}")
    a, b = (surface(mask) for mask in same_masks(predicted, truth))
    asked_a, asked_b = a, b
    if counted is not None:
        asked_a, part = same_masks(a, counted)
        asked_a, asked_b = asked_a & part, b & part
    return SurfaceDistances(_histogram(asked_a, b, reach), _histogram(asked_b, a, reach))


def _histogram(asked: BoolArray, surface: BoolArray, reach: int) -> Histogram:
    """Histogram of the distances from the given voxels to a surface.

    A good result lies near the truth: so first a quarter of the reach is looked at, which takes a
    quarter of the time, and then the whole of it around those that have found nothing yet.
    """
    counts = np.zeros(reach**2 + 2, np.int64)
    missing = asked.copy()
    # First a quarter of the reach, then the whole reach for what is left.
    for near in sorted({-(-reach // 4), reach}):
        if not missing.any():
            break
        window = _grown(ndimage.find_objects(missing.view(np.int8))[0], near, missing.shape)
        squared, left = squared_distances(surface[window], near), missing[window]
        for k in range(len(squared)):
            reached = left[k] & (squared[k] <= near**2)
            counts[: near**2 + 1] += np.bincount(squared[k][reached], minlength=near**2 + 1)
            left[k] &= ~reached
    counts[-1] = np.count_nonzero(missing)
    return Histogram(counts)


def _grown(window: Sequence[slice], reach: int, shape: Sequence[int]) -> Place:
    return tuple(
        slice(max(s.start - reach, 0), min(s.stop + reach, n))
        for s, n in zip(window, shape, strict=True)
    )

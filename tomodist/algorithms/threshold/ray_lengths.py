"""The threshold of 3D edges: where rays stay long in the result, the maps show edges.

Reprojection by OR cannot choose it: a closed surface covers its whole outline, not the rim alone.
But a ray that touches a surface stays in it for long, and one that crosses it does not. So with
S_T(p) the length of the ray of pixel p inside 1(votes > T), in voxels, the pixels with S_T >= L are
what an edge detector would see of the result, for some L; and the best T is the one where these
agree best with the maps:

    T = arg max over T of  max over L of  kappa(a, b),
    a = #{map 1, S_(T+o) >= L},    b = #{map 0, S_T >= L},
    kappa = (p_o - p_e) / (1 - p_e),    Cohen's: agreement p_o beyond the one by chance, p_e,

pooled over pixels and tilts. Histograms of S over pixels of map value 1, and 0, are all that is
needed, and they add over tiles. S_T is the sum projection (the adjoint of linear backprojection).

A map must not explain itself: every voxel on the ray of a marked pixel has the vote of that pixel,
so at T = 0 the whole ray is in the result. Therefore o = 1: where the map is marked, the others
have to outvote T, which leaves one out at no cost. (Without it the choice failed where few tilts
met much noise: F1 with the truth 0.26 instead of 0.82.) A refined mark has the support of other
tilts already, so there o = 0.

Kappa rather than F1 or IoU of the two, because where most marks are noise these are highest when
everything is predicted (F1 with the truth 0.26; by kappa 0.62, at the best T 0.65).

A few tilts are enough, and not every T has to be tried: first some that are even, then those
around the best of them. Pixels whose ray misses the volume have S = 0 and are never predicted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tomodist.algorithms.lift.windows import checked_map
from tomodist.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from tomodist.values.arrays import AnyArray, IntArray
    from tomodist.values.geometry import TiltGeometry


N_BINS = 160  # of lengths: eight per octave, up to a million voxels
_PER_OCTAVE = 8
_N_FIRST = 10  # thresholds that are tried first
_MOST_TILTS = 13


@dataclass(frozen=True)
class RayLengthCurve:
    """Agreement of long rays with the maps, at every threshold that was tried.

    Parameters
    ----------
    thresholds : tuple of int
        T, rising; a voxel is an edge if its votes exceed T.
    score : tuple of float
        Highest kappa over the lengths, at each: 0 by chance, 1 where all agree.
    lengths : tuple of float
        The length L of the highest kappa at each, in voxels.

    Attributes
    ----------
    best : int
        The threshold of the highest score; the lowest of equals.
    """

    thresholds: tuple[int, ...]
    score: tuple[float, ...]
    lengths: tuple[float, ...]

    @property
    def best(self) -> int:
        """The threshold of the highest score."""
        return self.thresholds[int(np.argmax(self.score))]


def count_ray_lengths(lengths: AnyArray, maps: AnyArray) -> IntArray:
    """Histograms of the rays' lengths, by map value.

    Parameters
    ----------
    lengths : ndarray, shape (n_tilts, h, w), float32
        Sum projection of a mask, in voxels.
    maps : ndarray, shape (n_tilts, h, w), bool or uint8
        0, 1 or 2 (not measured, which does not count).

    Returns
    -------
    ndarray, shape (2, N_BINS), int64
        Of map value 0 and of map value 1. Bin b holds lengths from 2^(b/8) - 1 voxels.

    Examples
    --------
    >>> counts = count_ray_lengths(np.array([[[0, 1, 3, 3]]]), np.array([[[0, 0, 1, 2]]]))
    >>> [(int(v), int(b)) for v, b in np.argwhere(counts)]
    [(0, 0), (0, 8), (1, 16)]
    """
    counts = np.zeros((2, N_BINS), np.int64)
    for t, (length, image) in enumerate(zip(lengths, maps, strict=True)):
        bins = (_PER_OCTAVE * np.log2(1 + np.maximum(length, 0)) + 1e-3).astype(np.int64)
        np.minimum(bins, N_BINS - 1, out=bins)
        values = checked_map(image, t)
        for value in (0, 1):
            counts[value] += np.bincount(bins[values == value], minlength=N_BINS)
    return counts


def ray_length_curve(counts: Mapping[int, IntArray], own: int) -> RayLengthCurve:
    """The highest kappa at every threshold.

    Parameters
    ----------
    counts : mapping of int to ndarray, shape (2, N_BINS), int64
        For every threshold, the sum of `count_ray_lengths` of 1(votes > threshold) over all tiles.
    own : int
        o: 1 for plain votes, 0 for refined ones.

    Returns
    -------
    RayLengthCurve
        At the thresholds T of which T + o is there, too.

    Raises
    ------
    InputError
        If no map marks a pixel, or no voxel has votes enough: there is nothing to agree.
    """
    thresholds = tuple(t for t in sorted(counts) if t + own in counts)
    # Marked pixels are counted at T + o, the others at T: a map must not explain itself.
    others = np.stack([counts[t][0] for t in thresholds])
    marked = np.stack([counts[t + own][1] for t in thresholds])
    a, b = (rows[:, ::-1].cumsum(axis=1)[:, ::-1].astype(float) for rows in (marked, others))
    # Column 0 counts all pixels (length >= 0), at any threshold.
    n_marked, n_other = a[0, 0], b[0, 0]
    a, b = a[:, 1:], b[:, 1:]
    if not n_marked or not a.any():
        missing = "no map marks any pixel" if not n_marked else "no voxel has enough votes"
        raise InputError(
            f"{missing}, so no threshold can be chosen; check the maps (is the detector too "
            "strict?), use fewer `rounds` or less `support`, or set `threshold`"
        )
    n = n_marked + n_other
    # p_e of independent predictions with the same totals.
    by_chance = ((a + b) * n_marked + (n - a - b) * n_other) / n**2
    kappa = ((a + n_other - b) / n - by_chance) / np.maximum(1 - by_chance, 1e-12)
    lengths = 2 ** ((kappa.argmax(axis=1) + 1) / _PER_OCTAVE) - 1
    return RayLengthCurve(thresholds, tuple(kappa.max(axis=1).tolist()), tuple(lengths.tolist()))


def choose_by_ray_lengths(
    count: Callable[[Sequence[int]], Mapping[int, IntArray]], n_tilts: int, own: int
) -> RayLengthCurve:
    """Try some thresholds, then those around the best of them.

    Parameters
    ----------
    count : callable
        ``count(thresholds)`` gives the histograms of 1(votes > threshold) for every threshold.
    n_tilts : int
        Number of tilts.
    own : int
        o: 1 for plain votes, 0 for refined ones.

    Returns
    -------
    RayLengthCurve

    Raises
    ------
    InputError
        If there is nothing to agree; see `ray_length_curve`.
    """
    search = threshold_search(n_tilts, own)
    thresholds = next(search)
    while True:
        try:
            thresholds = search.send(count(thresholds) if thresholds else {})
        except StopIteration as stop:
            curve: RayLengthCurve = stop.value
            return curve


def threshold_search(
    n_tilts: int, own: int
) -> Generator[Sequence[int], Mapping[int, IntArray], RayLengthCurve]:
    """Generator form of `choose_by_ray_lengths`, for callers that count elsewhere.

    Parameters
    ----------
    n_tilts, own
        As for `choose_by_ray_lengths`.

    Yields
    ------
    sequence of int
        Levels; wants to be sent the histograms of 1(votes > threshold) for each.

    Returns
    -------
    RayLengthCurve
    """
    counts: dict[int, IntArray] = {}
    candidates = first_thresholds(n_tilts)
    for _ in range(2):
        thresholds = sorted({t + k for t in candidates for k in (0, own)} - counts.keys())
        counts |= yield thresholds
        candidates = next_thresholds(ray_length_curve(counts, own), n_tilts)
    return ray_length_curve(counts, own)


def first_thresholds(n_tilts: int) -> tuple[int, ...]:
    """Thresholds to try first, from 0 to below the number of tilts.

    Examples
    --------
    >>> first_thresholds(51)
    (0, 5, 10, 15, 20, 25, 30, 35, 40, 45)
    >>> first_thresholds(3)
    (0, 1, 2)
    """
    n = min(_N_FIRST, n_tilts)
    return tuple(k * n_tilts // n for k in range(n))


def next_thresholds(curve: RayLengthCurve, n_tilts: int) -> tuple[int, ...]:
    """Thresholds between the best so far and its neighbours.

    Parameters
    ----------
    curve : RayLengthCurve
        The thresholds that were tried.
    n_tilts : int
        Number of tilts: no threshold is as high.

    Returns
    -------
    tuple of int
        Thresholds that were not tried yet.

    Examples
    --------
    >>> next_thresholds(RayLengthCurve((0, 5, 10), (0.1, 0.5, 0.2), (1, 1, 1)), 51)
    (1, 2, 3, 4, 6, 7, 8, 9)
    """
    k = curve.thresholds.index(curve.best)
    low = curve.thresholds[max(k - 1, 0)]
    last = k + 1 == len(curve.thresholds)
    high = n_tilts if last else curve.thresholds[k + 1]
    return tuple(t for t in range(low + 1, high) if t not in curve.thresholds)


def sampled_tilts(geometry: TiltGeometry) -> Sequence[int]:
    """Tilts that are used: at most 13, evenly in order of angle."""
    order = sorted(range(geometry.n_tilts), key=lambda t: geometry.tilt_angles[t])
    n = min(_MOST_TILTS, len(order))
    return sorted(order[(2 * k + 1) * len(order) // (2 * n)] for k in range(n))

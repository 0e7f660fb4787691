"""Backprojection of one brick: votes of binary maps, or the weighted mean of probabilities.

A *lifting* turns maps into a score brick in two steps, so that groups of tilts can be computed
apart and added up: ``contribution`` (of some tilts, in kernel layout) and ``finish``. Votes are
integers, so any grouping gives bitwise the same brick. A contribution is a tuple of arrays, which
are added one by one: votes, or a weighted sum and the weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tomodist.algorithms.lift.windows import ReadImage, binary_windows, linear_windows
from tomodist.errors import InputError
from tomodist.kernels.backproject import coverage_rows, linear_any, linear_rows
from tomodist.kernels.memory import aligned_zeros, swapped
from tomodist.kernels.votes import votes_any, votes_rows
from tomodist.planning.costs import LINEAR_ANY, LINEAR_ROWS, VOTES_ANY, VOTES_ROWS, RowCost
from tomodist.values.arrays import AnyArray, IntArray
from tomodist.values.projection import half_widths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.values.geometry import TiltGeometry, VolumeGrid

Contribution = tuple[AnyArray, ...]


class Lifting(Protocol):
    """How maps become a score brick."""

    @property
    def geometry(self) -> TiltGeometry:
        """Geometry of the maps."""

    @property
    def grid(self) -> VolumeGrid:
        """Voxels of the score volume."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the scores."""

    @property
    def max_score(self) -> int | None:
        """The highest score, of whole-number scores."""

    @property
    def scale(self) -> float:
        """Factor from stored scores to reported scores."""

    @property
    def binary(self) -> bool:
        """Whether it lifts binary maps to whole numbers (which any grouping leaves the same)."""

    @property
    def parameters(self) -> dict[str, Any]:
        """Name and parameters as plain values, for fingerprints and records."""

    @property
    def sums_itemsize(self) -> int:
        """Bytes per voxel of a contribution."""

    @property
    def may_group(self) -> bool:
        """Whether contributions of groups of tilts can be added up."""

    @property
    def n_shared(self) -> int:
        """Arrays at the end of a contribution that all classes of the same label maps share."""

    @property
    def per_class(self) -> Lifting:
        """The lifting whose contribution is all but what classes share."""

    def row_cost(self, *, aligned: bool) -> RowCost:
        """Cost of its kernel, for the planner."""

    def contribution(
        self, read: ReadImage, tilts: Sequence[int], start: Sequence[int], stop: Sequence[int]
    ) -> Contribution:
        """Contribution of some tilts to a brick.

        Parameters
        ----------
        read : callable
            Reads pixels; see `tomodist.algorithms.lift.windows`.
        tilts : sequence of int
            The tilts.
        start, stop : sequence of int
            First voxel and last voxel + 1 of the brick (z, y, x).

        Returns
        -------
        tuple of ndarray
            Sums in kernel layout (z, x, y).
        """

    def finish(self, total: Contribution) -> AnyArray:
        """The score brick (z, y, x) from the sum of all contributions, which is used up."""


@dataclass(frozen=True)
class Votes:
    """Binary backprojection: a voxel's score is the number of tilts that mark it.

    Parameters
    ----------
    geometry : TiltGeometry
        Of the maps.
    grid : VolumeGrid
        Of the volume.
    """

    geometry: TiltGeometry
    grid: VolumeGrid

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8 up to 255 tilts, else uint16."""
        return votes_dtype(self.geometry.n_tilts)

    @property
    def max_score(self) -> int:
        """The highest score: all tilts."""
        return self.geometry.n_tilts

    @property
    def scale(self) -> float:
        """Scores are reported unchanged."""
        return 1.0

    @property
    def binary(self) -> bool:
        """Maps are binary."""
        return True

    @property
    def parameters(self) -> dict[str, Any]:
        """Name only: it has no parameters."""
        return {"lifting": "votes"}

    @property
    def sums_itemsize(self) -> int:
        """Bytes per voxel of a contribution."""
        return self.dtype.itemsize

    @property
    def may_group(self) -> bool:
        """Votes add up."""
        return True

    @property
    def n_shared(self) -> int:
        """Classes share nothing."""
        return 0

    @property
    def per_class(self) -> Votes:
        """The lifting itself."""
        return self

    def row_cost(self, *, aligned: bool) -> RowCost:
        """See `tomodist.planning.costs`."""
        return VOTES_ROWS if aligned else VOTES_ANY

    def contribution(
        self, read: ReadImage, tilts: Sequence[int], start: Sequence[int], stop: Sequence[int]
    ) -> Contribution:
        """Votes of some tilts.

        Parameters
        ----------
        read : callable
            Reads pixels; see `tomodist.algorithms.lift.windows`.
        tilts : sequence of int
            Which tilts.
        start, stop : sequence of int
            The brick (z, y, x).

        Returns
        -------
        tuple of one ndarray, shape (nz, nx, ny), uint8 or uint16
        """
        matrices = self.geometry.select(tilts).matrices(self.grid)
        seen = binary_windows(read, tilts, matrices, start, stop, self.geometry.image_shape)
        votes = aligned_zeros(kernel_shape(start, stop), self.dtype)
        # Single-axis geometries have image rows that are volume rows: the faster kernel serves
        # them.
        kernel = votes_rows if seen.rows_only else votes_any
        kernel(seen.images, seen.origin, matrices, half_widths(matrices), as_index(start), votes)
        return (votes,)

    def finish(self, total: Contribution) -> AnyArray:
        """Votes of all tilts, in z, y, x order."""
        return swapped(total[0])


@dataclass(frozen=True)
class WeightedMean:
    """Linear backprojection: a voxel's score is the weighted mean of what its rays show.

    Parameters
    ----------
    geometry : TiltGeometry
        Of the maps.
    grid : VolumeGrid
        Of the volume.
    weights : tuple of float, optional
        Of the tilts; by default 1.

    Notes
    -----
    With values p_t(u) interpolated linearly and w_t = 0 where tilt t does not see the voxel,
    score = sum_t w_t p_t / sum_t w_t, and NaN where no tilt sees it.

    Raises
    ------
    InputError
        If there is not one weight per tilt, or one is negative or no number.
    """

    geometry: TiltGeometry
    grid: VolumeGrid
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        n = self.geometry.n_tilts
        if self.weights is None:
            return
        if len(self.weights) != n:
            raise InputError(
                f"`weights` has {len(self.weights)} values for {n} tilts; it must have {n}"
            )
        if not all(0 <= w < math.inf for w in self.weights):
            raise InputError(f"`weights` must be finite numbers, 0 or more; found {self.weights}")

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32."""
        return np.dtype(np.float32)

    @property
    def max_score(self) -> None:
        """Scores are not integers."""

    @property
    def scale(self) -> float:
        """Scores are reported unchanged."""
        return 1.0

    @property
    def binary(self) -> bool:
        """Maps are grey values."""
        return False

    @property
    def parameters(self) -> dict[str, Any]:
        """The weights."""
        weights = None if self.weights is None else list(self.weights)
        return {"lifting": "weighted mean", "weights": weights}

    @property
    def sums_itemsize(self) -> int:
        """Bytes per voxel of a contribution: sums and weights."""
        return 2 * self.dtype.itemsize

    @property
    def may_group(self) -> bool:
        """Sums and weights add up."""
        return True

    @property
    def n_shared(self) -> int:
        """Grey values have no classes."""
        return 0

    @property
    def per_class(self) -> WeightedMean:
        """The lifting itself."""
        return self

    def row_cost(self, *, aligned: bool) -> RowCost:
        """See `tomodist.planning.costs`."""
        return LINEAR_ROWS if aligned else LINEAR_ANY

    def contribution(
        self, read: ReadImage, tilts: Sequence[int], start: Sequence[int], stop: Sequence[int]
    ) -> Contribution:
        """Weighted sum of some tilts, and sum of their weights.

        Parameters as for `Votes.contribution`.

        Returns
        -------
        tuple of ndarray, float32
            Shapes (nz, nx, ny), and (nz, nx, ny) or (nz, nx, 1) where all rows are alike.
        """
        matrices = self.geometry.select(tilts).matrices(self.grid)
        seen, measured = linear_windows(
            read, tilts, matrices, start, stop, self.geometry.image_shape
        )
        weights = np.ones(len(tilts), np.float32)
        if self.weights is not None:
            weights = np.asarray([self.weights[t] for t in tilts], np.float32)
        at = (seen.origin, matrices, weights, as_index(start))
        kernel = linear_rows if seen.rows_only else linear_any
        # Sums and weights are kept apart: only at the end, over all tilts, may they be divided.
        total = aligned_zeros(kernel_shape(start, stop), np.float32)
        kernel(seen.images, *at, total)
        # All rows see the same columns, so one weight per (z, x) stands for the whole row.
        if measured.shape[2] == 1:
            coverage = np.zeros(total.shape[:2], np.float32)
            coverage_rows(measured[:, :, 0], *at, coverage)
            return total, coverage[:, :, None]
        coverage = np.zeros_like(total)
        kernel(measured.astype(np.float32), *at, coverage)
        return total, coverage

    def finish(self, total: Contribution) -> AnyArray:
        """The mean, in z, y, x order."""
        mean, coverage = total
        with np.errstate(divide="ignore"):
            # In place: a brick of float32 is the largest array that this task holds.
            mean *= np.where(coverage > 0, 1 / coverage, np.float32(np.nan))
        return swapped(mean)


def add(total: Contribution, part: Contribution) -> Contribution:
    """The sum of two contributions, in new arrays.

    Parameters
    ----------
    total, part : tuple of ndarray
        Contributions of one lifting to one brick.

    Returns
    -------
    tuple of ndarray
        Of the same shapes and types.
    """
    return tuple(a + b for a, b in zip(total, part, strict=True))


def lift_brick(
    lifting: Lifting,
    read: ReadImage,
    start: Sequence[int],
    stop: Sequence[int],
    tilts_per_task: int | None = None,
) -> AnyArray:
    """Score brick from all tilts, group by group.

    Parameters
    ----------
    lifting : Lifting
        How.
    read : callable
        Reads pixels; see `tomodist.algorithms.lift.windows`.
    start, stop : sequence of int
        The brick (z, y, x).
    tilts_per_task : int, optional
        Tilts whose windows are held at a time; by default all.

    Returns
    -------
    ndarray, shape (nz, ny, nx)
    """
    groups = tilt_groups(lifting.geometry.n_tilts, tilts_per_task)
    total = lifting.contribution(read, groups[0], start, stop)
    for tilts in groups[1:]:
        total = add(total, lifting.contribution(read, tilts, start, stop))
    return lifting.finish(total)


def lift_class(
    lifting: Lifting,
    read: ReadImage,
    start: Sequence[int],
    stop: Sequence[int],
    shared: Contribution = (),
) -> tuple[AnyArray, Contribution]:
    """Score brick of one class of label maps.

    What all classes share (the numbers of tilts that see each voxel) is half of the work: the first
    class counts it, the others take it over.

    Parameters
    ----------
    lifting : Lifting
        How.
    read : callable
        Reads the binary map of the class; see `tomodist.algorithms.lift.windows`.
    start, stop : sequence of int
        The brick (z, y, x).
    shared : tuple of ndarray
        From an earlier class of the same brick; empty for the first.

    Returns
    -------
    ndarray, shape (nz, ny, nx)
        The scores.
    tuple of ndarray
        For the next class.
    """
    tilts = range(lifting.geometry.n_tilts)
    # The first class computes the shared arrays too; later ones only their own, and reuse these.
    own = lifting.per_class if shared else lifting
    total = own.contribution(read, tilts, start, stop) + shared
    kept = total[len(total) - lifting.n_shared :]
    return lifting.finish(total), kept


def tilt_groups(n_tilts: int, tilts_per_task: int | None) -> list[range]:
    """Consecutive groups of tilts.

    Parameters
    ----------
    n_tilts : int
        Number of tilts of the series.
    tilts_per_task : int, optional
        Tilts of one group; by default all of them.

    Returns
    -------
    list of range
        Indices of the tilts of each group.

    Examples
    --------
    >>> tilt_groups(5, 2)
    [range(0, 2), range(2, 4), range(4, 5)]
    """
    size = tilts_per_task or n_tilts
    return [range(t, min(t + size, n_tilts)) for t in range(0, n_tilts, size)]


def votes_dtype(n_tilts: int) -> np.dtype[Any]:
    """Smallest type that holds one vote per tilt."""
    return np.dtype(np.uint8 if n_tilts <= 255 else np.uint16)


def kernel_shape(start: Sequence[int], stop: Sequence[int]) -> tuple[int, int, int]:
    """Shape of a brick in kernel layout (z, x, y).

    Parameters
    ----------
    start, stop : sequence of int
        First voxel and last voxel + 1 of the brick (z, y, x).

    Returns
    -------
    tuple of int
        (nz, nx, ny).
    """
    nz, ny, nx = (b - a for a, b in zip(start, stop, strict=True))
    return nz, nx, ny


def as_index(start: Sequence[int]) -> IntArray:
    """First voxel of a brick as int64 array for the kernels."""
    return np.asarray(start, np.int64)

"""From images to a brick: every voxel gathers what its rays saw. No two voxels share memory.

Cost of the single-axis forms: per voxel and tilt one or two loads from an image row and one
update of the brick row, all contiguous and vectorised; index arithmetic once per row. They go
through tiles of 16 columns by 16 tilts, layer by layer: what a tile reads of the images in one
layer it reads again, moved by less than a column, in the next, so it stays in the cache. Measured
on one core, 128 x 256 x 400 voxels and 61 tilts: votes 28 instead of 9 G updates/s without tiles,
linear 8 instead of 3. Each voxel still gets its tilts in rising order. Views of rows are taken
after a ``continue``, not inside an ``if``: there numba keeps reference counts, and LLVM then gives
up vectorising (7 instead of 28).
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from tomodist.kernels.rules import footprint, neighbours, position

UInt8Array = npt.NDArray[np.uint8]
VotesArray = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

TILE = 16


@njit(nogil=True, cache=True)
def votes_rows(
    images: UInt8Array,
    origin: Int64Array,
    matrices: Float64Array,
    half: Float64Array,
    start: Int64Array,
    votes: VotesArray,
) -> None:
    """Add one vote per tilt that shows 1 in the voxel's footprint; single-axis geometry.

    Parameters
    ----------
    images : ndarray, shape (n_tilts, n_columns, ny), uint8
        0 or 1; row k belongs to brick row k.
    origin : ndarray, shape (n_tilts, 2), int64
        Image pixel (row, column) of each window's first element.
    matrices : ndarray, shape (n_tilts, 2, 4), float64
        Voxel-to-pixel matrices of the whole volume.
    half : ndarray, shape (n_tilts, 2), float64
        Half the footprint (rows, columns), in pixels.
    start : ndarray, shape (3,), int64
        Volume index (z, y, x) of the brick's first voxel.
    votes : ndarray, shape (nz, nx, ny), uint8 or uint16
        Added to in place.
    """
    n_tilts, n_columns = images.shape[:2]
    for i0 in range(0, votes.shape[1], TILE):
        for t0 in range(0, n_tilts, TILE):
            for k in range(votes.shape[0]):
                for t in range(t0, min(t0 + TILE, n_tilts)):
                    for i in range(i0, min(i0 + TILE, votes.shape[1])):
                        u = position(matrices[t, 1], start[0] + k, 0.0, start[2] + i)
                        low, high = footprint(u, half[t, 1], origin[t, 1], n_columns)
                        if high <= low:
                            continue
                        row, left, right = votes[k, i], images[t, low], images[t, high - 1]
                        for j in range(row.size):
                            row[j] += left[j] | right[j]


@njit(nogil=True, cache=True)
def votes_any(
    images: UInt8Array,
    origin: Int64Array,
    matrices: Float64Array,
    half: Float64Array,
    start: Int64Array,
    votes: VotesArray,
) -> None:
    """As `votes_rows`, for any geometry: the footprint is a rectangle of rows and columns."""
    for k in range(votes.shape[0]):
        for t in range(images.shape[0]):
            for i in range(votes.shape[1]):
                for j in range(votes.shape[2]):
                    z, y, x = start[0] + k, start[1] + j, start[2] + i
                    u = position(matrices[t, 1], z, y, x)
                    v = position(matrices[t, 0], z, y, x)
                    left, right = footprint(u, half[t, 1], origin[t, 1], images.shape[1])
                    low, high = footprint(v, half[t, 0], origin[t, 0], images.shape[2])
                    if left < right and low < high:
                        votes[k, i, j] += _any_of(images[t], left, right, low, high)


@njit(inline="always")
def _any_of(image, left, right, low, high):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """OR of a rectangle; its corners are all of it up to 2 x 2 pixels, the usual case."""
    seen = image[left, low] | image[left, high - 1]
    seen |= image[right - 1, low] | image[right - 1, high - 1]
    if right - left > 2 or high - low > 2:
        for c in range(left, right):
            for r in range(low, high):
                seen |= image[c, r]
    return seen


@njit(nogil=True, cache=True)
def linear_rows(
    images: Float32Array,
    origin: Int64Array,
    matrices: Float64Array,
    weights: Float32Array,
    start: Int64Array,
    total: Float32Array,
) -> None:
    """Add the weighted, linearly interpolated image values; single-axis geometry.

    Parameters
    ----------
    images : ndarray, shape (n_tilts, n_columns, ny), float32
        Finite values; row k belongs to brick row k.
    origin, matrices, start
        As for `votes_rows`.
    weights : ndarray, shape (n_tilts,), float32
        Weight of each tilt.
    total : ndarray, shape (nz, nx, ny), float32
        Added to in place.
    """
    n_tilts, n_columns = images.shape[:2]
    for i0 in range(0, total.shape[1], TILE):
        for t0 in range(0, n_tilts, TILE):
            for k in range(total.shape[0]):
                for t in range(t0, min(t0 + TILE, n_tilts)):
                    for i in range(i0, min(i0 + TILE, total.shape[1])):
                        u = position(matrices[t, 1], start[0] + k, 0.0, start[2] + i)
                        c, first, second = neighbours(u, origin[t, 1], n_columns)
                        if first == 0.0 and second == 0.0:
                            continue
                        near, far = np.float32(first) * weights[t], np.float32(second) * weights[t]
                        row = total[k, i]  # a missing neighbour has weight 0
                        left, right = images[t, max(c, 0)], images[t, min(c + 1, n_columns - 1)]
                        for j in range(row.size):
                            row[j] += near * left[j] + far * right[j]


@njit(nogil=True, cache=True)
def linear_any(
    images: Float32Array,
    origin: Int64Array,
    matrices: Float64Array,
    weights: Float32Array,
    start: Int64Array,
    total: Float32Array,
) -> None:
    """As `linear_rows`, for any geometry: bilinear interpolation."""
    for k in range(total.shape[0]):
        for t in range(images.shape[0]):
            for i in range(total.shape[1]):
                for j in range(total.shape[2]):
                    z, y, x = start[0] + k, start[1] + j, start[2] + i
                    u = position(matrices[t, 1], z, y, x)
                    v = position(matrices[t, 0], z, y, x)
                    c, left, right = neighbours(u, origin[t, 1], images.shape[1])
                    r, low, high = neighbours(v, origin[t, 0], images.shape[2])
                    value = np.float32(0.0)
                    for dc, column in ((0, left), (1, right)):
                        for dr, row in ((0, low), (1, high)):
                            if column != 0.0 and row != 0.0:
                                value += np.float32(column * row) * images[t, c + dc, r + dr]
                    total[k, i, j] += weights[t] * value

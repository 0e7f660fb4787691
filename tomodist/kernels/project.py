"""From a brick to images: the transposes of `tomodist.kernels.backproject`, by the same rules.

``max_*`` is the transpose of the votes under OR: applied to 0/1 it is the binary forward
projection, and to votes M it gives maxFP(M) with FP(1(M > T)) = 1(maxFP(M) > T) for every T.
``sum_*`` is the adjoint of the linear backprojection. One thread owns the images it writes.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from tomodist.kernels.rules import footprint, neighbours, position

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
AnyArray = npt.NDArray[np.generic]


@njit(nogil=True, cache=True)
def max_rows(
    brick: AnyArray,
    start: Int64Array,
    matrices: Float64Array,
    half: Float64Array,
    origin: Int64Array,
    images: AnyArray,
) -> None:
    """Raise every pixel to the largest voxel whose footprint holds it; single-axis geometry.

    Parameters
    ----------
    brick : ndarray, shape (nz, nx, ny)
        Row k belongs to image row k of every window.
    start : ndarray, shape (3,), int64
        Volume index (z, y, x) of the brick's first voxel.
    matrices : ndarray, shape (n_tilts, 2, 4), float64
        Voxel-to-pixel matrices of the whole volume.
    half : ndarray, shape (n_tilts, 2), float64
        Half the footprint (rows, columns), in pixels.
    origin : ndarray, shape (n_tilts, 2), int64
        Image pixel (row, column) of each window's first element.
    images : ndarray, shape (n_tilts, n_columns, ny)
        Raised in place; a value below every voxel's marks pixels whose ray misses the volume.
    """
    for t in range(images.shape[0]):
        for k in range(brick.shape[0]):
            for i in range(brick.shape[1]):
                u = position(matrices[t, 1], start[0] + k, 0.0, start[2] + i)
                left, right = footprint(u, half[t, 1], origin[t, 1], images.shape[1])
                row = brick[k, i]
                for c in range(left, right):
                    image = images[t, c]
                    for j in range(row.size):
                        image[j] = max(image[j], row[j])


@njit(nogil=True, cache=True)
def max_any(
    brick: AnyArray,
    start: Int64Array,
    matrices: Float64Array,
    half: Float64Array,
    origin: Int64Array,
    images: AnyArray,
) -> None:
    """As `max_rows`, for any geometry."""
    for t in range(images.shape[0]):
        for k in range(brick.shape[0]):
            for i in range(brick.shape[1]):
                for j in range(brick.shape[2]):
                    z, y, x = start[0] + k, start[1] + j, start[2] + i
                    u = position(matrices[t, 1], z, y, x)
                    v = position(matrices[t, 0], z, y, x)
                    left, right = footprint(u, half[t, 1], origin[t, 1], images.shape[1])
                    low, high = footprint(v, half[t, 0], origin[t, 0], images.shape[2])
                    for c in range(left, right):
                        for r in range(low, high):
                            images[t, c, r] = max(images[t, c, r], brick[k, i, j])


@njit(nogil=True, cache=True)
def sum_rows(
    brick: Float32Array,
    start: Int64Array,
    matrices: Float64Array,
    weights: Float32Array,
    origin: Int64Array,
    images: Float32Array,
) -> None:
    """Add every voxel to the pixels beside its centre; the adjoint of `linear_rows`.

    Parameters
    ----------
    brick, start, matrices, origin
        As for `max_rows`, float32.
    weights : ndarray, shape (n_tilts,), float32
        Weight of each tilt.
    images : ndarray, shape (n_tilts, n_columns, ny), float32
        Added to in place.
    """
    for t in range(images.shape[0]):
        for k in range(brick.shape[0]):
            for i in range(brick.shape[1]):
                u = position(matrices[t, 1], start[0] + k, 0.0, start[2] + i)
                c, first, second = neighbours(u, origin[t, 1], images.shape[1])
                row = brick[k, i]
                for side in range(2):
                    weight = second if side else first
                    if weight == 0.0:
                        continue
                    image, factor = images[t, c + side], np.float32(weight) * weights[t]
                    for j in range(row.size):
                        image[j] += factor * row[j]


@njit(nogil=True, cache=True)
def sum_any(
    brick: Float32Array,
    start: Int64Array,
    matrices: Float64Array,
    weights: Float32Array,
    origin: Int64Array,
    images: Float32Array,
) -> None:
    """As `sum_rows`, for any geometry: the adjoint of `linear_any`."""
    for t in range(images.shape[0]):
        for k in range(brick.shape[0]):
            for i in range(brick.shape[1]):
                for j in range(brick.shape[2]):
                    z, y, x = start[0] + k, start[1] + j, start[2] + i
                    u = position(matrices[t, 1], z, y, x)
                    v = position(matrices[t, 0], z, y, x)
                    c, left, right = neighbours(u, origin[t, 1], images.shape[1])
                    r, low, high = neighbours(v, origin[t, 0], images.shape[2])
                    for dc, column in ((0, left), (1, right)):
                        for dr, row in ((0, low), (1, high)):
                            if column != 0.0 and row != 0.0:
                                weight = np.float32(column * row) * weights[t]
                                images[t, c + dc, r + dr] += weight * brick[k, i, j]

"""From a brick to images: the transposes of the backprojections, by the same rules.

``max_*`` is the transpose of the votes under OR: applied to 0/1 it is the binary forward
projection, and to votes M it gives maxFP(M) with FP(1(M > T)) = 1(maxFP(M) > T) for every T.
``sum_*`` is the adjoint of the linear backprojection. One thread owns the images it writes.

The single-axis forms gather too. In a layer, the voxels that touch a column of pixels lie side by
side; so per tile of the brick and tilt, two counts per column and layer (of the voxels whose
footprints begin, and end, at or before it) give the voxels that touch each column, and their rows
go into the column's row eight at a time. Scattering, which reads and writes an image row for every
voxel and pixel, reached 15 to 30 (max) and 4 (sum) G updates/s; this reaches 37 and 9.
"""

import numpy as np
from numba import njit

from tomodist.kernels.rows import add_rows, raise_to_rows
from tomodist.kernels.rules import footprint, neighbours, position
from tomodist.values.arrays import AnyArray, Float32Array, FloatArray, IntArray

LAYERS, COLUMNS = 8, 64  # of a tile


@njit(nogil=True, cache=True)
def max_rows(
    brick: AnyArray,
    start: IntArray,
    matrices: FloatArray,
    half: FloatArray,
    origin: IntArray,
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
    nz, nx, ny = brick.shape
    rows = brick.reshape(nz * nx, ny)
    n_columns = images.shape[1]
    low, high = np.zeros((LAYERS, COLUMNS), np.int64), np.zeros((LAYERS, COLUMNS), np.int64)
    counts = np.zeros((2, n_columns + 1, LAYERS), np.int32)
    voxels = np.zeros(LAYERS * COLUMNS + 8, np.uint64)
    index = np.zeros_like(voxels)
    for i0 in range(0, nx, COLUMNS):
        for k0 in range(0, nz, LAYERS):
            tile = (min(LAYERS, nz - k0), min(COLUMNS, nx - i0))
            for t in range(images.shape[0]):
                reverse = matrices[t, 1, 2] < 0
                for k in range(tile[0]):
                    z, x = start[0] + k0 + k, start[2] + i0
                    _footprints(
                        matrices[t, 1], half[t, 1], z, x, origin[t, 1], n_columns, low[k], high[k]
                    )
                first, last = _count(low, high, tile, counts)
                here = np.zeros((2, LAYERS), np.int32)
                for c in range(first, last):
                    n = _touching(
                        counts[:, c], here, tile, reverse, k0 * nx + i0, nx, voxels, index
                    )
                    index[n : n + 8] = index[0]
                    for q in range(0, n, 8):
                        raise_to_rows(images[t, c], rows, index[q : q + 8])
                counts[:, last] = 0


@njit(nogil=True, cache=True)
def _footprints(matrix, half, z, x, origin, n_columns, low, high):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Ends of the footprints of a layer of a tile."""
    for i in range(COLUMNS):
        begin, end = footprint(position(matrix, z, 0.0, x + i), half, origin, n_columns)
        low[i], high[i] = min(begin, n_columns), max(end, 0)


@njit(nogil=True, cache=True)
def _shares(matrix, z, x, origin, n_columns, weight, below, low, high, near, far):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """The two pixels that share each voxel of a layer of a tile, and what each gets."""
    for i in range(COLUMNS):
        pixel, first, second = neighbours(position(matrix, z, 0.0, x + i), origin, n_columns)
        below[i] = pixel
        low[i], high[i] = min(max(pixel, 0), n_columns), min(max(pixel + 2, 0), n_columns)
        near[i], far[i] = np.float32(first) * weight, np.float32(second) * weight


@njit(nogil=True, cache=True)
def _count(low, high, tile, counts):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Count, per column and layer, the footprints that begin and that end there.

    Returns the range of columns that the tile touches.
    """
    layers, columns = tile
    first, last = counts.shape[1] - 1, 0
    for k in range(layers):
        for i in range(columns):
            counts[0, low[k, i], k] += 1
            counts[1, high[k, i], k] += 1
        # Columns of pixels grow or fall with x, so the ends of a layer are its extremes.
        first = min(first, low[k, 0], low[k, columns - 1])
        last = max(last, high[k, 0], high[k, columns - 1])
    return first, last


@njit(nogil=True, cache=True)
def _touching(counts, here, tile, reverse, corner, nx, voxels, rows):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Voxels of a tile that touch the next column of pixels; returns how many.

    ``here`` holds, per layer, how many footprints have begun and how many have ended; between
    them lie those that touch. ``counts`` is added to it, and cleared for the next tilt. Where x
    runs against the columns (``reverse``), the first footprint is that of the last voxel.
    ``voxels`` gets the voxel's place in the tile (layer * COLUMNS + column), ``rows`` its row in
    the brick, in which the tile's first voxel is row ``corner``.
    """
    n = 0
    for k in range(LAYERS):
        # begun - ended = footprints that touch this column:
        #   voxel     0    1    2    3    4
        #             ended=2   begun=4            -> voxels 2 and 3 touch it
        here[0, k] += counts[0, k]
        here[1, k] += counts[1, k]
        counts[0, k] = counts[1, k] = 0
    for k in range(tile[0]):
        for i in range(here[1, k], here[0, k]):
            column = tile[1] - 1 - i if reverse else i
            voxels[np.uint64(n)] = k * COLUMNS + column
            rows[np.uint64(n)] = corner + k * nx + column
            n += 1
    return n


@njit(nogil=True, cache=True)
def max_any(
    brick: AnyArray,
    start: IntArray,
    matrices: FloatArray,
    half: FloatArray,
    origin: IntArray,
    images: AnyArray,
) -> None:
    """Maximum projection as in `max_rows`, for any geometry.

    Parameters as for `max_rows`; rows of the brick may project to any rows of the images.
    """
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
    start: IntArray,
    matrices: FloatArray,
    weights: Float32Array,
    origin: IntArray,
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
    nz, nx, ny = brick.shape
    rows = brick.reshape(nz * nx, ny)
    n_columns = images.shape[1]
    below = np.zeros((LAYERS, COLUMNS), np.int64)
    low, high = np.zeros_like(below), np.zeros_like(below)
    near, far = np.zeros(low.shape, np.float32), np.zeros(low.shape, np.float32)
    counts = np.zeros((2, n_columns + 1, LAYERS), np.int32)
    voxels = np.zeros(LAYERS * COLUMNS + 8, np.uint64)
    index = np.zeros_like(voxels)
    factor = np.zeros(LAYERS * COLUMNS + 8, np.float32)
    for i0 in range(0, nx, COLUMNS):
        for k0 in range(0, nz, LAYERS):
            tile = (min(LAYERS, nz - k0), min(COLUMNS, nx - i0))
            for t in range(images.shape[0]):
                reverse = matrices[t, 1, 2] < 0
                for k in range(tile[0]):
                    z, x = start[0] + k0 + k, start[2] + i0
                    _shares(
                        matrices[t, 1], z, x, origin[t, 1], n_columns, weights[t],
                        below[k], low[k], high[k], near[k], far[k],
                    )  # fmt: skip
                first, last = _count(low, high, tile, counts)
                here = np.zeros((2, LAYERS), np.int32)
                for c in range(first, last):
                    n_touching = _touching(
                        counts[:, c], here, tile, reverse, k0 * nx + i0, nx, voxels, index
                    )
                    n = 0
                    for q in range(n_touching):  # a weight of 0 drops out, lest it meets a NaN
                        k, i = voxels[q] // COLUMNS, voxels[q] % COLUMNS
                        share = far[k, i] if below[k, i] < c else near[k, i]
                        index[n], factor[n] = index[q], share
                        n += share != 0
                    # The last group of eight is filled with weight 0.
                    factor[n : n + 8] = 0
                    index[n : n + 8] = index[0]
                    for q in range(0, n, 8):
                        add_rows(images[t, c], rows, index[q : q + 8], factor[q : q + 8])
                counts[:, last] = 0


@njit(nogil=True, cache=True)
def sum_any(
    brick: Float32Array,
    start: IntArray,
    matrices: FloatArray,
    weights: Float32Array,
    origin: IntArray,
    images: Float32Array,
) -> None:
    """Sum projection as in `sum_rows`, for any geometry: the adjoint of `linear_any`.

    Parameters as for `sum_rows`; rows of the brick may project to any rows of the images.
    """
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

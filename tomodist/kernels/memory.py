"""Memory as vector instructions want it: rows that start on a cache line, and a quick transpose.

NumPy aligns to 16 bytes, so every load of 64 bytes touches two cache lines. Aligned arrays brought
linear backprojection from 13.0 to 16.5, and the maximum projection from 39 to 49 G updates/s.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from numba import njit

from tomodist.values.arrays import AnyArray

LINE = 64  # bytes
_COLUMNS = 8  # rows that a pass of the transpose reads side by side


def aligned_zeros(shape: Sequence[int], dtype: npt.DTypeLike) -> AnyArray:
    """Array of zeros whose first element lies on a cache line.

    Parameters
    ----------
    shape : sequence of int
        Shape.
    dtype : dtype
        Type.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> aligned_zeros((3, 64), "f4").ctypes.data % 64
    0
    """
    n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.zeros(n_bytes + LINE, np.uint8)
    # Bytes from the start of the allocation to the next cache line.
    first = -memory.ctypes.data % LINE
    return memory[first : first + n_bytes].view(dtype).reshape(shape)


def swapped(brick: AnyArray) -> AnyArray:
    """Copy with the last two axes exchanged: from (z, x, y) to (z, y, x), or back.

    Twice to four times as fast as NumPy (2.8 G elements/s): eight rows are read side by side, so
    that what is written fills a cache line sooner.

    Parameters
    ----------
    brick : ndarray, shape (n, n_rows, n_columns)
        C order.

    Returns
    -------
    ndarray, shape (n, n_columns, n_rows)
    """
    out = aligned_zeros((brick.shape[0], brick.shape[2], brick.shape[1]), brick.dtype)
    swap_into(np.ascontiguousarray(brick), out)
    return out


@njit(nogil=True, cache=True)
def swap_into(brick: AnyArray, out: AnyArray) -> None:
    """Exchange the last two axes, writing into an existing array or a part of one.

    Parameters
    ----------
    brick : ndarray, shape (n, n_rows, n_columns)
        The values.
    out : ndarray, shape (n, n_columns, n_rows)
        Set in place; any type that holds them.
    """
    n = brick.shape[1] - brick.shape[1] % _COLUMNS
    for k in range(brick.shape[0]):
        layer = brick[k]
        for i in range(0, n, _COLUMNS):
            for j in range(brick.shape[2]):
                a, b, c, d = layer[i, j], layer[i + 1, j], layer[i + 2, j], layer[i + 3, j]
                e, f, g, h = layer[i + 4, j], layer[i + 5, j], layer[i + 6, j], layer[i + 7, j]
                row = out[k, j]
                row[i], row[i + 1], row[i + 2], row[i + 3] = a, b, c, d
                row[i + 4], row[i + 5], row[i + 6], row[i + 7] = e, f, g, h
        for j in range(brick.shape[2]):
            for i in range(n, brick.shape[1]):
                out[k, j, i] = layer[i, j]

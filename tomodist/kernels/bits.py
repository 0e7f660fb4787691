"""Bit rows: 64 voxels of a row, side by side along y, in one word.

A binary map takes one bit per pixel, and one instruction handles hundreds of voxels:

    word w of a row    y = 64 w + 63 ... 64 w + 1, 64 w        bit y % 64 of word y // 64

The *marks* of a tile say which tilts mark which voxels of some columns of one layer. They are
gathered here from the maps, refined in `tomodist.kernels.edges`, and counted here: a carry-save
adder takes eight tilts at a time into *bit planes* (plane p holds bit p of every sum), and the
planes become numbers once, at the end, so a voxel of the brick is written once and never read.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from tomodist.kernels.rules import footprint, position
from tomodist.values.arrays import BoolArray, FloatArray, IntArray, UInt8Array

Int32Array = npt.NDArray[np.int32]
UInt64Array = npt.NDArray[np.uint64]
VotesArray = UInt8Array | npt.NDArray[np.uint16]
BlockArray = npt.NDArray[np.void]

WORDS = 4
BLOCK_ROWS = 64 * WORDS
# A record, because numba copies one by a memcpy of known size; LLVM does not vectorise a loop over
# four words (gathering marks: 90 instead of 260 G updates/s).
BLOCK = np.dtype([("words", np.uint64, (WORDS,))])

ZERO, ONE, ALL = np.uint64(0), np.uint64(1), ~np.uint64(0)


@njit(inline="always")
def words_of(n_rows):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Words of a row of voxels; whole blocks."""
    return -(-n_rows // BLOCK_ROWS) * WORDS


def pack_rows(mask: BoolArray, blocks: BlockArray) -> None:
    """Pack a map into bit rows, alone and joined with its right neighbour.

    A footprint of the single-axis case is one or two columns wide, so every footprint is one row
    of `blocks`.

    Parameters
    ----------
    mask : ndarray, shape (n_rows, n_columns), bool
        Rows of the brick; n_rows a multiple of 256.
    blocks : ndarray, shape (2, n_columns + 1, n_rows // 256), BLOCK
        Set in place: columns, then columns ORed with the next one; column n_columns stays empty.
    """
    # packbits puts row 0 into bit 0 (little); eight bytes are one word of 64 rows.
    words = np.ascontiguousarray(np.packbits(mask, axis=0, bitorder="little").T).view(np.uint64)
    single, double = blocks["words"].reshape(2, blocks.shape[1], -1)
    single[:-1] = words
    double[:-1] = words
    # A footprint of two columns marks a voxel if either pixel is marked.
    double[:-2] |= words[1:]


def count_table(mask: BoolArray, table: Int32Array) -> None:
    """Summed-area table: the number of 1 pixels in any rectangle is a sum of four of its entries.

    Parameters
    ----------
    mask : ndarray, shape (n_rows, n_columns), bool
        The map.
    table : ndarray, shape (n_columns + 1, n_rows + 1), int32
        Set in place: ``table[c, r]`` counts the pixels left of column c and above row r.
    """
    # table[c, r] = number of marks left of column c and above row r; row and column 0 stay 0.
    np.cumsum(mask.T, axis=0, dtype=np.int32, out=table[1:, 1:])
    np.cumsum(table[1:, 1:], axis=1, out=table[1:, 1:])


@njit(nogil=True, cache=True)
def mark_rows(
    blocks: BlockArray,
    origin: IntArray,
    matrices: FloatArray,
    half: FloatArray,
    z: int,
    x: int,
    marks: BlockArray,
    index: UInt64Array,
) -> None:
    """Marks of one layer of a tile, by copying bit rows; single-axis geometry.

    Parameters
    ----------
    blocks : ndarray, shape (n_tilts, 2, n_columns + 1, n_blocks), BLOCK
        Maps, from `pack_rows`.
    origin, matrices, half
        As for `tomodist.kernels.votes.votes_rows`.
    z, x : int
        Volume index of the tile's layer and first column.
    marks : ndarray, shape (at least n_tilts, n_tile, n_blocks), BLOCK
        Set in place.
    index : ndarray, shape (n_tile,), uint64
        Room for the places of a row of voxels.
    """
    n_tilts, _, n_columns, n_blocks = blocks.shape
    for t in range(n_tilts):
        rows, out = blocks[t].reshape(-1), marks[t].reshape(-1)
        matrix, reach, first = matrices[t, 1], half[t, 1], origin[t, 1]
        for i in range(index.size):
            u = position(matrix, z, 0.0, x + i)
            low, high = footprint(u, reach, first, n_columns - 1)
            # One column: the single rows; two columns: the joined ones, n_columns further on.
            pair = n_columns if high - low > 1 else 0
            # An empty footprint takes the last single row, which is always empty.
            index[i] = np.uint64((low + pair if high > low else n_columns - 1) * n_blocks)
        for i in range(np.uint64(index.size)):
            for b in range(np.uint64(n_blocks)):
                out[i * np.uint64(n_blocks) + b] = rows[index[i] + b]


@njit(nogil=True, cache=True)
def mark_any(
    tables: Int32Array,
    origin: IntArray,
    matrices: FloatArray,
    half: FloatArray,
    start: IntArray,
    k: int,
    i: int,
    words: UInt64Array,
) -> None:
    """Marks of one row of voxels, of any geometry, by counting the pixels of each footprint.

    Parameters
    ----------
    tables : ndarray, shape (n_tilts, n_columns + 1, n_rows + 1), int32
        Maps, from `count_table`.
    origin, matrices, half, start
        As for `tomodist.kernels.votes.votes_rows`.
    k, i : int
        Layer and column in the brick.
    words : ndarray, shape (at least n_tilts, n_words), uint64
        Set in place.
    """
    n_tilts, n_columns, n_rows = tables.shape[0], tables.shape[1] - 1, tables.shape[2] - 1
    z, x = start[0] + k, start[2] + i
    corners = np.empty((4, 64), np.int64)
    hits = np.empty(64, np.uint64)
    for t in range(n_tilts):
        table, across, along = tables[t].reshape(-1), matrices[t, 1], matrices[t, 0]
        for w in range(words.shape[1]):
            y = start[1] + 64 * w
            _corners(across, half[t, 1], origin[t, 1], n_columns, z, y, x, corners[0], corners[1])
            _corners(along, half[t, 0], origin[t, 0], n_rows, z, y, x, corners[2], corners[3])
            _look_up(table, n_rows + 1, corners, hits)
            words[t, w] = _joined(hits)


@njit(nogil=True, cache=True)
def _corners(matrix, half, origin, size, z, y, x, low, high):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Ends of the footprints of 64 voxels along one image axis."""
    for j in range(64):
        first, end = footprint(position(matrix, z, y + j, x), half, origin, size)
        low[j], high[j] = min(first, size), max(end, 0)


@njit(nogil=True, cache=True)
def _look_up(table, n_rows, corners, hits):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Whether each of 64 rectangles holds any pixel."""
    left, right, low, high = corners[0], corners[1], corners[2], corners[3]
    for j in range(64):
        a, b, c, d = left[j] * n_rows, right[j] * n_rows, low[j], high[j]
        # Marks in the rectangle: T[b, d] - T[a, d] - T[b, c] + T[a, c]; only whether it is 0
        # counts.
        n = table[np.uint64(b + d)] - table[np.uint64(a + d)]
        hits[j] = n != table[np.uint64(b + c)] - table[np.uint64(a + c)]


@njit(nogil=True, cache=True)
def _joined(hits):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """64 bits, one per element, as one word."""
    word = ZERO
    for j in range(64):
        word |= np.uint64(hits[j]) << np.uint64(j)
    return word


@njit(nogil=True, cache=True)
def count(marks: UInt64Array, planes: UInt64Array, carry: UInt64Array) -> None:
    """Number of tilts that mark each voxel, as bit planes.

    Parameters
    ----------
    marks : ndarray, shape (n_tilts, n_words), uint64
        n_tilts a multiple of 8; rows of zeros count nothing.
    planes : ndarray, shape (at least 3, n_words), uint64
        Set in place; planes enough for n_tilts.
    carry : ndarray, shape (n_words,), uint64
        Room for what is carried over.
    """
    planes[:] = 0
    for t in range(0, marks.shape[0], 8):
        _add_eight(
            marks[t], marks[t + 1], marks[t + 2], marks[t + 3],
            marks[t + 4], marks[t + 5], marks[t + 6], marks[t + 7],
            planes[0], planes[1], planes[2], carry,
        )  # fmt: skip
        for p in range(3, planes.shape[0]):
            plane = planes[p]
            for j in range(carry.size):
                # Half adder: what overflows plane p is carried into plane p + 1.
                both = plane[j] & carry[j]
                plane[j] ^= carry[j]
                carry[j] = both


@njit(inline="always")
def _add_bits(a, b, c):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Full adder: the sum of three bits is ``sum + 2 carry``."""
    half = a ^ b
    return half ^ c, (a & b) | (half & c)


@njit(nogil=True, cache=True)
def _add_eight(a, b, c, d, e, f, g, h, ones, twos, fours, carry):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Add eight rows of bits to three planes; what they cannot hold is carried."""
    for j in range(a.size):
        one, t1 = _add_bits(ones[j], a[j], b[j])
        one, t2 = _add_bits(one, c[j], d[j])
        one, t3 = _add_bits(one, e[j], f[j])
        one, t4 = _add_bits(one, g[j], h[j])
        two, f1 = _add_bits(twos[j], t1, t2)
        two, f2 = _add_bits(two, t3, t4)
        four, eight = _add_bits(fours[j], f1, f2)
        ones[j], twos[j], fours[j], carry[j] = one, two, four, eight


@njit(nogil=True, cache=True)
def widen(planes: UInt64Array, first: int, votes: VotesArray) -> None:
    """Bit planes of a row of voxels to numbers.

    Parameters
    ----------
    planes : ndarray, shape (n_planes, n_words), uint64
        n_planes a multiple of 8.
    first : int
        The row's first word.
    votes : ndarray, shape (ny,), uint8 or uint16
        Set in place.
    """
    for w in range(-(-votes.size // 64)):
        out = votes[64 * w : 64 * w + 64]
        for p in range(0, planes.shape[0], 8):
            for j in range(out.size):
                number = ZERO
                for q in range(8):
                    number |= ((planes[p + q, first + w] >> np.uint64(j)) & ONE) << np.uint64(q)
                # Eight planes give one byte; further planes of uint16 votes are added, shifted.
                out[j] = number if p == 0 else out[j] + (number << np.uint64(p))

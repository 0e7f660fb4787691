"""Votes: the number of tilts that mark each voxel, after any rounds of refinement.

Algorithm 1's votes are Algorithm 2's without a round. A brick is computed tile by tile, a tile
being one layer of some columns:

    maps --mark--> marks (tilt, column, word) --refine, m times--> marks --count--> planes --> votes

Cost per voxel and tilt, in the single-axis case: copying one bit and half a dozen logic operations
on one bit. Measured on one core (Zen 5; 64 x 512 x 512 voxels, 61 tilts): gathering 260, counting
300, widening to bytes 280, together 82 G updates/s; adding bytes reached 28 to 40. In any other
geometry four loads per voxel and tilt bound it.
"""

import numpy as np
from numba import njit

from tomodist.kernels.bits import (
    BLOCK,
    BlockArray,
    Int32Array,
    UInt64Array,
    VotesArray,
    count,
    mark_any,
    mark_rows,
    widen,
    words_of,
)
from tomodist.kernels.edges import TILE_WORDS, Refinement, refine, refinement
from tomodist.kernels.memory import aligned_zeros
from tomodist.values.arrays import FloatArray, IntArray


def votes_rows(
    blocks: BlockArray,
    origin: IntArray,
    matrices: FloatArray,
    half: FloatArray,
    start: IntArray,
    votes: VotesArray,
    rule: Refinement | None = None,
) -> None:
    """Set every voxel to the number of tilts that mark it; single-axis geometry.

    Parameters
    ----------
    blocks : ndarray, shape (n_tilts, 2, n_columns + 1, n_blocks), BLOCK
        Maps, from `tomodist.kernels.bits.pack_rows`; row k belongs to brick row k.
    origin : ndarray, shape (n_tilts, 2), int64
        Image pixel (row, column) of each window's first element.
    matrices : ndarray, shape (n_tilts, 2, 4), float64
        Voxel-to-pixel matrices of the whole volume.
    half : ndarray, shape (n_tilts, 2), float64
        Half the footprint (rows, columns), in pixels.
    start : ndarray, shape (3,), int64
        Volume index (z, y, x) of the brick's first voxel.
    votes : ndarray, shape (nz, nx, ny), uint8 or uint16
        Set in place.
    rule : Refinement, optional
        How marks are refined; the tilts are then in order of angle.
    """
    at, room = (origin, matrices, half, start), _room(votes, len(matrices))
    marks = room[0].view(BLOCK).reshape(len(room[0]), -1, blocks.shape[3])
    _votes_rows(blocks, *at, *_constants(rule, len(matrices)), marks, *room, votes)


def votes_any(
    tables: Int32Array,
    origin: IntArray,
    matrices: FloatArray,
    half: FloatArray,
    start: IntArray,
    votes: VotesArray,
    rule: Refinement | None = None,
) -> None:
    """Set votes as `votes_rows`, for any geometry: the footprint is a rectangle of pixels.

    Parameters
    ----------
    tables : ndarray, shape (n_tilts, n_columns + 1, n_rows + 1), int32
        Maps, from `tomodist.kernels.bits.count_table`.
    origin, matrices, half, start, votes, rule
        As for `votes_rows`.
    """
    at, room = (origin, matrices, half, start), _room(votes, len(matrices), TILE_WORDS // 16)
    _votes_any(tables, *at, *_constants(rule, len(matrices)), *room, votes)


def _constants(
    rule: Refinement | None, n_tilts: int
) -> tuple[int, int, tuple[UInt64Array, ...], np.uint64]:
    rule = rule or refinement(n_tilts, 0, 1, 0, keep_own=True)
    return rule.radius, rule.rounds, rule.needed, np.uint64(rule.allowed)


def _room(
    votes: VotesArray, n_tilts: int, tile: int = TILE_WORDS
) -> tuple[UInt64Array, UInt64Array]:
    """Two sets of the marks of a tile; each has a tilt without marks, and a multiple of eight."""
    n_words = words_of(votes.shape[2])
    # One empty tilt for the ends of the range; eight at a time are added.
    n_marks = -(-(n_tilts + 1) // 8) * 8
    shape = (n_marks, max(1, tile // n_words) * n_words)
    return aligned_zeros(shape, np.uint64), aligned_zeros(shape, np.uint64)


@njit(nogil=True, cache=True)
def _votes_rows(  # type: ignore[no-untyped-def]  # noqa: ANN202
    blocks, origin, matrices, half, start, radius, rounds, needed, allowed,  # noqa: ANN001
    marks, words, other, votes,  # noqa: ANN001
):  # fmt: skip
    n_tile = marks.shape[1]
    index = np.zeros(n_tile, np.uint64)
    for i in range(0, votes.shape[1], n_tile):
        for k in range(votes.shape[0]):
            z, x = start[0] + k, start[2] + i
            mark_rows(blocks, origin, matrices, half, z, x, marks, index)
            columns = votes[k, i : i + n_tile]
            _count_tile(words, other, radius, rounds, needed, allowed, columns)


@njit(nogil=True, cache=True)
def _votes_any(  # type: ignore[no-untyped-def]  # noqa: ANN202
    tables, origin, matrices, half, start, radius, rounds, needed, allowed,  # noqa: ANN001
    words, other, votes,  # noqa: ANN001
):  # fmt: skip
    n_words = words_of(votes.shape[2])
    n_tile = words.shape[1] // n_words
    for i in range(0, votes.shape[1], n_tile):
        for k in range(votes.shape[0]):
            columns = votes[k, i : i + n_tile]
            for c in range(columns.shape[0]):
                row = words[:, c * n_words : (c + 1) * n_words]
                mark_any(tables, origin, matrices, half, start, k, i + c, row)
            _count_tile(words, other, radius, rounds, needed, allowed, columns)


@njit(nogil=True, cache=True)
def _count_tile(words, other, radius, rounds, needed, allowed, columns):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Refine the marks of a tile, count them, and write its columns."""
    n_words, n_tilts = words_of(columns.shape[1]), needed[0].size
    sums = np.empty(len(needed) * TILE_WORDS, np.uint64)
    planes = np.empty((8 * columns.itemsize, words.shape[1]), np.uint64)
    carry = np.empty(words.shape[1], np.uint64)
    before, after = words, other
    for _ in range(rounds):
        refine(before, after, sums, n_tilts, radius, needed, allowed)
        # The two sets of marks take turns as input and output.
        before, after = after, before
    count(before, planes, carry)
    for c in range(columns.shape[0]):
        widen(planes, c * n_words, columns[c])

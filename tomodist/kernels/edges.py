"""Algorithm 2: refinement between adjacent tilts, local to the voxel.

For one voxel the binary backprojections B_t of all tilts are a bit vector. One round replaces

    S_t = sum over |j| <= w of B_(t+j),        B_t <- [B_t and] (S_t >= k_t)

by shifts, carry-save additions and a comparison on bit planes: plane p of ``sums`` holds bit p of
all S_t at once. So no volume per tilt is ever kept, and 64 tilts cost as much as one.

    tilt      63 ... 2 1 0 | 127 ... 65 64 |      bit t % 64 of word t // 64, in order of angle
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from tomodist.kernels.rules import footprint, position

UInt8Array = npt.NDArray[np.uint8]
UInt64Array = npt.NDArray[np.uint64]
VotesArray = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]


@njit(nogil=True, cache=True)
def refined_votes(
    images: UInt8Array,
    origin: Int64Array,
    matrices: Float64Array,
    half: Float64Array,
    start: Int64Array,
    rows_only: bool,  # noqa: FBT001 -- numba passes by position
    radius: int,
    needed: UInt64Array,
    allowed: UInt64Array,
    rounds: int,
    votes: VotesArray,
) -> None:
    """Set every voxel to the number of tilts whose mark survives the rounds of refinement.

    Parameters
    ----------
    images : ndarray, shape (n_tilts, n_columns, n_rows), uint8
        0 or 1, in order of tilt angle.
    origin, matrices, half, start
        As for `tomodist.kernels.backproject.votes_rows`.
    rows_only : bool
        Single-axis geometry, where row k of every window is row k of the brick.
    radius : int
        w: how many tilts to either side are summed; below 64.
    needed : ndarray, shape (n_planes, n_words), uint64
        Bit planes of k_t.
    allowed : ndarray, shape (n_words,), uint64
        For voxels without a mark of their own: all tilts where a mark may appear, or none.
    rounds : int
        Number of rounds.
    votes : ndarray, shape (nz, nx, ny), uint8 or uint16
        Written in place.
    """
    n_planes, n_words = needed.shape
    bits = np.empty((n_words, votes.shape[2]), np.uint64)
    shifted = np.empty_like(bits)
    sums = np.empty((n_planes, n_words, votes.shape[2]), np.uint64)
    for k in range(votes.shape[0]):
        for i in range(votes.shape[1]):
            z, x = start[0] + k, start[2] + i
            bits[:] = 0
            if rows_only:
                _mark_row(images, origin, matrices, half, z, x, bits)
            else:
                _mark_any(images, origin, matrices, half, z, start[1], x, bits)
            for _ in range(rounds):
                _count_neighbours(bits, radius, shifted, sums)
                _keep_supported(sums, needed, allowed, bits)
            _count_bits(bits, votes[k, i])


@njit(nogil=True, cache=True)
def _mark_row(images, origin, matrices, half, z, x, bits):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Set bit t of every voxel of the row (z, ., x) that tilt t marks; single-axis geometry."""
    for t in range(images.shape[0]):
        u = position(matrices[t, 1], z, 0.0, x)
        left, right = footprint(u, half[t, 1], origin[t, 1], images.shape[1])
        word, bit = bits[t // 64], np.uint64(t % 64)
        for c in range(left, right):
            image = images[t, c]
            for j in range(word.size):
                word[j] |= np.uint64(image[j]) << bit


@njit(nogil=True, cache=True)
def _mark_any(images, origin, matrices, half, z, y0, x, bits):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """As `_mark_row`, for any geometry."""
    for t in range(images.shape[0]):
        word, bit = bits[t // 64], np.uint64(t % 64)
        for j in range(word.size):
            u = position(matrices[t, 1], z, y0 + j, x)
            v = position(matrices[t, 0], z, y0 + j, x)
            left, right = footprint(u, half[t, 1], origin[t, 1], images.shape[1])
            low, high = footprint(v, half[t, 0], origin[t, 0], images.shape[2])
            for c in range(left, right):
                for r in range(low, high):
                    word[j] |= np.uint64(images[t, c, r]) << bit


@njit(nogil=True, cache=True)
def _count_neighbours(bits, radius, shifted, sums):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Bit planes of S_t: the sum of the bit vector shifted by every j, with carries."""
    sums[:] = 0
    for offset in range(-radius, radius + 1):
        _shift(bits, offset, shifted)
        for p in range(sums.shape[0]):
            for w in range(sums.shape[1]):
                plane, carry = sums[p, w], shifted[w]
                for j in range(carry.size):
                    both = plane[j] & carry[j]
                    plane[j] ^= carry[j]
                    carry[j] = both


@njit(nogil=True, cache=True)
def _shift(bits, offset, shifted):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Bit t becomes bit t + offset of the vector; 0 beyond its ends."""
    n_words = bits.shape[0]
    by, rest = np.uint64(abs(offset)), np.uint64(64 - abs(offset))
    for w in range(n_words):
        here, out = bits[w], shifted[w]
        beside = w + (1 if offset > 0 else -1)
        if offset == 0:
            out[:] = here
        elif 0 <= beside < n_words:
            other = bits[beside]
            for j in range(out.size):
                if offset > 0:
                    out[j] = (here[j] >> by) | (other[j] << rest)
                else:
                    out[j] = (here[j] << by) | (other[j] >> rest)
        else:
            for j in range(out.size):
                out[j] = here[j] >> by if offset > 0 else here[j] << by


@njit(nogil=True, cache=True)
def _keep_supported(sums, needed, allowed, bits):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """B_t <- (B_t or allowed_t) and S_t >= k_t, comparing from the highest plane down."""
    zero = np.uint64(0)
    for w in range(bits.shape[0]):
        row = bits[w]
        for j in range(row.size):
            more, equal = zero, ~zero
            for p in range(sums.shape[0] - 1, -1, -1):
                more |= equal & sums[p, w, j] & ~needed[p, w]
                equal &= ~(sums[p, w, j] ^ needed[p, w])
            row[j] = (row[j] | allowed[w]) & (more | equal)


@njit(nogil=True, cache=True)
def _count_bits(bits, votes):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Number of 1 bits of every voxel of a row."""
    votes[:] = 0
    for w in range(bits.shape[0]):
        row = bits[w]
        for j in range(row.size):
            b = row[j]
            b = b - ((b >> np.uint64(1)) & np.uint64(0x5555555555555555))
            b = (b & np.uint64(0x3333333333333333)) + (
                (b >> np.uint64(2)) & np.uint64(0x3333333333333333)
            )
            b = (b + (b >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
            votes[j] += (b * np.uint64(0x0101010101010101)) >> np.uint64(56)


def support_planes(
    n_tilts: int, radius: int, support: int, *, keep_own: bool
) -> tuple[UInt64Array, UInt64Array]:
    """Constants of the refinement as bit vectors: `needed` and `allowed` of `refined_votes`.

    At the ends of the tilt range the window is shorter and k scales: k_t = ceil(k n_t / (2w + 1)),
    with n_t the number of tilts in the window of tilt t.

    Parameters
    ----------
    n_tilts : int
        Number of tilts.
    radius, support : int
        w and k.
    keep_own : bool
        Whether B_t itself must hold; otherwise support alone sets a mark.

    Returns
    -------
    tuple of ndarray, shapes (n_planes, n_words) and (n_words,), uint64

    Examples
    --------
    >>> needed, allowed = support_planes(5, radius=1, support=2, keep_own=True)
    >>> [f"{int(plane[0]):05b}" for plane in needed], int(allowed[0])
    (['00000', '11111'], 0)
    """
    n_words = -(-n_tilts // 64)
    n_planes = max(int(2 * radius + 1).bit_length(), int(support).bit_length())
    needed = np.zeros((n_planes, n_words), np.uint64)
    allowed = np.zeros(n_words, np.uint64)
    for t in range(n_tilts):
        window = min(t + radius, n_tilts - 1) - max(t - radius, 0) + 1
        k = -(-support * window // (2 * radius + 1))
        for p in range(n_planes):
            needed[p, t // 64] |= np.uint64(((k >> p) & 1) << (t % 64))
        if not keep_own:
            allowed[t // 64] |= np.uint64(1 << (t % 64))
    return needed, allowed

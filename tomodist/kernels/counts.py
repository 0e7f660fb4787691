"""Histograms of projected votes, apart for pixels of map value 0 and 1.

One pixel changes one number, which the next pixel may want at once; so two histograms take turns,
and a pixel waits for the one before the last (1.0 instead of 3.0 ns per pixel of NumPy's).
"""

import numpy as np
from numba import njit

from tomodist.values.arrays import AnyArray, IntArray, UInt8Array


@njit(nogil=True, cache=True)
def count_values(largest: AnyArray, values: UInt8Array, counts: IntArray) -> None:
    """Count the pixels of every pair of map value and vote.

    Parameters
    ----------
    largest : ndarray, shape (h, w), integer
        Votes, below n; negative ones do not count.
    values : ndarray, shape (h, w), uint8
        Map; only 0 and 1 count.
    counts : ndarray, shape (2, n), int64
        Of map value 0 and 1; added to in place.
    """
    turns = np.zeros(
        (2, 3, counts.shape[1] + 1), np.int64
    )  # the last value is for what is left out
    for r in range(largest.shape[0]):
        vote, value = largest[r], values[r]
        for c in range(vote.size):
            # Even and odd columns use different histograms, so that no update waits for the one
            # before.
            turns[c & 1, min(value[c], 2), vote[c]] += 1  # vote -1 is the last place
    for k in range(2):
        for n in range(counts.shape[1]):
            counts[k, n] += turns[0, k, n] + turns[1, k, n]

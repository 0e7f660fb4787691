"""Optimal one-to-one matching of which only the pairs that may match are ever held.

One rule: as many pairs as possible, and of these matchings the cheapest, as in a dense assignment
in which a forbidden pair is dearer than all allowed ones together. Every row may instead take a
column of its own at that price, so that a perfect matching always exists and scipy's sparse solver
(Jonker and Volgenant's) finds it: 50,000 x 50,000 objects with 80,000 candidate pairs in 2 seconds.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from scipy.spatial import KDTree

from tomodist.errors import InputError
from tomodist.values.arrays import FloatArray, IntArray

if TYPE_CHECKING:
    from tomodist.values.arrays import FloatArray

Pairs = tuple[IntArray, IntArray]  # rows of the one, rows of the other
_MOST = 10_000_000  # candidate pairs: 1 GB


def near_pairs(
    points_a: FloatArray, points_b: FloatArray, radius: float | FloatArray, *, norm: float = 2
) -> Pairs:
    """Pairs of points within a radius, and a little more than that.

    Parameters
    ----------
    points_a, points_b : ndarray, shape (n_a, ndim) and (n_b, ndim), float64
        In any one unit.
    radius : float or ndarray, shape (n_a,)
        Of every point of `points_a`.
    norm : float
        Which Minkowski distance.

    Returns
    -------
    tuple of ndarray, shape (n_pairs,), int64

    Raises
    ------
    InputError
        If there are too many to be held.
    """
    if not len(points_a) or not len(points_b):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    tree, wide = KDTree(points_b), np.asarray(radius) * (1 + 1e-9)
    numbers = np.asarray(tree.query_ball_point(points_a, wide, norm, return_length=True))
    if numbers.sum() > _MOST:
        raise InputError(
            f"{len(points_a)} and {len(points_b)} objects make {numbers.sum()} pairs that could "
            f"match, more than {_MOST}; use a smaller `distance`"
        )
    near = tree.query_ball_point(points_a, wide, norm)
    rows = np.repeat(np.arange(len(points_a)), numbers)
    columns = np.fromiter(itertools.chain.from_iterable(near), np.int64, len(rows))
    return rows, columns


def assign(pairs: Pairs, cost: FloatArray, n_rows: int, n_columns: int) -> IntArray:
    """Match rows with columns: as many as possible, then as cheaply as possible.

    Parameters
    ----------
    pairs : tuple of ndarray, shape (n_pairs,), int64
        Row and column of every pair that may match.
    cost : ndarray, shape (n_pairs,), float64
        0..1.
    n_rows, n_columns : int
        How many there are.

    Returns
    -------
    ndarray, shape (n_matched,), int64
        Which of the pairs, by row.

    Examples
    --------
    >>> pairs = np.array([0, 0, 1]), np.array([0, 1, 0])
    >>> assign(pairs, np.array([0.1, 0.9, 0.8]), 2, 2)
    array([1, 2])
    """
    rows, columns = pairs
    if not len(rows):
        return np.zeros(0, np.int64)
    every = np.arange(n_rows)
    # Allowed pairs cost 1 to 2; being alone costs more than other pairs could save.
    alone = np.full(n_rows, min(n_rows, n_columns) + 2.0)
    weights = np.concatenate([cost + 1.0, alone])  # a weight of 0 would be no pair
    # Columns n_columns + i are private to row i, so that a perfect matching exists.
    entries = np.concatenate([rows, every]), np.concatenate([columns, n_columns + every])
    table = csr_array((weights, entries), (n_rows, n_columns + n_rows))
    chosen = np.full(n_rows, -1)
    matched, partner = min_weight_full_bipartite_matching(table)
    chosen[matched] = partner
    kept = np.flatnonzero(chosen[rows] == columns)
    return kept[np.argsort(rows[kept])]

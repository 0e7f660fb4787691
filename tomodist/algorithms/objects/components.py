"""Connected components of a volume that is only ever seen brick by brick.

1. `label_brick` labels each brick by itself (face-connected voxels, as scipy.ndimage.label does);
2. `measure` sums up every local component, `touching` lists the pairs that meet across a face;
3. `merge` joins them into structures, numbered in the order of their first voxel (z, y, x), so
   that the numbers do not depend on the bricks.

Sums of integer scores are exact; only small tables leave a brick.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tomodist.values.arrays import AnyArray, FloatArray, IntArray

LabelArray = npt.NDArray[np.uint32]
Index = tuple[int, ...]


@dataclass(frozen=True)
class Measures:
    """One row per component.

    Parameters
    ----------
    first : ndarray, shape (n,), int64
        Flat index, in the whole volume, of the component's first voxel.
    n_voxels : ndarray, shape (n,), int64
        Size.
    low, high : ndarray, shape (n, 3), int64
        First and last voxel (z, y, x) of the bounding box.
    weight : ndarray, shape (n,), float64
        Sum of the scores.
    moment : ndarray, shape (n, 3), float64
        Sum of score times index (z, y, x).
    highest : ndarray, shape (n,), float64
        Largest score.
    n_sure : ndarray, shape (n,), int64
        Voxels that would stay at a threshold higher by some margin.
    """

    first: IntArray
    n_voxels: IntArray
    low: IntArray
    high: IntArray
    weight: FloatArray
    moment: FloatArray
    highest: FloatArray
    n_sure: IntArray

    def __len__(self) -> int:
        return len(self.first)

    def take(self, rows: npt.ArrayLike) -> Measures:
        """Selected rows."""
        return Measures(*(getattr(self, f.name)[rows] for f in fields(self)))

    @property
    def center(self) -> FloatArray:
        """Centre of mass of the scores, as index (z, y, x): shape (n, 3), float64."""
        return self.moment / self.weight[:, None]


def label_brick(scores: AnyArray, threshold: float) -> LabelArray:
    """Number the face-connected components of scores above a threshold, from 1.

    Parameters
    ----------
    scores : ndarray, shape (nz, ny, nx)
        Score brick; NaN is below any threshold.
    threshold : float
        A voxel is structure if its score exceeds this.

    Returns
    -------
    ndarray, shape (nz, ny, nx), uint32
    """
    labels = np.zeros(scores.shape, np.int32)
    ndimage.label(scores > threshold, output=labels)
    return labels.view(np.uint32)


def measure(
    labels: LabelArray,
    scores: AnyArray,
    start: Sequence[int],
    shape: Sequence[int],
    sure: npt.ArrayLike = np.inf,
    n: int | None = None,
) -> Measures:
    """Measure the local components of a brick.

    Parameters
    ----------
    labels : ndarray, shape (nz, ny, nx), uint32
        From `label_brick`.
    scores : ndarray, same shape
        The scores.
    start, shape : sequence of int
        First voxel of the brick, and shape of the whole volume.
    sure : float or ndarray, shape (n,)
        Scores above which voxels count as sure; of every component its own.
    n : int, optional
        Number of rows; by default the largest label.

    Returns
    -------
    Measures
        Row k is label k + 1.
    """
    rows = _no_rows(int(labels.max()) if n is None else n)
    limit = np.broadcast_to(np.asarray(sure, np.float64), len(rows))
    # Layer by layer: index arrays of a whole brick would take 40 bytes per labelled voxel.
    for k, (layer, values) in enumerate(zip(labels, scores, strict=True)):
        y, x = np.nonzero(layer)
        index = np.stack([np.full_like(y, k), y, x], axis=1) + np.asarray(start)
        score = values[y, x].astype(np.float64)
        group = layer[y, x].astype(np.int64) - 1
        flat = np.ravel_multi_index(tuple(index.T), tuple(shape))
        ones = np.ones(len(group), np.int64)
        moment = score[:, None] * index
        n_sure = (score > limit[group]).astype(np.int64)
        parts = Measures(flat, ones, index, index, score, moment, score, n_sure)
        _accumulate(rows, group, parts)
    return rows


def touching(face: LabelArray, beyond: LabelArray) -> IntArray:
    """Pairs of local labels that meet across a face between two bricks.

    Parameters
    ----------
    face, beyond : ndarray, same shape, uint32
        Last layer of one brick and first layer of the next.

    Returns
    -------
    ndarray, shape (n_pairs, 2), int64
        Unique pairs of labels (from 1).
    """
    both = (face > 0) & (beyond > 0)
    pairs = np.stack([face[both], beyond[both]], axis=1).astype(np.int64)
    return np.unique(pairs, axis=0)


def merge(
    measures: Mapping[Index, Measures],
    pairs: Mapping[tuple[Index, Index], IntArray],
) -> tuple[Measures, dict[Index, LabelArray]]:
    """Join local components into structures.

    Parameters
    ----------
    measures : mapping
        Of every brick, by its index.
    pairs : mapping
        From `touching`, by the indices of the two bricks.

    Returns
    -------
    structures : Measures
        One row per structure, in the order of their first voxel; row k has number k + 1.
    numbers : dict
        For every brick, the structure number of local label k at [k] (0 at [0]).
    """
    offsets, total = {}, 0
    for brick, rows in measures.items():
        offsets[brick] = total
        total += len(rows)
    # Local label k of a brick is node offset + k - 1 of one graph over all bricks; pairs that
    # touch are its edges, and its connected components are the structures.
    joined = [p - 1 + [offsets[a], offsets[b]] for (a, b), p in pairs.items() if len(p)]
    edges = np.concatenate([np.zeros((0, 2), np.int64), *joined])
    graph = coo_array((np.ones(len(edges), bool), (edges[:, 0], edges[:, 1])), (total, total))
    n, group = connected_components(graph, directed=False)
    structures, rank = _sort(_combine(list(measures.values()), group, n))
    number = (rank[group] + 1).astype(np.uint32)
    numbers = {
        brick: np.concatenate([[np.uint32(0)], number[at : at + len(measures[brick])]])
        for brick, at in offsets.items()
    }
    return structures, numbers


def combine(
    measures: Mapping[Index, Measures], numbers: Mapping[Index, LabelArray], n: int
) -> Measures:
    """Sum up the components of all bricks by the number of their structure.

    Parameters
    ----------
    measures : mapping
        Of every brick; row k is its local label k + 1.
    numbers : mapping
        Of every brick, from `merge`.
    n : int
        Number of structures.

    Returns
    -------
    Measures
        Row k is structure k + 1.
    """
    group = [numbers[brick][1:].astype(np.int32) - 1 for brick in measures]
    return _combine(list(measures.values()), np.concatenate([np.zeros(0, np.int32), *group]), n)


def _combine(parts: Sequence[Measures], group: npt.NDArray[np.int32], n: int) -> Measures:
    """Sum up the rows of each group."""
    rows = _no_rows(n)
    every = [np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Measures)]
    _accumulate(rows, group, Measures(*every))
    return rows


def _no_rows(n: int) -> Measures:
    """`n` components without any voxel yet."""
    last = np.iinfo(np.int64).max
    return Measures(
        np.full(n, last),
        np.zeros(n, np.int64),
        np.full((n, 3), last),
        np.full((n, 3), -1),
        np.zeros(n),
        np.zeros((n, 3)),
        np.full(n, -np.inf),
        np.zeros(n, np.int64),
    )


def _accumulate(total: Measures, group: AnyArray, rows: Measures) -> None:
    """Add rows to the components that they belong to, in place."""
    np.minimum.at(total.first, group, rows.first)
    np.minimum.at(total.low, group, rows.low)
    np.maximum.at(total.high, group, rows.high)
    np.add.at(total.n_voxels, group, rows.n_voxels)
    np.add.at(total.weight, group, rows.weight)
    np.add.at(total.moment, group, rows.moment)
    np.maximum.at(total.highest, group, rows.highest)
    np.add.at(total.n_sure, group, rows.n_sure)


def _sort(structures: Measures) -> tuple[Measures, IntArray]:
    """Rows in the order of their first voxel, and the new place of every old row."""
    order = np.argsort(structures.first)
    # rank is the inverse permutation of order: rank[old row] = new row.
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return structures.take(order), rank

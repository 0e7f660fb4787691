from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from tests import reference
from tests.geometries import random_cuts
from tomodist.algorithms.objects.components import Measures, label_brick, measure, merge, touching

if TYPE_CHECKING:
    from collections.abc import Sequence

Window = tuple[tuple[int, int], ...]
Scores = npt.NDArray[Any]


def slices(window: Window) -> tuple[slice, ...]:
    return tuple(slice(*w) for w in window)


def brickwise(
    scores: Scores, threshold: float, bricks: Sequence[Window]
) -> tuple[Measures, npt.NDArray[np.uint32]]:
    """Structures and final labels of a volume that is seen brick by brick."""
    keys = {w: tuple(a for a, _ in w) for w in bricks}
    local = {keys[w]: label_brick(scores[slices(w)], threshold) for w in bricks}
    measures = {
        keys[w]: measure(local[keys[w]], scores[slices(w)], keys[w], scores.shape) for w in bricks
    }
    pairs = {}
    for a in bricks:
        for b in bricks:
            meets = [k for k in range(3) if a[k][1] == b[k][0]]
            if len(meets) == 1 and all(a[k] == b[k] for k in range(3) if k != meets[0]):
                face = local[keys[a]].take([-1], axis=meets[0])
                beyond = local[keys[b]].take([0], axis=meets[0])
                pairs[keys[a], keys[b]] = touching(face, beyond)
    structures, numbers = merge(measures, pairs)
    labels = np.zeros(scores.shape, np.uint32)
    for w in bricks:
        labels[slices(w)] = numbers[keys[w]][local[keys[w]]]
    return structures, labels


def volume_of(seed: int) -> Scores:
    random = np.random.default_rng(seed)
    shape = random.integers(2, 12, 3)
    return random.integers(0, 6, shape).astype(np.uint8)


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=40)
def test_labels_equal_those_of_the_whole_volume_for_any_bricks(seed: int) -> None:
    scores = volume_of(seed)
    expected, n = reference.components(scores > 3)
    structures, labels = brickwise(scores, 3, random_cuts(seed, scores.shape))
    np.testing.assert_array_equal(labels, expected)
    assert len(structures) == n


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=25)
def test_measures_equal_those_of_the_whole_volume_for_any_bricks(seed: int) -> None:
    scores = volume_of(seed)
    labels, n = reference.components(scores > 3)
    found, _ = brickwise(scores, 3, random_cuts(seed, scores.shape))
    which = np.arange(1, n + 1)
    boxes = ndimage.find_objects(labels)
    index = [np.argwhere(labels == k) for k in which]
    assert found.first.tolist() == [int(np.flatnonzero(labels == k)[0]) for k in which]
    assert found.n_voxels.tolist() == [len(i) for i in index]
    assert found.low.tolist() == [[s.start for s in box] for box in boxes]
    assert found.high.tolist() == [[s.stop - 1 for s in box] for box in boxes]
    assert found.weight.tolist() == [int(scores[labels == k].sum()) for k in which]
    assert found.highest.tolist() == [int(scores[labels == k].max()) for k in which]
    centers = np.reshape(ndimage.center_of_mass(scores, labels, which), (n, 3))
    np.testing.assert_allclose(found.center, centers, rtol=1e-12)


def test_a_spiral_through_many_bricks_is_one_structure() -> None:
    plane = np.zeros((9, 9), np.uint8)
    for row in range(0, 9, 2):
        plane[row] = 1
    plane[1, 8] = plane[3, 0] = plane[5, 8] = plane[7, 0] = 1
    scores = np.stack([plane, np.zeros_like(plane), plane])
    scores[1, 4, 4] = 1
    bricks = [
        ((z, z + 1), (y, y + 3), (x, x + 3)) for z in range(3) for y in (0, 3, 6) for x in (0, 3, 6)
    ]
    structures, labels = brickwise(scores, 0, bricks)
    assert structures.n_voxels.tolist() == [2 * 49 + 1]
    np.testing.assert_array_equal(labels, scores)


@pytest.mark.parametrize("n_bricks", [1, 2])
def test_nothing_above_the_threshold_gives_no_structure(n_bricks: int) -> None:
    scores = np.zeros((4, 3, 2), np.uint8)
    cuts = np.linspace(0, 4, n_bricks + 1).astype(int).tolist()
    bricks = [((a, b), (0, 3), (0, 2)) for a, b in itertools.pairwise(cuts)]
    structures, labels = brickwise(scores, 0, bricks)
    assert len(structures) == 0
    assert structures.center.shape == (0, 3)
    assert not labels.any()


def test_nan_scores_are_no_structure() -> None:
    scores = np.array([[[0.9, np.nan, 0.8], [0.1, np.nan, 0.9]]], np.float32)
    structures, labels = brickwise(scores, 0.5, [((0, 1), (0, 2), (0, 3))])
    assert labels.tolist() == [[[1, 0, 2], [0, 0, 2]]]
    assert structures.weight.tolist() == pytest.approx([0.9, 1.7])


def test_voxels_that_share_only_an_edge_do_not_touch() -> None:
    face = np.array([[1, 0], [0, 2]], np.uint32)
    beyond = np.array([[0, 3], [1, 1]], np.uint32)
    assert touching(face, beyond).tolist() == [[2, 1]]
    assert touching(face, np.zeros_like(face)).shape == (0, 2)

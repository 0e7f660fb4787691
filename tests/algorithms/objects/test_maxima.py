"""Maxima of smooth hills: where they are, and the same for any bricks."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest

from tests.geometries import random_cuts
from tomodist.algorithms.objects.maxima import brick_maxima, halo_of

HILLS = np.array([[10.3, 12.6, 9.2], [11.0, 30.4, 25.7], [22.8, 20.1, 33.5], [5.0, 41.2, 8.9]])
SHAPE = (30, 47, 40)


def hills(sigma: float = 3.0) -> npt.NDArray[np.uint8]:
    index = np.indices(SHAPE)
    total = np.zeros(SHAPE)
    for k, center in enumerate(HILLS):
        square = sum((i - c) ** 2 for i, c in zip(index, center, strict=True))
        total += (150 + 20 * k) * np.exp(-square / (2 * sigma**2))
    return np.rint(np.clip(total, 0, 254)).astype(np.uint8)


def of_bricks(
    scores: npt.NDArray[np.uint8], bricks: list[tuple[tuple[int, int], ...]], distance: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    found, halo = [], halo_of(distance)
    for window in bricks:
        wide = [
            (max(a - halo, 0), min(b + halo, n)) for (a, b), n in zip(window, SHAPE, strict=True)
        ]
        inner = [slice(a - low, b - low) for (a, b), (low, _) in zip(window, wide, strict=True)]
        part = scores[tuple(slice(*w) for w in wide)]
        found.append(brick_maxima(part, inner, [low for low, _ in wide], 50, distance))
    points, heights = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort(points.T[::-1])
    return points[order], heights[order]


def test_hills_are_found_between_voxels() -> None:
    points, heights = of_bricks(hills(), [tuple((0, n) for n in SHAPE)], 6.0)
    np.testing.assert_allclose(points, HILLS[np.lexsort(HILLS.T[::-1])], atol=0.15)
    assert (heights > 100).all()


@pytest.mark.parametrize("seed", range(5))
def test_any_bricks_give_the_same_points(seed: int) -> None:
    scores = hills()
    whole = of_bricks(scores, [tuple((0, n) for n in SHAPE)], 6.0)
    cut = of_bricks(scores, random_cuts(seed, SHAPE), 6.0)
    for a, b in zip(whole, cut, strict=True):
        np.testing.assert_array_equal(a, b)


def test_below_the_threshold_nothing_is_found() -> None:
    points, _ = brick_maxima(hills(), [slice(None)] * 3, (0, 0, 0), 254, 6.0)
    assert points.shape == (0, 3)


def test_flat_tops_are_one_point_each() -> None:
    scores = np.zeros(SHAPE, np.uint8)
    for z, y, x in itertools.product((8, 20), (10, 35), (12,)):
        scores[z - 2 : z + 3, y - 2 : y + 3, x - 2 : x + 3] = 41
    points, _ = of_bricks(scores * 2, [tuple((0, n) for n in SHAPE)], 6.0)
    expected = list(itertools.product((8.0, 20.0), (10.0, 35.0), (12.0,)))
    np.testing.assert_allclose(points, expected, atol=1e-3)


def test_a_large_plateau_is_one_point() -> None:
    scores = np.zeros(SHAPE, np.uint8)
    scores[4:26, 10:40, 5:35] = 200
    points, _ = of_bricks(scores, [tuple((0, n) for n in SHAPE)], 6.0)
    assert len(points) == 1
    np.testing.assert_allclose(points[0], [14.5, 24.5, 19.5], atol=0.6)


def test_nan_counts_as_nothing() -> None:
    scores = hills().astype(np.float32)
    scores[:, :, 39] = np.nan
    points, _ = brick_maxima(scores, [slice(None)] * 3, (0, 0, 0), 50, 6.0)
    assert len(points) == 4

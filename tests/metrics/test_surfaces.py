from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest

from tests.metrics.masks import slow_distances, slow_surface, smooth_masks
from tomodist.errors import InputError
from tomodist.metrics import (
    Histogram,
    SurfaceDistances,
    squared_distances,
    surface,
    surface_distances,
)

SHAPES = [(16, 20, 18), (17, 21, 15), (1, 30, 9), (40, 33), (50,)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("reach", [1, 2.5, 6, 12, 300])
def test_squared_distances_equal_scipys(shape: tuple[int, ...], reach: float) -> None:
    mask = np.random.default_rng(1).random(shape) < 0.02
    mask[(0,) * mask.ndim] = True
    found = squared_distances(mask, reach)
    exact = np.rint(slow_distances(np.ones(shape, bool), mask, math.inf) ** 2).reshape(shape)
    far = math.floor(reach**2) + 1
    np.testing.assert_array_equal(found, np.where(exact <= reach**2, exact, far))
    assert np.any(found == 1)


def test_everything_is_far_from_nothing() -> None:
    assert set(squared_distances(np.zeros((3, 4, 5)), 4).ravel().tolist()) == {17}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_surface_has_a_neighbour_outside(shape: tuple[int, ...]) -> None:
    for mask in smooth_masks(shape, 3):
        np.testing.assert_array_equal(surface(mask), slow_surface(mask))
    assert surface(mask).any()


def test_where_a_structure_leaves_the_volume_is_no_surface() -> None:
    assert not surface(np.ones((4, 5, 6))).any()
    half = np.zeros((4, 5, 6))
    half[:2] = 1
    assert np.argwhere(surface(half))[:, 0].tolist() == [1] * 30


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("reach", [1, 3, 40])
def test_surface_distances_equal_all_distances(shape: tuple[int, ...], reach: int) -> None:
    predicted, truth = smooth_masks(shape, 4)
    found = surface_distances(predicted, truth, reach)
    a, b = surface(predicted), surface(truth)
    to_truth, back = slow_distances(a, b, reach + 1), slow_distances(b, a, reach + 1)
    assert len(to_truth) > 0
    for histogram, all_of_it in (
        (found.predicted, to_truth),
        (found.truth, back),
        (found.both, np.concatenate([to_truth, back])),
    ):
        kept = np.minimum(all_of_it, reach)
        assert histogram.n == len(kept)
        assert histogram.mean == pytest.approx(kept.mean())
        assert histogram.beyond == np.mean(all_of_it > reach)
        for percent in (0, 50, 95, 100):
            expected = np.percentile(kept, percent, method="inverted_cdf")
            assert histogram.percentile(percent) == pytest.approx(expected)


def ball(radius: float, n: int = 65) -> npt.NDArray[np.bool_]:
    z, y, x = (axis - (n - 1) / 2 for axis in np.ogrid[:n, :n, :n])
    return np.asarray(z * z + y * y + x * x <= radius * radius)


def test_spheres_in_one_another_are_as_far_apart_as_their_radii_differ() -> None:
    found = surface_distances(ball(18), ball(25), 32)
    for histogram in (found.predicted, found.truth, found.both):
        assert histogram.mean == pytest.approx(7, abs=0.35)  # of voxels, not of perfect spheres
        assert histogram.percentile(95) == pytest.approx(7, abs=0.8)
        assert histogram.beyond == 0
    assert surface_distances(ball(18), ball(25), 5).both.beyond == 1


def test_a_shifted_box_is_off_by_the_shift_along_one_axis_only() -> None:
    box, moved = np.zeros((40, 40, 40), bool), np.zeros((40, 40, 40), bool)
    box[10:30, 10:30, 10:30], moved[13:33, 10:30, 10:30] = True, True
    found = surface_distances(box, moved, 32).predicted
    # the first face, 20 x 20 voxels, is 3 away; the next layers of the sides 2 and 1, the rest 0;
    # the last face lies inside the other box, 3 below its face and up to 10 from its sides
    side = 4 * 19
    below = np.minimum.outer(np.minimum(np.arange(20), np.arange(20)[::-1]),
                             np.minimum(np.arange(20), np.arange(20)[::-1]))  # fmt: skip
    last = np.bincount(np.minimum(below, 3).ravel() ** 2, minlength=10)
    first = np.array([0, 0, 0, 0, 0, 0, 0, 0, 0, 400])
    sides = np.array([16 * side, side, 0, 0, side, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(found.counts[:10], first + last + sides)
    assert found.counts[10:].sum() == 0


@pytest.mark.parametrize("size", [(5, 7, 20), (8, 8, 8), (17, 3, 9)], ids=str)
def test_bricks_with_a_halo_add_up_to_the_whole(size: tuple[int, int, int]) -> None:
    predicted, truth = smooth_masks((17, 21, 20), 5)
    region = np.random.default_rng(6).random(truth.shape) < 0.7
    reach, total = 4, SurfaceDistances.empty(4)
    for start in itertools.product(*map(range, (0, 0, 0), truth.shape, size)):
        grown = tuple(slice(max(a - reach - 1, 0), a + n + reach + 1)
                      for a, n in zip(start, size, strict=True))  # fmt: skip
        inner = np.zeros_like(region)
        inner[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))] = True
        total += surface_distances(
            predicted[grown], truth[grown], reach, counted=(region & inner)[grown]
        )
    assert total == surface_distances(predicted, truth, reach, counted=region)
    assert total != surface_distances(predicted, truth, reach)


def test_without_a_surface_there_is_no_distance() -> None:
    nothing, something = np.zeros((9, 9, 9)), ball(3, 9)
    found = surface_distances(nothing, something, 5)
    assert (found.predicted.n, found.truth.n) == (0, int(np.count_nonzero(surface(something))))
    assert (found.both.mean, found.both.beyond) == (5.0, 1.0)
    assert math.isnan(found.predicted.mean)
    assert math.isnan(found.predicted.percentile(95))
    assert math.isnan(found.predicted.beyond)


def test_histograms_of_different_counts_differ() -> None:
    one, other = Histogram(np.array([1, 2, 0])), Histogram(np.array([1, 1, 1]))
    assert one != other
    assert one + other == Histogram(np.array([2, 3, 1]))
    assert one != "counts"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((2, 2)), np.ones((2, 3)), 4), "one shape"),
        ((np.ones((2, 2)), np.ones((2, 2)), 0), "`reach` must be 1 voxel or more; found 0"),
    ],
    ids=["shapes", "reach"],
)
def test_bad_surfaces_are_refused(
    arguments: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        surface_distances(*arguments)

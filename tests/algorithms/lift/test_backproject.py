from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import reference
from tests.geometries import (
    binary_maps,
    general,
    grey_images,
    random_window,
    reader,
    single_axis,
)
from tomodist.algorithms.lift.backproject import Votes, WeightedMean, lift_brick, tilt_groups
from tomodist.values.geometry import TiltGeometry, VolumeGrid

seeds = st.integers(0, 2**32 - 1)
few = settings(deadline=None, max_examples=20)
either = st.booleans()


def any_case(seed: int, *, aligned: bool) -> tuple[TiltGeometry, VolumeGrid]:
    return single_axis(seed, 5) if aligned else general(seed, 5)


@given(seeds, either, st.sampled_from([None, 1, 2, 5]))
@few
def test_votes_of_any_brick_and_groups_are_the_slice_of_the_whole(
    seed: int,
    aligned: bool,  # noqa: FBT001 -- hypothesis
    tilts_per_task: int | None,
) -> None:
    geometry, grid = any_case(seed, aligned=aligned)
    maps = binary_maps(seed, geometry, unmeasured=0.1)
    lifting = Votes(geometry, grid)
    whole = lift_brick(lifting, reader(maps), (0, 0, 0), grid.shape)
    np.testing.assert_array_equal(whole, reference.votes(maps, geometry, grid))
    start, stop = random_window(seed, grid.shape)
    found = lift_brick(lifting, reader(maps), start, stop, tilts_per_task)
    np.testing.assert_array_equal(found, whole[tuple(map(slice, start, stop))])
    assert found.dtype == np.uint8


@given(seeds, either, st.sampled_from([None, 2]))
@few
def test_weighted_mean_of_any_brick_equals_the_reference(
    seed: int,
    aligned: bool,  # noqa: FBT001 -- hypothesis
    tilts_per_task: int | None,
) -> None:
    geometry, grid = any_case(seed, aligned=aligned)
    images = grey_images(seed, geometry)
    images[np.random.default_rng(seed).random(images.shape) < 0.1] = np.nan
    weights = (1.0, 0.5, 2.0, 0.25, 1.0)
    start, stop = random_window(seed, grid.shape)
    lifting = WeightedMean(geometry, grid, weights)
    found = lift_brick(lifting, reader(images), start, stop, tilts_per_task)
    expected = reference.weighted_mean(images, geometry, grid, weights)
    np.testing.assert_allclose(
        found, expected[tuple(map(slice, start, stop))], rtol=2e-5, atol=1e-5
    )


@pytest.mark.parametrize("value", [0.0, 0.7])
@pytest.mark.parametrize("aligned", [True, False], ids=["single axis", "general"])
def test_constant_in_gives_constant_out(value: float, *, aligned: bool) -> None:
    """Also where some tilts, or half a pixel, do not see the voxel; NaN where none does."""
    geometry, grid = any_case(8, aligned=aligned)
    larger = VolumeGrid([n + 14 for n in grid.shape], grid.voxel_size)
    images = np.full((5, *geometry.image_shape), value, np.float32)
    images[1, :, 2] = np.nan
    found = lift_brick(WeightedMean(geometry, larger), reader(images), (0, 0, 0), larger.shape)
    seen = np.isfinite(found)
    assert 0.05 < seen.mean() < 0.95
    np.testing.assert_allclose(found[seen], value, rtol=1e-6)


def test_a_row_beyond_the_image_is_not_seen() -> None:
    """Rows differ in coverage here, so that the one-row shortcut must not be taken."""
    geometry, grid = TiltGeometry([0, 20, -30], (4, 9), 10.0), VolumeGrid((2, 8, 5), 10.0)
    images = grey_images(0, geometry)
    found = lift_brick(WeightedMean(geometry, grid), reader(images), (0, 0, 0), grid.shape)
    assert np.isnan(found[:, [0, 1, 6, 7]]).all()
    assert np.isfinite(found[:, 2:6]).all()


@pytest.mark.parametrize(("n_tilts", "dtype"), [(255, np.uint8), (256, np.uint16)], ids=str)
def test_votes_of_every_tilt_fit_their_type(n_tilts: int, dtype: type) -> None:
    geometry = TiltGeometry(np.linspace(-60, 60, n_tilts).tolist(), (2, 9), 10.0)
    grid = VolumeGrid((2, 2, 2), 10.0)
    ones = np.ones((n_tilts, 2, 9), bool)
    found = lift_brick(Votes(geometry, grid), reader(ones), (0, 0, 0), grid.shape, 100)
    assert found.dtype == dtype
    assert np.unique(found).tolist() == [n_tilts]


@pytest.mark.parametrize(
    ("n", "size", "expected"),
    [
        (5, None, [range(5)]),
        (5, 5, [range(5)]),
        (5, 9, [range(5)]),
        (5, 3, [range(3), range(3, 5)]),
        (4, 2, [range(2), range(2, 4)]),
        (2, 1, [range(1), range(1, 2)]),
    ],
    ids=str,
)
def test_tilt_groups(n: int, size: int | None, expected: list[range]) -> None:
    assert tilt_groups(n, size) == expected


@pytest.mark.parametrize("turned", [0.0, 33.0], ids=["aligned", "general"])
def test_means_are_bitwise_the_same_in_whatever_brick(turned: float) -> None:
    """The planner cuts by the number of workers, so a voxel's sum must not depend on its brick."""
    shape = (19, 70, 45)
    angles = np.linspace(-60, 60, 21).tolist()
    geometry = TiltGeometry(angles, shape[1:], 10.0, tilt_axis_angle=turned, x_tilt=turned / 8)
    images = np.random.default_rng(5).random((21, *shape[1:])).astype(np.float32)
    images[3, 60:] = np.nan  # one brick has unmeasured rows, another has none
    weights = tuple(np.random.default_rng(6).random(21).tolist())
    mean = WeightedMean(geometry, VolumeGrid(shape, 10.0), weights)
    whole = lift_brick(mean, reader(images), (0, 0, 0), shape)
    for start, stop in (((0, 0, 0), (8, 64, 32)), ((3, 17, 5), (19, 70, 45)), ((9, 69, 44), shape)):
        part = lift_brick(mean, reader(images), start, stop)
        np.testing.assert_array_equal(part, whole[tuple(map(slice, start, stop))])

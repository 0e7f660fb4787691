from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import reference
from tests.geometries import binary_maps, general, grey_images, single_axis
from tests.kernels.calls import INTERPRETED, few, linear_by, votes_by
from tomodist.kernels.backproject import linear_any, linear_rows
from tomodist.kernels.votes import votes_any, votes_rows
from tomodist.values.geometry import TiltGeometry, VolumeGrid
from tomodist.values.projection import half_widths

seeds = st.integers(0, 2**32 - 1)


@given(seeds)
@few(15)
def test_votes_of_rows_equal_votes_of_any_bitwise(seed: int) -> None:
    geometry, grid = single_axis(seed)
    maps = binary_maps(seed, geometry)
    by_rows = votes_by(votes_rows, maps, geometry, grid)
    np.testing.assert_array_equal(by_rows, votes_by(votes_any, maps, geometry, grid))
    np.testing.assert_array_equal(by_rows, reference.votes(maps, geometry, grid))


@given(seeds)
@few(15)
def test_linear_of_rows_equals_linear_of_any(seed: int) -> None:
    geometry, grid = single_axis(seed)
    images = grey_images(seed, geometry)
    weights = np.random.default_rng(seed).random(geometry.n_tilts).astype(np.float32)
    by_rows = linear_by(linear_rows, images, geometry, grid, weights)
    by_any = linear_by(linear_any, images, geometry, grid, weights)
    np.testing.assert_allclose(by_rows, by_any, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("ratio", [1.0, 2.0], ids=["voxel=pixel", "voxel=2 pixels"])
@pytest.mark.parametrize("seed", range(6))
def test_votes_equal_the_reference_in_a_general_geometry(seed: int, ratio: float) -> None:
    geometry, grid = general(seed, ratio=ratio)
    maps = binary_maps(seed, geometry)
    expected = reference.votes(maps, geometry, grid)
    assert 0 < expected.mean() < geometry.n_tilts
    np.testing.assert_array_equal(votes_by(votes_any, maps, geometry, grid), expected)


@pytest.mark.parametrize("ratio", [1.0, 2.0], ids=["voxel=pixel", "voxel=2 pixels"])
@pytest.mark.parametrize("seed", range(6))
def test_linear_equals_the_reference_in_a_general_geometry(seed: int, ratio: float) -> None:
    geometry, grid = general(seed, ratio=ratio)
    images = grey_images(seed, geometry)
    weights = np.array([1.0, 0.25, 2.0], np.float32)
    expected = reference.linear_backprojection(images, geometry, grid, weights.tolist())
    found = linear_by(linear_any, images, geometry, grid, weights)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@given(seeds)
@few(15)
def test_gather_equals_the_scatter_of_equation_5(seed: int) -> None:
    """At generic angles and centres, where no ray runs through the corner of a voxel.

    There it shares one point with the voxel, whose nearest integer is a matter of rounding: the
    gather form gives it to one side, the scatter form, which looks between corners, to none.
    """
    random = np.random.default_rng(seed)
    angles = random.uniform(-85, 85, 3).tolist()
    shape = random.integers(5, 12, 2).tolist()
    center = ((np.array(shape) - 1) / 2 + [0, random.uniform(-1, 1)]).tolist()
    geometry = TiltGeometry(angles, shape, 10.0, image_center=center)
    grid = VolumeGrid([int(random.integers(2, 8)), shape[0], int(random.integers(3, 12))], 10.0)
    maps = binary_maps(seed, geometry)
    expected = reference.scatter_marks(maps, geometry, grid).sum(axis=0)
    np.testing.assert_array_equal(reference.votes(maps, geometry, grid), expected)
    np.testing.assert_array_equal(votes_by(votes_rows, maps, geometry, grid), expected)


@pytest.mark.parametrize("width", [8, 9], ids=["even width", "odd width"])
@pytest.mark.parametrize("nz", [4, 5], ids=["even nz", "odd nz"])
@pytest.mark.parametrize("nx", [6, 7], ids=["even nx", "odd nx"])
def test_ties_at_common_angles_follow_the_half_open_rule(width: int, nz: int, nx: int) -> None:
    """With even nz, even nx and odd width one voxel ties at every angle, and gets every mark."""
    between = [] if INTERPRETED else np.linspace(-29, 29, 15).tolist()
    angles = [-60.0, -45.0, -30.0, *between, 30.0, 45.0, 60.0, 90.0]
    geometry, grid = TiltGeometry(angles, (2, width), 10.0), VolumeGrid((nz, 2, nx), 10.0)
    for m in range(0, width, 4 if INTERPRETED else 1):
        maps = np.zeros((len(angles), 2, width), np.uint8)
        maps[:, :, m] = 1
        expected = reference.votes(maps, geometry, grid)
        np.testing.assert_array_equal(votes_by(votes_rows, maps, geometry, grid), expected)
        np.testing.assert_array_equal(votes_by(votes_any, maps, geometry, grid), expected)
    if (width, nz, nx) == (9, 4, 6):
        middle = np.zeros((len(angles), 2, 9), np.uint8)
        middle[:, :, 4] = 1
        upper = [t for t, angle in enumerate(angles) if angle > 0]
        votes = votes_by(votes_rows, middle[upper], geometry.select(upper), grid)
        assert votes[2, 0, 3] == len(upper)  # the corner of this voxel is the rotation centre
        assert votes[1, 0, 2] == 0  # and of this one, across, on the side that is open


@pytest.mark.parametrize("width", [8, 9], ids=["even", "odd"])
@pytest.mark.parametrize("nx", [6, 7], ids=["even volume", "odd volume"])
def test_at_0_degrees_a_voxel_sees_exactly_one_pixel_ties_included(width: int, nx: int) -> None:
    """Where width and nx differ in parity, voxel centres project half-way between two pixels."""
    geometry = TiltGeometry([0.0], (4, width), 10.0)
    grid = VolumeGrid((3, 4, nx), 10.0)
    columns = np.zeros(nx, int)
    for m in range(width):
        maps = np.zeros((1, 4, width), np.uint8)
        maps[0, :, m] = 1
        found = votes_by(votes_rows, maps, geometry, grid)
        np.testing.assert_array_equal(found, reference.scatter_marks(maps, geometry, grid)[0])
        np.testing.assert_array_equal(found, found[:1, :1].repeat(3, 0).repeat(4, 1))
        assert found.sum(axis=2).max() <= 1
        columns += found[0, 0]
    assert columns.tolist() == [1] * nx


@pytest.mark.parametrize("angle", [90.0, -90.0])
@pytest.mark.parametrize("nz", [4, 5], ids=["even", "odd"])
def test_at_90_degrees_a_voxel_sees_exactly_one_pixel(angle: float, nz: int) -> None:
    geometry = TiltGeometry([angle], (3, 8), 10.0)
    grid = VolumeGrid((nz, 3, 7), 10.0)
    assert half_widths(geometry.matrices(grid)).tolist() == [[0.5, 0.5]]
    seen = sum(
        votes_by(votes_rows, maps, geometry, grid).astype(int)
        for maps in np.eye(8, dtype=np.uint8)[:, None, None, :].repeat(3, axis=2)
    )
    assert np.unique(seen).tolist() == [1]


def test_a_voxel_sees_one_or_two_pixels_in_a_row() -> None:
    geometry, grid = TiltGeometry([17.3], (4, 30), 10.0), VolumeGrid((9, 4, 11), 10.0)
    n = reference.touched(geometry, grid).sum(axis=(-2, -1))
    assert set(np.unique(n)) == {1, 2}
    every_pixel = np.ones((1, 4, 30), np.uint8)
    assert (votes_by(votes_rows, every_pixel, geometry, grid) == 1).all()


def test_votes_beyond_255_tilts_do_not_overflow() -> None:
    geometry = TiltGeometry(np.linspace(-60, 60, 300).tolist(), (2, 6), 10.0)
    grid = VolumeGrid((1, 2, 2), 10.0)
    ones = np.ones((300, 2, 6), np.uint8)
    assert np.unique(votes_by(votes_rows, ones, geometry, grid, np.uint16)).tolist() == [300]
    assert np.unique(votes_by(votes_any, ones, geometry, grid, np.uint16)).tolist() == [300]


def test_backprojection_does_not_mirror() -> None:
    """Four points of unlike brightness, not in a plane, seen through C1's formula written out."""
    random = np.random.default_rng(5)
    angles = np.arange(-60, 61, 6.0)
    spread = random.uniform(-4, 4, (4, len(angles)))
    geometry = TiltGeometry(
        angles.tolist(),
        (40, 36),
        10.0,
        (80 + spread[0]).tolist(),
        spread[1].tolist(),
        (10 * spread[2]).tolist(),
        (10 * spread[3]).tolist(),
    )
    grid = VolumeGrid((13, 21, 17), 10.0)
    points = np.array([[3, 6, 4], [10, 8, 5], [4, 16, 6], [5, 9, 13]])
    phantom = np.zeros(grid.shape)
    phantom[tuple(points.T)] = (1, 2, 3, 4)
    images = np.zeros((len(angles), 40, 36), np.float32)
    for t, at in enumerate(np.rint(reference.pixels(geometry, grid, points)).astype(int)):
        np.add.at(images[t], tuple(at.T), (1, 2, 3, 4))
    found = linear_by(linear_any, images, geometry, grid, np.ones(len(angles), np.float32))
    flips = [(), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]
    agreement = [float((np.flip(phantom, axes) * found).sum()) for axes in flips]
    assert agreement[0] > 1.5 * max(agreement[1:])
    assert np.unravel_index(found.argmax(), found.shape) == tuple(points[3])

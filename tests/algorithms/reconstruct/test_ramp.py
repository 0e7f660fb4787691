"""Filters of weighted backprojection: what comes back, and where."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.geometries import reader
from tests.phantoms import BALLS, balls, images_of_balls
from tomodist.algorithms.lift.backproject import lift_brick
from tomodist.algorithms.reconstruct.ramp import exact, filter_image, filter_rows, ramp
from tomodist.algorithms.reconstruct.views import angular_density, views_of
from tomodist.algorithms.reconstruct.wbp import WeightedBackprojection
from tomodist.errors import InputError
from tomodist.values.geometry import TiltGeometry, VolumeGrid

FULL = tuple(np.arange(-90, 90, 2.0))
SHAPES = (((30, 41, 44), (41, 60)), ((31, 40, 43), (40, 61)), ((30, 41, 43), (41, 62)))


def reconstructed(
    images: npt.NDArray[np.float32], geometry: TiltGeometry, grid: VolumeGrid, **options: Any
) -> npt.NDArray[Any]:
    method = WeightedBackprojection(geometry, grid, **options)
    filtered = np.stack([method.filtered(t, image) for t, image in enumerate(images)])
    return lift_brick(method.lifting, reader(filtered), (0, 0, 0), grid.shape)


def correlation(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    known = np.isfinite(a)
    return float(np.corrcoef(a[known], b[known])[0, 1])


# ------------------------------------------------------------------------- reconstruction


@pytest.mark.parametrize(("shape", "image_shape"), SHAPES, ids=str)
def test_a_chiral_phantom_comes_back_where_it_was(
    shape: tuple[int, int, int], image_shape: tuple[int, int]
) -> None:
    geometry, grid = TiltGeometry(FULL, image_shape, 10.0), VolumeGrid(shape, 10.0)
    truth = balls(grid)
    volume = reconstructed(images_of_balls(geometry, grid), geometry, grid)
    assert np.abs(volume - truth).max() < 0.15  # the low-pass takes 7 % off the peaks
    assert volume.sum() == pytest.approx(truth.sum(), rel=0.01)
    assert correlation(volume, truth) > 0.998
    for axes in ((0,), (1,), (2,), (0, 2)):
        assert correlation(np.flip(volume, axes), truth) < 0.3


@pytest.mark.parametrize(
    "options",
    [{"tilt_axis_angle": 90}, {"tilt_axis_angle": -37}, {"x_tilt": 9}, {"magnification": 1.2}],
    ids=str,
)
def test_any_geometry_gives_the_aligned_volume(options: dict[str, Any]) -> None:
    grid = VolumeGrid((30, 31, 34), 10.0)
    geometry = TiltGeometry(FULL, (71, 70), 10.0, **options)
    aligned = TiltGeometry(FULL, (71, 70), 10.0)
    volume, expected = (
        reconstructed(images_of_balls(g, grid), g, grid) for g in (geometry, aligned)
    )
    assert np.abs(volume - expected).max() < 0.1  # peaks are 2; the rest is interpolation
    assert correlation(volume, expected) > 0.999


def test_constant_density_comes_back() -> None:
    """A rod of density 3 along the axis: exact chords, all around."""
    grid = VolumeGrid((64, 2, 64), 10.0)
    angles = np.arange(-90, 90, 1.5)
    geometry = TiltGeometry(angles.tolist(), (2, 96), 10.0)
    u = np.arange(96) - 47.5
    chord = 3 * 2 * np.sqrt(np.clip(20.0**2 - u**2, 0, None))
    images = np.broadcast_to(chord, (len(angles), 2, 96)).astype(np.float32)
    volume = reconstructed(images, geometry, grid)
    z, x = np.ogrid[:64, :64]
    radius = np.hypot(z - 31.5, x - 31.5)
    assert volume[radius[:, None].repeat(2, 1) < 16].mean() == pytest.approx(3, rel=0.01)
    assert volume[:, 0][radius < 17].std() < 0.06
    assert np.abs(volume[:, 0][(radius > 24) & (radius < 31)]).mean() < 0.06


def test_uneven_steps_need_their_weights() -> None:
    """Half the circle in steps of 1 degree and half in steps of 4: still the same volume."""
    grid = VolumeGrid((30, 31, 34), 10.0)
    uneven = (*np.arange(-90, 0, 1.0), *np.arange(0, 90, 4.0))
    geometry = TiltGeometry(uneven, (31, 60), 10.0)
    volume = reconstructed(images_of_balls(geometry, grid), geometry, grid)
    assert correlation(volume, balls(grid)) > 0.995


def test_unmeasured_margins_and_a_constant_change_nothing_inside() -> None:
    grid = VolumeGrid((30, 31, 34), 10.0)
    geometry = TiltGeometry(FULL, (31, 80), 10.0)
    images = images_of_balls(geometry, grid)
    expected = reconstructed(images, geometry, grid)
    holed = images + 1000
    holed[:, :, :6] = np.nan
    holed[::3, 20:, 71:] = np.nan
    np.testing.assert_allclose(reconstructed(holed, geometry, grid), expected, atol=0.02)


def test_the_exact_filter_is_the_ramp_between_its_ends() -> None:
    """W = f D dt while neighbours overlap (f D dt < 1) and far ones do not (f D > 1)."""
    angle = np.deg2rad(np.arange(-90, 90, 0.25))
    step, thickness = np.deg2rad(0.25), 100.0
    f = np.linspace(0.08, 0.4, 50)
    weight = exact(f, angle, 37, thickness)
    np.testing.assert_allclose(weight / (thickness * step), f, rtol=0.02)
    assert exact(np.zeros(1), angle, 37, thickness) == pytest.approx(1 / 720)
    far = exact(np.array([0.5]), np.deg2rad([-60.0, 0, 60]), 1, thickness)
    assert far == 1


def test_the_exact_filter_gives_the_same_phantom_but_for_its_mean() -> None:
    grid = VolumeGrid((30, 41, 44), 10.0)
    geometry = TiltGeometry(FULL, (41, 60), 10.0)
    images = images_of_balls(geometry, grid)
    by_ramp, exactly = (
        reconstructed(images, geometry, grid, filter_kind=kind) for kind in ("ramp", "exact")
    )
    assert correlation(exactly, by_ramp) > 0.98
    assert exactly.max() == pytest.approx(by_ramp.max(), rel=0.05)


# ------------------------------------------------------------------------------------ filter


def test_the_ramp_is_the_plain_convolution_with_its_kernel() -> None:
    rng = np.random.default_rng(0)
    rows = np.zeros((2, 40), np.float32)
    rows[:, 8:32] = rng.random((2, 24))  # nothing at the ends: padding is by zeros
    taps = np.arange(-39, 40)
    kernel = np.where(taps == 0, 0.25, 0.0)
    kernel[taps % 2 == 1] = -1 / (np.pi * taps[taps % 2 == 1]) ** 2
    expected = [np.convolve(row, kernel)[39:79] for row in rows]
    filtered = filter_rows(rows, lambda f: ramp(f, 2 * (len(f) - 1)))
    np.testing.assert_allclose(filtered, expected, atol=1e-6)


def test_rows_columns_and_oblique_directions_agree() -> None:
    """A Gaussian spot is the same from all sides, so its filtered image only turns."""
    y, x = np.ogrid[-32:33, -32:33]
    spot = np.exp(-(x**2 + y**2) / 18).astype(np.float32)

    def response(f: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return ramp(f, 256)

    along_x = filter_image(spot, response, np.array([0.0, 1.0]))
    along_y = filter_image(spot, response, np.array([1.0, 0.0]))
    np.testing.assert_array_equal(along_y, along_x.T)
    np.testing.assert_allclose(along_x, filter_rows(spot, response))
    oblique = filter_image(spot, response, np.array([0.6, 0.8]))
    for k in (3, 5):  # the same distance along three directions
        assert oblique[32 + 3 * k, 32 + 4 * k] == pytest.approx(along_x[32, 32 + 5 * k], abs=2e-4)
        assert oblique[32 + 4 * k, 32 - 3 * k] == pytest.approx(along_x[32 + 5 * k, 32], abs=2e-4)


def test_unmeasured_pixels_stay_unmeasured() -> None:
    image = np.random.default_rng(1).random((20, 30)).astype(np.float32)
    image[3, 5:9] = image[7] = image[:, 28:] = np.nan
    for direction in ((0.0, 1.0), (1.0, 0.0), (0.6, 0.8)):
        found = filter_image(image, lambda f: ramp(f, 128), np.array(direction))
        assert np.array_equal(np.isnan(found), np.isnan(image))


# ------------------------------------------------------------------------------------- views


def test_weights_are_what_each_tilt_stands_for() -> None:
    for angles, expected in (
        (np.arange(-60, 61, 3), [3.0] * 41),
        (np.arange(-90, 90, 5), [5.0] * 36),
        ([-90, -45, 0, 45, 90], [22.5, 45, 45, 45, 22.5]),  # the first and last are one direction
        ([0, -10, 10, -20, 20], [10.0] * 5),  # in the order of acquisition
        ([-30, -20, 0, 20, 30], [10, 15, 20, 15, 10]),
        ([7], [180]),
    ):
        found = np.rad2deg(angular_density(np.deg2rad(np.asarray(angles, float))))
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_views_know_the_axis_wherever_it_lies() -> None:
    grid = VolumeGrid((10, 12, 14), 20.0)
    angles = np.arange(-60, 61, 10.0)
    for axis, x_tilt in ((0, 0), (84.1, 0), (-12, 7), (90, 0)):
        geometry = TiltGeometry(angles.tolist(), (30, 30), 10.0, axis, x_tilt)
        views = views_of(geometry.matrices(grid))
        turned = np.deg2rad(axis)
        across = views.direction @ [np.sin(turned), np.cos(turned)]  # (row, column)
        np.testing.assert_allclose(np.abs(across), 1, atol=1e-9)
        np.testing.assert_allclose(views.scale, 2)
        steps = np.rad2deg(angular_density(views.angle))
        np.testing.assert_allclose(steps, 10, atol=1e-6)
    aligned = views_of(TiltGeometry([-3, 0, 3], (4, 4), 10.0).matrices(grid))
    assert np.all(aligned.direction[:, 0] == 0)
    one = views_of(TiltGeometry([0], (4, 4), 10.0).matrices(grid))
    assert one.direction.tolist() == [[0, 1]] or one.direction.tolist() == [[0, -1]]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cutoff": 0.0}, "cutoff of `radial` is 0; "),
        ({"cutoff": 0.51}, "at most 0.5"),
        ({"cutoff": np.nan}, "cutoff of `radial` is nan"),
        ({"falloff": -0.1}, "falloff of `radial` is -0.1"),
        ({"filter_kind": "hann"}, "'hann'; it must be ramp or exact"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], words: str) -> None:
    geometry, grid = TiltGeometry([0, 1], (4, 4), 10.0), VolumeGrid((4, 4, 4), 10.0)
    with pytest.raises(InputError, match=words):
        WeightedBackprojection(geometry, grid, **options)


def test_the_phantom_is_chiral() -> None:
    assert len({abs(density) for _, density in BALLS}) == len(BALLS)

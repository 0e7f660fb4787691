"""Sizes of 3D boxes against ellipsoids whose shadows are known exactly."""

from __future__ import annotations

import numpy as np
import pytest

from tomodist.algorithms.objects.ellipsoid import extents
from tomodist.simulate import Ellipsoid, Scene, boxes
from tomodist.values.geometry import TiltGeometry, VolumeGrid

ANGLES = np.arange(-60.0, 61.0, 3.0).tolist()


def turned(seed: int) -> Ellipsoid:
    """An ellipsoid that looks different from everywhere."""
    random = np.random.default_rng(seed)
    axes, _ = np.linalg.qr(random.normal(size=(3, 3)))
    rows = tuple(tuple(row) for row in axes.tolist())
    return Ellipsoid((30.0, -50.0, 80.0), (40.0, 70.0, 110.0), rows)  # type: ignore[arg-type]


def seen(ellipsoid: Ellipsoid, geometry: TiltGeometry) -> list[np.ndarray]:
    scene = Scene((ellipsoid,))
    found = [boxes(scene, "object", geometry, t) for t in range(geometry.n_tilts)]
    return [np.concatenate([b.centers, b.sizes], axis=1) for b in found]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("x_tilt", "axis", "within"), [(0.0, 0.0, 1e-6), (8.0, 85.0, 0.07)])
def test_an_ellipsoid_is_measured_beyond_the_missing_wedge(
    seed: int, x_tilt: float, axis: float, within: float
) -> None:
    """Where no image axis is along y, y and x are told apart less sharply."""
    geometry = TiltGeometry(ANGLES, (80, 90), 10.0, x_tilt=x_tilt, tilt_axis_angle=axis)
    grid = VolumeGrid((60, 80, 90), 5.0)  # voxels of half a pixel
    ellipsoid = turned(seed)
    index = np.zeros((len(ANGLES), 1), np.int64)
    found = extents(geometry.matrices(grid), seen(ellipsoid, geometry), index, roundness=0.0)
    np.testing.assert_allclose(found[0], 2 * ellipsoid.half_size / 5.0, rtol=within)


@pytest.mark.parametrize("axis", [0.0, 4.3, 30.0, 85.0, 90.0])
def test_raw_frames_tell_y_from_x(axis: float) -> None:
    geometry = TiltGeometry(ANGLES, (90, 90), 10.0, tilt_axis_angle=axis)
    long = Ellipsoid((0.0, 0.0, 0.0), (100.0, 300.0, 60.0))
    index = np.zeros((len(ANGLES), 1), np.int64)
    grid = VolumeGrid((60, 90, 90), 10.0)
    found = extents(geometry.matrices(grid), seen(long, geometry), index)[0]
    np.testing.assert_allclose(found, [20, 60, 12], atol=4.5)


def test_roundness_decides_where_the_tilts_do_not() -> None:
    """From 10 degrees alone z is unknown: it is taken from y and x."""
    geometry = TiltGeometry([-10, 0, 10], (80, 90), 10.0)
    grid = VolumeGrid((60, 80, 90), 10.0)
    ball = Ellipsoid((0.0, 0.0, 0.0), (60.0, 60.0, 60.0))
    noisy = [
        np.add(b, [0, 0, 0.3, d])
        for b, d in zip(seen(ball, geometry), (-0.5, 0.4, -0.6), strict=True)
    ]
    index = np.zeros((3, 1), np.int64)
    matrices = geometry.matrices(grid)
    assert abs(extents(matrices, noisy, index)[0, 0] - 12) < 1
    assert abs(extents(matrices, noisy, index, roundness=0.0)[0, 0] - 12) > 3


def test_a_point_is_one_voxel() -> None:
    geometry, grid = TiltGeometry(ANGLES, (8, 8), 1.0), VolumeGrid((8, 8, 8), 1.0)
    boxes = [np.array([[4.0, 4.0, 0.0, 0.0]])] * len(ANGLES)
    found = extents(geometry.matrices(grid), boxes, np.zeros((len(ANGLES), 1), np.int64))
    np.testing.assert_allclose(found, 1.0)


def test_only_the_boxes_of_the_object_count() -> None:
    geometry, grid = TiltGeometry([-30, 0, 30], (8, 8), 1.0), VolumeGrid((8, 8, 8), 1.0)
    small, large = [[4.0, 4.0, 2.0, 2.0]], [[4.0, 4.0, 6.0, 6.0]]
    boxes = [np.array(small + large), np.array(large + small), np.array(small)]
    index = np.array([[0, 1], [1, 0], [0, -1]])
    found = extents(geometry.matrices(grid), boxes, index)
    np.testing.assert_allclose(found[:, 1], [2.0, 6.0], rtol=1e-6)

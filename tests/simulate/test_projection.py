from __future__ import annotations

import dataclasses
import time

import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import map_coordinates

from tests.simulate.scenes import chiral_scene, skew_geometry
from tomodist.errors import InputError
from tomodist.simulate import (
    Ellipsoid,
    Scene,
    boxes,
    cell,
    hollow_sphere,
    project_scene,
    silhouette,
)
from tomodist.values.geometry import TiltGeometry, VolumeGrid

Array = npt.NDArray[np.float64]


def turn(degrees: float, axis: str) -> Array:
    """A rotation of column vectors (x, y, z), written out: Ry takes +z to +x."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array(
        {
            "x": [[1, 0, 0], [0, c, -s], [0, s, c]],
            "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]],
            "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]],
        }[axis]
    )


def rays(geometry: TiltGeometry, tilt: int, along: Array) -> Array:
    """Positions (z, y, x) in Å of points on each pixel's ray: shape (h, w, len(along), 3).

    From the definition: q = m · [Rz Ry Rx p]_xy + shift, undone step by step.
    """
    g, (height, width) = dataclasses.asdict(geometry.select([tilt])), geometry.image_shape
    rows, columns, s = np.meshgrid(np.arange(height), np.arange(width), along, indexing="ij")
    center = g["image_center"]
    q_y = ((rows - center[0]) * g["pixel_size"] - g["shift_y"][0]) / g["magnification"][0]
    q_x = ((columns - center[1]) * g["pixel_size"] - g["shift_x"][0]) / g["magnification"][0]
    p = np.stack([q_x, q_y, s], axis=-1)
    for degrees, axis in (
        (g["tilt_axis_angle"][0], "z"),
        (g["tilt_angles"][0], "y"),
        (g["x_tilt"][0], "x"),
    ):
        p = p @ turn(-degrees, axis).T
    return np.asarray(p[..., ::-1])


def numerical(scene: Scene, geometry: TiltGeometry, tilt: int, grid: VolumeGrid) -> Array:
    """Line integrals through the rasterised density, by linear interpolation."""
    step = grid.voxel_size
    along = np.arange(-260, 260, step)
    at = np.moveaxis(grid.indices(rays(geometry, tilt, along)), -1, 0)
    density = scene.density(grid, (0, 0, 0), grid.shape).astype(np.float64)
    values = map_coordinates(density, at.reshape(3, -1), order=1)
    return np.asarray(values.reshape(at.shape[1:]).sum(axis=-1) * step)


@pytest.mark.parametrize("tilt", range(4))
def test_projection_is_the_line_integral_of_the_density(tilt: int) -> None:
    scene, geometry = chiral_scene(), skew_geometry()
    grid = VolumeGrid((155, 200, 137), voxel_size=2.0)
    expected = numerical(scene, geometry, tilt, grid)
    found = project_scene(scene, geometry, tilt)
    error = np.abs(found - expected).mean() / np.abs(expected).mean()
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.999
    assert error < 0.025


@pytest.mark.parametrize("name", ["tilt_angles", "tilt_axis_angle", "x_tilt", "shift_y", "shift_x"])
def test_the_line_integral_tells_the_sign_of_every_parameter(name: str) -> None:
    scene, geometry = chiral_scene(), skew_geometry()
    flipped = [-v for v in getattr(geometry, name)]
    mirrored = TiltGeometry.from_dict({**geometry.to_dict(), name: flipped})
    wrong = project_scene(scene, mirrored, 2)
    right = project_scene(scene, geometry, 2)
    assert np.abs(wrong - right).mean() > 0.15 * np.abs(right).mean()


@pytest.mark.parametrize("tilt", range(4))
def test_a_pixel_is_in_the_shadow_if_its_ray_meets_the_ellipsoid(tilt: int) -> None:
    geometry, ellipsoid = skew_geometry(), chiral_scene().ellipsoids[0]
    points = rays(geometry, tilt, np.arange(-260, 260, 2.0)) - ellipsoid.center
    own = points @ np.array(ellipsoid.rotation) / ellipsoid.semi_axes
    closest = np.min(np.sum(own**2, axis=-1), axis=-1)
    found = silhouette(Scene((ellipsoid,)), ellipsoid.label, geometry, tilt)
    clear = np.abs(closest - 1) > 0.01
    assert np.array_equal(found[clear], closest[clear] < 1)
    assert found.sum() > 50


@pytest.mark.parametrize("angle", [0.0, 30.0, 77.0, -90.0])
def test_chord_through_the_centre_of_a_sphere_is_its_diameter(angle: float) -> None:
    geometry = TiltGeometry([angle], (21, 31), 5.0, tilt_axis_angle=40, x_tilt=6, magnification=1.2)
    image = project_scene(Scene((Ellipsoid((0, 0, 0), (35, 35, 35), density=0.25),)), geometry, 0)
    assert image[10, 15] == pytest.approx(2 * 35 * 0.25)
    assert image[10, 15] == image.max()


def test_a_hollow_sphere_projects_to_the_difference_of_two() -> None:
    geometry = TiltGeometry([20.0], (41, 41), 10.0)
    image = project_scene(hollow_sphere(150, 50, 1e-3), geometry, 0)
    offset = 70.0  # 7 pixels from the centre
    expected = 2e-3 * (np.sqrt(150**2 - offset**2) - np.sqrt(100**2 - offset**2))
    assert image[20, 27] == pytest.approx(expected, rel=1e-5)
    assert image[20, 20] == pytest.approx(2e-3 * 50, rel=1e-5)


@pytest.mark.parametrize("supersample", [1, 2])
def test_mass_is_the_same_at_every_tilt(supersample: int) -> None:
    scene = Scene(tuple(e for e in chiral_scene().ellipsoids if e.density > 0))
    geometry = TiltGeometry(range(-90, 91, 30), (120, 130), 4.0, tilt_axis_angle=12, x_tilt=5)
    expected = sum(e.density * e.volume for e in scene.ellipsoids)
    for tilt in range(geometry.n_tilts):
        image = project_scene(scene, geometry, tilt, supersample=supersample)
        assert image.sum(dtype=np.float64) * 4.0**2 == pytest.approx(expected, rel=0.01)


def test_supersampling_is_the_mean_of_finer_pixels() -> None:
    scene = chiral_scene()
    coarse = TiltGeometry([25.0], (24, 30), 10.0, shift_x=3.0)
    fine = TiltGeometry([25.0], (48, 60), 5.0, shift_x=3.0)
    blocks = project_scene(scene, fine, 0).reshape(24, 2, 30, 2).mean(axis=(1, 3))
    assert project_scene(scene, coarse, 0, supersample=2) == pytest.approx(blocks, abs=1e-4)


def test_a_structure_beside_the_image_leaves_it_empty_and_one_at_its_edge_is_cut() -> None:
    geometry = TiltGeometry([0.0], (20, 20), 10.0)
    scene = Scene((Ellipsoid((0, 0, 400), (30, 30, 30)), Ellipsoid((0, -95, 0), (30, 30, 30))))
    image = project_scene(scene, geometry, 0)
    assert image[0].max() > 0
    assert np.all(image[:, 13:] == 0)
    assert np.all(image[4:] == 0)


@pytest.mark.parametrize("tilt", range(4))
def test_silhouette_is_where_solid_matter_projects(tilt: int) -> None:
    scene, geometry = chiral_scene(), skew_geometry()
    solid = Scene(tuple(e for e in scene.ellipsoids if e.label == "a" and e.density > 0))
    mask = silhouette(scene, "a", geometry, tilt)
    assert np.array_equal(mask, project_scene(solid, geometry, tilt) > 0)
    assert mask.any()


def test_silhouette_of_a_shell_is_the_whole_disc() -> None:
    geometry = TiltGeometry([33.0], (61, 60), 7.0)
    scene = hollow_sphere(150, 20, 1e-3)
    mask = silhouette(scene, "sphere", geometry, 0)
    assert np.array_equal(mask, project_scene(scene, geometry, 0) > 0)
    assert mask.sum() == pytest.approx(np.pi * (150 / 7) ** 2, rel=0.01)


@pytest.mark.parametrize("tilt", range(4))
def test_boxes_are_tight_around_silhouettes(tilt: int) -> None:
    coarse, scene = skew_geometry(), chiral_scene()
    geometry = dataclasses.replace(
        coarse, image_shape=(1001, 1000), pixel_size=0.8, image_center=(500, 499.5)
    )
    found = boxes(scene, "a", geometry, tilt)
    assert found.ids.tolist() == [s.id for s in scene.structures("a")]
    for center, size, structure in zip(*found, strict=True):
        parts = tuple(e for e in scene.of("a") if e.structure == structure)
        filled = np.argwhere(silhouette(Scene(parts), "a", geometry, tilt))
        low, high = center - size / 2, center + size / 2
        assert np.all((filled.min(axis=0) - low >= 0) & (filled.min(axis=0) - low < 2.5))
        assert np.all((high - filled.max(axis=0) >= 0) & (high - filled.max(axis=0) < 2.5))


def test_box_of_a_sphere_is_square_and_follows_the_tilt() -> None:
    geometry = TiltGeometry([30.0], (100, 120), 10.0)
    scene = Scene((Ellipsoid((100, 50, 0), (40, 40, 40), structure=9),))
    found = boxes(scene, "object", geometry, 0)
    # x' = x cos t + z sin t = 100 · 0.5 Å: five pixels right of the centre
    assert found.centers == pytest.approx(np.array([[49.5 + 5, 59.5 + 5]]))
    assert found.sizes == pytest.approx(np.array([[8.0, 8.0]]))
    assert found.ids.tolist() == [9]


def test_a_label_that_only_has_holes_has_no_boxes() -> None:
    scene = Scene((Ellipsoid((0, 0, 0), (5, 5, 5), density=-1),))
    found = boxes(scene, "object", TiltGeometry([0], (5, 5), 1.0), 0)
    assert (found.centers.shape, found.sizes.shape, found.ids.shape) == ((0, 2), (0, 2), (0,))


def test_a_large_field_is_fast() -> None:
    scene = cell(n_mitochondria=20, n_granules=5, n_gold=300)
    assert len(scene.ellipsoids) > 500
    geometry = TiltGeometry([40.0], (1024, 1024), 12.0)
    begin = time.process_time()
    project_scene(scene, geometry, 0)
    assert time.process_time() - begin < 20  # 0.2 s where each touches its own pixels alone


@pytest.mark.parametrize("tilt", [-1, 4])
def test_there_is_no_such_tilt(tilt: int) -> None:
    with pytest.raises(InputError, match=rf"`tilt` is {tilt}; it must be 0 to 3"):
        project_scene(chiral_scene(), skew_geometry(), tilt)
    with pytest.raises(InputError, match=f"`tilt` is {tilt}"):
        silhouette(chiral_scene(), "a", skew_geometry(), tilt)
    with pytest.raises(InputError, match=f"`tilt` is {tilt}"):
        boxes(chiral_scene(), "a", skew_geometry(), tilt)


def test_supersample_must_be_positive() -> None:
    with pytest.raises(InputError, match="`supersample` must be 1 or more; found 0"):
        project_scene(chiral_scene(), skew_geometry(), 0, supersample=0)

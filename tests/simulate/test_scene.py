from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.simulate.scenes import GRID, chiral_scene
from tomodist.errors import InputError
from tomodist.simulate import Ellipsoid, Scene, hollow_sphere
from tomodist.values.geometry import VolumeGrid

ZERO = (0, 0, 0)


def inside(ellipsoid: Ellipsoid, grid: VolumeGrid) -> npt.NDArray[np.bool_]:
    """Membership by coordinates along the ellipsoid's own axes, voxel by voxel."""
    index = np.moveaxis(np.indices(grid.shape), 0, -1)
    own = (grid.positions(index) - ellipsoid.center) @ np.array(ellipsoid.rotation)
    return np.asarray(np.sum((own / ellipsoid.semi_axes) ** 2, axis=-1) < 1)


def test_density_is_the_sum_over_the_ellipsoids_that_hold_the_voxel() -> None:
    scene = chiral_scene()
    expected = sum(e.density * inside(e, GRID) for e in scene.ellipsoids)
    assert scene.density(GRID, ZERO, GRID.shape) == pytest.approx(np.asarray(expected), abs=1e-6)


@pytest.mark.parametrize(
    ("start", "stop"),
    [((0, 0, 0), (10, 40, 27)), ((7, 11, 3), (30, 12, 27)), ((15, 20, 13), (16, 21, 14))],
)
def test_any_window_equals_the_slice_of_the_whole(
    start: tuple[int, ...], stop: tuple[int, ...]
) -> None:
    scene = chiral_scene()
    part = tuple(map(slice, start, stop))
    whole = scene.density(GRID, ZERO, GRID.shape)
    assert np.array_equal(scene.density(GRID, start, stop), whole[part])
    labels = scene.labels("a", GRID, ZERO, GRID.shape)
    assert np.array_equal(scene.labels("a", GRID, start, stop), labels[part])


def test_windows_larger_than_a_slab_equal_the_sum_of_small_ones() -> None:
    scene, grid = chiral_scene(), VolumeGrid((70, 90, 61), voxel_size=4.0)
    rows = [scene.density(grid, (z, 0, 0), (z + 1, 90, 61)) for z in range(70)]
    assert np.array_equal(scene.density(grid, ZERO, grid.shape), np.concatenate(rows))


def test_density_lies_where_the_grid_has_its_centre() -> None:
    grid = VolumeGrid((5, 6, 7), voxel_size=10.0, center=(1, 2, 4))
    found = Scene((Ellipsoid((10, 20, -30), (1, 1, 1)),)).density(grid, ZERO, grid.shape)
    assert np.argwhere(found).tolist() == [[2, 4, 1]]


def test_volume_is_that_of_its_voxels() -> None:
    ellipsoid = chiral_scene().ellipsoids[0]
    grid = VolumeGrid((81, 100, 80), voxel_size=4.0)
    mass = Scene((ellipsoid,)).density(grid, ZERO, grid.shape).sum(dtype=np.float64) * 4.0**3
    assert mass == pytest.approx(ellipsoid.density * ellipsoid.volume, rel=0.01)


def test_labels_are_ids_and_later_structures_paint_over_earlier_ones() -> None:
    first, second = (
        Ellipsoid((0, 0, x), (40, 30, 50), label="m", structure=k) for k, x in ((7, -20), (3, 20))
    )
    labels = Scene((first, second)).labels("m", GRID, ZERO, GRID.shape)
    expected = np.where(inside(second, GRID), 3, np.where(inside(first, GRID), 7, 0))
    assert np.array_equal(labels, expected)


def test_a_hole_is_not_labelled_and_takes_nothing_from_other_structures() -> None:
    shell = hollow_sphere(100, 30, 1e-3).ellipsoids
    neighbour = Ellipsoid((0, 0, 0), (20, 20, 20), label="sphere", structure=2)
    labels = Scene((neighbour, *shell[1:])).labels("sphere", GRID, ZERO, GRID.shape)
    assert np.array_equal(labels == 2, inside(neighbour, GRID))
    hollow = Scene(shell).labels("sphere", GRID, ZERO, GRID.shape)
    assert np.array_equal(hollow == 1, inside(shell[0], GRID) & ~inside(shell[1], GRID))


def test_other_labels_do_not_show() -> None:
    scene = Scene((Ellipsoid(ZERO, (20, 20, 20), label="a"), Ellipsoid(ZERO, (9, 9, 9), label="b")))
    assert np.count_nonzero(scene.labels("b", GRID, ZERO, GRID.shape)) == np.count_nonzero(
        inside(scene.ellipsoids[1], GRID)
    )
    assert scene.names == ("a", "b")


def test_the_box_of_a_structure_is_tight_around_its_voxels() -> None:
    scene, grid = chiral_scene(), VolumeGrid((155, 200, 135), voxel_size=2.0)
    solid = Scene(tuple(e for e in scene.ellipsoids if e.label == "a" and e.density > 0))
    for structure in solid.structures("a"):
        part = Scene(tuple(e for e in solid.ellipsoids if e.structure == structure.id))
        filled = np.argwhere(part.labels("a", grid, ZERO, grid.shape))
        low, high = grid.positions(filled.min(axis=0)), grid.positions(filled.max(axis=0))
        slack_low = low - (np.subtract(structure.center, np.divide(structure.size, 2)))
        slack_high = np.add(structure.center, np.divide(structure.size, 2)) - high
        assert np.all((slack_low >= 0) & (slack_low < 3))
        assert np.all((slack_high >= 0) & (slack_high < 3))


def test_a_structure_of_two_parts_has_one_box_around_both() -> None:
    parts = (Ellipsoid((0, 0, -50), (10, 20, 30)), Ellipsoid((5, 0, 70), (10, 10, 10)))
    (structure,) = Scene(parts).structures("object")
    assert structure.center == (2.5, 0.0, 0.0)
    assert structure.size == (25.0, 40.0, 160.0)


def test_a_box_turns_with_its_ellipsoid() -> None:
    c = s = float(np.sqrt(0.5))
    turned = Ellipsoid(ZERO, (10, 20, 40), ((1, 0, 0), (0, c, -s), (0, s, c)))
    oblique = np.sqrt((20**2 + 40**2) / 2)
    assert turned.half_size == pytest.approx([10, oblique, oblique])


def test_a_scene_is_a_value() -> None:
    scene = chiral_scene()
    assert eval(repr(scene)) == scene
    assert hash(eval(repr(scene))) == hash(scene)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"semi_axes": (1, 0, 1)}, "`semi_axes` must be positive"),
        ({"center": (0, np.nan, 0)}, "finite"),
        ({"center": (0, 0)}, "three finite numbers"),
        ({"rotation": ((1, 0, 0), (0, 1, 1), (0, 0, 1))}, "orthonormal"),
        ({"structure": 0}, "`structure` must be 1"),
        ({"structure": 2**32}, "`structure` must be 1"),
    ],
)
def test_bad_ellipsoids_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Ellipsoid(**{"center": ZERO, "semi_axes": (1, 1, 1), **change})


def test_what_is_not_there_is_named() -> None:
    scene = chiral_scene()
    with pytest.raises(InputError, match=r"no label 'gold'; use one of \['b', 'a'\]"):
        scene.structures("gold")
    with pytest.raises(InputError, match="invalid window"):
        scene.density(GRID, (3, 0, 0), (2, 5, 5))

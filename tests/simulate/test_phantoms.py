from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.simulate.scenes import random_ellipsoids
from tomodist.errors import InputError
from tomodist.simulate import Ellipsoid, Scene, cell, hollow_sphere
from tomodist.simulate.packing import disjoint, grown, place_ellipsoids
from tomodist.values.geometry import VolumeGrid

if TYPE_CHECKING:
    from collections.abc import Iterable

SIZES = [(3000.0, 12000.0, 12000.0), (640.0, 1700.0, 1280.0)]


def surface(ellipsoid: Ellipsoid, n: int = 4000) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Random points on the surface, shape (n, 3)."""
    points = np.random.default_rng(5).normal(size=(n, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    scaled = (points * ellipsoid.semi_axes) @ np.array(ellipsoid.rotation).T
    return np.asarray(scaled + ellipsoid.center)


def radius(ellipsoid: Ellipsoid, points: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Relative to the surface: below 1 inside."""
    own = (points - ellipsoid.center) @ np.array(ellipsoid.rotation) / ellipsoid.semi_axes
    return np.asarray(np.linalg.norm(own, axis=1))


def bodies(scene: Scene) -> list[Ellipsoid]:
    """The outer surface of each mitochondrion."""
    return [e for e in scene.of("membrane") if e.density > 0][::2]


def test_disjoint_agrees_with_points_on_the_surfaces() -> None:
    found = []
    for a, b in itertools.combinations(random_ellipsoids(24, seed=3), 2):
        gap = min(radius(a, surface(b)).min(), radius(b, surface(a)).min())
        touching = gap < 1 or bool(radius(a, np.array([b.center]))[0] < 1)
        if abs(gap - 1) > 0.03:
            assert disjoint(a, b) is not touching
        found.append(touching)
    assert 20 < sum(found) < len(found) - 20


def test_disjoint_is_the_same_both_ways() -> None:
    for a, b in itertools.combinations(random_ellipsoids(12, seed=8), 2):
        assert disjoint(a, b) == disjoint(b, a)


def test_place_keeps_the_gap_and_the_limits() -> None:
    random = np.random.default_rng(0)
    taken = [Ellipsoid((0, 0, 0), (30, 30, 30))]
    limits = np.array([50.0, 100.0, 150.0])

    def ball() -> Ellipsoid:
        z, y, x = random.uniform(-limits, limits).tolist()
        return Ellipsoid((z, y, x), (10, 10, 10))

    placed = place_ellipsoids(20, ball, taken=taken, gap=5.0, limits=limits)
    centers = np.array([b.center for b in placed])
    apart = np.linalg.norm(centers[:, None] - centers, axis=-1)[np.triu_indices(20, k=1)]
    assert apart.min() >= 25
    assert np.linalg.norm(centers, axis=1).min() >= 45
    assert np.all(np.abs(centers) + 10 <= limits)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", range(3))
def test_nothing_in_a_cell_overlaps(size: tuple[float, ...], seed: int) -> None:
    scene = cell(size, seed=seed)
    outside = [*bodies(scene), *scene.of("gold")]
    for group in (outside, scene.of("granule")):
        for a, b in itertools.combinations(group, 2):
            assert radius(a, surface(b, 500)).min() > 1


@pytest.mark.parametrize("size", SIZES)
def test_the_labels_of_a_cell_share_no_voxel_but_within_mitochondria(
    size: tuple[float, ...],
) -> None:
    scene = cell(size, seed=4)
    grid = VolumeGrid([int(n / (size[0] / 50)) for n in size], size[0] / 50)
    whole = {name: scene.labels(name, grid, (0, 0, 0), grid.shape) for name in scene.names}
    organelle = whole["mitochondrion"]
    assert np.all(organelle[whole["granule"] > 0] > 0)
    assert not np.any(whole["membrane"][whole["granule"] > 0])
    assert np.array_equal(
        organelle[whole["membrane"] > 0], whole["membrane"][whole["membrane"] > 0]
    )
    assert not np.any(organelle[whole["gold"] > 0])
    assert set(np.unique(organelle)) == {0, 1, 2, 3}


@pytest.mark.parametrize("size", SIZES)
def test_everything_is_inside_the_volume(size: tuple[float, ...]) -> None:
    scene = cell(size, n_mitochondria=5, seed=2)
    for name in scene.names:
        for structure in scene.structures(name):
            reach = np.abs(structure.center) + np.divide(structure.size, 2)
            assert np.all(reach <= np.divide(size, 2) + 1e-6)


def test_granules_are_within_the_inner_membrane_of_their_mitochondrion() -> None:
    scene = cell(n_granules=4, seed=6)
    matrices = [e for e in scene.of("membrane") if e.density < 0][1::2]
    for k, granule in enumerate(scene.of("granule")):
        assert radius(matrices[k // 4], surface(granule)).max() < 1
        assert 200 < 2 * max(granule.semi_axes) <= 600


def test_a_cell_of_full_size_has_the_lengths_of_a_real_one() -> None:
    scene = cell(seed=3)
    for body in bodies(scene):
        assert 2000 <= 2 * max(body.semi_axes) <= 4000
    surfaces = [e.semi_axes for e in scene.of("membrane")[:4]]
    assert np.diff(surfaces, axis=0) == pytest.approx(np.array([[-70] * 3, [-150] * 3, [-70] * 3]))


def test_gold_lies_on_two_planes() -> None:
    gold = cell(n_gold=40, seed=1).of("gold")
    assert {e.center[0] for e in gold} == {-1450.0, 1450.0}
    assert {e.semi_axes for e in gold} == {(50.0, 50.0, 50.0)}


def test_densities_rise_from_cytosol_to_matrix_to_membrane_to_granule_to_gold() -> None:
    scene = cell(seed=0)

    def at(position: Iterable[float]) -> float:
        centred = VolumeGrid((1, 1, 1), 1.0, center=[-p for p in position])
        return float(scene.density(centred, (0, 0, 0), (1, 1, 1))[0, 0, 0])

    def depth(body: Ellipsoid, below: float) -> float:
        """At the tip of the long axis, so far below the surface."""
        return at(body.center + np.array(body.rotation)[:, 0] * (body.semi_axes[0] - below))

    for body in bodies(scene):
        found = [depth(body, below) for below in (-20, 35, 145, 255, 300)]
        assert found == pytest.approx([0, 4.4e-4, 0.4e-4, 5.2e-4, 1.2e-4])
    granule, gold = scene.of("granule")[0], scene.of("gold")[0]
    assert at(granule.center) == pytest.approx(7.2e-4)
    assert at(gold.center) == pytest.approx(2e-2)


def test_a_seed_makes_the_cell() -> None:
    assert cell(seed=5) == cell(seed=5)
    assert cell(seed=5) != cell(seed=6)


def test_an_empty_cell_has_only_what_was_asked() -> None:
    assert cell(n_mitochondria=0, n_gold=2).names == ("gold",)
    assert cell(n_mitochondria=1, n_granules=0, n_gold=0).names == ("mitochondrion", "membrane")


def test_grown_moves_the_surface() -> None:
    assert grown(Ellipsoid((1, 2, 3), (4, 5, 6)), -2).semi_axes == (2, 3, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size_zyx": (1000.0, 1000.0)}, "three positive lengths"),
        ({"size_zyx": (1000.0, 0.0, 1000.0)}, "three positive lengths"),
        ({"n_gold": -1}, "no negative numbers"),
        ({"n_granules": 200}, r"no room found for object \d+ of 200 in 2000 tries"),
    ],
)
def test_a_cell_that_cannot_be_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        cell(**arguments)


@pytest.mark.parametrize(("thickness", "density"), [(100, 1), (0, 1), (20, 0)])
def test_a_hollow_sphere_needs_a_wall(thickness: float, density: float) -> None:
    with pytest.raises(InputError, match="0 < thickness < radius"):
        hollow_sphere(100, thickness, density)

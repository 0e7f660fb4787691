"""Tracks against known objects: positions, support, errors of detectors, any geometry."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

from tests import reference
from tests.ablations.errors import DetectorErrors, detected_boxes
from tests.geometries import general
from tomodist.algorithms.objects.box_index import LinkRule
from tomodist.algorithms.objects.tracks import Tracks, link_boxes
from tomodist.errors import InputError
from tomodist.metrics import match_points
from tomodist.simulate import Ellipsoid, Scene
from tomodist.values.geometry import TiltGeometry, VolumeGrid

if TYPE_CHECKING:
    from collections.abc import Sequence

Array = npt.NDArray[np.float64]
ANGLES = np.arange(-60.0, 61.0, 3.0).tolist()
PIXEL = 10.0
# No mirror image or rotation of these looks the same.
CHIRAL = np.array([[-12.0, -20, -31], [10, 25, 18], [14, -24, 36], [-3, 8, -6], [2, -31, 5]])


def balls(offsets: Array, radius: float = 4.0) -> Scene:
    """Balls at offsets from the volume centre, in voxels."""
    size = (radius * PIXEL,) * 3
    places = [tuple(float(v) * PIXEL for v in row) for row in offsets]
    return Scene(
        tuple(Ellipsoid((z, y, x), size, structure=k) for k, (z, y, x) in enumerate(places, 1))
    )


def boxes_of(scene: Scene, geometry: TiltGeometry, errors: DetectorErrors) -> list[Array]:
    seen = [detected_boxes(scene, "object", geometry, t, errors) for t in range(geometry.n_tilts)]
    return [np.concatenate([b.centers, b.sizes], axis=1) for b in seen]


def linked(
    offsets: Array,
    errors: DetectorErrors | None = None,
    *,
    image_shape: Sequence[int] = (81, 100),
    angles: Sequence[float] = ANGLES,
    rule: LinkRule | None = None,
    radius: float = 4.0,
) -> tuple[Tracks, Array]:
    """Tracks, and the true centres as voxel indices."""
    geometry = TiltGeometry(angles, image_shape, PIXEL)
    grid = VolumeGrid((40, *image_shape), PIXEL)
    boxes = boxes_of(balls(offsets, radius), geometry, errors or DetectorErrors())
    rule = rule or LinkRule(min_tilts=max(3, len(angles) // 4))
    return link_boxes(geometry, grid, boxes, rule), offsets + np.array(grid.center)


def scattered(n: int, seed: int, radius: float = 4.0) -> Array:
    """Balls that do not touch, as offsets within a volume of 40 x 81 x 100."""
    random, found = np.random.default_rng(seed), np.zeros((0, 3))
    half = np.array([20, 40.5, 50]) - radius
    while len(found) < n:
        place = random.uniform(-half, half)
        if (np.linalg.norm(found - place, axis=1) > 2 * radius + 1).all():
            found = np.concatenate([found, place[None]])
    return found


@pytest.mark.parametrize("image_shape", [(81, 100), (80, 101), (80, 100), (81, 101)])
def test_exact_boxes_give_exact_places(image_shape: tuple[int, int]) -> None:
    tracks, truth = linked(CHIRAL, image_shape=image_shape)
    order = np.lexsort(truth.T[::-1])
    np.testing.assert_allclose(tracks.center, truth[order], atol=1e-6)
    np.testing.assert_allclose(tracks.size, 8.0, atol=1e-6)
    np.testing.assert_array_equal(tracks.n_tilts, len(ANGLES))
    assert np.abs(tracks.residual).max() < 1e-6
    assert tracks.sigma.max() < 1e-6


@pytest.mark.parametrize("seed", range(4))
def test_any_geometry(seed: int) -> None:
    """Tilt axis, x-tilt, shifts and magnification differ from tilt to tilt."""
    small, grid = general(seed, n_tilts=12, ratio=1.0, smallest=40)
    geometry = dataclasses.replace(small, image_shape=(90, 80))
    random = np.random.default_rng(seed)
    truth = random.uniform(5, np.array(grid.shape) - 6, (4, 3))
    boxes = [
        np.concatenate([here, np.full_like(here, 3.0)], axis=1)
        for here in reference.pixels(geometry, grid, truth)
    ]
    tracks = link_boxes(geometry, grid, boxes, LinkRule(min_tilts=6))
    np.testing.assert_allclose(tracks.center, truth[np.lexsort(truth.T[::-1])], atol=1e-6)
    np.testing.assert_array_equal(tracks.n_tilts, 12)


def test_a_track_says_which_box_of_which_tilt() -> None:
    geometry = TiltGeometry(ANGLES, (81, 100), PIXEL)
    grid = VolumeGrid((40, 81, 100), PIXEL)
    boxes = boxes_of(balls(CHIRAL), geometry, DetectorErrors())
    random = np.random.default_rng(0)
    orders = [random.permutation(len(b)) for b in boxes]
    tracks = link_boxes(geometry, grid, [b[o] for b, o in zip(boxes, orders, strict=True)])
    sorted_truth = np.lexsort(CHIRAL.T[::-1])
    for t, order in enumerate(orders):
        np.testing.assert_array_equal(order[tracks.box[t]], sorted_truth)


def test_touching_pairs_stay_apart() -> None:
    """In the direction in which they touch they hide each other, in the others they do not."""
    pairs = np.array([[0.0, -20, -30], [0, -20, -22], [5, 10, 0], [5, 18, 0], [-8, 0, 30]])
    pairs = np.concatenate([pairs, [[0.0, 0, 30]]])  # along z
    tracks, truth = linked(pairs)
    matches = match_points(tracks.center, truth, 0.5)
    assert (len(tracks), matches.f1) == (6, 1.0)


@pytest.mark.parametrize("seed", range(3))
def test_detector_errors(seed: int) -> None:
    """A third of the boxes missed, half as many false ones, jitter of 3 pixels, tilts lost."""
    errors = DetectorErrors(missed=0.33, false=0.5, jitter=3.0, lost_tilts=0.1, seed=seed)
    tracks, truth = linked(scattered(20, seed), errors)
    matches = match_points(tracks.center, truth, 4.0)
    assert matches.recall == 1
    assert matches.precision >= 0.95
    assert matches.mean_center_error < 2.0
    assert np.median(tracks.n_tilts) < 30  # not more than there are
    ratio = tracks.size / 8.0
    assert np.abs(np.median(ratio, axis=0) - 1).max() < 0.15


def test_the_standard_error_is_that_of_the_center() -> None:
    """Over many objects, deviations divided by their standard errors have a spread of about 1."""
    scores = []
    for seed in range(6):
        tracks, truth = linked(scattered(20, seed), DetectorErrors(jitter=2.0, seed=seed))
        matches = match_points(tracks.center, truth, 4.0)
        found, true = np.array(matches.pairs).T
        scores.append((tracks.center[found] - truth[true]) / tracks.sigma[found])
    spread = np.sqrt(np.mean(np.concatenate(scores) ** 2, axis=0))
    assert ((spread > 0.6) & (spread < 1.4)).all(), spread


def test_false_boxes_alone_are_no_objects() -> None:
    """Forty boxes per tilt at random places: some fit each other by chance."""
    random = np.random.default_rng(3)
    geometry = TiltGeometry(ANGLES, (81, 100), PIXEL)
    boxes = [
        np.column_stack([random.uniform(0, (80, 99), (40, 2)), np.full((40, 2), 8.0)])
        for _ in ANGLES
    ]
    grid = VolumeGrid((40, 81, 100), PIXEL)
    assert len(link_boxes(geometry, grid, boxes, LinkRule(min_tilts=10))) == 0


def test_support_has_to_reach_min_tilts() -> None:
    geometry = TiltGeometry(ANGLES, (81, 100), PIXEL)
    grid = VolumeGrid((40, 81, 100), PIXEL)
    boxes = boxes_of(balls(CHIRAL[:1]), geometry, DetectorErrors())
    some = [b if 10 <= t < 20 else b[:0] for t, b in enumerate(boxes)]
    assert len(link_boxes(geometry, grid, some, LinkRule(min_tilts=10))) == 1
    assert len(link_boxes(geometry, grid, some, LinkRule(min_tilts=11))) == 0


def test_objects_beyond_the_volume_are_dropped() -> None:
    geometry = TiltGeometry(ANGLES, (81, 100), PIXEL)
    boxes = boxes_of(balls(np.array([[15.0, 0, 0], [0, 10, 3]])), geometry, DetectorErrors())
    thin = VolumeGrid((20, 81, 100), PIXEL)
    tracks = link_boxes(geometry, thin, boxes)
    np.testing.assert_allclose(tracks.center, np.add([thin.center], [0, 10, 3]), atol=1e-6)


@pytest.mark.parametrize("n_tilts", [0, 1, 2])
def test_too_few_tilts_with_boxes_give_no_tracks(n_tilts: int) -> None:
    geometry = TiltGeometry(ANGLES, (81, 100), PIXEL)
    boxes = boxes_of(balls(CHIRAL), geometry, DetectorErrors())
    some = [b if t < n_tilts else b[:0] for t, b in enumerate(boxes)]
    tracks = link_boxes(geometry, VolumeGrid((40, 81, 100), PIXEL), some)
    assert (len(tracks), tracks.box.shape, tracks.residual.shape) == (0, (41, 0), (41, 0))


def test_no_box_shows_two_objects() -> None:
    tracks, _ = linked(scattered(25, 1), DetectorErrors(missed=0.4, jitter=3.0, false=0.5, seed=1))
    for row in tracks.box:
        used = row[row >= 0]
        assert len(used) == len(set(used.tolist()))


def test_the_order_of_tilts_does_not_matter() -> None:
    geometry = TiltGeometry(ANGLES, (81, 100), PIXEL)
    grid = VolumeGrid((40, 81, 100), PIXEL)
    errors = DetectorErrors(missed=0.2, false=2.0, jitter=1.0)
    boxes = boxes_of(balls(scattered(12, 2)), geometry, errors)
    order = np.random.default_rng(0).permutation(len(ANGLES)).tolist()
    shuffled = link_boxes(geometry.select(order), grid, [boxes[t] for t in order])
    np.testing.assert_allclose(shuffled.center, link_boxes(geometry, grid, boxes).center, atol=1e-6)


def test_errors_that_neighbouring_tilts_share_are_part_of_the_standard_error() -> None:
    """An alignment that swings by two pixels to either side, once over the series."""
    geometry = TiltGeometry(ANGLES, (81, 100), PIXEL)
    grid = VolumeGrid((40, 81, 100), PIXEL)
    boxes = boxes_of(balls(CHIRAL), geometry, DetectorErrors())
    swing = 2 * np.sin(np.linspace(0, 2 * np.pi, len(boxes)))
    moved = [np.add(b, [0, d, 0, 0]) for b, d in zip(boxes, swing, strict=True)]
    tracks = link_boxes(geometry, grid, moved)
    off = np.abs(tracks.center - (CHIRAL + np.array(grid.center))[np.lexsort(CHIRAL.T[::-1])])
    assert off[:, 0].min() > 0.5
    assert (tracks.sigma[:, 0] > off[:, 0] / 3).all()


def test_boxes_detected_twice_are_one_object() -> None:
    random = np.random.default_rng(2)
    geometry = TiltGeometry(ANGLES, (81, 100), PIXEL)
    boxes = boxes_of(balls(CHIRAL), geometry, DetectorErrors(jitter=0.5))
    twice = [np.concatenate([b, np.add(b, [*random.normal(0, 0.7, 2), 0, 0])]) for b in boxes]
    tracks = link_boxes(geometry, VolumeGrid((40, 81, 100), PIXEL), twice)
    assert len(tracks) == len(CHIRAL)


def test_most_boxes_may_be_missed() -> None:
    tracks, truth = linked(scattered(20, 5), DetectorErrors(missed=0.65, jitter=0.5, seed=5))
    enough = match_points(tracks.center, truth, 2.0)
    assert enough.recall > 0.85
    assert enough.precision == 1


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -1.0])
def test_boxes_that_are_none_are_refused(wrong: float) -> None:
    boxes = [np.array([[4.0, 4.0, wrong, 2.0]]), np.zeros((0, 4)), np.zeros((0, 4))]
    with pytest.raises(InputError, match="a box of tilt 0"):
        link_boxes(TiltGeometry([-3, 0, 3], (8, 8), 1), VolumeGrid((4, 8, 8), 1), boxes)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"min_tilts": 2}, "it must be 3 or more"),
        ({"tolerance": 0.0}, "must be positive"),
        ({"tolerance": float("nan")}, "must be positive"),
        ({"share": 1.5}, "must be 0 to 1"),
    ],
)
def test_rules_that_make_no_sense(given: dict[str, float], says: str) -> None:
    with pytest.raises(InputError, match=says):
        LinkRule(**given)  # type: ignore[arg-type]


def test_one_array_of_boxes_per_tilt() -> None:
    geometry = TiltGeometry([-3, 0, 3], (8, 8), 1)
    with pytest.raises(InputError, match="`boxes` has 2 tilts, but the geometry has 3"):
        link_boxes(geometry, VolumeGrid((4, 8, 8), 1), [np.zeros((0, 4))] * 2)


@pytest.mark.parametrize(("step", "reach"), list(itertools.product([3, 10], [40, 60])))
def test_fewer_and_narrower_tilts(step: int, reach: int) -> None:
    angles = np.arange(-reach, reach + 1, step).tolist()
    tracks, truth = linked(scattered(15, 4), DetectorErrors(jitter=1.0, seed=4), angles=angles)
    matches = match_points(tracks.center, truth, 3.0)
    assert matches.f1 > 0.95

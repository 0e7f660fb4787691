"""Patches: image, target and boxes stay together, and what may not turn does not."""

from __future__ import annotations

import numpy as np
import pytest

from tests.learned.training.toys import rectangles, squares
from tomodist.learned.training.examples import IGNORED, Example, Loaded, Pool, spread
from tomodist.learned.training.patches import Augmentation, Patch, draw_batch, draw_patch
from tomodist.values.boxes import Boxes

STILL = Augmentation(gain=0.0, offset=0.0, noise=0.0)


def asymmetric(shape: tuple[int, ...]) -> Patch:
    """No mirror image or turn of it is itself; the target says where it is bright."""
    image = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    return Patch(image, (image > 0.5).astype(np.uint8)[None], ())


@pytest.mark.parametrize("shape", [(8, 8), (9, 9), (6, 6, 6), (7, 7, 7)])
def test_image_and_target_turn_together(shape: tuple[int, ...]) -> None:
    patch, random = asymmetric(shape), np.random.default_rng(0)
    seen = set()
    for _ in range(200):
        turned = STILL(patch, random)
        np.testing.assert_array_equal(turned.target[0] == 1, turned.image > 0.5)
        seen.add(turned.image.tobytes())
    assert len(seen) == 8  # all of 2D: 4 mirror images, turned or not; of 3D: 8 mirror images


def test_volumes_keep_their_axes() -> None:
    z = np.broadcast_to(np.arange(6.0)[:, None, None], (6, 6, 6)).astype(np.float32)
    patch = Patch(z, np.zeros((1, 6, 6, 6), np.uint8), ())
    for seed in range(30):
        turned = STILL(patch, np.random.default_rng(seed)).image
        assert np.ptp(turned, axis=(1, 2)).max() == 0  # a turn would mix z with y or x


@pytest.mark.parametrize("side", [16, 17])
def test_boxes_stay_on_their_objects(side: int) -> None:
    image = np.zeros((side, side), np.float32)
    image[3:6, 8:15] = 1  # 3 high, 7 wide, around (4, 11)
    box = Boxes([[4, 11]], [[3, 7]], [1])
    patch = Patch(image, np.zeros((1, side, side), np.uint8), (box,))
    sizes = set()
    for seed in range(40):
        turned = STILL(patch, np.random.default_rng(seed))
        (y, x), (height, width) = turned.boxes[0].center[0], turned.boxes[0].size[0]
        rows, columns = np.nonzero(turned.image)
        assert (rows.min(), rows.max()) == (y - (height - 1) / 2, y + (height - 1) / 2)
        assert (columns.min(), columns.max()) == (x - (width - 1) / 2, x + (width - 1) / 2)
        sizes.add((height, width))
    assert sizes == {(3, 7), (7, 3)}


def test_values_vary_within_their_bounds_and_are_never_inverted() -> None:
    patch = asymmetric((12, 12))
    vary = Augmentation(gain=0.25, offset=0.2, noise=0.0, turns=False)
    for seed in range(50):
        image = vary(patch, np.random.default_rng(seed)).image
        scale = np.ptp(image) / np.ptp(patch.image)
        assert 0.8 - 1e-6 <= scale <= 1.25 + 1e-6
        assert abs(image.mean() - scale * patch.image.mean()) <= 0.2 + 1e-6
        assert image.max() - np.median(image) > 0.7 * (patch.image.max() - np.median(patch.image))


def test_a_patch_is_a_window_of_its_example() -> None:
    example = squares(0, shape=(40, 56)).example
    for seed in range(20):
        patch = draw_patch(example, 32, np.random.default_rng(seed), 2 / 3)
        found = [
            (r, c)
            for r in range(40 - 32 + 1)
            for c in range(56 - 32 + 1)
            if np.array_equal(example.image[r : r + 32, c : c + 32], patch.image)
        ]
        assert len(found) == 1
        (r, c) = found[0]
        np.testing.assert_array_equal(patch.target, example.target[:, r : r + 32, c : c + 32])


def test_beyond_a_small_example_nothing_is_learnt() -> None:
    example = Example.of(np.ones((20, 24), np.float32), np.ones((2, 20, 24), np.uint8))
    patch = draw_patch(example, 32, np.random.default_rng(0), 0.5)
    assert (patch.target[:, :20, :24] == 1).all()
    assert (patch.target[:, 20:] == IGNORED).all()
    assert (patch.target[:, :, 24:] == IGNORED).all()
    assert (patch.image[20:] == 0).all()


def test_most_patches_show_a_rare_class_and_every_class_as_often() -> None:
    target = np.zeros((2, 200, 200), np.uint8)
    target[0, 20:26, 20:26] = 1  # rare
    target[1, 100:190, 100:190] = 1  # not
    example = Example.of(np.zeros((200, 200), np.float32), target)
    patches = [draw_patch(example, 32, np.random.default_rng(k), 2 / 3) for k in range(600)]
    shows = np.array([[p.target[k].any() for k in (0, 1)] for p in patches])
    assert 0.28 < shows[:, 0].mean() < 0.40  # a third, and some by chance
    assert 0.4 < shows[:, 1].mean() < 0.62


def test_batches_depend_on_their_numbers_alone() -> None:
    examples = [rectangles(k).example for k in range(3)]
    one, same, other = (
        draw_batch(examples, 4, 32, np.random.default_rng((7, step))) for step in (3, 3, 4)
    )
    for a, b, c in zip(one, same, other, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
        assert not np.array_equal(a.image, c.image)


def test_a_pool_that_is_too_large_shows_every_example_in_turn() -> None:
    loaders = [
        Loaded(str(k), Example.of(np.full((8, 8), k, np.float32), np.zeros((1, 8, 8), np.uint8)))
        for k in range(7)
    ]
    each = loaders[0].n_bytes
    pool = Pool(loaders, 3 * each, seed=1)
    turns = [[int(e.image[0, 0]) for e in pool.examples(k)] for k in range(7)]
    assert all(len(turn) == 3 for turn in turns)
    seen = [k for turn in turns for k in turn]
    for k in range(3):
        assert sorted(seen[7 * k : 7 * k + 7]) == list(range(7))
    assert [int(e.image[0, 0]) for e in Pool(loaders, 3 * each, 1).examples(5)] == turns[5]
    assert len(Pool(loaders, 2**30, 0).examples(3)) == 7


def test_loaders_are_spread_evenly() -> None:
    loaders = [squares(k) for k in range(9)]
    names = [loader.name for loader in spread(loaders, 3 * loaders[0].n_bytes)]
    assert names == ["squares 0", "squares 4", "squares 8"]
    assert len(spread(loaders, 2**30)) == 9

"""Examples from stores: what is learnt from lies where it was annotated, and nothing leaks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.learned.training.toys import squares
from tomodist.errors import InputError
from tomodist.learned.training.examples import IGNORED
from tomodist.learned.training.split import block_of
from tomodist.sources.examples import Source, block_loaders, split_examples, tilt_loaders
from tomodist.store.boxes import create_boxes, write_boxes
from tomodist.store.tomogram import Tomogram, Unit
from tomodist.store.volumes import create_levels, create_stack
from tomodist.values.geometry import TiltGeometry, VolumeGrid

if TYPE_CHECKING:
    from pathlib import Path

SHAPE, PIXEL = (61, 86), 10.0
GRID = VolumeGrid((20, 61, 86), PIXEL)
N = 12


def store(path: Path, *, blank: tuple[int, ...] = (), pixel: float = PIXEL) -> Tomogram:
    """Dark rectangles of 9 x 15 pixels at a chiral place that moves with the tilt."""
    geometry = TiltGeometry(np.linspace(-50, 50, N).tolist(), SHAPE, pixel)
    tomogram = Tomogram.create(path)
    random = np.random.default_rng(0)
    with tomogram.series.stage({"step": "test"}) as staging:
        staging.describe(geometry=geometry.to_dict(), grid=GRID.to_dict())
        images = create_stack(staging, "images", geometry, np.float32)
        for tilt in range(N):
            image = random.normal(100, 1, SHAPE).astype(np.float32)
            image[10:19, 20 + tilt : 35 + tilt] -= 30
            image[50:] = np.nan
            images.write((tilt, 0, 0), image[None])
    with tomogram.label("thing").maps.stage({"step": "test"}) as staging:
        maps = create_stack(staging, "maps", geometry, np.uint8)
        boxes = create_boxes(staging, N)
        for tilt in range(N):
            found = np.zeros(SHAPE, np.uint8)
            found[10:19, 20 + tilt : 35 + tilt] = 1
            found[:, 80:] = 2
            found = np.full(SHAPE, 2, np.uint8) if tilt in blank else found
            maps.write((tilt, 0, 0), found[None])
            box = [[14.0, 27.0 + tilt]] if tilt not in blank else np.zeros((0, 2))
            size = [[9.0, 15.0]] if tilt not in blank else np.zeros((0, 2))
            write_boxes(boxes, tilt, np.array(box), np.array(size), np.ones(len(box)))
    return tomogram


def test_an_example_is_the_tilt_with_what_is_known_of_it(tmp_path: Path) -> None:
    loaders = tilt_loaders(Source(store(tmp_path / "a.zarr", blank=(0, 5)), ("thing",), PIXEL))
    assert [loader.tilt for loader in loaders] == [k for k in range(N) if k not in (0, 5)]
    example = loaders[3].load()  # tilt 4
    expected = np.zeros(SHAPE, np.uint8)
    expected[10:19, 24:39] = 1
    expected[50:] = expected[:, 80:] = IGNORED
    np.testing.assert_array_equal(example.target[0], expected)
    assert (example.image[expected == 1] < -2).all()
    assert (example.image[50:] == 0).all()
    assert abs(float(example.image[:50].std()) - 1) < 1e-5
    assert loaders[3].n_bytes == example.image.nbytes + example.target.nbytes
    assert set(map(tuple, example.places[0])) == set(zip(*np.nonzero(expected == 1), strict=True))


@pytest.mark.parametrize("wanted", [5.0, 12.5, 20.0])
def test_at_another_pixel_size_everything_lies_where_it_was(tmp_path: Path, wanted: float) -> None:
    source = Source(store(tmp_path / "a.zarr"), ("thing",), wanted)
    example = tilt_loaders(source, with_boxes=True)[4].load()
    assert example.image.shape == tuple(round(n * PIXEL / wanted) for n in SHAPE)
    factor = np.divide(example.image.shape, SHAPE)
    box = example.boxes[0]
    np.testing.assert_allclose(box.center[0], (np.array([14, 31]) + 0.5) * factor - 0.5, atol=1e-5)
    rows, columns = np.nonzero(example.target[0] == 1)
    middle = np.array([(rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2])
    assert np.abs(middle - box.center[0]).max() <= 0.75  # whole pixels
    dark = example.image < -1.5
    rows, columns = np.nonzero(dark)
    assert np.abs(np.array([rows.mean(), columns.mean()]) - box.center[0]).max() < 0.5
    assert (example.target[0][example.image == 0] != 1).all()


def test_nothing_marked_is_refused(tmp_path: Path) -> None:
    tomogram = store(tmp_path / "a.zarr", blank=tuple(range(N)))
    with pytest.raises(InputError, match="has nothing marked"):
        tilt_loaders(Source(tomogram, ("thing",), PIXEL))


def test_neighbours_of_what_is_held_out_are_in_neither_part(tmp_path: Path) -> None:
    loaders = tilt_loaders(Source(store(tmp_path / "a.zarr"), ("thing",), PIXEL))
    parts = split_examples([loaders])
    learnt, judged = ({x.tilt for x in part} for part in (parts.training, parts.validation))
    assert judged == set(range(min(judged), max(judged) + 1))
    assert not {k + d for k in judged for d in (-1, 0, 1)} & learnt
    assert len(learnt) + len(judged) == N - 2


def test_of_three_stores_the_last_is_held_out_and_named_ones_win() -> None:
    stores = [[replace_name(squares(k), f"{name} {k}") for k in range(3)] for name in "abc"]
    names = [loader.name for loader in split_examples(stores).validation]
    assert names == ["c 0", "c 1", "c 2"]
    given = split_examples(stores[:1], stores[2:])
    assert [loader.name for loader in given.training] == ["a 0", "a 1", "a 2"]
    assert [loader.name for loader in given.validation] == names


def replace_name(loader: object, name: str) -> object:
    return replace(loader, name=name)  # type: ignore[type-var]


@pytest.mark.parametrize("n", [4, 5, 41, 120])
def test_a_block_is_held_out_with_gaps(n: int) -> None:
    split = block_of(n)
    assert split.validation == tuple(range(split.validation[0], split.validation[-1] + 1))
    assert not {v + d for v in split.validation for d in (-1, 0, 1)} & set(split.training)
    assert len(split.validation) == max(1, round(0.2 * n))


def test_too_few_tilts_are_told() -> None:
    with pytest.raises(InputError, match=r"1 annotated tilts .* annotate more"):
        block_of(1)
    with pytest.raises(InputError, match="cannot be split such that both training and validation"):
        block_of(20, [0] * 10 + [5] + [0] * 9)


def test_blocks_of_a_volume_are_apart_and_hold_labels(tmp_path: Path) -> None:
    tomogram = Tomogram.create(tmp_path / "v.zarr")
    grid = VolumeGrid((24, 150, 90), PIXEL)
    geometry = TiltGeometry([-10, 0, 10], grid.shape[1:], PIXEL)
    with tomogram.series.stage({"step": "test"}) as staging:
        staging.describe(geometry=geometry.to_dict(), grid=grid.to_dict())
    values = np.random.default_rng(0).normal(50, 4, grid.shape).astype(np.float32)
    labels = np.zeros(grid.shape, np.uint32)
    labels[5:9, 20:140:15, 30:40] = 7
    values[:, :, 85:] = np.nan
    for unit, name, array in (
        ("reconstructions/wbp", "reconstruction", values),
        ("labels/thing", "labels", labels),
    ):
        with Unit(tomogram, unit).stage({"step": "test"}) as staging:
            level = create_levels(staging, name, grid, array.dtype, (64, 64, 64))[0]
            for brick in level.bricks():
                level.write(brick, array[tuple(slice(*w) for w in level.window(brick))])
    parts = block_loaders(Source(tomogram, ("thing",), PIXEL), "wbp")
    rows = [
        {y for x in part for y in range(*x.window[1])}
        for part in (parts.training, parts.validation)
    ]
    assert min(abs(a - b) for a in rows[0] for b in rows[1]) > 16
    for loader in (*parts.training, *parts.validation):
        example = loader.load()
        window = tuple(slice(*w) for w in loader.window)
        known = np.isfinite(values[window])
        expected = np.where(known, labels[window] > 0, IGNORED)
        np.testing.assert_array_equal(example.target[0], expected)
        np.testing.assert_allclose(
            example.image[known], (values[window][known] - loader.statistics.mean)
            / loader.statistics.deviation, atol=1e-4,
        )  # fmt: skip
    known = values[np.isfinite(values)]
    assert parts.training[0].statistics.mean == pytest.approx(float(known.mean()), rel=1e-5)
    assert parts.training[0].statistics.deviation == pytest.approx(float(known.std()), rel=1e-5)
    assert all(
        any((x.load().target == 1).any() for x in part)
        for part in (parts.training, parts.validation)
    )


def test_of_a_dose_symmetric_series_neighbours_by_angle_are_left_out(tmp_path: Path) -> None:
    tomogram = store(tmp_path / "a.zarr")
    angles = [0, 3, -3, -6, 6, 9, -9, -12, 12, 15, -15, -18]
    geometry = TiltGeometry([float(a) for a in angles], SHAPE, PIXEL)
    tomogram.label("thing").maps.remove()
    with tomogram.series.stage({"step": "other"}) as staging:
        staging.describe(geometry=geometry.to_dict(), grid=GRID.to_dict())
        create_stack(staging, "images", geometry, np.float32)
    with tomogram.label("thing").maps.stage({"step": "other"}) as staging:
        maps = create_stack(staging, "maps", geometry, np.uint8)
        create_boxes(staging, N)
        for tilt in range(N):
            maps.write((tilt, 0, 0), np.ones((1, *SHAPE), np.uint8))
    parts = split_examples([tilt_loaders(Source(tomogram, ("thing",), PIXEL))])
    learnt, judged = ({angles[x.tilt] for x in p} for p in (parts.training, parts.validation))
    assert min(abs(a - b) for a in learnt for b in judged) >= 6


def test_classes_may_be_annotated_on_different_tilts(tmp_path: Path) -> None:
    tomogram = store(tmp_path / "a.zarr", blank=tuple(range(6)))
    geometry = tomogram.geometry
    with tomogram.label("other").maps.stage({"step": "test"}) as staging:
        maps = create_stack(staging, "maps", geometry, np.uint8)
        create_boxes(staging, N)
        for tilt in range(N):
            found = np.full((1, *SHAPE), 2, np.uint8)
            if tilt < 6:
                found[:] = 0
                found[:, 20:30, 20:30] = 1
            maps.write((tilt, 0, 0), found)
    loaders = tilt_loaders(Source(tomogram, ("thing", "other"), PIXEL))
    assert len(loaders) == N
    assert all(loader.marked > 0 for loader in loaders)
    target = loaders[0].load().target
    assert (target[0] == IGNORED).all()
    assert (target[1][:50] < 2).all()

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tomodist.errors import StoreError
from tomodist.formats.zarr import ArrayHandle, Group
from tomodist.values.windows import brick_indices, brick_window

SHAPE, BRICK = (70, 130, 65), (64, 128, 64)
DIMS = ("z", "y", "x")


def shard(array: ArrayHandle, brick: tuple[int, ...]) -> Path:
    return Path(array.path, "c", *map(str, brick))


def fill(array: ArrayHandle, seed: int = 0) -> npt.NDArray[Any]:
    """Write random values brick by brick, and return them."""
    values = np.random.default_rng(seed).integers(0, 200, array.shape).astype(array.dtype)
    for brick in array.bricks():
        array.write(brick, values[tuple(slice(*w) for w in array.window(brick))])
    return values


def test_what_is_written_brick_by_brick_is_read_in_any_window(tmp_path: Path) -> None:
    array = Group(str(tmp_path)).create("a", SHAPE, np.uint8, dims=DIMS, brick=BRICK)
    values = fill(array)
    np.testing.assert_array_equal(array.read(), values)
    np.testing.assert_array_equal(array.read((60, 70)), values[60:])
    window = ((3, 66), (127, 130), (0, 65))
    np.testing.assert_array_equal(array.read(*window), values[3:66, 127:130])
    assert (array.shape, str(array.dtype), array.brick) == (SHAPE, "uint8", BRICK)


def test_one_brick_is_one_file(tmp_path: Path) -> None:
    array = Group(str(tmp_path)).create("a", SHAPE, np.uint8, dims=DIMS, brick=BRICK)
    assert array.missing() == array.bricks() == list(itertools.product((0, 1), (0, 1), (0, 1)))
    array.write((0, 1, 0), np.ones((64, 2, 64), np.uint8))
    files = [p for p in Path(array.path, "c").rglob("*") if p.is_file()]
    assert files == [shard(array, (0, 1, 0))]
    assert (0, 1, 0) not in array.missing()
    assert len(array.missing()) == 7


@pytest.mark.parametrize(("dtype", "empty"), [(np.uint8, 0), (np.float32, np.nan)], ids=str)
def test_a_brick_of_nothing_is_written_and_present(
    tmp_path: Path, dtype: type, empty: float
) -> None:
    """Else a rerun would make all empty bricks again."""
    array = Group(str(tmp_path)).create("a", (64, 64, 128), dtype, dims=DIMS, brick=(64, 64, 64))
    array.write((0, 0, 1), np.full((64, 64, 64), empty, dtype))
    assert array.missing() == [(0, 0, 0)]
    assert shard(array, (0, 0, 1)).stat().st_size > 0


def test_what_is_not_written_reads_as_nothing(tmp_path: Path) -> None:
    whole = Group(str(tmp_path)).create("a", (8, 8, 8), np.uint16, dims=DIMS, brick=(8, 8, 8))
    real = Group(str(tmp_path)).create("b", (8, 8, 8), np.float32, dims=DIMS, brick=(8, 8, 8))
    assert not whole.read().any()
    assert np.isnan(real.read()).all()


def test_a_file_of_size_0_is_missing(tmp_path: Path) -> None:
    array = Group(str(tmp_path)).create("a", SHAPE, np.uint8, dims=DIMS, brick=BRICK)
    fill(array)
    assert array.missing() == []
    shard(array, (1, 0, 1)).write_bytes(b"")
    assert array.missing() == [(1, 0, 1)]


@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.999], ids=["first", "early", "late", "last"])
def test_a_flipped_byte_is_noticed_and_its_array_named(tmp_path: Path, place: float) -> None:
    array = Group(str(tmp_path)).create("a", SHAPE, np.uint8, dims=DIMS, brick=BRICK)
    values = fill(array)
    file = shard(array, (0, 0, 0))
    data = bytearray(file.read_bytes())
    data[int(place * len(data))] ^= 0xFF
    file.write_bytes(data)
    with pytest.raises(StoreError, match=r"the stored data of window .*; remove ") as error:
        array.read()
    assert array.path in str(error.value)
    np.testing.assert_array_equal(array.read((64, 70)), values[64:])


@pytest.mark.parametrize("kept", [0.5, 0.99], ids=["half", "all but the end"])
def test_a_truncated_file_is_noticed(tmp_path: Path, kept: float) -> None:
    array = Group(str(tmp_path)).create("a", SHAPE, np.uint8, dims=DIMS, brick=BRICK)
    fill(array)
    file = shard(array, (0, 0, 0))
    file.write_bytes(file.read_bytes()[: int(kept * file.stat().st_size)])
    with pytest.raises(StoreError, match="damaged"):
        array.read()


@pytest.mark.parametrize("content", [None, "{}", "not json"], ids=["no file", "empty", "no json"])
def test_what_is_no_array_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "zarr.json").write_text(content)
    with pytest.raises(StoreError, match="is not a readable Zarr array") as error:
        ArrayHandle(str(tmp_path)).read()
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize(
    ("shape", "brick"),
    [((5,), (2,)), ((4, 6), (4, 3)), ((3, 4, 5), (2, 2, 2)), ((1, 1), (9, 9))],
    ids=str,
)
def test_bricks_cover_every_element_once(shape: tuple[int, ...], brick: tuple[int, ...]) -> None:
    n = np.zeros(shape, int)
    for index in brick_indices(shape, brick):
        n[tuple(slice(*w) for w in brick_window(index, brick, shape))] += 1
    assert np.unique(n).tolist() == [1]


@pytest.mark.parametrize(
    "values",
    [np.arange(5), np.array([1.5, np.nan]), np.zeros((0, 4))],
    ids=["integers", "reals", "nothing"],
)
def test_columns_survive(tmp_path: Path, values: npt.NDArray[Any]) -> None:
    dims = ["structure", "field"][: values.ndim]
    Group(str(tmp_path)).write_column("column", values, dims, {"units": "angstrom"})
    np.testing.assert_array_equal(ArrayHandle(str(tmp_path / "column")).read(), values)

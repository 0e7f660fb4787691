from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.geometries import reader
from tomodist.algorithms.lift.backproject import Votes, WeightedMean, lift_brick
from tomodist.algorithms.lift.windows import binary_windows, checked_map, linear_windows
from tomodist.errors import InputError
from tomodist.values.geometry import TiltGeometry, VolumeGrid

GEOMETRY = TiltGeometry([-20.0, 20.0], (6, 10), 10.0)
GRID = VolumeGrid((2, 6, 8), 10.0)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (np.array([[0, 255]], np.uint8), "255"),
        (np.array([[3]], np.uint16), "3"),
        (np.array([[-1, 1]], np.int8), "-1"),
        (np.array([[0.0, 1.0]], np.float32), "float32"),
        (np.array([[1j]]), "complex128"),
    ],
    ids=["0 and 255", "3", "negative", "float", "complex"],
)
def test_a_map_of_other_values_is_refused(values: npt.NDArray[Any], found: str) -> None:
    message = f"map of tilt 7 holds {found}; a binary map is bool, or uint8 .* use `maps > 0`"
    with pytest.raises(InputError, match=message):
        checked_map(values, 7)


@pytest.mark.parametrize("value", [255, 0.5], ids=["255", "float"])
def test_lifting_names_the_tilt_that_is_no_map(value: float) -> None:
    dtype = np.uint8 if value == 255 else np.float32
    maps: npt.NDArray[Any] = np.zeros((2, 6, 10), dtype)
    maps[1, 3, 5] = value
    tilt = "tilt 1 holds 255" if value == 255 else "tilt 0 holds float32"
    with pytest.raises(InputError, match=f"map of {tilt}"):
        lift_brick(Votes(GEOMETRY, GRID), reader(maps), (0, 0, 0), GRID.shape)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.uint16, np.int64])
def test_zeros_and_ones_of_any_whole_type_are_a_map(dtype: type) -> None:
    maps: npt.NDArray[Any] = np.ones((2, 6, 10), dtype)
    found = lift_brick(Votes(GEOMETRY, GRID), reader(maps), (0, 0, 0), GRID.shape)
    assert np.unique(found).tolist() == [2]


def test_unmeasured_pixels_mark_nothing() -> None:
    maps = np.full((2, 6, 10), 2, np.uint8)
    maps[0] = 1
    found = lift_brick(Votes(GEOMETRY, GRID), reader(maps), (0, 0, 0), GRID.shape)
    assert np.unique(found).tolist() == [1]


def test_nan_pixels_have_no_weight() -> None:
    images = np.full((2, 6, 10), np.nan, np.float32)
    images[0] = 3.0
    found = lift_brick(WeightedMean(GEOMETRY, GRID), reader(images), (0, 0, 0), GRID.shape)
    np.testing.assert_allclose(found, 3.0, rtol=1e-6)


def test_windows_read_no_more_than_the_brick_can_see() -> None:
    """Rows of the brick only, and columns from its edges plus a margin of two pixels."""
    read_rows, read_columns = [], []

    def read(_: int, rows: tuple[int, int], columns: tuple[int, int]) -> npt.NDArray[Any]:
        read_rows.append(rows)
        read_columns.append(columns)
        return np.zeros((rows[1] - rows[0], columns[1] - columns[0]), np.uint8)

    geometry, grid = TiltGeometry([0.0], (60, 100), 10.0), VolumeGrid((10, 60, 100), 10.0)
    matrices = geometry.matrices(grid)
    seen = binary_windows(read, [0], matrices, (0, 20, 40), (10, 30, 50), (60, 100))
    assert read_rows == [(20, 30)]
    (first, end) = read_columns[0]
    assert 37 <= first <= 39
    assert 51 <= end <= 53
    assert seen.images.shape == (1, 2, end - first + 1, 1)  # one block of 256 rows
    assert seen.origin.tolist() == [[20, first]]


@pytest.mark.parametrize(
    ("start", "stop"),
    [((0, 0, 0), (2, 3, 8)), ((0, 9, 0), (2, 12, 8)), ((0, 0, 30), (2, 3, 34))],
    ids=["partly above", "below", "beside"],
)
def test_what_lies_beyond_the_image_is_not_measured(
    start: tuple[int, int, int], stop: tuple[int, int, int]
) -> None:
    grid = VolumeGrid((2, 12, 34), 10.0)  # volume row y is image row y - 3
    matrices = GEOMETRY.matrices(grid)
    ones = np.ones((2, 6, 10), np.float32)
    seen, measured = linear_windows(reader(ones), [0, 1], matrices, start, stop, (6, 10))
    np.testing.assert_array_equal(seen.images, np.broadcast_to(measured, seen.images.shape))
    for k in range(seen.images.shape[2]):
        if not 0 <= seen.origin[0, 0] + k < 6 or start[2] == 30:
            assert not seen.images[:, :, k].any()
    whole = lift_brick(Votes(GEOMETRY, grid), reader(ones.astype(bool)), (0, 0, 0), grid.shape)
    part = lift_brick(Votes(GEOMETRY, grid), reader(ones.astype(bool)), start, stop)
    np.testing.assert_array_equal(part, whole[tuple(map(slice, start, stop))])


@pytest.mark.parametrize("dtype", ["f2", ">f4", ">i2", "u1", "f8"])
def test_grey_values_of_any_type_and_byte_order_are_backprojected(dtype: str) -> None:
    images = np.arange(2 * 6 * 10).reshape(2, 6, 10)
    mean = WeightedMean(GEOMETRY, GRID)
    expected = lift_brick(mean, reader(images.astype(np.float32)), (0, 0, 0), GRID.shape)
    found = lift_brick(mean, reader(images.astype(dtype)), (0, 0, 0), GRID.shape)
    np.testing.assert_array_equal(found, expected)


def test_values_that_float32_cannot_hold_are_not_measured() -> None:
    images = np.ones((2, 6, 10))
    images[0, 0, 4] = 1e39
    found = lift_brick(WeightedMean(GEOMETRY, GRID), reader(images), (0, 0, 0), GRID.shape)
    np.testing.assert_allclose(found, 1.0, rtol=1e-6)

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tomodist.algorithms.resample import aligned_shape, resample, resample_labels
from tomodist.errors import InputError
from tomodist.formats.imod.alignment import read_xf
from tomodist.formats.mrc.read import open_mrc

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

SHAPES = [(40, 56), (41, 55), (40, 55)]


def transform(
    degrees: float, dx: float = 0, dy: float = 0, scale: float = 1
) -> npt.NDArray[np.float64]:
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return np.array([[c, -s, dx], [s, c, dy]])


def spot(
    shape: tuple[int, int], row: float, column: float, sigma: float
) -> npt.NDArray[np.float32]:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    square = (rows - row) ** 2 + (columns - column) ** 2
    return np.exp(-square / (2 * sigma**2)).astype(np.float32)


def chiral(shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Three unequal smooth spots: equal to none of its rotations or mirrors."""
    h, w = shape
    return (
        spot(shape, 0.3 * h, 0.25 * w, 3)
        + 2 * spot(shape, 0.65 * h, 0.4 * w, 4)
        + 3 * spot(shape, 0.5 * h, 0.7 * w, 2.5)
    ).astype(np.float32)


def reference(
    image: npt.NDArray[np.float32], matrix: npt.NDArray[np.float64], shape: tuple[int, int]
) -> npt.NDArray[np.float64]:
    """Bilinear, pixel by pixel, straight from X' = A (X - Xc) + D + Xc'."""
    result = np.full(shape, np.nan)
    inverse = np.linalg.inv(matrix[:, :2])
    for row in range(shape[0]):
        for column in range(shape[1]):
            target = np.array([column - (shape[1] - 1) / 2, row - (shape[0] - 1) / 2])
            x, y = inverse @ (target - matrix[:, 2])
            x, y = x + (image.shape[1] - 1) / 2, y + (image.shape[0] - 1) / 2
            if 0 <= x <= image.shape[1] - 1 and 0 <= y <= image.shape[0] - 1:
                i, j = min(int(y), image.shape[0] - 2), min(int(x), image.shape[1] - 2)
                v, u = y - i, x - j
                result[row, column] = (
                    (1 - v) * ((1 - u) * image[i, j] + u * image[i, j + 1])
                    + v * ((1 - u) * image[i + 1, j] + u * image[i + 1, j + 1])
                )  # fmt: skip
    return result


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    "values", [(0, 2.5, -3.25), (30, 1, 2), (-94.3, -2, 4.5), (84, 0, 0, 1.1)], ids=str
)
def test_equals_the_slow_bilinear_reference(
    shape: tuple[int, int], values: tuple[float, ...]
) -> None:
    image, matrix = chiral(shape), transform(*values)
    target = aligned_shape(shape, matrix[None])
    found, expected = resample(image, matrix, target), reference(image, matrix, target)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    assert np.nanmax(np.abs(found - expected)) < 0.12  # how far bilinear flattens the sharpest peak
    other = resample(image, transform(*values) * [[1, 1, 1], [-1, -1, 1]], target)
    assert np.nanmax(np.abs(other - expected)) > 0.5  # a mirror would be seen


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("degrees", "turns"), [(90, -1), (-90, 1), (180, 2)])
def test_right_angles_move_pixels_and_lose_none(
    shape: tuple[int, int], degrees: float, turns: int
) -> None:
    image = np.random.default_rng(0).normal(100, 10, shape).astype(np.float32)
    matrix = transform(degrees)
    found = resample(image, matrix, aligned_shape(shape, matrix[None]))
    np.testing.assert_allclose(found, np.rot90(image, turns), rtol=1e-4)


def test_right_angle_turns_counter_clockwise_where_y_points_up() -> None:
    image = np.zeros((3, 5), np.float32)
    image[1, 4] = 1  # at +x of the centre
    found = resample(image, transform(90), (5, 3))
    assert np.argmax(found) == 4 * 3 + 1  # at +y


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_identity_is_a_copy(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    found = resample(image, np.eye(2, 3), shape)
    np.testing.assert_array_equal(found, image)
    assert not np.shares_memory(found, image)
    nearly = resample(image, np.eye(2, 3) + 1e-9, shape)  # the path that interpolates
    np.testing.assert_allclose(nearly, image, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("binning", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(128, 171), (131, 160)], ids=str)
@pytest.mark.parametrize("values", [(0, 0, 0), (17, 3.3, -2.7), (-85.5, -6.1, 4.4)], ids=str)
def test_spot_appears_where_the_transform_puts_it(
    shape: tuple[int, int], values: tuple[float, float, float], binning: int
) -> None:
    matrix = transform(*values)
    row, column = 55.3, 90.6
    image = spot(shape, row, column, 4)
    target = aligned_shape(shape, matrix[None], binning)
    found = resample(image, matrix, target, binning)
    raw = np.array([column - (shape[1] - 1) / 2, row - (shape[0] - 1) / 2])
    x, y = (matrix[:, :2] @ raw + matrix[:, 2]) / binning
    weights = np.nan_to_num(found).astype(np.float64)
    rows, columns = np.ogrid[: target[0], : target[1]]
    centroid = [(weights * rows).sum(), (weights * columns).sum()] / weights.sum()
    expected = [y + (target[0] - 1) / 2, x + (target[1] - 1) / 2]
    np.testing.assert_allclose(centroid, expected, atol=0.02)


def test_binning_is_the_area_mean() -> None:
    image = np.random.default_rng(1).normal(size=(7, 9)).astype(np.float32)
    found = resample(image, np.eye(2, 3), (2, 3), binning=3)
    # 7 rows leave 6 around the same centre: half a raw pixel off the grid, so interpolated
    assert found.shape == (2, 3)
    exact = resample(image[:6], np.eye(2, 3), (2, 3), binning=3)
    np.testing.assert_allclose(exact, image[:6].reshape(2, 3, 3, 3).mean(axis=(1, 3)), rtol=1e-5)
    constant = resample(np.full((7, 9), 5, np.float32), transform(10), (2, 3), binning=3)
    np.testing.assert_allclose(constant[np.isfinite(constant)], 5, rtol=1e-5)


def test_half_measured_pixels_are_kept_and_less_are_not() -> None:
    image = np.ones((4, 8), np.float32)
    image[:, 0] = image[:, 2] = np.nan  # half of the first and second block
    image[0, 3] = np.nan  # and one more pixel of the upper second block
    found = resample(image, np.eye(2, 3), (2, 4), binning=2)
    np.testing.assert_array_equal(np.isnan(found), [[False, True, False, False], [False] * 4])
    assert np.nanmin(found) == np.nanmax(found) == 1


def test_shift_out_of_the_field_leaves_it_unmeasured() -> None:
    image = np.ones((6, 8), np.float32)
    found = resample(image, transform(0, dx=3, dy=-2), (6, 8))
    expected = np.zeros((6, 8), bool)
    expected[:, :3] = expected[4:] = True
    np.testing.assert_array_equal(np.isnan(found), expected)
    assert np.isnan(resample(image, transform(0, dx=100), (6, 8))).all()


def test_unmeasured_raw_pixels_stay_so_and_spread_nothing() -> None:
    image = np.full((20, 30), 7, np.float32)
    image[5:9, 10:14] = np.nan
    found = resample(image, transform(0, dx=2), (20, 30))
    expected = np.zeros((20, 30), bool)
    expected[5:9, 12:16] = expected[:, :2] = True
    np.testing.assert_array_equal(np.isnan(found), expected)
    np.testing.assert_allclose(found[~expected], 7, rtol=1e-6)
    assert np.isnan(resample(np.full((4, 4), np.nan, np.float32), transform(5), (4, 4))).all()


def test_blocks_of_rows_give_the_same_image(monkeypatch: pytest.MonkeyPatch) -> None:
    image, matrix = chiral((60, 44)), transform(12, 1.5, -2)
    whole = resample(image, matrix, (30, 22), binning=2)
    monkeypatch.setattr("tomodist.algorithms.resample._PIXELS_AT_ONCE", 300)
    np.testing.assert_allclose(resample(image, matrix, (30, 22), binning=2), whole, atol=1e-6)


@pytest.mark.parametrize(
    ("degrees", "binning", "expected"),
    [
        (0, 1, (41, 57)),
        (44, 1, (41, 57)),
        (46, 1, (57, 41)),
        (-90, 4, (14, 10)),
        (134, 2, (28, 20)),
        (136, 2, (20, 28)),
        (180, 1, (41, 57)),
    ],
)
def test_aligned_shape(degrees: float, binning: int, expected: tuple[int, int]) -> None:
    transforms = np.stack([transform(degrees + d) for d in (-0.5, 0, 0.5)])
    assert aligned_shape((41, 57), transforms, binning) == expected


@pytest.mark.parametrize("binning", [0, -1, 42])
def test_impossible_binning(binning: int) -> None:
    with pytest.raises(InputError, match=rf"`binning` is {binning}; .* 1 to 41"):
        aligned_shape((41, 57), transform(0)[None], binning)


def test_real_image_goes_there_and_back(data_dir: Path) -> None:
    folder = data_dir / "empiar10499"
    transforms = read_xf(folder / "10499_bin2.xf")
    image = open_mrc(folder / "10499_bin2.mrc").read(20)
    assert aligned_shape((315, 326), transforms) == (315, 326)
    found = resample(image, transforms[20], (315, 326))
    assert 0.01 < np.isnan(found).mean() < 0.2
    back = np.linalg.inv(transforms[20, :, :2])
    inverse = np.column_stack([back, -back @ transforms[20, :, 2]])
    again = resample(found, inverse, (315, 326))
    core = np.s_[40:-40, 40:-40]
    assert np.corrcoef(again[core].ravel(), image[core].ravel())[0, 1] > 0.94
    moved = np.roll(image, 1, axis=1)  # what an error of one pixel would give
    assert np.corrcoef(again[core].ravel(), moved[core].ravel())[0, 1] < 0.7


# ------------------------------------------------------------------------------ label maps


def chiral_labels(shape: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Four classes in blocks of different sizes; equal to none of its rotations or mirrors."""
    h, w = shape
    labels = np.zeros(shape, np.uint8)
    labels[h // 8 : h // 2, w // 8 : w // 4] = 1
    labels[h // 4 : h // 3, w // 4 : w // 2] = 2
    labels[h // 2 : 7 * h // 8, w // 3 : 3 * w // 4] = 7
    labels[h // 5 : h // 4, w // 2 : 7 * w // 8] = 254
    return labels


def labels_reference(
    labels: npt.NDArray[np.uint8],
    matrix: npt.NDArray[np.float64],
    shape: tuple[int, int],
    binning: int,
) -> npt.NDArray[np.uint8]:
    """Pixel by pixel, straight from X' = A (X - Xc) + D + Xc'; blocks by counting."""
    full = (shape[0] * binning, shape[1] * binning)
    inverse, nearest = np.linalg.inv(matrix[:, :2]), np.full(full, 255, np.uint8)
    for row in range(full[0]):
        for column in range(full[1]):
            target = np.array([column - (full[1] - 1) / 2, row - (full[0] - 1) / 2])
            x, y = inverse @ (target - matrix[:, 2])
            x, y = x + (labels.shape[1] - 1) / 2, y + (labels.shape[0] - 1) / 2
            if (
                -1e-6 <= x <= labels.shape[1] - 1 + 1e-6
                and -1e-6 <= y <= labels.shape[0] - 1 + 1e-6
            ):
                nearest[row, column] = labels[int(np.floor(y + 0.5)), int(np.floor(x + 0.5))]
    result = np.full(shape, 255, np.uint8)
    for row, column in np.ndindex(shape):
        block = nearest[
            row * binning : (row + 1) * binning, column * binning : (column + 1) * binning
        ]
        counts = np.bincount(block[block != 255], minlength=1)
        if 2 * counts.sum() >= binning**2:
            result[row, column] = counts.argmax()
    return result


@pytest.mark.parametrize("binning", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    "values", [(0, 2.3, -3.1), (31, 1.2, 2.4), (-94.3, -2.1, 4.7), (84, 0.3, 0.1, 1.1)], ids=str
)
def test_labels_equal_the_slow_nearest_reference(
    shape: tuple[int, int], values: tuple[float, ...], binning: int
) -> None:
    labels, matrix = chiral_labels(shape), transform(*values)
    target = aligned_shape(shape, matrix[None], binning)
    found = resample_labels(labels, matrix, target, binning, unmeasured=255)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, labels_reference(labels, matrix, target, binning))
    assert set(np.unique(found)) <= {0, 1, 2, 7, 254, 255}  # none is made up
    mirrored = transform(*values) * [[1, 1, 1], [-1, -1, 1]]
    other = resample_labels(labels, mirrored, target, binning, unmeasured=255)
    assert (found != other).mean() > 0.1  # a mirror would be seen


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("degrees", "turns"), [(0, 0), (90, -1), (-90, 1), (180, 2)])
def test_right_angles_move_labels_and_lose_none(
    shape: tuple[int, int], degrees: float, turns: int
) -> None:
    labels, matrix = chiral_labels(shape), transform(degrees)
    found = resample_labels(labels, matrix, aligned_shape(shape, matrix[None]), unmeasured=255)
    np.testing.assert_array_equal(found, np.rot90(labels, turns))


@pytest.mark.parametrize("binning", [1, 2, 3, 4])
def test_labels_lie_where_grey_values_lie(binning: int) -> None:
    shape, matrix = (96, 131), transform(-17.3, 4.2, -3.6)
    mask = (spot(shape, 40.3, 70.2, 14) > 0.5).astype(np.uint8)
    target = aligned_shape(shape, matrix[None], binning)
    found = resample_labels(mask, matrix, target, binning, unmeasured=255) == 1
    grey = resample(mask.astype(np.float32), matrix, target, binning) > 0.5
    assert (found & grey).sum() / (found | grey).sum() > 0.97
    centroids = [np.argwhere(one).mean(axis=0) for one in (found, grey)]
    np.testing.assert_allclose(centroids[0], centroids[1], atol=0.1)

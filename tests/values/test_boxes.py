from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tomodist.errors import InputError
from tomodist.values.boxes import Boxes, boxes_of, fill, fill_disks


def one(center: tuple[float, float], size: tuple[float, float]) -> Boxes:
    return Boxes([center], [size], [1.0])


def reference(boxes: Boxes, shape: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    mask = np.zeros(shape, np.uint8)
    for (y, x), (h, w) in zip(boxes.center, boxes.size, strict=True):
        for i in range(shape[0]):
            for j in range(shape[1]):
                if y - h / 2 <= i < y + h / 2 and x - w / 2 <= j < x + w / 2:
                    mask[i, j] = 1
    return mask


def test_fill_is_its_definition_pixel_by_pixel() -> None:
    random = np.random.default_rng(0)
    boxes = Boxes(random.uniform(-3, 25, (40, 2)), random.uniform(1, 7, (40, 2)), np.ones(40))
    for k in range(40):
        single = boxes.select([k])
        np.testing.assert_array_equal(fill(single, (20, 23)), reference(single, (20, 23)))
    np.testing.assert_array_equal(fill(boxes, (20, 23)), reference(boxes, (20, 23)))


@pytest.mark.parametrize(
    ("center", "size", "pixels"),
    [
        (9.5, 4, [8, 9, 10, 11]),
        (10, 5, [8, 9, 10, 11, 12]),
        (10, 4, [8, 9, 10, 11]),  # 12.0 is left out: half-open
        (10.3, 0, [10]),
        (10.4, 0.5, [10]),
        (10.5, 0.2, [10]),
        (0, 4, [0, 1]),
        (19, 4, [17, 18, 19]),
        (-1, 2, []),
        (-1, 0, []),
        (21, 2, []),
    ],
)
def test_pixels_along_one_axis(center: float, size: float, pixels: list[int]) -> None:
    along_rows = fill(one((center, 3), (size, 1)), (20, 7))
    assert np.flatnonzero(along_rows[:, 3]).tolist() == pixels
    along_columns = fill(one((3, center), (1, size)), (7, 20))
    assert np.flatnonzero(along_columns[3]).tolist() == pixels


def test_disks_are_their_definition_pixel_by_pixel() -> None:
    random = np.random.default_rng(1)
    boxes = Boxes(random.uniform(-3, 25, (30, 2)), random.uniform(2, 9, (30, 2)), np.ones(30))
    rows, columns = np.mgrid[:20, :23]
    expected = np.zeros((20, 23), bool)
    for (y, x), (h, w) in zip(boxes.center, boxes.size, strict=True):
        expected |= ((rows - y) / (h / 2)) ** 2 + ((columns - x) / (w / 2)) ** 2 <= 1
    np.testing.assert_array_equal(fill_disks(boxes, (20, 23)), expected)


def test_small_disks_mark_their_nearest_pixel() -> None:
    assert np.argwhere(fill_disks(one((4.4, 6.6), (0.1, 0)), (9, 9))).tolist() == [[4, 7]]
    assert fill_disks(one((-4, 6), (1, 1)), (9, 9)).sum() == 0


def test_boxes_of_a_mask() -> None:
    mask = np.zeros((10, 12), np.uint8)
    mask[1:4, 2:6] = 1
    mask[4, 6] = 1  # touches at a corner: the same part
    mask[7:9, 9:12] = 1
    mask[8, 0] = 2  # not measured
    boxes = boxes_of(mask)
    np.testing.assert_array_equal(boxes.center, [[2.5, 4], [7.5, 10]])
    np.testing.assert_array_equal(boxes.size, [[4, 5], [2, 3]])
    np.testing.assert_allclose(boxes.score, [13 / 20, 1])


def test_filled_boxes_are_found_again() -> None:
    boxes = Boxes([[4, 5.5], [14.5, 20]], [[5, 4], [6, 9]], [1, 1])
    again = boxes_of(fill(boxes, (30, 30)))
    np.testing.assert_array_equal(again.center, boxes.center)
    np.testing.assert_array_equal(again.size, boxes.size)


@pytest.mark.parametrize("mask", [np.zeros((4, 5), bool), np.full((4, 5), 2, np.uint8)])
def test_nothing_in_nothing_out(mask: np.ndarray[Any, Any]) -> None:
    boxes = boxes_of(mask)
    assert len(boxes) == 0
    assert fill(boxes, (4, 5)).sum() == fill_disks(boxes, (4, 5)).sum() == 0


BAD: dict[str, tuple[tuple[Any, Any, Any], str]] = {
    "one size for two": (([[1, 1], [2, 2]], [[1, 1]], [1, 1]), "box size has shape (1, 2)"),
    "three columns": (([[1, 1, 1]], [[1, 1]], [1]), "box center has shape (1, 3)"),
    "no center": (([], [[1, 1]], [1]), "box center is empty"),
    "NaN": (([[np.nan, 1]], [[1, 1]], [1]), "box center holds a value that is not finite"),
    "inf score": (([[1, 1]], [[1, 1]], [np.inf]), "box score holds a value that is not finite"),
    "negative": (([[1, 1]], [[1, -2]], [1]), "box size is -2 pixels"),
}


@pytest.mark.parametrize("name", BAD)
def test_boxes_that_make_no_sense(name: str) -> None:
    arguments, message = BAD[name]
    with pytest.raises(InputError) as caught:
        Boxes(*arguments)
    assert message in str(caught.value)

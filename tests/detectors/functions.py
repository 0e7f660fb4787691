"""Functions and detectors of a user, as tests name them: tests.detectors.functions:..."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from tomodist.values.boxes import Boxes
from tomodist.values.maps import as_map

if TYPE_CHECKING:
    from tomodist.values.arrays import Image

not_callable = 3.0


def bright(image: Image, pixel_size: float) -> npt.NDArray[np.bool_]:
    return image > pixel_size / 10


def bright_map(image: Image, pixel_size: float) -> npt.NDArray[np.uint8]:
    found = (image > pixel_size / 10).astype(np.uint8)
    found[0, 0] = 2
    return found


def likely(image: Image, pixel_size: float) -> Image:
    return np.asarray(np.clip(image / np.float32(pixel_size), 0, 1), np.float32)


def likely_everywhere(image: Image, _: float) -> Image:
    """Like many filters: NaN spreads where nothing was measured, and only there."""
    return np.where(np.isfinite(image), np.float32(0.75), np.float32(np.nan))


def classes(image: Image, _: float) -> Image:
    known = np.nan_to_num(image)
    return np.stack([known * 0 + 0.9, known * 0 + 0.1, np.clip(known, 0, 1)])


def one_class(image: Image, pixel_size: float) -> Image:
    return likely(image, pixel_size)[None]


def boxes(image: Image, _: float) -> Boxes:
    peak = np.unravel_index(np.nanargmax(image), image.shape)
    return Boxes([peak], [[4, 6]], [np.nanmax(image)])


def rows(image: Image, pixel_size: float) -> npt.NDArray[np.float64]:
    found = boxes(image, pixel_size)
    return np.column_stack([found.center, found.size, found.score])


def no_rows(_: Image, __: float) -> npt.NDArray[np.float64]:
    return np.empty((0, 5))


def greedy(image: Image, _: float) -> npt.NDArray[np.bool_]:
    image[:] = 7  # it may do with its image what it likes
    return image > 5


def transposed(image: Image, pixel_size: float) -> npt.NDArray[np.bool_]:
    return bright(image, pixel_size).T


def integers(image: Image, _: float) -> npt.NDArray[np.int64]:
    return np.zeros(image.shape, np.int64)


def too_large(image: Image, _: float) -> npt.NDArray[np.uint8]:
    return np.full(image.shape, 255, np.uint8)


def logits(image: Image, _: float) -> Image:
    return np.nan_to_num(image) * 5


def blurred(image: Image, _: float) -> Image:
    return np.asarray(ndimage.gaussian_filter(image, 2), np.float32)


def a_list(_: Image, __: float) -> list[int]:
    return [1, 2]


def broken(_: Image, __: float) -> None:
    raise ZeroDivisionError("of its own")


def negative_boxes(_: Image, __: float) -> npt.NDArray[np.float64]:
    return np.array([[5, 5, -3, 3, 1.0]])


class Threshold:
    """A detector of masks as tomodist has them."""

    def __init__(self, level: float) -> None:
        self.level = level

    def __call__(self, image: Image, _: float) -> npt.NDArray[np.uint8]:
        return as_map(image > self.level, np.isfinite(image))

    def parameters(self) -> dict[str, Any]:
        return {"detector": "Threshold", "level": self.level}


detector = Threshold(1.5)
brighter = partial(bright)


def corners(image: np.ndarray, pixel_size: float) -> np.ndarray:  # noqa: ARG001
    """Boxes as (y0, x0, y1, x1, score), which is not what is asked for."""
    height, width = image.shape
    return np.array([[0.7 * height, 0.7 * width, 0.9 * height, 0.9 * width, 0.9]] * 3)


def flat_nothing(image: np.ndarray, pixel_size: float) -> np.ndarray:  # noqa: ARG001
    """An empty array."""
    return np.array([])


def empty_list(image: np.ndarray, pixel_size: float) -> list[float]:  # noqa: ARG001
    """An empty list."""
    return []

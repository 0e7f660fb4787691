"""Images as networks see them: zero mean and unit deviation of what was measured, without outliers.

One rule: training and detection normalise by the same functions, after resampling to the model's
pixel size (averaging takes noise away, so the deviation depends on it).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from skimage.transform import resize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.values.arrays import Float32Array


CLIP = 8.0  # standard deviations: gold beads have 5 to 8, hot pixels hundreds
SAME_SIZE = 0.02  # pixel sizes that differ by less, relatively, are the same: no resampling


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of what was measured."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, values: Float32Array) -> Statistics:
        """Statistics of an image or a volume; NaN = not measured. An empty one has (0, 1).

        What would be cut off (hot pixels) has no part in them.
        """
        known = values[np.isfinite(values)]
        if not known.size:
            return cls(0.0, 1.0)
        mean, deviation = float(known.mean(dtype=np.float64)), float(known.std(dtype=np.float64))
        # One round of clipping: hot pixels of hundreds of deviations would inflate the deviation.
        near = known[np.abs(known - mean) <= CLIP * deviation]
        return cls(float(near.mean(dtype=np.float64)), float(near.std(dtype=np.float64)))

    def normalised(self, values: Float32Array, clip: float = CLIP) -> Float32Array:
        """Values with zero mean and unit deviation, clipped.

        Parameters
        ----------
        values : ndarray, float32
            NaN = not measured.
        clip : float
            Largest absolute value of the result.

        Returns
        -------
        ndarray, float32
            0 where nothing was measured.
        """
        scale = 1.0 / self.deviation if self.deviation > 0 else 0.0
        result: Float32Array = (values - np.float32(self.mean)) * np.float32(scale)
        np.clip(result, -clip, clip, out=result)
        result[~np.isfinite(values)] = 0
        return result


def scaled_shape(shape: Sequence[int], size: float, new_size: float) -> tuple[int, ...]:
    """Shape of an array of pixels of `size` Å at pixels of `new_size` Å; the same if these agree.

    Parameters
    ----------
    shape : sequence of int
        Shape of the array.
    size, new_size : float
        Å per pixel, before and after; differences below 2 % are ignored.

    Returns
    -------
    tuple of int

    Examples
    --------
    >>> scaled_shape((100, 50), 10.0, 20.0), scaled_shape((100, 50), 10.0, 10.1)
    ((50, 25), (100, 50))
    """
    if abs(size - new_size) <= SAME_SIZE * new_size:
        return tuple(shape)
    return tuple(max(1, round(n * size / new_size)) for n in shape)


def rescaled(values: Float32Array, shape: Sequence[int]) -> Float32Array:
    """An array resampled to another shape over the same field, smoothed first where it shrinks.

    Linear; the outer edges of the first and the last pixel stay where they are.

    Parameters
    ----------
    values : ndarray, float32
        Finite values.
    shape : sequence of int
        New shape.

    Returns
    -------
    ndarray, float32
    """
    if tuple(shape) == values.shape:
        return values
    smaller = any(n < m for n, m in zip(shape, values.shape, strict=True))
    resized: Float32Array = resize(
        values, tuple(shape), order=1, mode="edge", anti_aliasing=smaller, preserve_range=True
    )
    return resized.astype(np.float32, copy=False)


def prepared(
    image: Float32Array, pixel_size: float, model_size: float, clip: float = CLIP
) -> Float32Array:
    """Image resampled to pixels of `model_size` Å and normalised for a network.

    Parameters
    ----------
    image : ndarray, shape (height, width), float32
        NaN = not measured.
    pixel_size : float
        Of the image, in Å.
    model_size : float
        Of the network, in Å.
    clip : float
        Values are cut off at so many standard deviations.

    Returns
    -------
    ndarray, float32
        Normalised; 0 where nothing was measured.

    Examples
    --------
    >>> prepared(np.array([[1, 3, np.nan]], np.float32), 10.0, 10.0)
    array([[-1.,  1.,  0.]], dtype=float32)
    """
    shape = scaled_shape(image.shape, pixel_size, model_size)
    if shape == image.shape:
        return Statistics.of(image).normalised(image, clip)
    measured = np.isfinite(image)
    level = np.float32(Statistics.of(image).mean)
    # Gaps get the mean before resampling, and are NaN again where most of a pixel was missing.
    smaller = rescaled(np.where(measured, image, level), shape)
    known = rescaled(measured.astype(np.float32), shape) > 0.5
    smaller[~known] = np.nan
    return Statistics.of(smaller).normalised(smaller, clip)

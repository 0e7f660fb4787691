"""Filters that know where an image was measured.

One rule: what was not measured (NaN, and beyond the image) has no weight. A smoothed value is
sum(weight · image) / sum(weight) over the measured pixels (normalised convolution), so a constant
stays constant up to every border and a border makes no edge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from tomodist.values.arrays import Image


_NORMAL_MAD = 1.4826  # standard deviation of a normal distribution / its MAD
_ROUNDING = 1e-5  # of the largest value of the image: contrast below is float32 rounding


def smooth(image: Image, sigma: float) -> Image:
    """Gaussian mean over the measured pixels.

    Parameters
    ----------
    image : ndarray, shape (height, width), float32
        NaN = not measured.
    sigma : float
        In pixels; 0 leaves the image as it is.

    Returns
    -------
    ndarray, shape (height, width), float32
        NaN where the image was not measured.

    Examples
    --------
    >>> smooth(np.array([[2, 2, np.nan, 2]], np.float32), 1.0)
    array([[ 2.,  2., nan,  2.]], dtype=float32)
    """
    measured = np.isfinite(image)
    if sigma <= 0 or not measured.any():
        return np.where(measured, image, np.float32(np.nan))
    level = np.float32(image[measured].mean(dtype=np.float64))  # small numbers round less
    total = _gaussian(np.where(measured, image - level, np.float32(0)), sigma)
    weight = _gaussian(measured.astype(np.float32), sigma)
    safe = np.where(measured, weight, np.float32(1))
    return np.where(measured, total / safe + level, np.float32(np.nan))


def difference_of_gaussians(image: Image, sigma: float, ratio: float, *, dark: bool) -> Image:
    """Smoothed by `sigma` less smoothed by `sigma` · `ratio`: positive on bright small things.

    Parameters
    ----------
    image : ndarray, shape (height, width), float32
        NaN = not measured.
    sigma : float
        Of the narrow Gaussian, in pixels.
    ratio : float
        Wide over narrow.
    dark : bool
        Change the sign: positive on dark small things.

    Returns
    -------
    ndarray, shape (height, width), float32
        NaN where the image was not measured.
    """
    narrow, wide = smooth(image, sigma), smooth(image, sigma * ratio)
    return wide - narrow if dark else narrow - wide


def has_contrast(response: Image, image: Image) -> bool:
    """Whether a filter's response is more than the rounding of the image that it came from.

    Parameters
    ----------
    response, image : ndarray, shape (height, width), float32
        NaN = not measured.

    Returns
    -------
    bool
    """
    values = image[np.isfinite(image)]
    responses = response[np.isfinite(response)]
    if not responses.size:
        return False
    return bool(np.ptp(responses) > _ROUNDING * np.abs(values).max())


def robust_score(response: Image) -> Image:
    """Deviation from the median in robust standard deviations (1.4826 MAD).

    Parameters
    ----------
    response : ndarray, shape (height, width), float32
        NaN = not measured; not constant.

    Returns
    -------
    ndarray, shape (height, width), float32
        -inf where it was not measured. Unchanged by gain and offset of the response.
    """
    measured = np.isfinite(response)
    values = response[measured]
    median = np.median(values)
    deviation = _NORMAL_MAD * np.median(np.abs(values - median))
    floor = _ROUNDING * np.ptp(values)  # more than half of the pixels may be equal
    score = (response - median) / np.float32(max(deviation, floor))
    return np.where(measured, score, np.float32(-np.inf))


def _gaussian(image: Image, sigma: float) -> Image:
    result: Image = ndimage.gaussian_filter(image, sigma, mode="constant")
    return result

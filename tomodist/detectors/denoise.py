"""Denoising of an image before a detector looks at it.

One rule: what was not measured takes no part. The methods of scikit-image (total variation,
non-local means, wavelets) know no missing pixels, so these are filled from the measured ones
around them (normalised convolution), and are NaN again afterwards. The strength follows the
image's own noise, so nothing has to be set.

Images that were resampled when they were aligned have noise that is alike in neighbouring pixels;
the estimate, which looks at the finest detail, is then too low, and so is the strength.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from scipy import ndimage
from skimage import restoration

from tomodist.detectors.filters import smooth
from tomodist.errors import InputError

if TYPE_CHECKING:
    from tomodist.detectors.base import BoxDetector, MapDetector
    from tomodist.values.arrays import AnyArray, BoolArray, Image, UInt8Array
    from tomodist.values.boxes import Boxes


Method = Literal["none", "gaussian", "tv", "nlm", "bilateral", "wavelet"]
METHODS: tuple[Method, ...] = get_args(Method)

_NORMAL_MAD = 1.4826  # standard deviation of a normal distribution / its MAD
_LAPLACIANS = np.outer((1, -2, 1), (1, -2, 1)).astype(np.float64)  # of white noise: 6 sigma
_WIDTHS = tuple(float(s) for s in np.round(0.5 * 2 ** (np.arange(10) / 2), 2))  # 0.5 .. 11 pixels
# Strengths in units of the noise.
_TV, _NLM, _BILATERAL = 1.0, 0.6, 3.0
_REACH = 2.0  # pixels: spatial sigma of the bilateral filter
_PATCH = {"patch_size": 5, "patch_distance": 7}
_FILL = (4.0, 32.0)  # pixels: what is not measured is filled from so far, then from farther


def noise_of(image: Image) -> float:
    """Standard deviation of white noise in an image, robust against what the image shows.

    Parameters
    ----------
    image : ndarray, shape (height, width), float32
        NaN = not measured.

    Returns
    -------
    float
        In the image's units; 0 if there are no 3 x 3 measured pixels anywhere.

    Notes
    -----
    The mixed second difference (1, -2, 1) ⊗ (1, -2, 1) vanishes on every slope and along straight
    edges of rows and columns; of white noise its standard deviation is 6 sigma [1]_. The median
    absolute value, not the mean, so that the few pixels on edges do not count.

    References
    ----------
    .. [1] J. Immerkær, "Fast noise variance estimation", Computer Vision and Image Understanding
       64, 300 (1996). https://doi.org/10.1006/cviu.1996.0060

    Examples
    --------
    >>> slope = np.add.outer(np.arange(200.0), np.arange(200.0)).astype(np.float32)
    >>> noise = np.random.default_rng(0).normal(0, 5, slope.shape).astype(np.float32)
    >>> noise_of(slope), round(noise_of(slope + noise), 1)
    (0.0, 5.1)
    """
    if min(image.shape) < 3:
        return 0.0
    difference = ndimage.convolve(image.astype(np.float64), _LAPLACIANS)[1:-1, 1:-1]
    known = difference[np.isfinite(difference)]
    return float(_NORMAL_MAD * np.median(np.abs(known)) / 6) if known.size else 0.0


def denoise(image: Image, method: Method) -> Image:
    """Remove noise from an image.

    Parameters
    ----------
    image : ndarray, shape (height, width), float32
        NaN = not measured.
    method : {"none", "gaussian", "tv", "nlm", "bilateral", "wavelet"}
        Gaussian whose width is that of the least estimated risk; total variation (Chambolle);
        non-local means; bilateral; wavelets (BayesShrink).

    Returns
    -------
    ndarray, shape (height, width), float32
        NaN where the image was not measured.

    Raises
    ------
    InputError
        If the method is unknown.

    Notes
    -----
    The width of the Gaussian K is the one with the least Stein's unbiased risk estimate,
    mean((y - K y)²) - s² + 2 s² K(0), of the noise s.

    Examples
    --------
    >>> image = np.full((20, 20), 3, np.float32)
    >>> image[:, 15:] = np.nan
    >>> found = denoise(image, "tv")
    >>> float(np.nanmin(found)), float(np.nanmax(found)), bool(np.isnan(found[0, 15]))
    (3.0, 3.0, True)
    """
    if method not in METHODS:
        raise InputError(f"`denoise` is {method!r}; it must be one of {', '.join(METHODS)}")
    measured = np.isfinite(image)
    noise = noise_of(image)
    if method == "none" or noise == 0:
        return image
    if method == "gaussian":
        return _least_risk(image, noise, measured)
    if method == "bilateral":
        return _bilateral(image, _BILATERAL * noise)
    level = np.float32(image[measured].mean(dtype=np.float64))
    scaled = (_filled(image, measured) - level) / np.float32(noise)  # noise is 1, mean about 0
    cleaned = _restored(scaled, method) * np.float32(noise) + level
    return np.where(measured, cleaned, np.float32(np.nan)).astype(np.float32)


def _restored(image: Image, method: Method) -> AnyArray:
    """Denoise an image without gaps whose noise is 1."""
    restored: AnyArray
    if method == "tv":
        restored = restoration.denoise_tv_chambolle(image, weight=_TV)
    elif method == "nlm":
        restored = restoration.denoise_nl_means(image, h=_NLM, sigma=1.0, **_PATCH)
    else:
        restored = restoration.denoise_wavelet(image, sigma=1.0, wavelet="sym4", mode="soft")
    return restored


def _least_risk(image: Image, noise: float, measured: BoolArray) -> Image:
    """Smoothed by the Gaussian of the least estimated risk; untouched if none lowers it."""
    best, least = image, noise**2
    for sigma in _WIDTHS:
        smoothed = smooth(image, sigma)
        change = float(np.mean((image - smoothed)[measured] ** 2, dtype=np.float64))
        # Stein's unbiased risk estimate of a linear filter, see `denoise`.
        risk = change - noise**2 + 2 * noise**2 * _own_weight(sigma)
        if risk < least:
            best, least = smoothed, risk
    return best


def _bilateral(image: Image, sigma: float) -> Image:
    """Mean of near pixels of like values, both by Gaussian weights; NaN has none.

    (scikit-image 0.26 has one whose table of spatial weights does not fit its window, because
    ``-win_size // 2`` rounds down: it weights the rim of the window and not its middle.)
    """
    reach = round(2 * _REACH)
    padded = np.pad(image, reach, constant_values=np.nan)
    total, weights = np.zeros(image.shape, np.float32), np.zeros(image.shape, np.float32)
    for dy, dx in np.ndindex(2 * reach + 1, 2 * reach + 1):
        near = padded[dy : dy + image.shape[0], dx : dx + image.shape[1]]
        apart = ((dy - reach) ** 2 + (dx - reach) ** 2) / _REACH**2
        weight = np.exp(-0.5 * (((near - image) / np.float32(sigma)) ** 2 + np.float32(apart)))
        known = np.isfinite(weight)
        total += np.where(known, weight * near, 0)
        weights += np.where(known, weight, 0)
    measured = np.isfinite(image)
    mean = total / np.where(measured, weights, np.float32(1))
    return np.where(measured, mean, np.float32(np.nan))


def _own_weight(sigma: float) -> float:
    """Weight of a pixel in its own Gaussian mean."""
    steps = np.arange(-int(4 * sigma + 0.5), int(4 * sigma + 0.5) + 1)
    return float(1 / np.exp(-0.5 * (steps / sigma) ** 2).sum() ** 2)


def _filled(image: Image, measured: BoolArray) -> Image:
    """Image with unmeasured pixels filled from measured ones nearby, or with their mean."""
    if measured.all():
        return image
    level = np.float32(image[measured].mean(dtype=np.float64))
    offset = np.where(measured, image - level, np.float32(0))
    filled = np.full(image.shape, level)
    # Far first: nearer values overwrite it where there are any.
    for sigma in reversed(_FILL):
        weight = ndimage.gaussian_filter(measured.astype(np.float32), sigma)
        total = ndimage.gaussian_filter(offset, sigma)
        known = weight > 1e-3
        filled[known] = total[known] / weight[known] + level
    return np.where(measured, image, filled)


@dataclass(frozen=True)
class Denoised:
    """Detector that is applied to denoised images.

    Parameters
    ----------
    detector : MapDetector or BoxDetector
        What looks at the image.
    method : {"none", "gaussian", "tv", "nlm", "bilateral", "wavelet"}
        How noise is removed; see `denoise`.

    Raises
    ------
    InputError
        If the method is unknown.
    """

    detector: MapDetector | BoxDetector
    method: Method

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(
                f"`denoise` is {self.method!r}; it must be one of {', '.join(METHODS)}"
            )

    def __call__(self, image: Image, pixel_size: float) -> Any:  # noqa: ANN401 -- Map or Boxes
        """Result of the detector for the denoised image: a map, or boxes."""
        detected: UInt8Array | Boxes = self.detector(denoise(image, self.method), pixel_size)
        return detected

    def parameters(self) -> dict[str, Any]:
        """Parameters of the detector, and the denoising method unless it is none."""
        parameters = self.detector.parameters()
        return parameters if self.method == "none" else {**parameters, "denoise": self.method}

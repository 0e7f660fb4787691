"""Detectors without training: edges, blobs and thresholds.

One rule: what they find does not change with gain and offset of the image, only with its
contrast: thresholds are fractions of a range or robust standard deviations.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.ndimage import maximum_filter
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu

from tomodist.detectors.filters import difference_of_gaussians, has_contrast, robust_score, smooth
from tomodist.detectors.peaks import keep_apart, refine_peaks
from tomodist.errors import InputError
from tomodist.values.boxes import Boxes
from tomodist.values.maps import as_map

if TYPE_CHECKING:
    import numpy.typing as npt

    from tomodist.values.arrays import BoolArray, Image, Map


_LOG_RATIO = 1.6  # a difference of Gaussians of this ratio is closest to the Laplacian of one
_WIDEST = 1000  # pixels; a Gaussian wider than that takes minutes
_LEAST_HALF = 4.0  # pixels: below that, half a blob is mostly noise and says nothing of its size
_RISE = 1.5  # response at half the diameter over that at the diameter: disk 0.2, one third 3


@dataclass(frozen=True)
class DogEdges:
    """Edges: where the difference of Gaussians is high between its minimum and maximum.

    Parameters
    ----------
    sigma : float
        Of the narrow Gaussian, in pixels.
    ratio : float
        Wide over narrow Gaussian.
    threshold : float
        Fraction of the way from the minimum to the maximum of the response, 0..1.
    dark : bool
        Find the dark side of edges, and dark lines; otherwise the bright one.
    clip : tuple of float, optional
        Percentiles to which the image is clipped first, so that a gold bead does not set the
        range for everything else.

    Raises
    ------
    InputError
        If a number makes no sense.

    Examples
    --------
    >>> image = np.zeros((5, 5), np.float32)
    >>> image[2, 1:4] = -1
    >>> DogEdges(sigma=0.5)(image, pixel_size=10.0)[2]
    array([0, 1, 1, 1, 0], dtype=uint8)
    """

    sigma: float = 1.5
    ratio: float = 1.6
    threshold: float = 0.7
    dark: bool = True
    clip: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        _check(self, "sigma", 0 < self.sigma <= _WIDEST, f"positive, at most {_WIDEST} pixels")
        _check(self, "ratio", self.ratio > 1, "more than 1")
        _check(self, "threshold", 0 < self.threshold < 1, "between 0 and 1")
        if self.clip is not None:
            low, high = self.clip
            _check(self, "clip", 0 <= low < high <= 100, "two rising percentiles")

    def __call__(self, image: Image, pixel_size: float) -> Map:  # noqa: ARG002 - sigma is in pixels
        """Detect in one image; see `tomodist.detectors.base.MapDetector`."""
        measured = np.isfinite(image)
        response = difference_of_gaussians(
            _clipped(image, measured, self.clip), self.sigma, self.ratio, dark=self.dark
        )
        if not has_contrast(response, image):
            return as_map(np.zeros_like(measured), measured)
        low, high = float(response[measured].min()), float(response[measured].max())
        return as_map(response > low + self.threshold * (high - low), measured)

    def parameters(self) -> dict[str, Any]:
        """Name and settings as plain values."""
        return _parameters(self)


@dataclass(frozen=True)
class Blobs:
    """Round objects of one size, such as gold beads: peaks of the Laplacian of Gaussian.

    Parameters
    ----------
    diameter : float
        In Å.
    dark : bool
        Darker than their surroundings; otherwise brighter.
    threshold : float
        Least height of a peak, in robust standard deviations of the response in the image. (Gold
        beads of 100 Å on EMPIAR-10499 have 7 to 25, peaks of its noise at most 5.2.)
    max_overlap : float
        Part of the diameter by which two objects may overlap; of nearer ones the higher is kept.
    min_roundness : float
        Least ratio of the two curvatures of a peak: 1 for a disk, 0 for a line or an edge. (Those
        beads have 0.3 to 1, noisy straight edges at most 0.1.)

    Raises
    ------
    InputError
        If a number makes no sense.

    Notes
    -----
    A disk of diameter d has its strongest response at sigma = d / (2 √2). The Laplacian is taken
    as a difference of Gaussians around that sigma, because Gaussian means can leave out what was
    not measured. A peak whose response is much higher at half the diameter belongs to something
    smaller (a gold bead among granules) and is dropped.
    """

    diameter: float
    dark: bool = True
    threshold: float = 6.0
    max_overlap: float = 0.3
    min_roundness: float = 0.2

    def __post_init__(self) -> None:
        _check(self, "diameter", self.diameter > 0, "a positive length in Å")
        _check(self, "threshold", self.threshold > 0, "positive")
        _check(self, "max_overlap", 0 <= self.max_overlap < 1, "at least 0 and below 1")
        _check(self, "min_roundness", 0 <= self.min_roundness <= 1, "between 0 and 1")

    def __call__(self, image: Image, pixel_size: float) -> Boxes:
        """Detect in one image; see `tomodist.detectors.base.BoxDetector`.

        Raises
        ------
        InputError
            If the objects are smaller than two pixels.
        """
        size = self.diameter_px(pixel_size)
        if size > max(image.shape):
            return Boxes.empty()
        response = _at_scale(image, size, dark=self.dark)
        if not has_contrast(response, image):
            return Boxes.empty()
        score = robust_score(response)
        peaks = peak_local_max(
            score, min_distance=1, threshold_abs=self.threshold, exclude_border=1
        )
        center, height, roundness = refine_peaks(score, peaks)
        of_this_size = self._of_this_size(image, size, response, peaks)
        good = np.flatnonzero((roundness >= self.min_roundness) & of_this_size)
        kept = good[keep_apart(center[good], height[good], size * (1 - self.max_overlap))]
        return Boxes(center[kept], np.full((len(kept), 2), size), height[kept])

    def diameter_px(self, pixel_size: float) -> float:
        """Diameter in pixels.

        Raises
        ------
        InputError
            If it is less than two.
        """
        size = self.diameter / pixel_size
        if size < 2:
            raise InputError(
                f"the diameter {self.diameter:g} Å is {size:.2g} pixels of {pixel_size:g} Å; blobs "
                "need at least 2 pixels: use images binned less, or a larger diameter"
            )
        return size

    def _of_this_size(
        self, image: Image, size: float, response: Image, peaks: npt.NDArray[np.intp]
    ) -> BoolArray:
        """Which peaks belong to objects of this size, not to much smaller ones."""
        if size / 2 < _LEAST_HALF:
            return np.ones(len(peaks), bool)
        # The response at half the diameter, maximum over 3 x 3: peaks move between scales.
        half = np.nan_to_num(_at_scale(image, size / 2, dark=self.dark))
        pixels = tuple(peaks.T)
        kept: BoolArray = maximum_filter(half, 3)[pixels] <= _RISE * response[pixels]
        return kept

    def parameters(self) -> dict[str, Any]:
        """Name and settings as plain values."""
        return _parameters(self)


@dataclass(frozen=True)
class GlobalThreshold:
    """Pixels beyond one grey value of the smoothed image.

    Parameters
    ----------
    threshold : float or "otsu"
        In robust standard deviations from the median, or the value that parts the histogram best.
    sigma : float
        Of the Gaussian smoothing before, in pixels; 0 for none.
    dark : bool
        Structures are darker than that value; otherwise brighter.

    Raises
    ------
    InputError
        If a number makes no sense.

    Examples
    --------
    >>> image = np.array([[9, 9, 8, 1, 9, np.nan]], np.float32)
    >>> GlobalThreshold("otsu", sigma=0)(image, pixel_size=10.0)
    array([[0, 0, 0, 1, 0, 2]], dtype=uint8)
    """

    threshold: float | Literal["otsu"] = "otsu"
    sigma: float = 1.0
    dark: bool = True

    def __post_init__(self) -> None:
        threshold = self.threshold
        known = threshold == "otsu" if isinstance(threshold, str) else math.isfinite(threshold)
        _check(self, "threshold", known, "a number or 'otsu'")
        _check(self, "sigma", 0 <= self.sigma <= _WIDEST, f"0 or more, at most {_WIDEST} pixels")

    def __call__(self, image: Image, pixel_size: float) -> Map:  # noqa: ARG002 - sigma is in pixels
        """Detect in one image; see `tomodist.detectors.base.MapDetector`."""
        measured = np.isfinite(image)
        smoothed = smooth(image, self.sigma)
        if not has_contrast(smoothed, image):
            return as_map(np.zeros_like(measured), measured)
        values = -smoothed if self.dark else smoothed
        if isinstance(self.threshold, str):
            return as_map(values > threshold_otsu(values[measured]), measured)
        return as_map(robust_score(values) > self.threshold, measured)

    def parameters(self) -> dict[str, Any]:
        """Name and settings as plain values."""
        return _parameters(self)


def _at_scale(image: Image, size: float, *, dark: bool) -> Image:
    """Scale-normalised response to disks of a diameter in pixels."""
    sigma = size / math.sqrt(8 * _LOG_RATIO)  # narrow one; their geometric mean is d / √8
    return difference_of_gaussians(image, sigma, _LOG_RATIO, dark=dark)


def _parameters(detector: DogEdges | Blobs | GlobalThreshold) -> dict[str, Any]:
    values = dataclasses.asdict(detector)
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
    return {"detector": type(detector).__name__, **plain}


def _check(detector: object, name: str, valid: bool, expected: str) -> None:  # noqa: FBT001
    if not valid:
        raise InputError(
            f"{type(detector).__name__}: {name} is {getattr(detector, name)!r}; "
            f"it must be {expected}"
        )


def _clipped(image: Image, measured: BoolArray, clip: tuple[float, float] | None) -> Image:
    if clip is None or not measured.any():
        return image
    low, high = np.percentile(image[measured], clip)
    return np.clip(image, low, high)

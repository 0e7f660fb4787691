"""Beads and other blobs that a detector should not see.

One rule: what is hidden was not measured, for filters as for votes: beside a hidden bead there is
no edge, and its place counts neither for nor against a structure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.errors import InputError

if TYPE_CHECKING:
    from tomodist.detectors.base import MapDetector
    from tomodist.detectors.classical import Blobs
    from tomodist.values.arrays import FloatArray, Image, Map


@dataclass(frozen=True)
class BeadsMasked:
    """Detector that ignores blobs of one size, such as gold beads among membranes.

    Parameters
    ----------
    detector : MapDetector
        What looks at the image.
    blobs : Blobs
        What finds the blobs.
    margin : float
        Diameter of the disk that is hidden, over that of the blobs: rims and fringes of a bead are
        as strong as a membrane.

    Raises
    ------
    InputError
        If the margin is not positive.
    """

    detector: MapDetector
    blobs: Blobs
    margin: float = 2.0

    def __post_init__(self) -> None:
        if not self.margin > 0:
            raise InputError(f"`margin` is {self.margin}; it must be positive")

    def __call__(self, image: Image, pixel_size: float) -> Map:
        """Detect in one image; the map is 2 (not measured) where blobs are hidden."""
        beads = self.blobs(image, pixel_size)
        radius = self.margin * self.blobs.diameter_px(pixel_size) / 2
        return self.detector(without_disks(image, beads.center, radius), pixel_size)

    def parameters(self) -> dict[str, Any]:
        """Parameters of the detector and of the bead mask."""
        hidden = {**self.blobs.parameters(), "margin": self.margin}
        return {**self.detector.parameters(), "hidden": hidden}


def without_disks(image: Image, centers: FloatArray, radius: float) -> Image:
    """Copy of an image with disks set to not measured.

    Parameters
    ----------
    image : ndarray, shape (height, width), float32
        NaN = not measured.
    centers : ndarray, shape (n, 2), float64
        Row and column of their centres, in pixels.
    radius : float
        In pixels.

    Returns
    -------
    ndarray, shape (height, width), float32

    Examples
    --------
    >>> without_disks(np.ones((3, 5), np.float32), np.array([[1.0, 1.0]]), 1.0)
    array([[ 1., nan,  1.,  1.,  1.],
           [nan, nan, nan,  1.,  1.],
           [ 1., nan,  1.,  1.,  1.]], dtype=float32)
    """
    hidden = image.copy()
    for center in centers:
        low = np.maximum(np.floor(center - radius).astype(int), 0)
        high = np.minimum(np.ceil(center + radius).astype(int) + 1, image.shape)
        rows, columns = (np.arange(a, b) for a, b in zip(low, high, strict=True))
        apart = (rows[:, None] - center[0]) ** 2 + (columns - center[1]) ** 2
        hidden[low[0] : high[0], low[1] : high[1]][apart <= radius**2] = np.nan
    return hidden

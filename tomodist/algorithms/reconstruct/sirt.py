"""SIRT: the simultaneous iterative reconstruction technique, as two steps that a run repeats.

    x <- x + C A^T R (b - A x)

with A the projection by the linear rule, R = 1 / (ray sums of A), and C = 1 / (column sums of A^T).
A^T with C is the weighted mean of `tomodist.algorithms.lift.backproject`, which divides by the
weights of the tilts that see a voxel; so one step projects (`Sirt.residual`), the other takes a
mean and adds it. Rays that cross less than half a voxel of the volume, and unmeasured pixels, are
left out of A.

The background
--------------
A x = b can hold only where b is 0 without specimen, as in HAADF-STEM or a simulation. The images of
a cryo series have a mean of counts instead, which is no density; it is the same at 0 and at 60
degrees where images were normalised, while any slab is twice as thick at 60; and their fields show
specimen beyond the volume. Left in, it would fill the volume with a cushion that all iterations
struggle with. So by default each image's own mean is subtracted, and densities are deviations from
the mean, with the sign of the images: what is dark in them is dark in the volume.

References
----------
P. Gilbert, J. Theor. Biol. 36, 105-117 (1972). J. Gregor and T. Benson, Computational analysis and
improvement of SIRT, IEEE Trans. Med. Imaging 27, 918-924 (2008), doi:10.1109/TMI.2008.923696.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tomodist.algorithms.lift.backproject import WeightedMean
from tomodist.algorithms.lift.project import project_tile
from tomodist.algorithms.reconstruct.views import views_of
from tomodist.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tomodist.algorithms.lift.project import ReadVolume, Window
    from tomodist.algorithms.lift.windows import Range
    from tomodist.values.arrays import FloatArray, Image
    from tomodist.values.geometry import TiltGeometry, VolumeGrid

Background = Literal["mean", "none"]
MOST = 1000  # iterations
_LARGEST_VOXEL = 1.5  # pixels
_CROSSED = 0.5  # voxels: a ray that crosses less says nothing


@dataclass(frozen=True)
class Sirt:
    """How a volume is fitted to a tilt series.

    Parameters
    ----------
    geometry : TiltGeometry
        Of the images.
    grid : VolumeGrid
        Of the volume.
    iterations : int
        How many.
    non_negative : bool
        Set negative densities to 0 after each iteration.
    background : {"mean", "none"}
        What is subtracted from each image.

    Raises
    ------
    InputError
        If there is not at least one iteration, the background is unknown, negative densities are
        forbidden although the mean is subtracted, or voxels are larger than 1.5 pixels.
    """

    geometry: TiltGeometry
    grid: VolumeGrid
    iterations: int = 20
    non_negative: bool = False
    background: Background = "mean"

    def __post_init__(self) -> None:
        if not 1 <= self.iterations <= MOST:
            raise InputError(f"`iterations` is {self.iterations}; it must be 1 to {MOST}")
        if self.background not in ("mean", "none"):
            raise InputError(f"`background` is {self.background!r}; it must be mean or none")
        if self.non_negative and self.background == "mean":
            raise InputError(
                "`non_negative` would remove everything below the mean, because `background` is "
                "mean; set `background` to none (if 0 in the images means no specimen)"
            )

        if self._voxel_area.max() > _LARGEST_VOXEL**2:
            raise InputError(
                f"voxels are {math.sqrt(self._voxel_area.max()):.3g} pixels wide, but SIRT "
                f"supports at most {_LARGEST_VOXEL}, because larger voxels miss pixels that they "
                "cover; bin the images first"
            )

    @property
    def lifting(self) -> WeightedMean:
        """C A^T."""
        return WeightedMean(self.geometry, self.grid)

    def parameters(self) -> dict[str, Any]:
        """Method and settings as plain values."""
        return {
            "method": "sirt",
            "iterations": self.iterations,
            "non_negative": self.non_negative,
            "background": self.background,
        }

    def project(
        self, read: ReadVolume, windows: Iterable[Window], tilts: Sequence[int], rows: Range
    ) -> Image:
        """Project: A x of some rows of some tilts, in densities times voxels of path.

        Parameters
        ----------
        read : callable
            ``read(z_range, y_range, x_range)`` gives those voxels; NaN counts as 0.
        windows, tilts, rows
            As for `tomodist.algorithms.lift.project.project_tile`.

        Returns
        -------
        ndarray, shape (len(tilts), n_rows, width), float32
        """

        def finite(*window: Range) -> Image:
            return np.nan_to_num(read(*window), copy=False)

        sums = project_tile("sum", self.geometry, self.grid, finite, windows, tilts, rows)
        sums *= self._voxel_area[list(tilts), None, None]
        return sums

    def ray_sums(self, windows: Iterable[Window], tilts: Sequence[int], rows: Range) -> Image:
        """Path length of every ray in the volume, in voxels: A applied to ones.

        Parameters and result as for `Sirt.project`.
        """

        def ones(*window: Range) -> Image:
            return np.ones([end - first for first, end in window], np.float32)

        return self.project(ones, windows, tilts, rows)

    def residual(self, images: Image, projected: Image, ray_sums: Image) -> tuple[Image, float]:
        """Compare: R (b - A x), and how large b - A x is.

        Parameters
        ----------
        images : ndarray, float32
            b, its background subtracted; NaN where nothing is measured.
        projected, ray_sums : ndarray, float32
            A x and A 1, of the same shape.

        Returns
        -------
        ndarray, float32
            NaN for rays that say nothing. `projected` is overwritten.
        float
            sum of (b - A x)^2 / (A 1): the norm in which SIRT descends.
        """
        difference = np.subtract(images, projected, out=projected)
        # Rays through a corner have tiny ray sums, whose quotients would be noise.
        known = np.isfinite(difference) & (ray_sums >= _CROSSED)
        normalised = np.full(difference.shape, np.nan, np.float32)
        np.divide(difference, ray_sums, out=normalised, where=known)
        np.multiply(difference, normalised, out=difference, where=known)
        return normalised, float(np.sum(difference, where=known, dtype=np.float64))

    def improve(self, volume: Image, correction: Image) -> Image:
        """Add C A^T R (b - A x) to x, in place; NaN where no tilt sees a voxel.

        Parameters
        ----------
        volume, correction : ndarray, shape (nz, ny, nx), float32
            x, and the mean of the residual images.

        Returns
        -------
        ndarray
            `volume`.
        """
        volume += correction
        return np.maximum(volume, 0, out=volume) if self.non_negative else volume

    @functools.cached_property
    def _voxel_area(self) -> FloatArray:
        """Pixels that the shadow of a voxel covers; the linear rule spreads 1 over them."""
        area: FloatArray = views_of(self.geometry.matrices(self.grid)).scale ** 2
        return area.astype(np.float32)

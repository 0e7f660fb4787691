"""Weighted backprojection: filtered images, and the weighted mean that they become.

One rule: the volume is the weighted mean of the filtered images over the tilts that see a voxel,
so the factor that turns this mean into densities is put into the filter. With tilts of angular
density w (radians), f = sum_t w_t q_t = (sum_t w_t) mean_w(q_t): the images q are filtered by the
ramp times sum_t w_t. A voxel that fewer tilts see (at the borders of the field) so keeps its
density.

Densities come in the units of an image value per voxel of path. The sign is that of the images:
what is dark in them is dark in the volume. A constant added to an image changes nothing.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tomodist.algorithms.lift.backproject import WeightedMean
from tomodist.algorithms.reconstruct.ramp import exact, filter_image, low_pass, padded_length, ramp
from tomodist.algorithms.reconstruct.views import Views, angular_density, views_of
from tomodist.errors import InputError

if TYPE_CHECKING:
    from tomodist.values.arrays import FloatArray, Image
    from tomodist.values.geometry import TiltGeometry, VolumeGrid

FilterKind = Literal["ramp", "exact"]


@dataclass(frozen=True)
class WeightedBackprojection:
    """How a tilt series is filtered and backprojected.

    Parameters
    ----------
    geometry : TiltGeometry
        Of the images.
    grid : VolumeGrid
        Of the volume.
    cutoff, falloff : float
        Low-pass, in cycles per pixel: see `tomodist.algorithms.reconstruct.ramp.low_pass`.
    filter_kind : {"ramp", "exact"}
        The ramp, with the tilts weighted by their angular density; or the filter of Harauz and van
        Heel, which weighs every frequency of every tilt by its overlap with the other tilts.

    Raises
    ------
    InputError
        If cutoff or falloff is out of range, or the filter is unknown.
    """

    geometry: TiltGeometry
    grid: VolumeGrid
    cutoff: float = 0.35
    falloff: float = 0.035
    filter_kind: FilterKind = "ramp"

    def __post_init__(self) -> None:
        if not 0 < self.cutoff <= 0.5:
            raise InputError(
                f"the cutoff of `radial` is {self.cutoff:g}; it must be above 0 and at most 0.5 "
                "cycles per pixel"
            )
        if not 0 <= self.falloff < math.inf:
            raise InputError(
                f"the falloff of `radial` is {self.falloff:g}; it must be a finite number, 0 or "
                "more, in cycles per pixel"
            )
        if self.filter_kind not in ("ramp", "exact"):
            raise InputError(f"`filter_kind` is {self.filter_kind!r}; it must be ramp or exact")

    @functools.cached_property
    def views(self) -> Views:
        """How the tilts look at the volume."""
        return views_of(self.geometry.matrices(self.grid))

    @functools.cached_property
    def lifting(self) -> WeightedMean:
        """How filtered images become the volume."""
        weights = angular_density(self.views.angle)
        if self.filter_kind == "exact":
            weights = np.ones(len(weights))
        return WeightedMean(self.geometry, self.grid, tuple(weights.tolist()))

    @property
    def row_wise(self) -> bool:
        """Whether rows are filtered one by one: the tilt axis is vertical in all images."""
        return bool(np.all(self.views.direction[:, 0] == 0))

    def parameters(self) -> dict[str, Any]:
        """Method and settings as plain values."""
        return {
            "method": "wbp",
            "cutoff": self.cutoff,
            "falloff": self.falloff,
            "filter": self.filter_kind,
        }

    def filtered(self, tilt: int, image: Image) -> Image:
        """Filter an image; where `row_wise` is true, any of its rows.

        Parameters
        ----------
        tilt : int
            Which image it is.
        image : ndarray, shape (height, width), float32
            NaN where nothing is measured.

        Returns
        -------
        ndarray, shape (height, width), float32
            In densities; NaN where `image` is.
        """
        direction = self.views.direction[tilt]
        height, width = self.geometry.image_shape
        along = {0.0: width, 1.0: height}.get(abs(float(direction[0])), max(height, width))
        n = padded_length(along)
        known = np.arange(3 * n // 4) / n  # to sqrt(1/2), the corner of an image's transform
        factors = self._factors(tilt, known, n)
        return filter_image(
            image, lambda frequency: np.interp(frequency, known, factors), direction
        )

    def _factors(self, tilt: int, frequency: FloatArray, n: int) -> FloatArray:
        passed: FloatArray = low_pass(frequency, self.cutoff, self.falloff)
        if self.filter_kind == "ramp":
            passed *= ramp(frequency, n)
            # The lifting divides by the sum of the weights (a mean); the filter multiplies by it.
            passed *= sum(self.lifting.weights or ()) * self.views.scale[tilt]
            return passed
        thickness = self.grid.shape[0] * self.views.scale[tilt]
        weight = exact(frequency, self.views.angle, tilt, thickness)
        passed *= weight * (self.geometry.n_tilts / self.grid.shape[0])
        return passed

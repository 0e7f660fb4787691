"""A microscope for scenes: from an exact projection to a camera image.

One rule: an image is a pure function of (scene, geometry, tilt, acquisition). Random numbers come
from a stream of their own for every (seed, tilt, purpose), so any order, process or subset of
tilts gives the same pixels. Every effect is optional, and dense structures come out dark.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from tomodist.errors import InputError
from tomodist.simulate.projection import project_scene

if TYPE_CHECKING:
    from tomodist.simulate.ctf import Ctf
    from tomodist.simulate.scene import Scene
    from tomodist.values.arrays import Float32Array, FloatArray
    from tomodist.values.geometry import TiltGeometry

_NOISE, _JITTER = 0, 1  # purposes of random streams
_MOST_TILTS = 10_000


@dataclass(frozen=True)
class TiltScheme:
    """Evenly spaced tilt angles.

    Parameters
    ----------
    start, stop, step : float
        In degrees; `stop` is reached if a whole number of steps leads to it.

    Raises
    ------
    InputError
        If the step is zero or leads away from `stop`.

    Examples
    --------
    >>> TiltScheme(-60, 60, 30).angles
    (-60.0, -30.0, 0.0, 30.0, 60.0)
    """

    start: float
    stop: float
    step: float

    def __post_init__(self) -> None:
        if self.step == 0 or not 0 <= (self.stop - self.start) / self.step < math.inf:
            raise InputError(f"the step does not lead from start to stop: {self}")
        if (self.stop - self.start) / self.step > _MOST_TILTS:
            raise InputError(
                f"more than {_MOST_TILTS} tilts from start to stop: {self}; use a larger step"
            )

    @property
    def angles(self) -> tuple[float, ...]:
        """Angles in degrees, in order."""
        n = math.floor((self.stop - self.start) / self.step + 1e-9) + 1
        return tuple(float(self.start + k * self.step) for k in range(n))


@dataclass(frozen=True)
class Acquisition:
    """Effects of the microscope on a projection; by default none.

    Parameters
    ----------
    dose : float, optional
        Of the whole series, in electrons/Å², shared evenly by the tilts, with Poisson noise. None
        is free of noise: images are then the transmitted fraction.
    read_noise : float
        Of the camera, in electrons per pixel (rms); needs a dose.
    ctf : Ctf, optional
        None is pure absorption.
    jitter : float
        Root mean square length of a random shift of each image of which the geometry knows
        nothing, in Å.
    supersample : int
        Rays per pixel along each axis.
    seed : int
        Of all random numbers, 0 or more.

    Raises
    ------
    InputError
        If a number is negative or not finite, `supersample` below 1, or there is read noise without
        a dose.

    Examples
    --------
    >>> from tomodist.values.geometry import TiltGeometry
    >>> geometry = TiltGeometry([-3, 0, 3], image_shape=(40, 51), pixel_size=10.0)
    >>> Acquisition(dose=120).counts(geometry)
    4000.0
    """

    dose: float | None = None
    read_noise: float = 0.0
    ctf: Ctf | None = None
    jitter: float = 0.0
    supersample: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        numbers = (self.dose or 0.0, self.read_noise, self.jitter, self.seed)
        if not all(0 <= v < math.inf for v in numbers):
            raise InputError(
                "`dose`, `read_noise`, `jitter` and `seed` must be finite and 0 or more; found "
                f"{self}"
            )
        if self.supersample < 1:
            raise InputError(f"`supersample` must be 1 or more; found {self.supersample}")
        if self.dose is None and self.read_noise > 0:
            raise InputError("`read_noise` is in electrons, so it needs a `dose`; set it")

    def counts(self, geometry: TiltGeometry) -> float:
        """Expected electrons per pixel where there is no matter; 1 without a dose."""
        if self.dose is None:
            return 1.0
        return self.dose / geometry.n_tilts * geometry.pixel_size**2

    def misalignment(self, tilt: int) -> FloatArray:
        """Random shift of an image: (y, x) in Å, shape (2,), float64."""
        scale = self.jitter / math.sqrt(2)
        return self._random(tilt, _JITTER).normal(0.0, scale, size=2)

    def true_geometry(self, geometry: TiltGeometry) -> TiltGeometry:
        """True geometry of the images, with the misalignment that the user does not know.

        Parameters
        ----------
        geometry : TiltGeometry
            The geometry that the user gets.

        Returns
        -------
        TiltGeometry
            With each tilt's `misalignment` added to its shifts.
        """
        moves = np.stack([self.misalignment(t) for t in range(geometry.n_tilts)], axis=1)
        shift_y, shift_x = np.array([geometry.shift_y, geometry.shift_x]) + moves
        return dataclasses.replace(geometry, shift_y=shift_y.tolist(), shift_x=shift_x.tolist())

    def _random(self, tilt: int, purpose: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(tilt, purpose)))


def acquire(
    scene: Scene, geometry: TiltGeometry, tilt: int, acquisition: Acquisition | None = None
) -> Float32Array:
    """Take one image of a tilt series.

    Parameters
    ----------
    scene : Scene
        The specimen.
    geometry : TiltGeometry
        Of the series, as the user gets it.
    tilt : int
        Index of the tilt.
    acquisition : Acquisition, optional
        Effects; by default none.

    Returns
    -------
    ndarray, shape (height, width), float32
        Electrons per pixel, or without a dose the transmitted fraction.

    Raises
    ------
    InputError
        If there is no such tilt.

    Notes
    -----
    With P the projection and N0 the electrons that arrive in a pixel, the expected counts are
    N0 · exp(-P) without a CTF, and N0 · max(0, 1 + CTF * P) with it (weak phase approximation).

    Examples
    --------
    >>> from tomodist.values.geometry import TiltGeometry
    >>> from tomodist.simulate import hollow_sphere
    >>> geometry = TiltGeometry([0, 30], image_shape=(64, 64), pixel_size=10.0)
    >>> image = acquire(hollow_sphere(200, 30, 1e-3), geometry, 1, Acquisition(dose=100, seed=3))
    >>> bool(image[32, 32] < image[:5, :5].mean())  # counts are lower behind matter
    True
    """
    acquisition = acquisition or Acquisition()
    true = acquisition.true_geometry(geometry)
    if acquisition.ctf is None:
        image = np.exp(-project_scene(scene, true, tilt, supersample=acquisition.supersample))
    else:
        image = _phase_contrast(scene, true, tilt, acquisition.ctf, acquisition.supersample)
    if acquisition.dose is None:
        return image
    random = acquisition._random(tilt, _NOISE)
    electrons = random.poisson(image.astype(np.float64) * acquisition.counts(geometry))
    return (electrons + random.normal(0, acquisition.read_noise, image.shape)).astype(np.float32)


def _phase_contrast(
    scene: Scene, geometry: TiltGeometry, tilt: int, ctf: Ctf, supersample: int
) -> Float32Array:
    """Image with phase contrast; a wider field is filtered, so that its border is correct."""
    # Contrast spreads by defocus: what lies just beyond the field reaches into it.
    margin = math.ceil(ctf.reach(geometry.pixel_size) / geometry.pixel_size) + 8
    height, width = geometry.image_shape
    wide = _widened(geometry, margin)
    projection = project_scene(scene, wide, tilt, supersample=supersample)
    contrast = ctf.apply(projection, geometry.pixel_size)
    inner = contrast[margin : margin + height, margin : margin + width]
    return np.maximum(1 + inner, np.float32(0))


def _widened(geometry: TiltGeometry, margin: int) -> TiltGeometry:
    """Add `margin` pixels on every side, and more after the end to reach sizes of a fast FFT."""
    height, width = (scipy.fft.next_fast_len(n + 2 * margin) for n in geometry.image_shape)
    row, column = geometry.image_center or (0.0, 0.0)  # never None once constructed
    center = (row + margin, column + margin)
    return dataclasses.replace(geometry, image_shape=(height, width), image_center=center)

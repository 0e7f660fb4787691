"""The contrast transfer function of the microscope.

One rule: CTF(0) = -amplitude_contrast. The function multiplies the projection of the density
(positive where matter is), so matter comes out dark at low resolution, as on the camera, and
underfocus (positive `defocus`) keeps it dark up to the first zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import scipy.fft

from tomodist.errors import InputError

if TYPE_CHECKING:
    from tomodist.values.arrays import Float32Array, FloatArray


@dataclass(frozen=True)
class Ctf:
    """Contrast transfer without astigmatism or envelope.

    Parameters
    ----------
    defocus : float
        In Å; positive is underfocus.
    voltage : float
        In kV.
    cs : float
        Spherical aberration, in mm.
    amplitude_contrast : float
        Fraction A, 0..1: so much of their contrast do wide flat areas keep, fine detail nearly all.

    Raises
    ------
    InputError
        If the voltage is not positive, or the amplitude contrast not within 0..1.

    Notes
    -----
    CTF(k) = -sqrt(1 - A²) sin χ(k) - A cos χ(k), with
    χ(k) = π λ k² (defocus - λ² k² cs / 2), k in 1/Å.

    References
    ----------
    J. A. Mindell, N. Grigorieff, J. Struct. Biol. 142, 334 (2003),
    doi:10.1016/S1047-8477(03)00069-8.

    Examples
    --------
    >>> ctf = Ctf(defocus=30_000)
    >>> round(ctf.wavelength, 5)
    0.01969
    >>> ctf(np.array([0.0, 0.02])).round(3)
    array([-0.07 , -0.726])
    """

    defocus: float
    voltage: float = 300.0
    cs: float = 2.7
    amplitude_contrast: float = 0.07

    def __post_init__(self) -> None:
        if not self.voltage > 0:
            raise InputError(f"`voltage` must be positive (kV); found {self.voltage}")
        if not math.isfinite(self.defocus):
            raise InputError(f"`defocus` must be a finite length (Å); found {self.defocus}")
        if not 0 <= self.amplitude_contrast <= 1:
            raise InputError(
                f"`amplitude_contrast` must be 0 to 1; found {self.amplitude_contrast}"
            )

    @property
    def wavelength(self) -> float:
        """Relativistic wavelength of the electrons, in Å: h / sqrt(2 m e V (1 + e V / 2 m c²))."""
        volts = self.voltage * 1e3
        return 12.264260 / math.sqrt(volts + 0.978475e-6 * volts**2)

    def __call__(self, frequency: npt.ArrayLike) -> FloatArray:
        """Value at spatial frequencies in 1/Å."""
        k_sq = np.square(np.asarray(frequency, dtype=np.float64))
        # cs: mm to Å.
        wave, cs = self.wavelength, self.cs * 1e7
        chi = np.pi * wave * k_sq * (self.defocus - wave**2 * k_sq * cs / 2)
        a = self.amplitude_contrast
        return np.asarray(-math.sqrt(1 - a**2) * np.sin(chi) - a * np.cos(chi))

    def reach(self, pixel_size: float) -> float:
        """How far contrast spreads in an image, in Å: λ · defocus · k at its finest detail.

        Parameters
        ----------
        pixel_size : float
            In Å; the finest detail is 2 pixels.
        """
        k = 1 / (2 * pixel_size)
        return self.wavelength * k * (abs(self.defocus) + self.wavelength**2 * k**2 * self.cs * 1e7)

    def apply(self, image: Float32Array, pixel_size: float) -> Float32Array:
        """Multiply an image by the function in Fourier space; the image is taken as periodic.

        Parameters
        ----------
        image : ndarray, shape (height, width), float32
            Projection of the density.
        pixel_size : float
            In Å.

        Returns
        -------
        ndarray, shape (height, width), float32
            The contrast: 1 + it is the intensity.
        """
        height, width = image.shape
        ky = scipy.fft.fftfreq(height, pixel_size)[:, None]
        kx = scipy.fft.rfftfreq(width, pixel_size)[None, :]
        transform = scipy.fft.rfft2(image) * self(np.hypot(ky, kx)).astype(image.dtype)
        filtered = scipy.fft.irfft2(transform, s=image.shape)
        return np.asarray(filtered, dtype=image.dtype)

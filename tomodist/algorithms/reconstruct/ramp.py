"""The ramp filter of weighted backprojection, on rows or on images in any direction.

Backprojection alone counts every spatial frequency as often as tilts measure it, about 1/|f| times;
the ramp |f| undoes that.

One rule: the ramp is the Fourier transform of the spatial Ram-Lak kernel

    h(0) = 1/4,   h(n) = -1/(pi n)^2 for odd n,   h(n) = 0 for even n

cut where the padding ends, not |f| sampled. Sampled |f| is 0 at f = 0, which takes the mean off the
*padded* row, so densities come back too low, by more the less padding there is. The kernel's
transform is slightly above 0 there (about 1/(pi^2 n)), so the product is the plain convolution of
row and kernel without wrap-around, and the mean comes back right.

References
----------
A. C. Kak and M. Slaney, Principles of Computerized Tomographic Imaging (1988), chapter 3.3.
G. Harauz and M. van Heel, Exact filters for general geometry three dimensional reconstruction,
Optik 73, 146-156 (1986).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from tomodist.values.arrays import AnyArray, FloatArray

if TYPE_CHECKING:
    from tomodist.values.arrays import FloatArray, Image

Response = Callable[[AnyArray], AnyArray]
_EDGE = 32  # a 32nd of a row at either end says what lies beyond it


def ramp(frequency: AnyArray, n: int) -> FloatArray:
    """Transform of the Ram-Lak kernel of `n` taps.

    Parameters
    ----------
    frequency : ndarray
        In cycles per pixel, 0 or more; beyond 0.5, on the diagonals of an image, |f|.
    n : int
        Length of the padded row, even.

    Returns
    -------
    ndarray, float64

    Examples
    --------
    >>> ramp(np.array([0.0, 0.25, 0.5, 0.6]), 1024).round(4).tolist()
    [0.0002, 0.25, 0.4998, 0.6]
    """
    # Taps in FFT order: 0, 1, ..., n/2 - 1, -n/2, ..., -1.
    taps = scipy.fft.fftfreq(n, 1 / n)
    odd = taps % 2 == 1
    kernel = np.where(taps == 0, 0.25, 0.0)
    kernel[odd] = -1 / (np.pi * taps[odd]) ** 2
    response = scipy.fft.rfft(kernel).real
    inside: FloatArray = np.interp(frequency, scipy.fft.rfftfreq(n), response)
    return np.where(frequency > 0.5, frequency, inside)


def exact(frequency: AnyArray, angle: FloatArray, tilt: int, thickness: float) -> FloatArray:
    """Weight of one tilt by how much the others overlap with it (Harauz & van Heel).

    Parameters
    ----------
    frequency : ndarray
        In cycles per pixel, 0 or more.
    angle : ndarray, shape (n_tilts,), float64
        In radians.
    tilt : int
        Which tilt.
    thickness : float
        Of the specimen, in pixels.

    Returns
    -------
    ndarray, float64
        1 where no other tilt overlaps, 1 / n_tilts at frequency 0, where all do.

    Notes
    -----
    The transform of a specimen of thickness D is smooth over 1/D, so a projection fills a slab of
    that thickness. Slabs of tilts i and j overlap by a triangle, 1 - f D |sin(t_i - t_j)|, and
    W_i(f) = 1 / sum_j of the overlaps. For even steps dt and f D dt << 1, W = f D dt: the ramp.
    """
    overlap = np.zeros(np.shape(frequency))
    for other in angle:
        apart = thickness * abs(np.sin(other - angle[tilt]))
        overlap += np.clip(1 - frequency * apart, 0, None)
    return 1 / overlap


def low_pass(frequency: AnyArray, cutoff: float, falloff: float) -> FloatArray:
    """IMOD's RADIAL: 1 up to the cutoff, then a Gaussian of standard deviation `falloff`.

    Parameters
    ----------
    frequency : ndarray
        Cycles per pixel, 0 or more.
    cutoff, falloff : float
        Cycles per pixel; a falloff of 0 is a sharp edge.

    Returns
    -------
    ndarray, float64
        Factors, 0 to 1.

    Examples
    --------
    >>> low_pass(np.array([0.1, 0.35, 0.385]), 0.35, 0.035).round(4)
    array([1.    , 1.    , 0.6065])
    """
    beyond = np.clip(frequency - cutoff, 0, None)
    return np.exp(-((beyond / falloff) ** 2) / 2) if falloff > 0 else np.where(beyond > 0, 0.0, 1.0)


def padded_length(n: int) -> int:
    """Length to which `n` pixels are padded: twice at least, so that nothing wraps around."""
    return 2 * int(scipy.fft.next_fast_len(n, real=True))


def filter_rows(rows: Image, response: Response) -> Image:
    """Filter every row of an image, or of a part of one.

    Parameters
    ----------
    rows : ndarray, shape (n_rows, width), float32
        NaN where nothing is measured.
    response : callable
        ``response(frequency)`` gives the factors.

    Returns
    -------
    ndarray, shape (n_rows, width), float32
        NaN where `rows` is. A constant added to a row changes nothing.
    """
    width = rows.shape[1]
    n = padded_length(width)
    filled = fill_unmeasured(rows)
    left, right = _ends(filled)
    # The ends are brought to about 0, so that little is left to spread from the padding.
    filled -= (left + right)[:, None] / 2
    spectrum = scipy.fft.rfft(padded(filled, n), axis=1)
    spectrum *= response(scipy.fft.rfftfreq(n)).astype(np.float32)
    filtered: Image = scipy.fft.irfft(spectrum, n, axis=1)[:, :width]
    return np.where(np.isfinite(rows), filtered, np.float32(np.nan))


def filter_image(image: Image, response: Response, direction: FloatArray) -> Image:
    """Filter an image along a direction.

    Parameters
    ----------
    image : ndarray, shape (height, width), float32
        NaN where nothing is measured.
    response : callable
        ``response(frequency)`` gives the factors.
    direction : ndarray, shape (2,), float64
        Unit vector (row, column).

    Returns
    -------
    ndarray, shape (height, width), float32
        NaN where `image` is.
    """
    if direction[0] == 0:
        return filter_rows(image, response)
    if direction[1] == 0:
        return np.ascontiguousarray(filter_rows(np.ascontiguousarray(image.T), response).T)
    height, width = image.shape
    shape = padded_length(height), padded_length(width)
    filled = fill_unmeasured(image)
    ends = [*_ends(filled), *_ends(filled.T)]
    filled -= np.float32(np.mean([np.mean(end) for end in ends]))
    wide = padded(filled, shape[1])
    spectrum = scipy.fft.rfft2(padded(wide.T, shape[0]).T)
    down = np.float32(direction[0]) * scipy.fft.fftfreq(shape[0]).astype(np.float32)
    along = np.float32(direction[1]) * scipy.fft.rfftfreq(shape[1]).astype(np.float32)
    for k in range(shape[0]):  # row by row: the factors of a whole image are larger than it
        spectrum[k] *= response(np.abs(down[k] + along))
    filtered: Image = scipy.fft.irfft2(spectrum, shape)[:height, :width]
    return np.where(np.isfinite(image), filtered, np.float32(np.nan)).astype(np.float32)


def fill_unmeasured(rows: Image) -> Image:
    """Copy without NaN: linear between measured pixels, beyond them the mean of the last few.

    So no step arises where measurement ends, which the ramp would turn into a bright rim. A row
    without any measured pixel gets the mean of all rows.

    Examples
    --------
    >>> fill_unmeasured(np.array([[np.nan, 1, np.nan, 3, np.nan]], np.float32))
    array([[1., 1., 2., 3., 3.]], dtype=float32)
    """
    filled, measured = rows.copy(), np.isfinite(rows)
    if measured.all():
        return filled
    otherwise = rows[measured].mean() if measured.any() else 0
    for row, known in zip(filled, measured, strict=True):
        if known.all():
            continue
        (columns,) = np.nonzero(known)
        if not columns.size:
            row[:] = otherwise
            continue
        # A few pixels, not one: a noisy last pixel would be extended over the whole gap.
        few = max(1, columns.size // _EDGE)
        first, last = row[columns[:few]].mean(), row[columns[-few:]].mean()
        row[~known] = np.interp(np.nonzero(~known)[0], columns, row[columns], first, last)
    return filled


def padded(rows: Image, n: int) -> Image:
    """Rows extended to length `n` by a straight line from their end to their beginning.

    Parameters
    ----------
    rows : ndarray, shape (n_rows, width), float32
        Finite values.
    n : int
        Length of the result; at least the width.

    Returns
    -------
    ndarray, shape (n_rows, n), float32

    Examples
    --------
    >>> padded(np.array([[4, 0, 1]], np.float32), 5).tolist()
    [[4.0, 0.0, 1.0, 2.0, 3.0]]
    """
    width = rows.shape[1]
    left, right = _ends(rows)
    wide = np.empty((len(rows), n), np.float32)
    wide[:, :width] = rows
    # | row ... right | line from right to left ... | (periodic: left of the row follows)
    way = (np.arange(1, n - width + 1) / (n - width + 1)).astype(np.float32)
    wide[:, width:] = right[:, None] + (left - right)[:, None] * way
    return wide


def _ends(rows: Image) -> tuple[Image, Image]:
    """Mean of the first and of the last few pixels of every row."""
    few = max(1, rows.shape[1] // _EDGE)
    return rows[:, :few].mean(axis=1), rows[:, -few:].mean(axis=1)

"""The two rules that say which pixels a voxel touches; both directions call these and no others.

*Footprint* (binary): a voxel touches the pixels whose centre lies in [u - h, u + h), u its
projected centre and h half its projected width. This is the exact gather form of "a pixel marks
every voxel that its ray passes through" (Zeng et al., Eq. 5).

A pixel centre closer than `TIE` to an end of that interval lies on it. Such ties are common: with
even nz and nx and an odd image width the ray through the rotation centre meets the corner of the
same four voxels at *every* angle; at 45 degrees every voxel of a diagonal ties, at 60 every second
one of a layer. Without `TIE` the last bit of u would decide, tilt by tilt and machine by machine.

*Interpolation* (linear): a voxel touches the two pixels beside u, with weights 1 - f and f.

numba's cache does not notice a change of this file: after one, delete ``kernels/__pycache__``.
"""

import math

from numba import njit

TIE = 1e-9  # pixels: above the rounding error of u (1e-12 at pixel 6000), far below any size


@njit(inline="always")
def position(matrix, z, y, x):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Pixel index of a voxel along one image axis.

    Parameters
    ----------
    matrix : ndarray, shape (4,), float64
        One row of a voxel-to-pixel matrix.
    z, y, x : float
        Voxel index in the whole volume.

    Returns
    -------
    float
        Row or column of the image, in pixels.
    """
    return matrix[0] * z + matrix[1] * y + matrix[2] * x + matrix[3]


@njit(inline="always")
def footprint(u, half, origin, size):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Window indices of the pixels in [u - half, u + half).

    Parameters
    ----------
    u : float
        Projected voxel centre along one image axis, in pixels.
    half : float
        Half the projected width, in pixels.
    origin : int
        Image index of the window's first pixel.
    size : int
        Pixels of the window along this axis.

    Returns
    -------
    tuple of int
        First and last + 1 window index; empty where first >= last + 1.
    """
    # Smallest integer >= u - half: ends that are equal within TIE count as inside on the left ...
    low = max(math.ceil(u - half - TIE) - origin, 0)
    # ... and as outside on the right, so that neighbouring footprints never share a pixel.
    high = min(math.ceil(u + half - TIE) - origin, size)
    return low, high


@njit(inline="always")
def neighbours(u, origin, size):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """The two pixels beside u, and their weights.

    Parameters
    ----------
    u : float
        Projected voxel centre along one image axis, in pixels.
    origin : int
        Image index of the window's first pixel.
    size : int
        Pixels of the window along this axis.

    Returns
    -------
    int
        Window index of the pixel at or below u.
    float
        Weight of that pixel; 0 outside the window.
    float
        Weight of the next pixel; 0 outside the window.
    """
    below = math.floor(u)
    fraction = u - below
    k = int(below) - origin
    first = 1.0 - fraction if 0 <= k < size else 0.0
    second = fraction if 0 <= k + 1 < size else 0.0
    return k, first, second

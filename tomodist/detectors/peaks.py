"""Peaks of a filter's response: where exactly, how high, how round, and not twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import KDTree

if TYPE_CHECKING:
    import numpy.typing as npt

    from tomodist.values.arrays import FloatArray, Image, IntArray


# Least squares of  c + gy·y + gx·x + hyy·y²/2 + hxy·y·x + hxx·x²/2  over the 3 x 3 neighbours.
_Y, _X = (a.ravel() for a in np.mgrid[-1:2, -1:2].astype(np.float64))
_FIT = np.linalg.pinv(np.stack([np.ones(9), _Y, _X, _Y**2 / 2, _Y * _X, _X**2 / 2], axis=1))


def refine_peaks(
    response: Image, peaks: npt.NDArray[np.integer]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Fit a quadratic surface to the neighbourhood of each peak.

    Parameters
    ----------
    response : ndarray, shape (height, width), float32
        -inf where it was not measured.
    peaks : ndarray, shape (n, 2), int
        Rows and columns of local maxima, none on the border.

    Returns
    -------
    center : ndarray, shape (n, 2), float64
        Row and column of the summit, at most a pixel away.
    height : ndarray, shape (n,), float64
        Value of the peak's pixel.
    roundness : ndarray, shape (n,), float64
        Smaller over larger curvature; 1 is round, 0 a ridge, -1 no peak or one that touches what
        was not measured.
    """
    rows, columns = peaks[:, 0], peaks[:, 1]
    patches = np.stack(
        [response[rows + int(y), columns + int(x)] for y, x in zip(_Y, _X, strict=True)], axis=1
    ).astype(np.float64)
    whole = np.isfinite(patches).all(axis=1)
    patches[~whole] = 0.0
    _, gy, gx, hyy, hxy, hxx = _FIT @ patches.T
    # Curvatures are the eigenvalues of the Hessian: -(mean ± spread).
    mean, spread = -(hyy + hxx) / 2, np.hypot((hyy - hxx) / 2, hxy)
    summit = whole & (mean - spread > 0)  # both curvatures point down
    determinant = np.where(summit, hyy * hxx - hxy**2, 1.0)
    # Newton step to the summit: -H⁻¹ g.
    step = np.stack([hxy * gx - hxx * gy, hxy * gy - hyy * gx], axis=1) / determinant[:, None]
    step[~summit] = 0.0
    roundness = np.full(len(peaks), -1.0)
    np.divide(mean - spread, mean + spread, out=roundness, where=summit)
    height = response[rows, columns].astype(np.float64)
    return peaks.astype(np.float64) + np.clip(step, -1, 1), height, roundness


def keep_apart(center: FloatArray, height: FloatArray, distance: float) -> IntArray:
    """Highest first, leave out every peak that is too near to one that was kept.

    Parameters
    ----------
    center : ndarray, shape (n, 2), float64
        In pixels.
    height : ndarray, shape (n,), float64
        What decides.
    distance : float
        Least distance of two peaks, in pixels.

    Returns
    -------
    ndarray, shape (n_kept,), int64
        Indices, highest peak first; equal ones in their order.

    Examples
    --------
    >>> keep_apart(np.array([[0.0, 0], [0, 2], [0, 4]]), np.array([1.0, 3, 2]), 3.0)
    array([1])
    """
    order = np.argsort(-height, kind="stable")
    if not len(order):
        return order
    tree = KDTree(center)
    free = np.ones(len(center), np.bool_)
    kept = []
    for k in order:
        if free[k]:
            kept.append(k)
            free[[j for j in tree.query_ball_point(center[k], distance) if j != k]] = False
    return np.array(kept, np.int64)

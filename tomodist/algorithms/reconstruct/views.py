"""How the tilts look at the volume: about which axis, from which side, how densely.

One rule: everything is read off the voxel-to-pixel matrices, so that a tilt axis that lies anywhere
in the images, or a pitched specimen, needs no case of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tomodist.values.arrays import FloatArray

_WEDGE = 2.0  # median steps: a larger gap between angles is the missing wedge


@dataclass(frozen=True)
class Views:
    """Directions, angles and scales of the tilts, for reconstruction.

    Parameters
    ----------
    direction : ndarray, shape (n_tilts, 2), float64
        Unit vector (row, column) across the projected tilt axis in each image.
    angle : ndarray, shape (n_tilts,), float64
        Of the rays about the tilt axis, in radians within 0 .. pi.
    scale : ndarray, shape (n_tilts,), float64
        Pixels per voxel.
    """

    direction: FloatArray
    angle: FloatArray
    scale: FloatArray


def views_of(matrices: FloatArray) -> Views:
    """Read the views off voxel-to-pixel matrices.

    Parameters
    ----------
    matrices : ndarray, shape (n_tilts, 2, 4), float64
        From `TiltGeometry.matrices`.

    Returns
    -------
    Views

    Notes
    -----
    The rays of a tilt run along d, across both rows of its matrix. The tilt axis is what all d are
    perpendicular to (best, in the least-squares sense: the eigenvector of sum d d^T with the
    smallest eigenvalue); where it projects to, the ramp filter must not smooth.

    Examples
    --------
    >>> from tomodist.values.geometry import TiltGeometry, VolumeGrid
    >>> geometry = TiltGeometry([-45, 45], image_shape=(4, 8), pixel_size=1, tilt_axis_angle=90)
    >>> abs(views_of(geometry.matrices(VolumeGrid((4, 8, 4), 1))).direction)
    array([[1., 0.],
           [1., 0.]])
    """
    linear = matrices[:, :, :3]
    # Moving along d changes neither row nor column, so d is perpendicular to both rows of L.
    rays = np.cross(linear[:, 0], linear[:, 1])
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    axis = _tilt_axis(rays)
    along = linear @ axis
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    across = np.round(across, 12) + 0.0  # an axis along the rows is exactly that
    scale = np.linalg.norm(np.einsum("ti,tij->tj", across, linear), axis=1)
    first = np.cross(axis, np.roll(axis, 1))
    first /= np.linalg.norm(first)
    angle = np.arctan2(rays @ np.cross(axis, first), rays @ first)
    return Views(across, np.mod(angle, np.pi), scale)


def angular_density(angle: FloatArray) -> FloatArray:
    """The angle that each tilt stands for: half the way to its neighbours on both sides.

    Parameters
    ----------
    angle : ndarray, shape (n_tilts,), float64
        In radians; opposite directions are the same.

    Returns
    -------
    ndarray, shape (n_tilts,), float64
        In radians. Tilts beside the missing wedge take the step on their other side twice; without
        a wedge the sum is pi. Tilts of the same angle share what it stands for.

    Examples
    --------
    >>> np.rad2deg(angular_density(np.deg2rad([-40, -30, -20, 0, 20]))).round(6)
    array([10., 10., 15., 20., 20.])
    """
    different, group, n = np.unique(
        np.round(np.mod(angle, np.pi), 9), return_inverse=True, return_counts=True
    )
    gap = np.diff(different, append=different[0] + np.pi)  # gap k: from one to the next, around
    before, after = np.roll(gap, 1), gap.copy()
    wedge = int(np.argmax(gap))
    if len(gap) > 1 and gap[wedge] > _WEDGE * np.median(gap) + 1e-6:
        # angles ... wedge | gap = missing wedge | first ...  : both get the step on their other
        # side
        first = (wedge + 1) % len(gap)
        after[wedge], before[first] = before[wedge], after[first]
    density: FloatArray = ((before + after) / 2 / n)[group]
    return density


def _tilt_axis(rays: FloatArray) -> FloatArray:
    """Unit vector (z, y, x) across all rays; the nearest to y where they leave a choice."""
    size, vectors = np.linalg.eigh(rays.T @ rays)
    if size[1] > 1e-12 * len(rays):
        axis: FloatArray = vectors[:, 0]
        return axis
    y = np.array([0.0, 1.0, 0.0])  # all rays are parallel
    axis = y - (y @ rays[0]) * rays[0]
    return axis / np.linalg.norm(axis)

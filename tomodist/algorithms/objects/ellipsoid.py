"""The 3D box of an object from the sizes of its 2D boxes.

For an ellipsoid of covariance C the half width of its shadow along a pixel axis m (a row of a
voxel-to-pixel matrix) is exactly sqrt(m C mᵀ). So the squared half sizes of all boxes are linear in
the six numbers of C, and a least-squares fit of these gives the extent along any direction, beyond
the missing wedge as well, where no ray bounds the object. (Intersecting the strips between rays,
the half-planes of the boxes' sides, gives a polygon that bounds any shape, but reaches far beyond
the object along z, as the missing wedge cuts no corner there, and jitter shrinks it along x.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.values.arrays import FloatArray, IntArray


_AXES = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))  # entries of C that are fitted
_ROUND = 0.1  # weight of "as thick along z as along y and x", beside each box's weight of 1
_UPRIGHT = 0.1  # and of "no axis slants"; from a tilt axis near 45 degrees only these tell y from x
_THINNEST = 0.5  # voxels: half of the least extent


def extents(
    matrices: FloatArray, boxes: Sequence[FloatArray], box: IntArray, roundness: float = _ROUND
) -> FloatArray:
    """Lengths of the 3D boxes along z, y and x.

    Parameters
    ----------
    matrices : ndarray, shape (n_tilts, 2, 4), float64
        Voxel-to-pixel matrices.
    boxes : sequence of ndarray, shape (n_boxes, 4), float64
        Per tilt: centre and size (y, x, height, width), in pixels.
    box : ndarray, shape (n_tilts, n), intp
        Index of the box that shows each object; -1 where none does.
    roundness : float
        Weight of the assumption that an object is as thick along z as it is long along y and x.

    Returns
    -------
    ndarray, shape (n, 3), float64
        In voxels; 1 at least.
    """
    lengths = np.empty((box.shape[1], 3))
    for k in range(box.shape[1]):
        tilts = np.flatnonzero(box[:, k] >= 0).tolist()
        half = np.array([boxes[t][box[t, k], 2:] for t in tilts]).reshape(-1) / 2
        lengths[k] = _extent(matrices[tilts, :, :3].reshape(-1, 3), half, roundness)
    return lengths


def _extent(rays: FloatArray, half: FloatArray, roundness: float) -> FloatArray:
    """Fit C to half sizes along pixel axes: rays (n, 3), half (n,); lengths (3,)."""
    half = np.maximum(half, _THINNEST)
    # m C mᵀ = sum_ij m_i m_j C_ij; entries off the diagonal occur twice.
    system = np.stack([(1 + (i != j)) * rays[:, i] * rays[:, j] for i, j in _AXES], axis=1)
    typical = float(np.median(half)) ** 2
    # Weak equations beside those of the boxes; they decide only what no ray bounds:
    #   rows 0, 1   C_zz = C_yy and C_zz = C_xx   (as thick along z as along y and x)
    #   rows 2 - 4  C_zy = C_zx = C_yx = 0        (axes are upright)
    pulls = np.zeros((5, len(_AXES)))
    pulls[:2, 0], pulls[0, 1], pulls[1, 2] = roundness, -roundness, -roundness
    pulls[2:, 3:] = _UPRIGHT * np.eye(3)
    # Divided by a typical size, so that the weights of the pulls do not depend on the unit.
    system = np.concatenate([system, pulls]) / typical
    target = np.concatenate([half**2 / typical, np.zeros(len(pulls))])
    form = np.linalg.lstsq(system, target, rcond=1e-9)[0]
    least = max(_THINNEST, float(half.min()) / 2)  # where C is hardly determined
    lengths: FloatArray = 2 * np.sqrt(np.maximum(form[:3], least**2))
    return lengths

"""The part of a surface that leaves edges in projections.

**What tilts show.** An edge of a projection is where rays touch a surface. At a point with the
normal n = (n_z, n_y, n_x) the ray of tilt t, d = (cos t, 0, sin t) in z, y, x, touches it if
n · d = n_z cos t + n_x sin t = 0, that is tan t = -n_z / n_x. Over all tilts of |t| <= a there is
such a t if and only if |n_z| <= |n_x| tan a. On a sphere about c the normal points along p - c: a
wedge |z - c_z| <= |x - c_x| tan a, which holds 2 a / 180° of the surface (56 % for ±50°). The rest
leaves no edge in any projection, so no method that sees edges alone can find it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.values.arrays import BoolArray
    from tomodist.values.geometry import VolumeGrid


def touched_by_rays(
    grid: VolumeGrid, angles: Sequence[float], center: Sequence[float]
) -> BoolArray:
    """Voxels at which a sphere touches a ray of any tilt: |z| <= |x| tan(steepest).

    Parameters
    ----------
    grid : VolumeGrid
        The volume.
    angles : sequence of float
        Tilt angles, to about the same on both sides.
    center : sequence of float
        Of the sphere, as voxel index (z, y, x).

    Returns
    -------
    ndarray, shape of the grid, bool
    """
    z, _, x = np.ogrid[tuple(slice(n) for n in grid.shape)]
    slope = np.tan(np.deg2rad(max(map(abs, angles))))
    wedge = np.abs(z - center[0]) <= np.abs(x - center[2]) * slope
    return np.broadcast_to(wedge, grid.shape)

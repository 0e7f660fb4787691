"""Hollow spheres of many kinds: one or two of them, of any size and thickness, at any place."""

from __future__ import annotations

import numpy as np

from tomodist.experiments.shells import VOXEL, Shell
from tomodist.simulate import TiltScheme

_GAP = 3.0  # voxels: least distance between shells, and to the faces of the volume
# In parts of the volume's side: radius of a single shell and of each of two; how far off centre.
_SINGLE, _DOUBLE, _OFF = (0.24, 0.42), (0.14, 0.21), 0.12
_THICKNESS = (2.5, 6.0)  # voxels


def draw_shells(seed: int, size: int) -> tuple[Shell, ...]:
    """Draw one shell (even seeds) or two that are apart (odd ones).

    Parameters
    ----------
    seed : int
        Of radius, thickness and place.
    size : int
        Of the volume, in voxels each way.

    Returns
    -------
    tuple of Shell
    """
    random = np.random.default_rng(seed)
    if seed % 2 == 0:
        return (_shell(random, size, _SINGLE, _OFF),)
    while True:
        a, b = (_shell(random, size, _DOUBLE, 0.5) for _ in range(2))
        apart = float(np.linalg.norm(np.subtract(a.center, b.center))) - a.radius - b.radius
        if apart > _GAP * VOXEL:
            return a, b


def _shell(
    random: np.random.Generator, size: int, radii: tuple[float, float], off_center: float
) -> Shell:
    radius = random.uniform(*radii) * size * VOXEL
    thickness = random.uniform(*_THICKNESS) * VOXEL
    room = min(off_center * size * VOXEL, (size / 2 - _GAP) * VOXEL - radius)
    z, y, x = random.uniform(-room, room, 3).tolist()
    return Shell((z, y, x), radius, min(thickness, radius / 2))


def tilt_angles(step: float, steepest: float = 50.0) -> tuple[float, ...]:
    """Even tilt angles from -steepest to +steepest."""
    return TiltScheme(-steepest, steepest, step).angles

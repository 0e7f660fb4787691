"""Hollow spheres of many kinds, their tilt series, and the part of them that tilts can show.

**What tilts show.** An edge of a projection is where rays touch a surface. At a point with the
normal n = (n_z, n_y, n_x) the ray of tilt t, d = (cos t, 0, sin t) in z, y, x, touches it if
n · d = n_z cos t + n_x sin t = 0, that is tan t = -n_z / n_x. Over all tilts of |t| <= a there is
such a t if and only if |n_z| <= |n_x| tan a. On a sphere about c the normal points along p - c: a
wedge |z - c_z| <= |x - c_x| tan a, which holds 2 a / 180° of the surface (56 % for ±50°). The rest
leaves no edge in any projection, so no method that sees edges alone can find it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tomodist.errors import InputError
from tomodist.simulate import Acquisition, Scene, TiltScheme, acquire
from tomodist.simulate.scene import Ellipsoid
from tomodist.values.geometry import TiltGeometry, VolumeGrid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.simulate.scene import Vector

VOXEL = 20.0  # Å
LABEL = "sphere"
_DENSITY = 3e-4  # 1/Å: a shell of 80 Å takes 2 % of the electrons face-on, 20 % edge-on
_GAP = 3.0  # voxels: least distance between shells, and to the faces of the volume
# In parts of the volume's side: radius of a single shell and of each of two; how far off centre.
_SINGLE, _DOUBLE, _OFF = (0.24, 0.42), (0.14, 0.21), 0.12
_THICKNESS = (2.5, 6.0)  # voxels


@dataclass(frozen=True)
class Shell:
    """A spherical shell.

    Parameters
    ----------
    center : tuple of float
        (z, y, x) from the volume centre, in Å.
    radius, thickness : float
        Outer radius and thickness, in Å.
    """

    center: Vector
    radius: float
    thickness: float


@dataclass(frozen=True)
class Specimen:
    """A simulated tilt series of shells, and its truth.

    Parameters
    ----------
    geometry, grid
        Of the series and of the volume.
    images : ndarray, shape (n_tilts, height, width), float32
        As the camera sees them.
    truth, shown : ndarray, shape of the grid, bool
        The shells, and the part of them that these tilts can show.
    """

    geometry: TiltGeometry
    grid: VolumeGrid
    images: npt.NDArray[np.float32]
    truth: npt.NDArray[np.bool_]
    shown: npt.NDArray[np.bool_]


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


def scene_of(shells: Sequence[Shell], density: float = _DENSITY) -> Scene:
    """The shells as a scene; each is a structure of the label "sphere"."""
    parts = []
    for k, shell in enumerate(shells, start=1):
        axes = (shell.radius,) * 3
        outer = Ellipsoid(shell.center, axes, density=density, label=LABEL, structure=k)
        inner = shell.radius - shell.thickness
        parts += [outer, replace(outer, semi_axes=(inner,) * 3, density=-density)]
    return Scene(tuple(parts))


def make_specimen(
    shells: Sequence[Shell], size: int, angles: Sequence[float], snr: float, seed: int
) -> Specimen:
    """Take a tilt series of shells with a dose that gives a signal-to-noise ratio.

    Parameters
    ----------
    shells : sequence of Shell
        What is in the volume.
    size : int
        Of volume and images, in voxels each way.
    angles : sequence of float
        Tilt angles.
    snr : float
        Variance of the signal over that of the noise, over all pixels of all tilts; inf is free of
        noise.
    seed : int
        Of the noise.

    Returns
    -------
    Specimen

    Raises
    ------
    InputError
        If the ratio is not positive.

    Notes
    -----
    With transmitted fractions p and N electrons per pixel, counts are Poisson with the mean N p:
    the signal's variance is N² var(p), the noise's N mean(p), so N = snr · mean(p) / var(p).
    """
    if not snr > 0:
        raise InputError(f"the signal-to-noise ratio is {snr}; it must be positive (inf: no noise)")
    geometry = TiltGeometry(angles, (size, size), VOXEL)
    grid = VolumeGrid((size, size, size), VOXEL)
    scene, tilts = scene_of(shells), range(geometry.n_tilts)
    images = np.stack([acquire(scene, geometry, t) for t in tilts])
    if np.isfinite(snr):
        electrons = snr * images.mean(dtype=np.float64) / images.var(dtype=np.float64)
        dose = float(electrons) * geometry.n_tilts / geometry.pixel_size**2
        camera = Acquisition(dose=dose, seed=seed)
        images = np.stack([acquire(scene, geometry, t, camera) for t in tilts])
    labels = scene.labels(LABEL, grid, (0, 0, 0), grid.shape)
    shown = np.zeros(grid.shape, np.bool_)
    for k, shell in enumerate(shells, start=1):
        shown |= (labels == k) & touched_by_rays(grid, angles, grid.indices(shell.center).tolist())
    return Specimen(geometry, grid, images, labels > 0, shown)


def tilt_angles(step: float, steepest: float = 50.0) -> tuple[float, ...]:
    """Even tilt angles from -steepest to +steepest."""
    return TiltScheme(-steepest, steepest, step).angles


def touched_by_rays(
    grid: VolumeGrid, angles: Sequence[float], center: Sequence[float]
) -> npt.NDArray[np.bool_]:
    """Where a sphere touches a ray of some tilt: |z| <= |x| tan(steepest) from its centre.

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

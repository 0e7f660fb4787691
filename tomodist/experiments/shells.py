"""Hollow spheres, their tilt series, and the part of them that tilts can show."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tomodist.errors import InputError
from tomodist.simulate import Acquisition, Scene, acquire
from tomodist.simulate.scene import Ellipsoid
from tomodist.simulate.visibility import touched_by_rays
from tomodist.values.geometry import TiltGeometry, VolumeGrid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.simulate.scene import Vector
    from tomodist.values.arrays import BoolArray, Float32Array

VOXEL = 20.0  # Å
LABEL = "sphere"
_DENSITY = 3e-4  # 1/Å: a shell of 80 Å takes 2 % of the electrons face-on, 20 % edge-on


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
    images: Float32Array
    truth: BoolArray
    shown: BoolArray


def scene_of(shells: Sequence[Shell], density: float = _DENSITY) -> Scene:
    """The shells as a scene.

    Parameters
    ----------
    shells : sequence of Shell
        The shells.
    density : float
        In 1/Å.

    Returns
    -------
    Scene
        Each shell is a structure of the label ``"sphere"``.
    """
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
        raise InputError(f"`snr` is {snr}; it must be positive (inf: no noise)")
    geometry = TiltGeometry(angles, (size, size), VOXEL)
    grid = VolumeGrid((size, size, size), VOXEL)
    scene, tilts = scene_of(shells), range(geometry.n_tilts)
    images = np.stack([acquire(scene, geometry, t) for t in tilts])
    if np.isfinite(snr):
        # N = snr · mean(p) / var(p), see Notes.
        electrons = snr * images.mean(dtype=np.float64) / images.var(dtype=np.float64)
        dose = float(electrons) * geometry.n_tilts / geometry.pixel_size**2
        camera = Acquisition(dose=dose, seed=seed)
        images = np.stack([acquire(scene, geometry, t, camera) for t in tilts])
    labels = scene.labels(LABEL, grid, (0, 0, 0), grid.shape)
    shown = np.zeros(grid.shape, np.bool_)
    for k, shell in enumerate(shells, start=1):
        shown |= (labels == k) & touched_by_rays(grid, angles, grid.indices(shell.center).tolist())
    return Specimen(geometry, grid, images, labels > 0, shown)

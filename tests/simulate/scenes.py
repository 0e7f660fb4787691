"""Scenes and geometries that several tests share; every one is chiral and has unequal sizes."""

from __future__ import annotations

import numpy as np

from tomodist.simulate import Ellipsoid, Scene
from tomodist.simulate.packing import random_rotation, vector
from tomodist.values.geometry import TiltGeometry, VolumeGrid

GRID = VolumeGrid((31, 40, 27), voxel_size=10.0)


def random_ellipsoids(n: int, seed: int) -> tuple[Ellipsoid, ...]:
    """Ellipsoids within GRID, of all orientations, that overlap and have unlike densities."""
    random = np.random.default_rng(seed)
    return tuple(
        Ellipsoid(
            vector(random.uniform(-1, 1, 3) * (60, 100, 50)),
            vector(random.uniform(30, 75, 3)),
            random_rotation(random),
            density=float(random.uniform(0.2, 1)) * (-1) ** k,
            label="ab"[k % 3 == 0],
            structure=k // 2 + 1,
        )
        for k in range(n)
    )


def chiral_scene() -> Scene:
    return Scene(random_ellipsoids(6, seed=11))


def skew_geometry() -> TiltGeometry:
    """Every parameter is non-zero and differs from tilt to tilt; sizes are odd and even."""
    return TiltGeometry(
        [-52.0, 3.0, 38.0, 90.0],
        image_shape=(51, 44),
        pixel_size=8.0,
        tilt_axis_angle=[84.0, -5.0, 33.0, 178.0],
        x_tilt=[4.0, -7.0, 11.0, 2.0],
        shift_y=[13.0, -21.0, 5.0, 0.5],
        shift_x=[-9.0, 17.0, -30.0, 8.0],
        magnification=[1.02, 0.97, 1.1, 0.9],
        image_center=(24.0, 23.5),
    )

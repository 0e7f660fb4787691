"""A chiral phantom of Gaussian balls, whose projections are exact in any geometry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tomodist.values.projection import project_points

if TYPE_CHECKING:
    from tomodist.values.arrays import Image
    from tomodist.values.geometry import TiltGeometry, VolumeGrid

SIGMA = 2.0  # voxels
# Offsets from the middle (z, y, x) and densities: no mirror image or rotation looks the same.
BALLS = (((-5, -6, -9), 1.0), ((4, 5, 8), 2.0), ((5, -6, 4), -1.5))


def balls(grid: VolumeGrid) -> Image:
    """The phantom: shape (nz, ny, nx)."""
    index = np.indices(grid.shape)
    volume = np.zeros(grid.shape)
    for offset, density in BALLS:
        center = np.array(grid.center) + offset
        square = sum((i - c) ** 2 for i, c in zip(index, center, strict=True))
        volume += density * np.exp(-square / (2 * SIGMA**2))
    return volume.astype(np.float32)


def images_of_balls(geometry: TiltGeometry, grid: VolumeGrid) -> Image:
    """Integrals along the rays, in densities times voxels: shape (n_tilts, height, width)."""
    matrices = geometry.matrices(grid)
    centers = [np.array(grid.center) + offset for offset, _ in BALLS]
    places = project_points(matrices, centers)
    rows, columns = np.ogrid[: geometry.image_shape[0], : geometry.image_shape[1]]
    images = np.zeros((geometry.n_tilts, *geometry.image_shape))
    for image, points, matrix in zip(images, places, matrices, strict=True):
        width = SIGMA * np.linalg.norm(matrix[0, :3])  # pixels
        for (row, column), (_, density) in zip(points, BALLS, strict=True):
            square = (rows - row) ** 2 + (columns - column) ** 2
            image += density * np.sqrt(2 * np.pi) * SIGMA * np.exp(-square / (2 * width**2))
    return images.astype(np.float32)

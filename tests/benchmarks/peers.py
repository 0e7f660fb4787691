"""Other people's linear backprojection, on the same images, each as its documentation has it.

What a peer sets up once (a matrix, a projector, buffers) is not measured. All run on one thread.
Volumes are returned as (z, x, y), the layout of the kernels, without a copy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
import pytest
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.benchmarks.cases import Problem

Array = npt.NDArray[Any]

SLAB = 16  # rows of a dask chunk: its temporaries then stay in the L2 and L3 caches


def scipy_sparse(problem: Problem) -> Callable[[], Array]:
    """A CSR matrix of one slice, times the images of all slices side by side."""
    matrix, (nz, ny, nx) = slice_matrix(problem), problem.grid.shape
    columns = problem.columns.reshape(-1, ny)
    return lambda: np.asarray(matrix @ columns).reshape(nz, nx, ny)


def slice_matrix(problem: Problem) -> Any:
    """Interpolation weights: a row per voxel (z, x), a column per pixel (tilt, column)."""
    nz, _, nx = problem.grid.shape
    n_tilts, width = problem.geometry.n_tilts, problem.geometry.image_shape[1]
    z, x = np.indices((nz, nx))
    tilt = np.arange(n_tilts)[:, None]
    u = np.stack([(m[0] * z + m[2] * x + m[3]).ravel() for m in problem.matrices[:, 1]])
    below = np.floor(u).astype(np.int64)
    voxel = np.broadcast_to(np.arange(nz * nx), u.shape)
    parts = []
    for k, weight in ((below, 1 - (u - below)), (below + 1, u - below)):
        inside = (k >= 0) & (k < width)
        parts.append((weight[inside], voxel[inside], (tilt * width + k)[inside]))
    weights, rows, columns = map(np.concatenate, zip(*parts, strict=True))
    shape = (nz * nx, n_tilts * width)
    return sparse.csr_array((weights.astype(np.float32), (rows, columns)), shape=shape)


def astra_bp(problem: Problem, n_slices: int) -> Callable[[], Array]:
    """ASTRA's BP on the CPU with the `linear` projector, slice by slice, in place.

    In ASTRA a ray of angle a hits the detector at u = x cos a + Y sin a, with Y up and row 0 of a
    volume at the top; here u = x cos t + z sin t, with z growing with the row. So a = -t.
    """
    astra = pytest.importorskip("astra", reason="ASTRA is of the extra 'bench', not installed")
    (nz, _, nx), angles = problem.grid.shape, np.deg2rad(problem.geometry.tilt_angles)
    rays = astra.create_proj_geom("parallel", 1.0, problem.geometry.image_shape[1], -angles)
    space = astra.create_vol_geom(nz, nx)
    projector = astra.create_projector("linear", rays, space)
    volume = np.zeros((n_slices, nz, nx), np.float32)
    sinograms = np.ascontiguousarray(problem.images[:, :n_slices].transpose(1, 0, 2))
    algorithms = []
    for sinogram, out in zip(sinograms, volume, strict=True):
        config = astra.astra_dict("BP")
        config["ProjectorId"] = projector
        config["ProjectionDataId"] = astra.data2d.link("-sino", rays, sinogram)
        config["ReconstructionDataId"] = astra.data2d.link("-vol", space, out)
        algorithms.append(astra.algorithm.create(config))

    def run() -> Array:
        for algorithm in algorithms:
            astra.algorithm.run(algorithm)
        return volume.transpose(1, 2, 0)

    return run


def skimage_iradon(problem: Problem) -> Callable[[], Array]:
    """scikit-image's iradon without a filter, slice by slice; `problem` has square slices."""
    transform = pytest.importorskip("skimage.transform")
    sinograms = np.ascontiguousarray(problem.images.transpose(1, 2, 0))
    theta = -np.array(problem.geometry.tilt_angles)
    scale = np.float32(2 * len(theta) / np.pi)  # of a sum; iradon gives an integral over angles

    def run() -> Array:
        slices = [transform.iradon(s, theta, filter_name=None) for s in sinograms]
        return np.stack(slices, axis=2) * scale

    return run


def dask_by_hand(problem: Problem, n_rows: int) -> Callable[[], Array]:
    """What one writes with dask.array: slabs along y, and per tilt a gather and a lerp."""
    nz, _, nx = problem.grid.shape
    chunks = (problem.geometry.n_tilts, SLAB, problem.geometry.image_shape[1])
    images = da.from_array(problem.images[:, :n_rows], chunks)
    slabs = (nz, images.chunks[1], nx)
    across = problem.matrices[:, 1]
    volume = da.map_blocks(
        _slab, images, matrices=across, shape=(nz, nx), chunks=slabs, dtype=np.float32
    )

    def run() -> Array:
        with dask.config.set(scheduler="threads", num_workers=1):
            return np.asarray(volume.compute()).transpose(0, 2, 1)

    return run


def _slab(images: Array, matrices: Array, shape: tuple[int, int]) -> Array:
    """Backproject some rows: (tilt, y, column) to (z, y, x)."""
    z, x = np.ogrid[: shape[0], : shape[1]]
    last = images.shape[2] - 1
    total = np.zeros((images.shape[1], *shape), np.float32)
    for image, m in zip(images, matrices, strict=True):
        u = m[0] * z + m[2] * x + m[3]
        below = np.floor(u).astype(np.int64)
        f = (u - below).astype(np.float32)
        near = np.where((below >= 0) & (below <= last), 1 - f, 0)
        far = np.where((below >= -1) & (below < last), f, 0)
        total += near * np.take(image, np.clip(below, 0, last), axis=1)
        total += far * np.take(image, np.clip(below + 1, 0, last), axis=1)
    return total.transpose(1, 0, 2)

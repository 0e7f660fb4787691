"""The slow truth: the algorithms written down from the design's text in plain NumPy and loops.

One rule: nothing here comes from `tomodist.kernels` or `tomodist.algorithms.lift`. Every projection
is a dense table of voxels against pixels, so that a transpose is a transpose, and the geometry is
the product of `docs` (C1) written out again. Small volumes only.

    touched   (n_tilts, nz, ny, nx, height, width), bool     pixel in the voxel's footprint
    weights   the same, float64                              linear interpolation
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.values.geometry import TiltGeometry, VolumeGrid

Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]
Int = npt.NDArray[np.int64]

TIE = 1e-9  # pixels: what is this close to the end of a footprint lies on it


# ---------------------------------------------------------------------------------- geometry


def turn(degrees: float, axis: str) -> Float:
    """Rotation of column vectors (x, y, z); Ry takes +z to +x."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array(
        {
            "x": [[1, 0, 0], [0, c, -s], [0, s, c]],
            "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]],
            "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]],
        }[axis]
    )


def per_tilt(value: Any) -> Sequence[float]:
    """A per-tilt parameter of a geometry, which always holds one value per tilt."""
    assert isinstance(value, tuple)
    return value


def pixels(geometry: TiltGeometry, grid: VolumeGrid, index: npt.ArrayLike) -> Float:
    """(row, column) of voxel indices (..., 3) in every image: shape (n_tilts, ..., 2).

    q = m · [Rz(rot) · Ry(tilt) · Rx(x_tilt) · p]_xy + shift, in Å from the centres.
    """
    p = (np.asarray(index, np.float64) - grid.center) * grid.voxel_size
    p_xyz = p[..., ::-1]
    center = geometry.image_center
    assert center is not None
    found = []
    for t, tilt in enumerate(geometry.tilt_angles):
        rotation = (
            turn(per_tilt(geometry.tilt_axis_angle)[t], "z")
            @ turn(tilt, "y")
            @ turn(per_tilt(geometry.x_tilt)[t], "x")
        )
        q = per_tilt(geometry.magnification)[t] * (p_xyz @ rotation.T)[..., :2]
        row = (q[..., 1] + per_tilt(geometry.shift_y)[t]) / geometry.pixel_size + center[0]
        column = (q[..., 0] + per_tilt(geometry.shift_x)[t]) / geometry.pixel_size + center[1]
        found.append(np.stack([row, column], axis=-1))
    return np.array(found)


def voxel_pixels(geometry: TiltGeometry, grid: VolumeGrid) -> Float:
    """Projected centre of every voxel: shape (n_tilts, nz, ny, nx, 2)."""
    return pixels(geometry, grid, np.moveaxis(np.indices(grid.shape), 0, -1))


def half_sizes(geometry: TiltGeometry, grid: VolumeGrid) -> Float:
    """Half the bounding rectangle of a projected voxel, from its eight corners: (n_tilts, 2)."""
    middle = np.array(grid.center)
    corners = middle + np.array(list(itertools.product((-0.5, 0.5), repeat=3)))
    offset = pixels(geometry, grid, corners) - pixels(geometry, grid, middle)[:, None]
    return np.asarray(np.abs(offset).max(axis=1))


# ---------------------------------------------------- which pixels a voxel touches, and how much


def touched(geometry: TiltGeometry, grid: VolumeGrid) -> Bool:
    """Whether a pixel's centre lies in the half-open footprint [u - h, u + h) of a voxel."""
    center, half = voxel_pixels(geometry, grid), half_sizes(geometry, grid)
    inside = []
    for axis, size in enumerate(geometry.image_shape):
        m = np.arange(size)
        u, h = center[..., axis, None], half[:, axis].reshape(-1, 1, 1, 1, 1)
        inside.append((u - h <= m + TIE) & (m + TIE < u + h))
    rows, columns = inside
    return np.asarray(rows[..., :, None] & columns[..., None, :])


def weights(geometry: TiltGeometry, grid: VolumeGrid) -> Float:
    """Weight of every pixel in the linear interpolation at a voxel's centre: the hat function."""
    center = voxel_pixels(geometry, grid)
    hats = [
        np.maximum(0, 1 - np.abs(center[..., axis, None] - np.arange(size)))
        for axis, size in enumerate(geometry.image_shape)
    ]
    return np.asarray(hats[0][..., :, None] * hats[1][..., None, :])


# ------------------------------------------------------------------------------- backprojection


def marks(maps: npt.NDArray[Any], geometry: TiltGeometry, grid: VolumeGrid) -> Bool:
    """Binary backprojection B_t of every tilt by itself, gather form: (n_tilts, nz, ny, nx)."""
    ones = np.asarray(maps) == 1
    return np.asarray((touched(geometry, grid) & ones[:, None, None, None]).any(axis=(-2, -1)))


def votes(maps: npt.NDArray[Any], geometry: TiltGeometry, grid: VolumeGrid) -> Int:
    """Number of tilts that mark each voxel."""
    return np.asarray(marks(maps, geometry, grid).sum(axis=0))


def scatter_marks(maps: npt.NDArray[Any], geometry: TiltGeometry, grid: VolumeGrid) -> Bool:
    """Eq. 5 as the paper writes it, single-axis: every pixel of value 1 marks along its ray.

    The ray of column m at tilt t is {(x, z): x cos t + z sin t = q}, so its points are
    (q cos t - r sin t, q sin t + r cos t), r real. Between two values of r at which the ray
    crosses from one voxel to the next, the nearest integers of its points stay the same.
    """
    nz, ny, nx = grid.shape
    cz, cy, cx = grid.center
    center = geometry.image_center
    assert center is not None
    assert geometry.pixel_size == grid.voxel_size
    marked = np.zeros((geometry.n_tilts, *grid.shape), bool)
    for t, tilt in enumerate(geometry.tilt_angles):
        c, s = np.cos(np.deg2rad(tilt)), np.sin(np.deg2rad(tilt))
        for row, m in np.argwhere(np.asarray(maps[t]) == 1):
            q = m - center[1]
            crossings = [((i - 0.5 - cx) - q * c) / -s for i in range(nx + 1) if abs(s) > 1e-12]
            crossings += [((k - 0.5 - cz) - q * s) / c for k in range(nz + 1) if abs(c) > 1e-12]
            crossings.sort()
            for before, after in itertools.pairwise(crossings):
                r = (before + after) / 2
                i = int(np.floor(q * c - r * s + cx + 0.5))  # the nearest integer
                k = int(np.floor(q * s + r * c + cz + 0.5))
                y = int(row - center[0] + cy)
                if 0 <= k < nz and 0 <= y < ny and 0 <= i < nx:
                    marked[t, k, y, i] = True
    return marked


def linear_backprojection(
    images: npt.NDArray[Any],
    geometry: TiltGeometry,
    grid: VolumeGrid,
    tilt_weights: Sequence[float] | None = None,
) -> Float:
    """Sum over tilts of w_t times the interpolated image, 0 outside it: (nz, ny, nx)."""
    w = np.ones(geometry.n_tilts) if tilt_weights is None else np.asarray(tilt_weights)
    return np.asarray(
        np.einsum("tzyxhw,thw,t->zyx", weights(geometry, grid), images.astype(np.float64), w)
    )


def weighted_mean(
    images: npt.NDArray[Any],
    geometry: TiltGeometry,
    grid: VolumeGrid,
    tilt_weights: Sequence[float] | None = None,
) -> Float:
    """Linear backprojection over what is measured (finite), divided by the weights; else NaN."""
    measured = np.isfinite(images)
    total = linear_backprojection(np.where(measured, images, 0), geometry, grid, tilt_weights)
    seen = linear_backprojection(measured, geometry, grid, tilt_weights)
    return np.asarray(np.divide(total, seen, out=np.full(grid.shape, np.nan), where=seen > 0))


# ----------------------------------------------------------------------------- forward projection


def project_binary(mask: npt.NDArray[Any], geometry: TiltGeometry, grid: VolumeGrid) -> Bool:
    """1 where any voxel of the mask has the pixel in its footprint: (n_tilts, h, w)."""
    hit = touched(geometry, grid) & (np.asarray(mask) != 0)[None, :, :, :, None, None]
    return np.asarray(hit.any(axis=(1, 2, 3)))


def project_max(
    volume: npt.NDArray[Any], geometry: TiltGeometry, grid: VolumeGrid, missed: int = -1
) -> Int:
    """The largest voxel in reach of each pixel; `missed` where there is none."""
    hit = touched(geometry, grid)
    values = np.where(hit, np.asarray(volume)[None, :, :, :, None, None].astype(np.int64), missed)
    return np.asarray(values.max(axis=(1, 2, 3)))


def project_sum(
    volume: npt.NDArray[Any],
    geometry: TiltGeometry,
    grid: VolumeGrid,
    tilt_weights: Sequence[float] | None = None,
) -> Float:
    """Transpose of `linear_backprojection`: (n_tilts, h, w)."""
    w = np.ones(geometry.n_tilts) if tilt_weights is None else np.asarray(tilt_weights)
    return np.asarray(
        np.einsum("tzyxhw,zyx,t->thw", weights(geometry, grid), volume.astype(np.float64), w)
    )


# ------------------------------------------------------------------------------------ algorithms


def iou_curve(
    scores: npt.NDArray[Any], maps: npt.NDArray[Any], geometry: TiltGeometry, grid: VolumeGrid
) -> Float:
    """Algorithm 1: IoU of map and reprojection, (n_tilts, n_thresholds), threshold by threshold.

    Pixels whose ray misses the volume and pixels that are not measured (2) do not count.
    """
    counts = project_binary(np.ones(grid.shape), geometry, grid) & (np.asarray(maps) != 2)
    iou = np.empty((geometry.n_tilts, geometry.n_tilts))
    for threshold in range(geometry.n_tilts):
        reprojection = project_binary(scores > threshold, geometry, grid)
        for t in range(geometry.n_tilts):
            a = (np.asarray(maps[t]) == 1) & counts[t]
            b = reprojection[t] & counts[t]
            union = int((a | b).sum())
            iou[t, threshold] = int((a & b).sum()) / union if union else 1.0
    return iou


def refined(
    separate: Bool, angles: Sequence[float], w: int, k: int, m: int, *, keep_own: bool
) -> Int:
    """Algorithm 2: sum over tilts of B_t after m rounds, every B_t held as a volume.

    S_t = sum over |j| <= w of B_(t+j) in order of tilt angle, then B_t <- B_t and (S_t >= k_t),
    or S_t >= k_t alone; at the ends k_t = ceil(k n_t / (2w + 1)) with n_t tilts in the window.
    """
    n = len(separate)
    current = [separate[t] for t in np.argsort(angles, kind="stable")]
    for _ in range(m):
        replaced = []
        for t in range(n):
            window = [current[t + j] for j in range(-w, w + 1) if 0 <= t + j < n]
            needed = int(np.ceil(k * len(window) / (2 * w + 1) - 1e-12))
            supported = np.sum(window, axis=0, dtype=np.int64) >= needed
            replaced.append(current[t] & supported if keep_own else supported)
        current = replaced
    return np.asarray(np.sum(current, axis=0, dtype=np.int64))


def components(mask: npt.NDArray[Any]) -> tuple[Int, int]:
    """Face-connected components of the whole volume, numbered in the order of their first voxel."""
    found, n = ndimage.label(np.asarray(mask))
    labels = np.asarray(found, np.int64)
    first = [np.flatnonzero(labels == k + 1)[0] for k in range(n)]
    number = np.zeros(n + 1, np.int64)
    number[np.argsort(first) + 1] = np.arange(1, n + 1)
    return number[labels], n

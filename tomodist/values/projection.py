"""What voxel-to-pixel matrices say: where voxels land, how wide, and which pixels a brick can see.

The matrices, shape (n_tilts, 2, 4), come from `tomodist.values.geometry.TiltGeometry.matrices`;
their rows give image row and column, their columns stand for z, y, x and 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from tomodist.values.arrays import FloatArray, IntArray


def half_widths(matrices: FloatArray) -> FloatArray:
    """Half the size of a projected voxel's bounding rectangle, but at least half a pixel.

    A voxel smaller than a pixel so gets the nearest one.

    Parameters
    ----------
    matrices : ndarray, shape (n_tilts, 2, 4), float64
        From `TiltGeometry.matrices`.

    Returns
    -------
    ndarray, shape (n_tilts, 2), float64
        Along rows and columns, in pixels. In the single-axis case 1/2 and (|cos t| + |sin t|)/2.

    Examples
    --------
    >>> from tomodist.values.geometry import TiltGeometry, VolumeGrid
    >>> geometry = TiltGeometry([0, 45], image_shape=(4, 4), pixel_size=1)
    >>> half_widths(geometry.matrices(VolumeGrid((4, 4, 4), 1))).round(4)
    array([[0.5   , 0.5   ],
           [0.5   , 0.7071]])
    """
    widths: FloatArray = np.abs(matrices[:, :, :3]).sum(axis=2)
    return np.maximum(widths / 2, 0.5)


def row_offset(matrices: FloatArray) -> int | None:
    """Offset between volume rows and image rows, where every image row is a volume row.

    Parameters
    ----------
    matrices : ndarray, shape (n_tilts, 2, 4), float64
        From `TiltGeometry.matrices`.

    Returns
    -------
    int or None
        ``row = y + offset`` for all tilts (the single-axis case, in which nothing crosses y);
        None in any other geometry.

    Examples
    --------
    >>> from tomodist.values.geometry import TiltGeometry, VolumeGrid
    >>> geometry = TiltGeometry([0, 45], image_shape=(10, 4), pixel_size=1)
    >>> row_offset(geometry.matrices(VolumeGrid((4, 6, 4), 1)))
    2
    >>> row_offset(geometry.matrices(VolumeGrid((4, 7, 4), 1))) is None
    True
    """
    rows = matrices[:, 0]
    offset = float(rows[0, 3])
    aligned = np.array_equal(rows, np.broadcast_to([0.0, 1.0, 0.0, offset], rows.shape))
    crossed = bool(np.any(matrices[:, 1, 1] != 0))
    return int(offset) if aligned and not crossed and offset.is_integer() else None


def project_points(matrices: FloatArray, index: npt.ArrayLike) -> FloatArray:
    """Pixel positions of voxel indices in every image.

    Parameters
    ----------
    matrices : ndarray, shape (n_tilts, 2, 4), float64
        From `TiltGeometry.matrices`.
    index : array_like, shape (n_points, 3)
        z, y, x; need not be integers.

    Returns
    -------
    ndarray, shape (n_tilts, n_points, 2), float64
        Rows and columns.
    """
    points = np.asarray(index, dtype=np.float64).reshape(-1, 3)
    turned: FloatArray = np.einsum("tij,pj->tpi", matrices[:, :, :3], points)
    return turned + matrices[:, None, :, 3]


def visible_window(
    matrices: FloatArray, start: Sequence[int], stop: Sequence[int], image_shape: Sequence[int]
) -> IntArray:
    """Pixels of every image that the voxels of a brick can touch.

    Parameters
    ----------
    matrices : ndarray, shape (n_tilts, 2, 4), float64
        From `TiltGeometry.matrices`.
    start, stop : sequence of int
        First voxel and last voxel + 1 of the brick (z, y, x).
    image_shape : sequence of int
        Height and width in pixels.

    Returns
    -------
    ndarray, shape (n_tilts, 2, 2), int64
        ``[t, axis]`` is (first, last + 1) along rows (axis 0) and columns (axis 1), inside the
        image, with a margin of one pixel for interpolation; empty windows have first == last + 1.
    """
    # A convex brick projects into the bounding box of its eight projected corners.
    corners = np.stack(
        np.meshgrid(*[(a, b - 1) for a, b in zip(start, stop, strict=True)], indexing="ij"), axis=-1
    ).reshape(-1, 3)
    pixels = project_points(matrices, corners)
    reach = half_widths(matrices)
    # One more pixel on either side for linear interpolation.
    low = np.floor(pixels.min(axis=1) - reach) - 1
    high = np.ceil(pixels.max(axis=1) + reach) + 2
    low, high = np.clip(low, 0, image_shape), np.clip(high, 0, image_shape)
    return np.stack([low, high], axis=2).astype(np.int64)

"""Planes of volumes that pictures show: which, how read, how smoothed, in what contrast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import gaussian_filter

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from tomodist.formats.zarr import ArrayHandle
    from tomodist.store.tomogram import Label
    from tomodist.values.arrays import AnyArray

PAGE = 1024  # pixels: the largest side of a level that is drawn
SECTION, SMOOTH = 10, 3  # nm: thickness of a reconstruction's sections, and sigma in them
STRUCTURE_COLOR = "#00c2ff"


def drawn_level(shape: tuple[int, ...]) -> int:
    """The pyramid level that fits a page."""
    return max(0, int(np.ceil(np.log2(max(shape) / PAGE))))


def interesting(label: Label, shape: tuple[int, ...], level: int) -> list[int]:
    """Index of the slices: through the best-supported structure, or the middle if there is none.

    Parameters
    ----------
    label : Label
        With structures, or none.
    shape : tuple of int
        Shape (z, y, x) of the level.
    level : int
        Level of the pyramid; 0 = full size.

    Returns
    -------
    list of int
        Index (z, y, x) in that level.
    """
    tomogram = label.tomogram
    table = label.structures.dataset()
    if not table.sizes["structure"]:
        return [n // 2 for n in shape]
    best = int(np.argmax((table["mean_score"] * np.cbrt(table["n_voxels"])).values))
    size = tomogram.grid.voxel_size * 2**level
    found = [round(float(table[a].values[best]) / size) for a in "zyx"]
    return [int(np.clip(k, 0, n - 1)) for k, n in zip(found, shape, strict=True)]


def plane_of(array: ArrayHandle, axis: int, k: int) -> AnyArray:
    """Plane k of an axis.

    Parameters
    ----------
    array : ArrayHandle
        3D array.
    axis : int
        Axis perpendicular to the plane.
    k : int
        Index along it.

    Returns
    -------
    ndarray, 2D
        Element type of the array.
    """
    window = [(k, k + 1) if j == axis else (0, n) for j, n in enumerate(array.shape)]
    return np.asarray(array.read(*window).take(0, axis=axis))


def mean_plane(array: ArrayHandle, axis: int, first: int, end: int) -> AnyArray:
    """Mean of some planes, read one by one; NaN where none of them is measured.

    Parameters
    ----------
    array : ArrayHandle
        3D array; NaN = not measured.
    axis : int
        Axis perpendicular to the planes.
    first, end : int
        Planes from `first` to before `end`.

    Returns
    -------
    ndarray, 2D, float64
    """
    shape = [n for k, n in enumerate(array.shape) if k != axis]
    total, count = np.zeros(shape), np.zeros(shape)
    for k in range(first, end):
        plane = plane_of(array, axis, k)
        total += np.nan_to_num(plane)
        count += np.isfinite(plane)
    mean: AnyArray = np.full(shape, np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return mean


def smoothed(plane: AnyArray, sigma: float) -> AnyArray:
    """Gaussian mean of the measured values; NaN where nothing is measured.

    Parameters
    ----------
    plane : ndarray, 2D
        NaN = not measured.
    sigma : float
        Of the Gaussian, in pixels.

    Returns
    -------
    ndarray, 2D, float64
    """
    known = np.isfinite(plane)
    total = gaussian_filter(np.where(known, plane, 0), sigma)
    weight = gaussian_filter(known.astype(float), sigma)
    mean: AnyArray = np.full(plane.shape, np.nan)
    np.divide(total, weight, out=mean, where=known)
    return mean


def middle_of(section: AnyArray) -> AnyArray:
    """The inner half of a section, each way."""
    rows, columns = (slice(n // 4, n - n // 4) for n in section.shape)
    return section[rows, columns]


def contrast_of(section: AnyArray) -> tuple[float, float]:
    """Values that become black and white: all but half a percent on either side."""
    known = section[np.isfinite(section)]
    if not known.size or known.min() == known.max():
        return 0.0, 1.0
    low, high = np.percentile(known, [0.5, 99.5])
    return float(low), float(high)


def draw_outline(axes: Any, mask: AnyArray, extent: tuple[float, ...], color: str) -> None:  # noqa: ANN401
    """Draw the border of a mask, if it has one.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Axes that are drawn on.
    mask : ndarray, 2D
        Nonzero = inside.
    extent : tuple of float
        Left, right, bottom and top of the mask in units of the axes.
    color : str
        Colour of the line, as matplotlib names it.
    """
    if mask.any() and not mask.all() and min(mask.shape) > 1:
        axes.contour(
            mask, levels=[0.5], colors=[color], linewidths=0.7, extent=extent, origin="lower"
        )


def save(figure: Figure, path: Path, dpi: int = 110) -> Path:
    """Write a figure as PNG.

    Parameters
    ----------
    figure : Figure
        Closed afterwards.
    path : Path
        PNG file that is written.
    dpi : int
        Pixels per inch.

    Returns
    -------
    Path
        The same path.
    """
    figure.savefig(path, dpi=dpi)
    return path

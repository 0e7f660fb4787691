"""Raw images into the aligned single-axis frame, as IMOD's ``newstack`` does.

One rule: an output pixel is the area mean of the unbinned aligned pixels under it, each of which
is the cubic spline of the raw image at

    X = A⁻¹ · (X' - Xc' - D) + Xc

with X = (x, y) and centres (n - 1)/2. The unbinned aligned frame has exactly ``shape · binning``
pixels, so that its centre is the centre of the binned one:

    binning 2     unbinned   | 0   1 | 2   3 | 4   5 |     centre 2.5
                  binned     |   0   |   1   |   2   |     centre 1.0, at 2 · 1 + 0.5 = 2.5

Where the raw image does not reach, the result is NaN: not measured.

Label maps go the same way by the nearest raw pixel, as the numbers of classes have no mean; a
binned pixel gets the label that most of the pixels under it have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from tomodist.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tomodist.values.arrays import BoolArray, FloatArray, Image, UInt8Array

    Labels = UInt8Array

_INSIDE = 1e-6  # px; rounding of a 90 degree rotation must not cost the border
_PIXELS_AT_ONCE = 2**21  # 8 MiB of float32 while sampling


def aligned_shape(
    raw_shape: tuple[int, int], transforms: FloatArray, binning: int = 1
) -> tuple[int, int]:
    """Shape of the aligned images: transposed where the tilt axis was nearer to horizontal.

    Parameters
    ----------
    raw_shape : tuple of int
        Height and width of the raw images.
    transforms : ndarray, shape (n_tilts, 2, 3), float64
        From `tomodist.formats.imod.alignment.read_xf`.
    binning : int
        Raw pixels per output pixel.

    Returns
    -------
    tuple of int
        Height and width; pixels that do not fill a block are left out.

    Raises
    ------
    InputError
        If the binning is not 1 or more, or leaves no pixel.

    Examples
    --------
    >>> aligned_shape((4092, 5760), np.array([[[0.1, 0.99, 0], [-0.99, 0.1, 0]]]), binning=4)
    (1440, 1023)
    """
    height, width = raw_shape[::-1] if _is_nearer_to_horizontal(transforms) else raw_shape
    if binning < 1 or min(height, width) < binning:
        raise InputError(
            f"`binning` is {binning}; for images of {height} x {width} pixels it must be "
            f"1 to {min(height, width)}"
        )
    return height // binning, width // binning


def resample(
    image: Image, transform: FloatArray, shape: tuple[int, int], binning: int = 1
) -> Image:
    """Bring one raw image into the aligned frame.

    Parameters
    ----------
    image : ndarray, shape (height, width), float32
        Raw image; NaN = not measured.
    transform : ndarray, shape (2, 3), float64
        ``[A | D]`` in (x, y) order, D in raw pixels.
    shape : tuple of int
        Height and width of the result, after binning; see `aligned_shape`.
    binning : int
        Raw pixels per output pixel.

    Returns
    -------
    ndarray, shape `shape`, float32
        NaN where less than half of a pixel was measured.

    Examples
    --------
    >>> image = np.arange(1, 7, dtype=np.float32).reshape(2, 3)
    >>> resample(image, np.array([[0.0, -1, 0], [1, 0, 0]]), (3, 2)).round(3)
    array([[4., 1.],
           [5., 2.],
           [6., 3.]], dtype=float32)
    """
    full = (shape[0] * binning, shape[1] * binning)
    if full == image.shape and np.array_equal(transform, np.eye(2, 3)):
        return _bin(image, binning)
    matrix, offset = _to_raw(transform, image.shape, full)
    measured = np.isfinite(image)
    whole = bool(measured.all())
    filled = image if whole else np.where(measured, image, _mean(image, measured))
    # Filtered once for the whole image; the blocks of rows below sample it.
    spline = ndimage.spline_filter(filled, 3, output=np.float32, mode="mirror")
    result = np.empty(shape, np.float32)
    for rows in _row_blocks(shape, binning):
        window = (rows.stop - rows.start, shape[1])
        unbinned = (window[0] * binning, full[1])
        start = offset + matrix[:, 0] * (rows.start * binning)
        values = np.empty(unbinned, np.float32)
        ndimage.affine_transform(
            spline, matrix, start, unbinned, output=values, order=3, mode="mirror", prefilter=False
        )
        values[~_inside(matrix, start, unbinned, image.shape)] = np.nan
        if not whole:
            # A pixel is unmeasured where the nearest raw pixel is: splines have no notion of gaps.
            seen = _nearest(measured.astype(np.uint8), matrix, start, unbinned)
            values[seen == 0] = np.nan
        result[rows] = _bin(values, binning)
    return result


def resample_labels(
    labels: Labels,
    transform: FloatArray,
    shape: tuple[int, int],
    binning: int = 1,
    *,
    unmeasured: int,
) -> Labels:
    """Bring a label map of a raw image into the aligned frame, without making up any label.

    Parameters
    ----------
    labels : ndarray, shape (height, width), uint8
        Label map on the raw image.
    transform, shape, binning
        As for `resample`.
    unmeasured : int
        The label where the raw image does not reach.

    Returns
    -------
    ndarray, shape `shape`, uint8
        Of every aligned pixel the label of the nearest raw one. A binned pixel has the label of
        most of its measured pixels, of equals the lowest, and `unmeasured` where less than half of
        it is measured.

    Examples
    --------
    >>> labels = np.array([[1, 2, 0], [0, 0, 3]], np.uint8)
    >>> resample_labels(labels, np.array([[0.0, -1, 0], [1, 0, 0]]), (3, 2), unmeasured=255)
    array([[0, 1],
           [0, 2],
           [3, 0]], dtype=uint8)
    """
    full = (shape[0] * binning, shape[1] * binning)
    matrix, offset = _to_raw(transform, labels.shape, full)
    result = np.empty(shape, np.uint8)
    for rows in _row_blocks(shape, binning):
        unbinned = ((rows.stop - rows.start) * binning, full[1])
        start = offset + matrix[:, 0] * (rows.start * binning)
        values = _nearest(labels, matrix, start, unbinned)
        values[~_inside(matrix, start, unbinned, labels.shape)] = unmeasured
        result[rows] = _most(values, binning, unmeasured)
    return result


def aligned_points(
    points: FloatArray,
    transform: FloatArray,
    raw_shape: tuple[int, int],
    shape: tuple[int, int],
    binning: int = 1,
) -> FloatArray:
    """Positions of points of a raw image in the image from `resample`.

    Parameters
    ----------
    points : ndarray, shape (n, 2), float64
        Row and column in the raw image, in index coordinates.
    transform, shape, binning
        As for `resample`.
    raw_shape : tuple of int
        Height and width of the raw image.

    Returns
    -------
    ndarray, shape (n, 2), float64
        Row and column, in pixels after binning.

    Examples
    --------
    >>> turned = np.array([[0.0, -1, 0], [1, 0, 0]])
    >>> aligned_points(np.array([[1.0, 0]]), turned, (2, 3), (3, 2))
    array([[0., 0.]])
    """
    full = (shape[0] * binning, shape[1] * binning)
    matrix, offset = _to_raw(transform, raw_shape, full)
    unbinned = (points - offset) @ np.linalg.inv(matrix).T
    result: FloatArray = (unbinned - (binning - 1) / 2) / binning
    return result


def aligned_sizes(sizes: FloatArray, transform: FloatArray, binning: int = 1) -> FloatArray:
    """Height and width of boxes of a raw image in the image that `resample` makes of it.

    Parameters
    ----------
    sizes : ndarray, shape (n, 2), float64
        Height and width in raw pixels.
    transform, binning
        As for `resample`.

    Returns
    -------
    ndarray, shape (n, 2), float64
        In pixels after binning.

    Notes
    -----
    It is the box around the turned *ellipse* that the box encloses, with half axes
    ``sqrt((A_11 a)² + (A_12 b)²)``, and the same for the second row. What boxes enclose is mostly
    round: a disk keeps its size at any angle. The box around the turned corners would grow by up
    to 41 %, and neighbours would merge in the votes.

    Examples
    --------
    >>> turned = np.array([[0.6, -0.8, 0], [0.8, 0.6, 0]])
    >>> aligned_sizes(np.array([[10.0, 10.0]]), turned, binning=2)
    array([[5., 5.]])
    """
    matrix = np.asarray(transform)[::-1, 1::-1]  # of (row, column)
    result: FloatArray = np.sqrt(sizes**2 @ (matrix**2).T) / binning
    return result


def _is_nearer_to_horizontal(transforms: FloatArray) -> bool:
    (a, b), (c, d) = np.asarray(transforms)[:, :, :2].mean(axis=0)
    return bool(abs(c - b) > abs(a + d))


def _to_raw(
    transform: FloatArray, raw_shape: tuple[int, ...], full: tuple[int, int]
) -> tuple[FloatArray, FloatArray]:
    """Matrix and offset from aligned (row, column) to raw (row, column)."""
    matrix: FloatArray = np.linalg.inv(transform[:, :2])[::-1, ::-1].astype(np.float64)
    # X = A⁻¹ (X' - Xc' - D) + Xc, in (row, column) order.
    aligned_center = (np.array(full) - 1) / 2 + transform[::-1, 2]
    offset = (np.array(raw_shape) - 1) / 2 - matrix @ aligned_center
    return matrix, offset


def _row_blocks(shape: tuple[int, int], binning: int) -> Iterator[slice]:
    step = max(1, _PIXELS_AT_ONCE // (shape[1] * binning**2))
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))


def _inside(
    matrix: FloatArray, offset: FloatArray, shape: tuple[int, int], raw_shape: tuple[int, ...]
) -> BoolArray:
    """Whether the source of each aligned pixel lies inside the raw image."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    inside = np.ones(shape, np.bool_)
    for axis in (0, 1):
        source = matrix[axis, 0] * rows + (matrix[axis, 1] * columns + offset[axis])
        inside &= (source >= -_INSIDE) & (source <= raw_shape[axis] - 1 + _INSIDE)
    return inside


def _nearest(
    values: Labels, matrix: FloatArray, offset: FloatArray, shape: tuple[int, int]
) -> Labels:
    """The value of the raw pixel nearest to each aligned pixel."""
    nearest = np.empty(shape, np.uint8)
    ndimage.affine_transform(values, matrix, offset, shape, output=nearest, order=0, mode="nearest")
    return nearest


def _mean(image: Image, measured: BoolArray) -> np.float32:
    return np.float32(image[measured].mean(dtype=np.float64)) if measured.any() else np.float32(0)


def _bin(image: Image, binning: int) -> Image:
    """Area mean of what was measured, NaN where that is less than half of the block."""
    if binning == 1:
        return image.astype(np.float32)
    height, width = (n // binning for n in image.shape)
    blocks = image.reshape(height, binning, width, binning)
    measured = np.isfinite(blocks)
    count = measured.sum(axis=(1, 3))
    total = np.where(measured, blocks, 0).sum(axis=(1, 3), dtype=np.float64)
    mean = total / np.maximum(count, 1)
    return np.where(2 * count < binning**2, np.nan, mean).astype(np.float32)


def _most(labels: Labels, binning: int, unmeasured: int) -> Labels:
    """The label that most measured pixels of a block have; as `_bin` where few are measured."""
    if binning == 1:
        return labels
    height, width = (n // binning for n in labels.shape)
    blocks = labels.reshape(height, binning, width, binning)
    result = np.full((height, width), unmeasured, np.uint8)
    largest = np.zeros((height, width), np.int64)
    for label in np.unique(labels[labels != unmeasured]):
        count = (blocks == label).sum(axis=(1, 3))
        more = count > largest
        result[more], largest[more] = label, count[more]
    # As in _bin: less than half of the block measured means not measured.
    few = 2 * (blocks != unmeasured).sum(axis=(1, 3)) < binning**2
    result[few] = unmeasured
    return result

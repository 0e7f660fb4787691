"""The kernels' rules in plain NumPy, as peers that give the same values.

"NumPy" says little by itself, so there are two forms: *by rows*, vectorised over y as the kernels
are, and *by planes*, with contiguous gathers into padded images, which is about as fast as NumPy
can be made to go here. Images are (tilt, column, row), volumes (z, x, y) and begin at layer 0; a
volume of fewer layers computes just these.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tomodist.kernels.rules import TIE

if TYPE_CHECKING:
    from collections.abc import Iterator

Array = npt.NDArray[Any]
Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]


# ------------------------------------------------------------------------------------- by rows


def votes_by_rows(images: Array, matrices: Float, half: Float, votes: Array) -> None:
    """Single-axis votes, one row of y at a time."""
    for z, t in itertools.product(range(len(votes)), range(len(images))):
        for x, low, high in _footprints(matrices[t, 1], half[t, 1], z, votes, images):
            if high - low == 2:
                votes[z, x] += images[t, low] | images[t, low + 1]
            elif high - low == 1:
                votes[z, x] += images[t, low]


def max_by_rows(brick: Array, matrices: Float, half: Float, images: Array) -> None:
    """Single-axis maximum projection, one row of y at a time."""
    for z, t in itertools.product(range(len(brick)), range(len(images))):
        for x, low, high in _footprints(matrices[t, 1], half[t, 1], z, brick, images):
            for c in range(low, high):
                np.maximum(images[t, c], brick[z, x], out=images[t, c])


def _footprints(
    matrix: Float, half: float, z: int, brick: Array, images: Array
) -> Iterator[tuple[int, int, int]]:
    """Column x, and first and last + 1 pixel that its voxels touch, of each column of a layer."""
    u = _across(matrix, z, brick)
    low = np.maximum(np.ceil(u - half - TIE), 0).astype(int).tolist()
    high = np.minimum(np.ceil(u + half - TIE), images.shape[1]).astype(int).tolist()
    return zip(range(len(u)), low, high, strict=True)


def _across(matrix: Float, z: int, brick: Array) -> Float:
    """Pixel column of every voxel column of a layer."""
    return np.asarray(matrix[0] * z + matrix[2] * np.arange(brick.shape[1]) + matrix[3])


def linear_by_rows(images: Array, matrices: Float, _: Float, total: Array) -> None:
    """Single-axis interpolation, one row of y at a time."""
    for z, t in itertools.product(range(len(total)), range(len(images))):
        u = _across(matrices[t, 1], z, total)
        below = np.floor(u).astype(int).tolist()
        fraction = (u - np.floor(u)).astype(np.float32)
        for x, k in enumerate(below):
            if 0 <= k < images.shape[1]:
                total[z, x] += (1 - fraction[x]) * images[t, k]
            if 0 <= k + 1 < images.shape[1]:
                total[z, x] += fraction[x] * images[t, k + 1]


# ----------------------------------------------------------------------------------- by planes


def _positions(matrix: Float, z: int, shape: tuple[int, ...]) -> Float:
    """Pixel index of every voxel (x, y) of a layer along one image axis; a column if y is idle."""
    y = matrix[1] * np.arange(shape[1]) if matrix[1] else np.zeros(1)
    return np.asarray((matrix[0] * z + matrix[2] * np.arange(shape[0]))[:, None] + y + matrix[3])


def _padded(u: Float, size: int) -> Index:
    """Pixel indices in an image with one more pixel on either side."""
    return np.clip(u.astype(np.intp) + 1, 0, size + 1)


def _pad(images: Array) -> Array:
    return np.pad(images, ((0, 0), (1, 1), (1, 1)))


def _ends(matrix: Float, half: float, z: int, shape: tuple[int, ...], size: int) -> list[Index]:
    """First and last pixel of footprints of at most two pixels."""
    u = _positions(matrix, z, shape)
    return [_padded(np.ceil(u + s * half - TIE) - (s > 0), size) for s in (-1, 1)]


def _beside(matrix: Float, z: int, shape: tuple[int, ...], size: int) -> tuple[list[Index], Array]:
    """Pixels below and above each centre, and the fraction between them."""
    u = _positions(matrix, z, shape)
    below = np.floor(u)
    return [_padded(below + k, size) for k in (0, 1)], (u - below).astype(np.float32)


def votes_by_planes(images: Array, matrices: Float, half: Float, votes: Array) -> None:
    """Votes of any geometry in which a footprint is at most 2 x 2 pixels."""
    padded = _pad(images)
    for z, t in itertools.product(range(len(votes)), range(len(images))):
        votes[z] += marks_by_planes(padded[t], matrices[t], half[t], z, votes.shape[1:])


def marks_by_planes(
    padded: Array, matrix: Float, half: Float, z: int, shape: tuple[int, ...]
) -> Array:
    """Which voxels of a layer one tilt marks."""
    columns = _ends(matrix[1], half[1], z, shape, len(padded) - 2)
    if columns[0].shape[1] == 1:
        image = padded[:, 1:-1]
        return np.asarray(image[columns[0][:, 0]] | image[columns[1][:, 0]])
    rows = _ends(matrix[0], half[0], z, shape, padded.shape[1] - 2)
    return np.asarray(np.bitwise_or.reduce([padded[c, r] for c in columns for r in rows]))


def linear_by_planes(images: Array, matrices: Float, _: Float, total: Array) -> None:
    """Interpolation in any geometry."""
    size, shape, padded = images.shape[1:], total.shape[1:], _pad(images)
    for z, t in itertools.product(range(len(total)), range(len(images))):
        c, f = _beside(matrices[t, 1], z, shape, size[0])
        if f.shape[1] == 1:
            image = padded[t, :, 1:-1]
            total[z] += (1 - f) * image[c[0][:, 0]]
            total[z] += f * image[c[1][:, 0]]
            continue
        r, g = _beside(matrices[t, 0], z, shape, size[1])
        near = (1 - g) * padded[t, c[0], r[0]] + g * padded[t, c[0], r[1]]
        far = (1 - g) * padded[t, c[1], r[0]] + g * padded[t, c[1], r[1]]
        total[z] += (1 - f) * near + f * far


def max_by_planes(brick: Array, matrices: Float, half: Float, images: Array) -> None:
    """Maximum projection in any geometry: the transpose of the votes."""
    size, padded = images.shape[1:], _pad(images)
    for z, t in itertools.product(range(len(brick)), range(len(images))):
        columns = _ends(matrices[t, 1], half[t, 1], z, brick.shape[1:], size[0])
        rows = _ends(matrices[t, 0], half[t, 0], z, brick.shape[1:], size[1])
        for c, r in itertools.product(columns, rows):
            np.maximum.at(padded[t], (c, r), brick[z])
    images[...] = padded[:, 1:-1, 1:-1]


def refined_by_planes(
    images: Array, matrices: Float, half: Float, votes: Array, rule: tuple[int, int, int]
) -> None:
    """Algorithm 2 with (w, k, m), every mark a byte; tilts in order of angle."""
    w, k, m = rule
    n, padded = len(images), _pad(images)
    window = [len(range(max(t - w, 0), min(t + w + 1, n))) for t in range(n)]
    needed = np.array([-(-k * size // (2 * w + 1)) for size in window])[:, None, None]
    for z in range(len(votes)):
        at = (z, votes.shape[1:])
        marks = np.stack([marks_by_planes(padded[t], matrices[t], half[t], *at) for t in range(n)])
        for _ in range(m):
            sums = np.zeros_like(marks)
            for j in range(-w, w + 1):
                sums[max(-j, 0) : n - max(j, 0)] += marks[max(j, 0) : n - max(-j, 0)]
            marks &= sums >= needed
        votes[z] = marks.sum(axis=0)

"""Speed of the compiled backprojection against the same rules in NumPy, in one run.

    python -m tests.benchmarks.bench_kernels

Not a test: its numbers depend on the machine. All run on one thread, on the same data, and must
agree. Two NumPy forms, because "NumPy" says little by itself: one vectorised over y, as the kernels
are (what the design asks to beat tenfold), and one over whole (x, y) planes, with contiguous
gathers into padded images, which is about as fast as NumPy can be made to go here.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tomodist.footprint import half_widths
from tomodist.geometry import TiltGeometry, VolumeGrid
from tomodist.kernels.backproject import linear_any, linear_rows, votes_any, votes_rows
from tomodist.kernels.rules import TIE

if TYPE_CHECKING:
    from collections.abc import Callable

Array = npt.NDArray[Any]
Float = npt.NDArray[np.float64]

SHAPE = (6, 512, 512)  # z, y, x
ANGLES = np.linspace(-60, 60, 41).tolist()
N_TILTS = len(ANGLES)
GRID = VolumeGrid(SHAPE, 10.0)
ALIGNED = TiltGeometry(ANGLES, SHAPE[1:], 10.0)
TURNED = TiltGeometry(ANGLES, SHAPE[1:], 10.0, tilt_axis_angle=4.0, x_tilt=2.0, shift_x=13.0)


def votes_by_rows(images: Array, matrices: Float, half: Float, votes: Array) -> None:
    """Single-axis votes, one row of y at a time."""
    for z in range(SHAPE[0]):
        for t in range(N_TILTS):
            u = matrices[t, 1, 0] * z + matrices[t, 1, 2] * np.arange(SHAPE[2]) + matrices[t, 1, 3]
            low = np.maximum(np.ceil(u - half[t, 1] - TIE), 0).astype(int).tolist()
            high = np.minimum(np.ceil(u + half[t, 1] - TIE), images.shape[1]).astype(int).tolist()
            for x in range(SHAPE[2]):
                if high[x] - low[x] == 2:
                    votes[z, x] += images[t, low[x]] | images[t, low[x] + 1]
                elif high[x] - low[x] == 1:
                    votes[z, x] += images[t, low[x]]


def linear_by_rows(images: Array, matrices: Float, _: Float, total: Array) -> None:
    """Single-axis interpolation, one row of y at a time."""
    for z in range(SHAPE[0]):
        for t in range(N_TILTS):
            u = matrices[t, 1, 0] * z + matrices[t, 1, 2] * np.arange(SHAPE[2]) + matrices[t, 1, 3]
            below = np.floor(u).astype(int).tolist()
            fraction = (u - np.floor(u)).astype(np.float32)
            for x, k in enumerate(below):
                if 0 <= k < images.shape[1]:
                    total[z, x] += (1 - fraction[x]) * images[t, k]
                if 0 <= k + 1 < images.shape[1]:
                    total[z, x] += fraction[x] * images[t, k + 1]


def plane_positions(matrix: Float, z: int) -> Float:
    """Pixel index of every voxel (x, y) of a plane along one image axis; a column if y is idle."""
    y = matrix[1] * np.arange(SHAPE[1]) if matrix[1] else np.zeros(1)
    return np.asarray((matrix[0] * z + matrix[2] * np.arange(SHAPE[2]))[:, None] + y + matrix[3])


def padded(u: Float, size: int) -> npt.NDArray[np.intp]:
    """Pixel indices in an image with one more pixel of 0 on either side."""
    return np.clip(u.astype(np.intp) + 1, 0, size + 1)


def votes_by_planes(images: Array, matrices: Float, half: Float, votes: Array) -> None:
    """Votes of any geometry in which a footprint is at most 2 x 2 pixels."""
    size = images.shape[1:]
    images = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    for z in range(SHAPE[0]):
        for t in range(N_TILTS):
            u, h = plane_positions(matrices[t, 1], z), half[t, 1]
            columns = [padded(np.ceil(u + s * h - TIE) - (s > 0), size[0]) for s in (-1, 1)]
            if u.shape[1] == 1:
                image = images[t, :, 1:-1]
                votes[z] += image[columns[0][:, 0]] | image[columns[1][:, 0]]
                continue
            v, h = plane_positions(matrices[t, 0], z), half[t, 0]
            rows = [padded(np.ceil(v + s * h - TIE) - (s > 0), size[1]) for s in (-1, 1)]
            votes[z] += np.bitwise_or.reduce([images[t, c, r] for c in columns for r in rows])


def linear_by_planes(images: Array, matrices: Float, _: Float, total: Array) -> None:
    """Interpolation in any geometry."""
    size = images.shape[1:]
    images = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    for z in range(SHAPE[0]):
        for t in range(N_TILTS):
            u = plane_positions(matrices[t, 1], z)
            at = np.floor(u)
            c, f = [padded(at + k, size[0]) for k in (0, 1)], (u - at).astype(np.float32)
            if u.shape[1] == 1:
                image = images[t, :, 1:-1]
                total[z] += (1 - f) * image[c[0][:, 0]]
                total[z] += f * image[c[1][:, 0]]
                continue
            v = plane_positions(matrices[t, 0], z)
            at = np.floor(v)
            r, g = [padded(at + k, size[1]) for k in (0, 1)], (v - at).astype(np.float32)
            near = (1 - g) * images[t, c[0], r[0]] + g * images[t, c[0], r[1]]
            far = (1 - g) * images[t, c[1], r[0]] + g * images[t, c[1], r[1]]
            total[z] += (1 - f) * near + f * far


def time_of(function: Callable[[Array], None], out: Array, repeats: int) -> float:
    """Shortest of some runs into `out`, in seconds."""
    times = []
    for _ in range(repeats):
        out[:] = 0
        start = time.perf_counter()
        function(out)
        times.append(time.perf_counter() - start)
    return min(times)


def compare(
    kernel: Callable[..., None],
    numpy_forms: dict[str, Callable[..., None]],
    images: Array,
    geometry: TiltGeometry,
) -> None:
    """Time a kernel and NumPy, check that they agree, and print one line."""
    matrices = geometry.matrices(GRID)
    half = half_widths(matrices)
    origin, start = np.zeros((N_TILTS, 2), np.int64), np.zeros(3, np.int64)
    weights = half if images.dtype == np.uint8 else np.ones(N_TILTS, np.float32)
    out = np.zeros((SHAPE[0], SHAPE[2], SHAPE[1]), images.dtype)

    def run(result: Array) -> None:
        kernel(images, origin, matrices, weights, start, result)

    run(out)  # compiles
    fast = time_of(run, out, 5)
    found = out.copy()
    line = f"{kernel.__name__:12} {GRID.n_voxels * N_TILTS / fast / 1e9:6.2f} G updates/s"
    for name, form in numpy_forms.items():
        slow = time_of(partial(form, images, matrices, half), out, 2)
        np.testing.assert_allclose(found, out, rtol=1e-3, atol=1e-3)
        line += f"   {slow / fast:6.1f} x NumPy by {name}"
    sys.stdout.write(line + "\n")


def main() -> None:
    """Measure and print."""
    random = np.random.default_rng(0)
    _, ny, nx = SHAPE
    masks = (random.random((N_TILTS, nx, ny)) < 0.2).astype(np.uint8)
    grey = random.random((N_TILTS, nx, ny)).astype(np.float32)
    votes, linear = {"planes": votes_by_planes}, {"planes": linear_by_planes}
    compare(votes_rows, {"rows": votes_by_rows, **votes}, masks, ALIGNED)
    compare(linear_rows, {"rows": linear_by_rows, **linear}, grey, ALIGNED)
    compare(votes_any, votes, masks, TURNED)
    compare(linear_any, linear, grey, TURNED)


if __name__ == "__main__":
    main()

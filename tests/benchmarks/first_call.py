"""Time the first call of a kernel in this interpreter: loading what numba has compiled before.

    python -m tests.benchmarks.first_call votes_rows

Prints the seconds of the call alone, imports not included, and the sum of its result. Nothing
compiled runs before it, or starting numba would not be measured; so the inputs, images of ones, are
laid out here by NumPy alone.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from tomodist.kernels.backproject import linear_rows
from tomodist.kernels.bits import BLOCK, BLOCK_ROWS, pack_rows
from tomodist.kernels.memory import aligned_zeros
from tomodist.kernels.votes import votes_rows
from tomodist.values.geometry import TiltGeometry, VolumeGrid
from tomodist.values.projection import half_widths

N_TILTS, SHAPE, WIDTH = 5, (8, 16, 12), 40  # every ray of every voxel hits the images


def first_call(kernel: str) -> tuple[float, float]:
    """Seconds, and the sum of the volume: every voxel becomes the number of tilts."""
    nz, ny, nx = SHAPE
    angles = np.linspace(-60, 60, N_TILTS)
    matrices = TiltGeometry(angles.tolist(), (ny, WIDTH), 10.0).matrices(VolumeGrid(SHAPE, 10.0))
    half, weights = half_widths(matrices), np.ones(N_TILTS, np.float32)
    origin, start = np.zeros((N_TILTS, 2), np.int64), np.zeros(3, np.int64)
    blocks = aligned_zeros((N_TILTS, 2, WIDTH + 1, 1), BLOCK)
    for block in blocks:
        pack_rows(np.ones((BLOCK_ROWS, WIDTH), np.bool_), block)
    images = aligned_zeros((N_TILTS, WIDTH, ny), np.float32)
    images[:] = 1
    out = aligned_zeros((nz, nx, ny), np.uint8 if kernel == "votes_rows" else np.float32)
    started = time.perf_counter()
    if kernel == "votes_rows":
        votes_rows(blocks, origin, matrices, half, start, out)
    else:
        linear_rows(images, origin, matrices, weights, start, out)
    return time.perf_counter() - started, float(out.sum(dtype=np.float64))


if __name__ == "__main__":
    print(*first_call(sys.argv[1]))  # noqa: T201 -- this is a program

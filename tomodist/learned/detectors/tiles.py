"""Cutting what is too large for a network into windows, and putting its outputs together.

Two ways. *Exact*: cores tile the image, each window is a core and a margin (`radius`) as wide as
the network looks, so what a core gets is what the whole image would give it, but for rounding:

    |<------- image ------->|
    [ core 0 |margin)                      windows start and stop at multiples of `multiple`
     (margin| core 1 |margin)
              (margin| core 2 ]

*Blended*: windows overlap by a part, and a voxel gets the mean of their outputs with weights that
fall to their borders; cheaper in 3D, where margins cost most, and as exact as the network is blind
to what is far. The windows lie on a grid of the whole volume, whatever part of it is asked for.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tomodist.values.arrays import Float32Array


Window = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Tile:
    """Window to which a network is applied, and the core whose output is used."""

    window: Window
    core: Window


def tiles_of(shape: Sequence[int], side: int, radius: int, multiple: int) -> list[Tile]:
    """Cut an array into cores with margins.

    Parameters
    ----------
    shape : sequence of int
        Of the array, multiples of `multiple`.
    side : int
        Of a core.
    radius : int
        Width of the margin; rounded up to a multiple.
    multiple : int
        Windows start and stop at multiples of it.

    Returns
    -------
    list of Tile
        Cores cover the array once. One tile where the array is no larger than a window.

    Examples
    --------
    >>> [(t.window, t.core) for t in tiles_of((96,), 32, 16, 16)]
    [(((0, 48),), ((0, 32),)), (((16, 80),), ((32, 64),)), (((48, 96),), ((64, 96),))]
    """
    # Rounded up, so that windows stay aligned with the strides of the network.
    margin = -(-radius // multiple) * multiple
    side = max(multiple, side // multiple * multiple)
    axes = []
    for n in shape:
        if n <= side + 2 * margin:
            axes.append([((0, n), (0, n))])
            continue
        cores = [(a, min(a + side, n)) for a in range(0, n, side)]
        axes.append([((max(a - margin, 0), min(b + margin, n)), (a, b)) for a, b in cores])
    return [
        Tile(tuple(w for w, _ in parts), tuple(c for _, c in parts))
        for parts in itertools.product(*axes)
    ]


@dataclass(frozen=True)
class Blending:
    """Overlapping windows on the grid of a volume.

    Parameters
    ----------
    shape : tuple of int
        Of the volume.
    side : int
        Of a window, a multiple of the network's `multiple`.
    overlap : int
        Voxels that neighbouring windows share; less than half the side.

    Examples
    --------
    >>> windows = Blending((12,), 8, 4)
    >>> list(windows.starts(0)), windows.profile(8).tolist()
    ([0, 4], [0.125, 0.375, 0.625, 0.875, 0.875, 0.625, 0.375, 0.125])
    """

    shape: tuple[int, ...]
    side: int
    overlap: int

    def starts(self, axis: int) -> range:
        """First voxels of the windows along an axis; the last may reach beyond the volume."""
        step = self.side - self.overlap
        # Least n with n * step + overlap >= length.
        n = max(1, -(-(self.shape[axis] - self.overlap) // step))
        return range(0, n * step, step)

    def windows(self, part: Window) -> Iterator[Window]:
        """Windows that touch a part of the volume, in C order."""
        axes = [
            [(a, a + self.side) for a in self.starts(k) if a < stop and a + self.side > start]
            for k, (start, stop) in enumerate(part)
        ]
        yield from itertools.product(*axes)

    def profile(self, n: int) -> Float32Array:
        """Weight along one axis of a window: up over the overlap, level, and down; shape (n,)."""
        rise = (np.arange(n, dtype=np.float32) + 0.5) / max(self.overlap, 1)
        return np.minimum(1, np.minimum(rise, rise[::-1]))

    def weights(self, window: Window) -> Float32Array:
        """Weight of every voxel of a window; those of all windows add up to 1 in the volume."""
        total: Float32Array = np.ones((1,) * len(window), np.float32)
        for axis, (start, stop) in enumerate(window):
            line = self.profile(stop - start)
            half = (stop - start) // 2
            # At a face of the volume there is no neighbour to share with: full weight up to the
            # face.
            if start == 0:
                line[:half] = 1
            if start == self.starts(axis)[-1]:
                line[half:] = 1
            total = total * line.reshape([-1 if k == axis else 1 for k in range(len(window))])
        return total

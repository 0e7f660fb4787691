"""What a network is to say of boxes: Gaussian heat maps of centres, offsets and sizes.

For every box (see `tomodist.learned.detectors.centers` for the outputs):

- its heat map is 1 in the cell of the centre and falls as a Gaussian around it, of a width in
  proportion to the box's along each axis, as in TTFNet [1]_; where objects overlap, the larger
  value counts;
- offset and size (by smooth L1) are learnt wherever the heat map is that of the box, with its value
  as weight, not in the centre's cell alone as in CenterNet: in noise the peak is often a cell
  beside it, and its offset must lead back.

One rule: what is not to be learnt from (`IGNORED`) has no part in any loss.

References
----------
.. [1] Z. Liu, T. Zheng, G. Xu, Z. Yang, H. Liu, D. Cai, "Training-Time-Friendly Network for
   Real-Time Object Detection", AAAI (2020). https://arxiv.org/abs/1909.00700
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tomodist.learned.networks.spec import N_REGRESSION
from tomodist.learned.training.examples import IGNORED

if TYPE_CHECKING:
    from tomodist.learned.training.examples import Example
    from tomodist.learned.training.patches import Patch
    from tomodist.values.arrays import BoolArray, Float32Array, FloatArray, UInt8Array


SIGMA = 0.09
"""Width of a heat map's Gaussian, as a part of the box: 0.54 / 6, the best of TTFNet's."""

_LEAST = 0.05  # of a Gaussian: beyond, nothing is learnt of offset and size


class Targets(NamedTuple):
    """Target outputs of a network for one image.

    Parameters
    ----------
    heat : ndarray, shape (n_classes, height, width), float32
        Of cells: 1 where an object has its middle.
    regression : ndarray, shape (4, height, width), float32
        Offsets and logarithms of sizes, in cells.
    weight : ndarray, shape (1, height, width), float32
        Of `regression`.
    known : ndarray, shape (n_classes, height, width), float32
        0 where nothing is to be learnt from.
    """

    heat: Float32Array
    regression: Float32Array
    weight: Float32Array
    known: Float32Array


def targets_of(patch: Patch | Example, stride: int) -> Targets:
    """Target outputs of a network for a patch.

    Parameters
    ----------
    patch : Patch or Example
        Image, target and boxes; sides are multiples of `stride`, or the last cells are cut off.
    stride : int
        Pixels of a cell.

    Returns
    -------
    Targets
    """
    shape = tuple(-(-n // stride) for n in patch.image.shape)
    known = _known(patch.target, stride)
    heat = np.zeros((len(patch.target), *shape), np.float32)
    regression = np.zeros((N_REGRESSION, *shape), np.float32)
    nearest = np.zeros(shape, np.float32)
    for k, boxes in enumerate(patch.boxes):
        for center, size in zip((boxes.center + 0.5) / stride, boxes.size / stride, strict=True):
            window, bump = _bump(center, size, shape)
            np.maximum(heat[k][window], bump, out=heat[k][window])
            # A cell learns offset and size of the box whose Gaussian is highest there.
            own = (bump > nearest[window]) & (known[k][window] > 0)
            nearest[window][own] = bump[own]
            _put(regression, window, own, center, size)
    weight = np.where(nearest > _LEAST, nearest, np.float32(0))
    return Targets(heat, regression, weight[None], known)


def _bump(
    center: FloatArray, size: FloatArray, shape: tuple[int, ...]
) -> tuple[tuple[slice, ...], Float32Array]:
    """Gaussian about the cell of a box's centre, and its place; 1 in that cell, in cells."""
    # Centres beyond the patch count for the cell at its border.
    cell = np.clip(np.floor(center).astype(np.int64), 0, np.array(shape) - 1)
    sigma = np.maximum(SIGMA * size, 1e-3)
    reach = np.ceil(3.5 * sigma).astype(np.int64)
    start, stop = np.maximum(cell - reach, 0), np.minimum(cell + reach + 1, shape)
    lines = [
        np.exp(-((np.arange(a, b) - c) ** 2) / (2 * s**2))
        for a, b, c, s in zip(start, stop, cell, sigma, strict=True)
    ]
    window = tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
    return window, np.outer(*lines).astype(np.float32)


def _put(
    regression: Float32Array,
    window: tuple[slice, ...],
    own: BoolArray,
    center: FloatArray,
    size: FloatArray,
) -> None:
    """Offsets and sizes of a box, in the cells of a window that are its own."""
    cells = np.meshgrid(*(np.arange(s.start, s.stop) for s in window), indexing="ij")
    for axis in range(2):
        regression[axis][window][own] = (center[axis] - 0.5 - cells[axis])[own]
        regression[2 + axis][window][own] = np.log(max(size[axis], 1e-3))


def _known(target: UInt8Array, stride: int) -> Float32Array:
    """1 in cells whose pixels are all used for training, else 0."""
    n, height, width = target.shape
    # Padded to whole cells; padding counts as ignored.
    up = [-n % stride for n in (height, width)]
    whole = np.pad(target, ((0, 0), (0, up[0]), (0, up[1])), constant_values=IGNORED)
    cells = whole.reshape(n, whole.shape[1] // stride, stride, whole.shape[2] // stride, stride)
    return np.asarray((cells != IGNORED).all(axis=(2, 4)), np.float32)

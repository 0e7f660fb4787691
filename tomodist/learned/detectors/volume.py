"""Networks of three dimensions: windows that overlap, and the mean of what they say.

One rule: windows lie on a grid of the whole volume, so a voxel gets the same value, bit by bit,
from whatever brick is asked for.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tomodist.learned.model.network import activated

if TYPE_CHECKING:
    from collections.abc import Callable

    from tomodist.learned.detectors.tiles import Blending, Window
    from tomodist.learned.model.card import Activation
    from tomodist.learned.model.network import Network
    from tomodist.values.arrays import Float32Array, FloatArray, UInt8Array


SIDE, OVERLAP = 128, 32
"""Voxels: of a window, and of what neighbours share. Fixed, so that results are too."""

MAX_SCORE = 254
"""Probabilities are stored as scores, 0 to this."""


def blended_probabilities(
    network: Network,
    read: Callable[[Window], Float32Array],
    blending: Blending,
    part: Window,
    activation: Activation = "sigmoid",
) -> Float32Array:
    """Probabilities in a part of a volume.

    Parameters
    ----------
    network : Network
        What looks at it; of output stride 1.
    read : callable
        ``read(window)`` gives normalised voxels of a window that lies within the volume.
    blending : Blending
        The windows.
    part : tuple of tuple of int
        (start, stop) along every axis.
    activation : {"sigmoid", "softmax", "none"}
        What makes probabilities of the outputs.

    Returns
    -------
    ndarray, shape (n_classes, ...), float32
        0 to 1.
    """
    total: Float32Array | None = None
    for window in blending.windows(part):
        # The last windows reach beyond the volume; there the input is 0, the mean.
        known = tuple((a, min(b, n)) for (a, b), n in zip(window, blending.shape, strict=True))
        values = np.zeros([b - a for a, b in window], np.float32)
        values[tuple(slice(b - a) for a, b in known)] = read(known)
        weighted = activated(network(values[None, None])[0], activation)
        weighted = weighted * blending.weights(window)
        if total is None:
            total = np.zeros((len(weighted), *(b - a for a, b in part)), np.float32)
        shared = [
            (max(a, start), min(b, stop)) for (a, b), (start, stop) in zip(known, part, strict=True)
        ]
        # shared = known ∩ part, once as indices of the window and once of the part.
        inner = (
            slice(None),
            *(slice(a - s, b - s) for (a, b), (s, _) in zip(shared, window, strict=True)),
        )
        outer = (
            slice(None),
            *(slice(a - s, b - s) for (a, b), (s, _) in zip(shared, part, strict=True)),
        )
        total[outer] += weighted[inner]
    assert total is not None
    return total


def as_scores(probabilities: FloatArray) -> UInt8Array:
    """Scores that stand for probabilities; the probabilities are used up.

    Parameters
    ----------
    probabilities : ndarray, float32
        0 to 1.

    Returns
    -------
    ndarray, uint8
        0 to 254, rounded.
    """
    np.multiply(probabilities, MAX_SCORE, out=probabilities)
    return np.rint(probabilities, out=probabilities).astype(np.uint8)


def score_above(probability: float) -> int:
    """The score above which a voxel is structure, from the probability.

    Examples
    --------
    >>> score_above(0.5)
    127
    """
    return math.floor(probability * MAX_SCORE)

"""Networks as functions of arrays, and how an image goes through one; torch is not needed here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from tomodist.learned.detectors.tiles import tiles_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.learned.model.card import Activation
    from tomodist.values.arrays import Float32Array


TILE = 2048
"""Pixels: side of the cores into which larger images are cut. Fixed, so that results are too."""


class Network(Protocol):
    """Network as a function of arrays."""

    multiple: int
    radius: int
    output_stride: int

    def __call__(self, batch: Float32Array) -> Float32Array:
        """Outputs of images.

        Parameters
        ----------
        batch : ndarray, shape (n, 1, ...), float32
            Normalised, with sides that are multiples of `multiple`.

        Returns
        -------
        ndarray, shape (n, n_outputs, ...), float32
            Of sides divided by `output_stride`; logits.
        """
        ...


def dense_output(network: Network, image: Float32Array, tile: int = TILE) -> Float32Array:
    """Outputs of one image, or volume, of any size.

    Parameters
    ----------
    network : Network
        What looks at it.
    image : ndarray, shape (height, width) or (depth, height, width), float32
        Normalised. It is padded by its mean, 0, to the next multiple.
    tile : int
        Side of the cores of larger images: results agree with those of one piece to rounding (1e-4
        of logits in float32, 0.05 in bfloat16).

    Returns
    -------
    ndarray, shape (n_outputs, ...), float32
        Sides are those of the image divided by `output_stride`, rounded up.
    """
    # Padded at the end only, so indices stay the same.
    shape = [-(-n // network.multiple) * network.multiple for n in image.shape]
    padded = np.zeros(shape, np.float32)
    padded[tuple(slice(n) for n in image.shape)] = image
    stride, outputs = network.output_stride, None
    for part in tiles_of(shape, tile, network.radius, network.multiple):
        window = padded[tuple(slice(*w) for w in part.window)]
        part_outputs = network(window[None, None])[0]
        if outputs is None:
            outputs = np.empty((len(part_outputs), *(n // stride for n in shape)), np.float32)
        _put(outputs, part_outputs, part.window, part.core, stride)
    assert outputs is not None
    return outputs[(slice(None), *(slice(-(-n // stride)) for n in image.shape))]


def _put(
    outputs: Float32Array,
    part: Float32Array,
    window: Sequence[tuple[int, int]],
    core: Sequence[tuple[int, int]],
    stride: int,
) -> None:
    """Copy the core of a window's output into the whole output."""
    outer = tuple(slice(a // stride, b // stride) for a, b in core)
    inner = tuple(
        slice((a - start) // stride, (b - start) // stride)
        for (a, b), (start, _) in zip(core, window, strict=True)
    )
    outputs[(slice(None), *outer)] = part[(slice(None), *inner)]


def activated(outputs: Float32Array, activation: Activation) -> Float32Array:
    """Outputs of a network as probabilities of the classes.

    Of softmax the first output is that of nothing, and is left out.

    Parameters
    ----------
    outputs : ndarray, shape (n_outputs, ...), float32
        Outputs of a network.
    activation : {"sigmoid", "softmax", "none"}
        What makes probabilities of the outputs.

    Returns
    -------
    ndarray, shape (n_classes, ...), float32
        0 to 1.
    """
    if activation == "none":
        return np.clip(outputs, 0, 1)
    if activation == "sigmoid":
        return sigmoid(outputs)
    # The largest exponent is 0, so exp cannot overflow.
    shifted = np.exp(outputs - outputs.max(axis=0))
    return np.asarray((shifted / shifted.sum(axis=0))[1:], np.float32)


def sigmoid(logits: Float32Array) -> Float32Array:
    """Probabilities, shape of the logits, float32; without overflow."""
    # tanh saturates without overflow, unlike exp.
    return np.asarray(0.5 * (np.tanh(0.5 * logits) + 1), np.float32)

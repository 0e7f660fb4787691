"""Networks as functions of arrays, and how an image goes through one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from tomodist.detect.learned.tiles import tiles_of
from tomodist.networks.device import autocast, device, memory_format

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float32]

TILE = 2048
"""Pixels: side of the cores into which larger images are cut. Fixed, so that results are too."""


class Network(Protocol):
    """What a network is to a detector."""

    multiple: int
    radius: int
    output_stride: int

    def __call__(self, batch: FloatArray) -> FloatArray:
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


class TorchNetwork:
    """A torch module as a function of arrays.

    Parameters
    ----------
    module : Module
        As `tomodist.networks.build` makes it; it is put into evaluation mode.
    half : bool
        In bfloat16 where that is quicker.
    """

    def __init__(self, module: Any, *, half: bool = True) -> None:  # noqa: ANN401 -- see `build`
        self.multiple: int = module.multiple
        self.radius: int = module.radius
        self.output_stride: int = module.output_stride
        self._module = module.to(device())
        self._half = half

    def __call__(self, batch: FloatArray) -> FloatArray:
        """Outputs of images; see `Network`."""
        images = torch.from_numpy(np.ascontiguousarray(batch))
        where = device()
        if where.type == "cuda":
            images = images.pin_memory().to(where, non_blocking=True)
        images = images.contiguous(memory_format=memory_format(batch.ndim - 2))
        self._module.eval()
        with torch.inference_mode(), autocast(enabled=self._half):
            found = self._module(images)
        outputs: FloatArray = found.float().contiguous().cpu().numpy()
        return outputs


def dense_output(network: Network, image: FloatArray, tile: int = TILE) -> FloatArray:
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
    shape = [-(-n // network.multiple) * network.multiple for n in image.shape]
    padded = np.zeros(shape, np.float32)
    padded[tuple(slice(n) for n in image.shape)] = image
    stride, outputs = network.output_stride, None
    for part in tiles_of(shape, tile, network.radius, network.multiple):
        window = padded[tuple(slice(*w) for w in part.window)]
        found = network(window[None, None])[0]
        if outputs is None:
            outputs = np.empty((len(found), *(n // stride for n in shape)), np.float32)
        _put(outputs, found, part.window, part.core, stride)
    assert outputs is not None
    return outputs[(slice(None), *(slice(-(-n // stride)) for n in image.shape))]


def _put(
    outputs: FloatArray,
    found: FloatArray,
    window: Sequence[tuple[int, int]],
    core: Sequence[tuple[int, int]],
    stride: int,
) -> None:
    """The core of what a window gave, to its place."""
    place = tuple(slice(a // stride, b // stride) for a, b in core)
    inner = tuple(
        slice((a - start) // stride, (b - start) // stride)
        for (a, b), (start, _) in zip(core, window, strict=True)
    )
    outputs[(slice(None), *place)] = found[(slice(None), *inner)]


def sigmoid(logits: FloatArray) -> FloatArray:
    """Probabilities, shape of the logits, float32; without overflow."""
    return np.asarray(0.5 * (np.tanh(0.5 * logits) + 1), np.float32)

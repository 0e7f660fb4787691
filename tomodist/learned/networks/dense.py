"""The paper's 3D path: CheXNet, a DenseNet-121 encoder, with a light decoder.

CheXNet [1]_ is a DenseNet-121 [2]_ that classifies; to segment, its features are brought back to
full size by a decoder that adds, level by level, the enlarged coarser features to the finer ones.

References
----------
.. [1] P. Rajpurkar et al., "CheXNet: Radiologist-Level Pneumonia Detection on Chest X-Rays with
   Deep Learning" (2017). https://arxiv.org/abs/1711.05225
.. [2] G. Huang et al., "Densely Connected Convolutional Networks", CVPR (2017).
   https://arxiv.org/abs/1608.06993
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from tomodist.learned.networks.layers import (
    ConvNorm,
    average,
    convolution,
    enlarged,
    norm,
    set_prior,
)
from tomodist.learned.networks.residual import PRIOR
from tomodist.planning.plan import rounded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

_BOTTLENECK = 4  # channels of a layer's 1 x 1 convolution, in units of the growth


class DenseLayer(nn.Module):
    """Adds `growth` channels: norm, 1 x 1, norm, 3 x 3."""

    def __init__(self, dims: int, n_in: int, growth: int) -> None:
        super().__init__()
        self.norm = norm(dims, n_in)
        self.narrow = ConvNorm(dims, n_in, _BOTTLENECK * growth, 1)
        self.conv = convolution(dims, _BOTTLENECK * growth, growth, 3)

    def forward(self, x: Tensor) -> Tensor:
        """The channels of `x` and the new ones."""
        y = nn.functional.relu(self.norm(x), inplace=True)
        y = nn.functional.relu(self.narrow(y), inplace=True)
        return torch.cat([x, self.conv(y)], 1)


class Transition(nn.Module):
    """Half the channels at half the size."""

    def __init__(self, dims: int, n_in: int, n_out: int) -> None:
        super().__init__()
        self.dims = dims
        self.norm = norm(dims, n_in)
        self.conv = convolution(dims, n_in, n_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Average last, as in DenseNet."""
        return average(self.dims, self.conv(nn.functional.relu(self.norm(x), inplace=True)))


class DenseUNet(nn.Module):
    """DenseNet encoder with a light decoder.

    Parameters
    ----------
    dims : {2, 3}
        Of images or of volumes.
    n_outputs : int
        Channels of the logits.
    blocks : sequence of int
        Layers of each dense block; (6, 12, 24, 16) is DenseNet-121.
    growth : int
        Channels that a layer adds; 32 in DenseNet-121.
    output_stride : int
        1 only.
    """

    def __init__(
        self,
        dims: int,
        n_outputs: int,
        blocks: Sequence[int] = (6, 12, 24, 16),
        growth: int = 32,
        output_stride: int = 1,
    ) -> None:
        super().__init__()
        self.multiple = 2 ** len(blocks)
        self.output_stride = output_stride
        self._n_blocks = len(blocks)
        width = 2 * growth
        self.stem = ConvNorm(dims, 1, width, 5, 2)
        self.encode, self.shrink, widths = nn.ModuleList(), nn.ModuleList(), []
        for k, n in enumerate(blocks):
            layers = [DenseLayer(dims, width + i * growth, growth) for i in range(n)]
            self.encode.append(nn.Sequential(*layers))
            width += n * growth
            widths.append(width)
            if k < len(blocks) - 1:
                self.shrink.append(Transition(dims, width, width // 2))
                width //= 2
        # A light decoder: coarse levels have up to 1024 channels, of which it needs few.
        narrow = [min(w, 4 * growth) for w in widths]
        pairs = list(zip(widths, narrow, strict=True))
        self.side = nn.ModuleList(ConvNorm(dims, w, n, 1) for w, n in pairs)
        rising = list(zip(narrow[::-1], narrow[-2::-1], strict=False))
        self.narrow = nn.ModuleList(ConvNorm(dims, a, b, 1) for a, b in rising)
        self.up = nn.ModuleList(ConvNorm(dims, b, b, 3) for _, b in rising)
        self.head = convolution(dims, narrow[0], n_outputs, 1, bias=True)
        set_prior(self.head, PRIOR)

    @property
    def radius(self) -> int:
        """Radius of the receptive field, in voxels, rounded up to a multiple of `multiple`."""
        strides = [2**k for k in range(1, self._n_blocks + 1)]
        layers = [len(block) for block in self.encode]  # type: ignore[arg-type]
        # The stem looks 2 pixels far; a 3 x 3 convolution at stride s looks s pixels far.
        down = 2 + sum(s * n for s, n in zip(strides, layers, strict=True)) + sum(strides)
        up = sum(3 * s for s in strides)
        return rounded(down + up, self.multiple)

    def forward(self, x: Tensor) -> Tensor:
        """Logits; see `ResidualUNet.forward`."""
        y, levels = nn.functional.relu(self.stem(x), inplace=True), []
        for k, block in enumerate(self.encode):
            y = block(y)
            levels.append(self.side[k](y))
            if k < len(self.shrink):
                y = self.shrink[k](y)
        y = levels.pop()
        for narrow, block in zip(self.narrow, self.up, strict=True):
            y = nn.functional.relu(enlarged(narrow(y), 2) + levels.pop(), inplace=True)
            y = nn.functional.relu(block(y), inplace=True)
        logits: Tensor = self.head(y)
        return enlarged(logits, 2, smooth=True)

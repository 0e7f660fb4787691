"""The default network: a small residual U-Net with batch norm and a strided stem.

    image ──5^d /s──▶ level 0 ──/2──▶ level 1 ──/2──▶ level 2 ──/2──▶ level 3
                        │ +               │ +               │ +           │
    logits ◀─up s── level 0 ◀─up 2── level 1 ◀─up 2── level 2 ◀─up 2──────┘

Every arrow down or along is a residual block. Logits may also be read at a coarser level
(`output_stride`), where a detector of centres wants them.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from torch import nn

from tomodist.errors import InputError
from tomodist.learned.networks.layers import ConvNorm, average, convolution, enlarged, set_prior
from tomodist.planning.plan import rounded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

PRIOR = 0.05  # part of the pixels that are structure, before anything is learnt


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut; with stride 2 the shortcut averages (as in ResNet-D)."""

    def __init__(self, dims: int, n_in: int, n_out: int, stride: int = 1) -> None:
        super().__init__()
        self.dims, self.stride = dims, stride
        self.first = ConvNorm(dims, n_in, n_out, 3, stride)
        self.second = ConvNorm(dims, n_out, n_out, 3)
        same = n_in == n_out and stride == 1
        self.shortcut = nn.Identity() if same else ConvNorm(dims, n_in, n_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Half the size if the stride is 2, else the same."""
        around = average(self.dims, x) if self.stride == 2 else x
        y = nn.functional.relu(self.first(x), inplace=True)
        total: Tensor = self.second(y) + self.shortcut(around)
        return nn.functional.relu(total, inplace=True)


class ResidualUNet(nn.Module):
    """Residual U-Net.

    Parameters
    ----------
    dims : {2, 3}
        Of images or of volumes.
    n_outputs : int
        Channels of the logits.
    widths : sequence of int
        Channels of the levels, each a multiple of 16.
    stem_stride : int
        Of the first convolution: 2 is four times as fast (eight in 3D) as 1.
    output_stride : int
        1, or the stride of a level at which the logits are read instead.

    Raises
    ------
    InputError
        If there is no level of that stride.
    """

    def __init__(
        self,
        dims: int,
        n_outputs: int,
        widths: Sequence[int] = (16, 32, 64, 128),
        stem_stride: int = 2,
        output_stride: int = 1,
    ) -> None:
        super().__init__()
        strides = [stem_stride * 2**k for k in range(len(widths))]
        if output_stride != 1 and output_stride not in strides:
            raise InputError(f"output_stride is {output_stride}; it must be 1 or one of {strides}")
        self.multiple = strides[-1]
        self.output_stride = output_stride
        self._enlarge = stem_stride if output_stride == 1 else 1
        self._last = 0 if output_stride == 1 else strides.index(output_stride)
        self.stem = ConvNorm(dims, 1, widths[0], 5, stem_stride)
        pairs = list(itertools.pairwise(widths))
        self.top = ResidualBlock(dims, widths[0], widths[0])
        self.down = nn.ModuleList(ResidualBlock(dims, a, b, 2) for a, b in pairs)
        # From the coarsest level up to the one at which logits are read.
        rising = pairs[self._last :][::-1]
        self.narrow = nn.ModuleList(ConvNorm(dims, b, a, 1) for a, b in rising)
        self.up = nn.ModuleList(ResidualBlock(dims, a, a) for a, _ in rising)
        self.head = convolution(dims, widths[self._last], n_outputs, 1, bias=True)
        set_prior(self.head, PRIOR)

    @property
    def radius(self) -> int:
        """Radius of the receptive field, in pixels, rounded up to a multiple of `multiple`.

        A convolution of 3 at stride s looks s pixels to either side; enlarging from stride s takes
        a value from s pixels away at most.
        """
        stem = self.multiple // 2 ** len(self.down)
        strides = [stem * 2**k for k in range(len(self.down) + 1)]
        down = 2 + 2 * stem + sum(a + b for a, b in itertools.pairwise(strides))
        up = sum(2 * s + 2 * s for s in strides[self._last : -1]) + 2 * stem
        return rounded(down + up, self.multiple)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images whose sides are multiples of `multiple`.

        Parameters
        ----------
        x : Tensor, shape (n, 1, height, width) or (n, 1, depth, height, width)
            Normalised.

        Returns
        -------
        Tensor, shape (n, n_outputs, ...)
            Of the size of `x` divided by `output_stride`.
        """
        levels = [self.top(nn.functional.relu(self.stem(x), inplace=True))]
        for block in self.down:
            levels.append(block(levels[-1]))
        y = levels.pop()
        for narrow, block in zip(self.narrow, self.up, strict=True):
            # The skip connection adds, instead of concatenating: half the channels.
            y = block(enlarged(narrow(y), 2) + levels.pop())
        logits: Tensor = self.head(y)
        return enlarged(logits, self._enlarge, smooth=True)

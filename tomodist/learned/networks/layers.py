"""Layers of two and three dimensions under one name, and convolutions with their norm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

if TYPE_CHECKING:
    from torch import Tensor


def convolution(
    dims: int, n_in: int, n_out: int, kernel: int, stride: int = 1, *, bias: bool = False
) -> nn.Module:
    """Convolution that keeps the size, or divides it by the stride.

    Parameters
    ----------
    dims : {2, 3}
        Of images or of volumes.
    n_in, n_out : int
        Channels.
    kernel : int
        Side of the kernel, odd.
    stride : int
        Factor by which the size shrinks.
    bias : bool
        Whether it adds a constant.

    Returns
    -------
    Module
        With He's initial weights.
    """
    kind: type[Any] = nn.Conv2d if dims == 2 else nn.Conv3d
    made: nn.Module = kind(n_in, n_out, kernel, stride, kernel // 2, bias=bias)
    nn.init.kaiming_normal_(made.weight, nonlinearity="relu")  # type: ignore[arg-type]
    return made


def norm(dims: int, n: int) -> nn.Module:
    """Batch norm.

    Parameters
    ----------
    dims : {2, 3}
        Of images or of volumes.
    n : int
        Channels.

    Returns
    -------
    Module
    """
    return nn.BatchNorm2d(n) if dims == 2 else nn.BatchNorm3d(n)


def average(dims: int, x: Tensor) -> Tensor:
    """Mean of blocks of two elements along each axis.

    Parameters
    ----------
    dims : {2, 3}
        Of images or of volumes.
    x : Tensor
        Sides are even.

    Returns
    -------
    Tensor
        Of half the size.
    """
    pool = nn.functional.avg_pool2d if dims == 2 else nn.functional.avg_pool3d
    return pool(x, 2)


def enlarged(x: Tensor, factor: int, *, smooth: bool = False) -> Tensor:
    """A tensor enlarged by a factor.

    Parameters
    ----------
    x : Tensor, shape (n, channels, ...)
        The values.
    factor : int
        Size of the result over that of `x`.
    smooth : bool
        Linear interpolation; otherwise nearest neighbours.

    Returns
    -------
    Tensor
    """
    if factor == 1:
        return x
    if not smooth:
        return nn.functional.interpolate(x, scale_factor=float(factor), mode="nearest")
    mode = "bilinear" if x.ndim == 4 else "trilinear"
    return nn.functional.interpolate(x, scale_factor=float(factor), mode=mode, align_corners=False)


class ConvNorm(nn.Module):
    """A convolution and its batch norm; `fuse_norms` makes them one."""

    def __init__(self, dims: int, n_in: int, n_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = convolution(dims, n_in, n_out, kernel, stride)
        self.norm = norm(dims, n_out)

    def forward(self, x: Tensor) -> Tensor:
        """Apply both."""
        result: Tensor = self.norm(self.conv(x))
        return result


def fuse_norms(module: nn.Module) -> None:
    """Put every `ConvNorm`'s norm into the weights of its convolution, in evaluation mode.

    Results differ by rounding (1e-6 of the logits); nothing of a trained network is lost, but it
    cannot be trained on.
    """
    for part in module.modules():
        if isinstance(part, ConvNorm) and not isinstance(part.norm, nn.Identity):
            conv: Any = part.conv
            part.conv = fuse_conv_bn_eval(conv.eval(), part.norm.eval())  # type: ignore[arg-type]
            # Kept as a module, so that `forward` needs no case of its own.
            part.norm = nn.Identity()


def set_prior(head: nn.Module, prior: float) -> None:
    """Set the bias of a head such that its first output is `prior` everywhere.

    Parameters
    ----------
    head : Module
        Last convolution, with a bias.
    prior : float
        Probability, 0 to 1.
    """
    logit = torch.logit(torch.tensor(prior))
    with torch.no_grad():
        head.bias.fill_(float(logit))  # type: ignore[operator]

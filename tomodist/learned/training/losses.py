"""Losses that know what is not to be learnt from.

MONAI's losses are not used: its masked Dice multiplies the mask into prediction and target, and its
cross-entropy knows none, so the sum of both counts ignored pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from tomodist.learned.training.examples import IGNORED

if TYPE_CHECKING:
    from torch import Tensor

_SMOOTH = 1.0  # pixels: an empty class that is not predicted has no Dice loss


def dice_and_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Dice loss over the whole batch plus mean binary cross-entropy, per class.

    Parameters
    ----------
    logits : Tensor, shape (n, n_classes, ...)
        Of the network.
    target : Tensor, shape (n, n_classes, ...), uint8
        0, 1, or 2 = not to be learnt from.

    Returns
    -------
    Tensor
        A number; 0 if nothing is to be learnt from.

    Notes
    -----
    Over the batch, not per patch: most patches of a rare class are empty, and say nothing then.
    """
    logits = logits.float()
    known = (target != IGNORED).float()
    truth = (target == 1).float()
    entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    # Mean over known pixels only; clamped, so that a batch without any gives 0.
    entropy = (entropy * known).sum() / known.sum().clamp(min=1)
    axes = [0, *range(2, logits.ndim)]
    p = torch.sigmoid(logits) * known
    both = (p * truth).sum(axes)
    total = p.sum(axes) + (truth * known).sum(axes)
    dice = 1 - (2 * both + _SMOOTH) / (total + _SMOOTH)
    return entropy + dice.mean()


def focal(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Penalty-reduced focal loss of heat maps (CornerNet, CenterNet).

    Parameters
    ----------
    logits : Tensor, shape (n, n_classes, h, w)
        Of the heat maps.
    target : Tensor, shape (n, n_classes, h, w), float32
        1 at centres, falling as a Gaussian around them.
    known : Tensor, shape (n, 1, h, w), float32
        0 where nothing is to be learnt from.

    Returns
    -------
    Tensor
        A number, per object.

    References
    ----------
    X. Zhou, D. Wang, P. Krähenbühl, "Objects as Points" (2019). https://arxiv.org/abs/1904.07850
    """
    p = torch.sigmoid(logits.float()).clamp(1e-4, 1 - 1e-4)
    peak = (target == 1).float() * known
    hit = torch.log(p) * (1 - p) ** 2 * peak
    # Cells near a centre are penalised less, by (1 - target)^4.
    miss = torch.log(1 - p) * p**2 * (1 - target) ** 4 * (1 - peak) * known
    return -(hit + miss).sum() / peak.sum().clamp(min=1)

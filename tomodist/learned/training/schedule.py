"""How long, and how, a network is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tomodist.errors import InputError


@dataclass(frozen=True)
class Schedule:
    """Steps of AdamW with warm-up and a cosine.

    Parameters
    ----------
    steps : int
        At most; the learning rate reaches 0 there.
    every : int
        Steps between validations (and checkpoints).
    patience : int
        Validations without a better one after which training ends.
    batch, side : int
        Patches per step and process, and pixels of their side.
    learning_rate, weight_decay : float
        Of AdamW.
    seed : int
        Of first weights, patches and augmentation.
    memory : int
        Bytes for examples in memory.

    Raises
    ------
    InputError
        If a number makes no sense.

    Examples
    --------
    >>> [round(1000 * Schedule(steps=100).rate(k), 2) for k in (0, 10, 55, 99)]
    [0.2, 2.0, 1.0, 0.0]
    """

    steps: int = 1000
    every: int = 50
    patience: int = 10
    batch: int = 8
    side: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    seed: int = 0
    memory: int = 2**31

    def __post_init__(self) -> None:
        for name in ("steps", "every", "patience", "batch", "side", "memory"):
            if getattr(self, name) < 1:
                raise InputError(f"`{name}` is {getattr(self, name)}; it must be 1 or more")
        if self.side % 16:
            raise InputError(f"`side` is {self.side}; it must be a multiple of 16")
        if not 0 < self.learning_rate < 1 or not 0 <= self.weight_decay < 1 or self.seed < 0:
            raise InputError(
                f"`learning_rate` is {self.learning_rate:g} (it must be above 0 and below 1), "
                f"`weight_decay` {self.weight_decay:g} (0 or more, below 1) and `seed` {self.seed} "
                "(0 or more); correct them"
            )

    def rate(self, step: int) -> float:
        """Learning rate of a step: a tenth of them to warm up, then half a cosine."""
        warm = max(1, self.steps // 10)
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        part = (step - warm) / max(1, self.steps - warm)
        return self.learning_rate * (1 + math.cos(math.pi * part)) / 2

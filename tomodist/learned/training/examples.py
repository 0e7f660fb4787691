"""What is learnt from: images (or blocks of volumes) with what is true in them.

One rule: a loader is small and says how large its example is; examples are loaded when they are
needed, as many at a time as fit the memory for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.values.arrays import Float32Array, IntArray, UInt8Array
    from tomodist.values.boxes import Boxes

    Target = UInt8Array

IGNORED = 2
"""Value of a target that is not to be learnt from: not measured, or not annotated."""

_PLACES = 4096  # voxels of a class that are remembered per example, to centre patches on


@dataclass(frozen=True, eq=False)
class Example:
    """One image, or a block of a volume.

    Parameters
    ----------
    image : ndarray, shape (...), float32
        Normalised, at the pixel size of the model.
    target : ndarray, shape (n_classes, ...), uint8
        0, 1 = structure of the class, 2 = not to be learnt from.
    boxes : tuple of Boxes
        Per class, in pixels of `image`; empty for segmentation.
    places : tuple of ndarray, shape (n, ndim), int64
        Per class, some of the voxels where it is.
    """

    image: Float32Array
    target: Target
    boxes: tuple[Boxes, ...]
    places: tuple[IntArray, ...]

    @classmethod
    def of(cls, image: Float32Array, target: Target, boxes: Sequence[Boxes] = ()) -> Example:
        """Example with the places of its structures: centres of boxes, else evenly spaced voxels.

        Parameters
        ----------
        image : ndarray, float32
            Normalised, at the pixel size of the model.
        target : ndarray, shape (n_classes, ...), uint8
            0, 1 = structure of the class, 2 = ignored.
        boxes : sequence of Boxes
            One per class; empty for segmentation.

        Returns
        -------
        Example
        """
        if boxes:
            last = np.array(image.shape) - 1
            centers = (np.clip(np.rint(b.center).astype(np.int64), 0, last) for b in boxes)
            return cls(image, target, tuple(boxes), tuple(centers))
        return cls(image, target, (), tuple(_places(channel) for channel in target))


class Loader(Protocol):
    """Loads one example."""

    @property
    def name(self) -> str:
        """Name of the example, for people."""

    @property
    def n_bytes(self) -> int:
        """Approximate size of the example in bytes."""

    def load(self) -> Example:
        """Load the example."""
        ...


@dataclass(frozen=True, eq=False)
class Loaded:
    """An example that is in memory already."""

    name: str
    example: Example

    @property
    def n_bytes(self) -> int:
        """Size of the example in bytes."""
        return self.example.image.nbytes + self.example.target.nbytes

    def load(self) -> Example:
        """The example in memory."""
        return self.example


class Pool:
    """Examples of which as many are in memory as fit.

    Parameters
    ----------
    loaders : sequence of Loader
        All examples.
    budget : int
        Bytes for those in memory.
    seed : int
        Of the order in which others take their turn.
    """

    def __init__(self, loaders: Sequence[Loader], budget: int, seed: int) -> None:
        self._loaders, self._seed = list(loaders), seed
        # Bounded by the largest example, so that any choice of examples fits.
        largest = max(loader.n_bytes for loader in loaders)
        self._n = max(1, min(len(self._loaders), budget // max(largest, 1)))
        self._round: int | None = None
        self._examples: list[Example] = []

    def __len__(self) -> int:
        return len(self._loaders)

    def examples(self, turn: int) -> list[Example]:
        """Examples of a turn; each example is used once before any is used again.

        Parameters
        ----------
        turn : int
            Number of the turn, 0 or more; the same turn gives the same examples.
        """
        turn = 0 if self._n == len(self._loaders) else turn
        if turn != self._round:
            self._examples = []  # free before loading
            self._examples = [self._loaders[k].load() for k in self._members(turn)]
            self._round = turn
        return self._examples

    def _members(self, turn: int) -> list[int]:
        n = len(self._loaders)
        if self._n == n:
            return list(range(n))
        positions = range(turn * self._n, (turn + 1) * self._n)
        orders: dict[int, Any] = {}
        for p in positions:
            # Position p lies in pass p // n; every pass is a permutation of its own.
            if p // n not in orders:
                orders[p // n] = np.random.default_rng((self._seed, p // n)).permutation(n)
        return [int(orders[p // n][p % n]) for p in positions]


def spread(loaders: Sequence[Loader], budget: int) -> list[Loader]:
    """Loaders spread evenly over the given ones, whose examples are `budget` bytes at most.

    Where not all fit, those in which nothing is marked are left out first.

    Parameters
    ----------
    loaders : sequence of Loader
        The examples.
    budget : int
        Bytes.

    Returns
    -------
    list of Loader
    """
    if sum(loader.n_bytes for loader in loaders) > budget:
        loaders = [x for x in loaders if getattr(x, "marked", 1)] or loaders
    total = sum(loader.n_bytes for loader in loaders)
    n = len(loaders) if total <= budget else max(1, int(len(loaders) * budget / total))
    return [loaders[round(k)] for k in np.linspace(0, len(loaders) - 1, n)]


def _places(channel: Target) -> IntArray:
    flat = np.flatnonzero(channel.ravel() == 1)
    if len(flat) > _PLACES:
        flat = flat[np.linspace(0, len(flat) - 1, _PLACES).astype(np.int64)]
    return np.stack(np.unravel_index(flat, channel.shape), axis=1).astype(np.int64)

"""Patches of examples, augmented.

Right for cryo-EM: any mirror image and quarter turn of a projection could be one; of a volume only
mirror images, because a turn about y or x would move the missing wedge, and one about z would turn
the tilt axis that all volumes share. Gain, offset and additional noise vary as dose and thickness
do. Values are never clipped again and contrast is never inverted: what is dark stays dark.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tomodist.learned.training.examples import IGNORED
from tomodist.values.boxes import Boxes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.learned.training.examples import Example
    from tomodist.values.arrays import Float32Array, IntArray, UInt8Array

    Target = UInt8Array


class Patch(NamedTuple):
    """Part of an example: image, target, boxes per class."""

    image: Float32Array
    target: Target
    boxes: tuple[Boxes, ...]


@dataclass(frozen=True)
class Augmentation:
    """How patches vary.

    Parameters
    ----------
    gain : float
        Factor between 1 / (1 + gain) and 1 + gain.
    offset : float
        At most so much is added or taken away.
    noise : float
        Standard deviation of added noise, at most, in half of the patches.
    turns : bool
        Quarter turns of 2D patches, beside mirror images.
    """

    gain: float = 0.25
    offset: float = 0.2
    noise: float = 0.4
    turns: bool = True

    def __call__(self, patch: Patch, random: np.random.Generator) -> Patch:
        """Vary one patch."""
        dims = patch.image.ndim
        for axis in range(dims):
            if random.random() < 0.5:
                patch = _mirrored(patch, axis)
        if dims == 2 and self.turns and random.random() < 0.5:
            patch = _transposed(patch)  # with the mirror images all eight
        scale = (1 + self.gain) ** random.uniform(-1, 1)
        image = patch.image * np.float32(scale)
        image += np.float32(random.uniform(-self.offset, self.offset))
        if random.random() < 0.5:
            sigma = np.float32(random.uniform(0, self.noise))
            image += sigma * random.standard_normal(image.shape, dtype=np.float32)
        return patch._replace(image=image)


def draw_patch(example: Example, side: int, random: np.random.Generator, dense: float) -> Patch:
    """Patch at a random position.

    Parameters
    ----------
    example : Example
        Where from.
    side : int
        Of the patch along every axis.
    random : Generator
        Where to.
    dense : float
        Part of the patches that have a structure in their middle, more or less; every class that
        is there has the same chance.

    Returns
    -------
    Patch
        Where it reaches beyond the example, the image is 0 and the target is ignored.
    """
    shape = np.array(example.image.shape)
    room = np.maximum(shape - side, 0)
    positions = [p for p in example.places if len(p)]
    if positions and random.random() < dense:
        chosen = positions[random.integers(len(positions))]
        center = chosen[random.integers(len(chosen))]
        # Up to a quarter of the side off the middle, so that the position is no clue.
        wobble = random.integers(-(side // 4), side // 4 + 1, len(shape))
        start = np.clip(center - side // 2 + wobble, 0, room)
    else:
        start = random.integers(0, room + 1)
    window = tuple(slice(a, a + side) for a in start)
    image = np.zeros((side,) * len(shape), np.float32)
    target = np.full((len(example.target), *image.shape), IGNORED, np.uint8)
    inner = tuple(slice(n) for n in np.minimum(shape - start, side))
    image[inner] = example.image[window]
    target[(slice(None), *inner)] = example.target[(slice(None), *window)]
    return Patch(image, target, tuple(_within(b, start, side) for b in example.boxes))


def draw_batch(
    examples: Sequence[Example],
    n: int,
    side: int,
    random: np.random.Generator,
    *,
    dense: float = 2 / 3,
    augmentation: Augmentation | None = None,
) -> list[Patch]:
    """Augmented patches of examples that are drawn with equal chances.

    Parameters
    ----------
    examples : sequence of Example
        Examples to draw patches from.
    n : int
        Number of patches.
    side : int
        Side of a patch along every axis.
    random : Generator
        Source of random numbers.
    dense : float
        Fraction of the patches that are centred on a structure.
    augmentation : Augmentation, optional
        How patches vary.

    Returns
    -------
    list of Patch
    """
    vary = augmentation or Augmentation()
    chosen = random.integers(len(examples), size=n)
    return [vary(draw_patch(examples[k], side, random, dense), random) for k in chosen]


def _within(boxes: Boxes, start: IntArray, side: int) -> Boxes:
    """Boxes whose centre lies in a patch, in its pixels."""
    center = boxes.center - start
    inside = ((center >= -0.5) & (center < side - 0.5)).all(axis=1)
    return Boxes(center[inside], boxes.size[inside], boxes.score[inside])


def _mirrored(patch: Patch, axis: int) -> Patch:
    boxes = []
    for b in patch.boxes:
        center = b.center.copy()
        # Index i becomes n - 1 - i.
        center[:, axis] = patch.image.shape[axis] - 1 - center[:, axis]
        boxes.append(Boxes(center, b.size, b.score))
    return Patch(np.flip(patch.image, axis), np.flip(patch.target, axis + 1), tuple(boxes))


def _transposed(patch: Patch) -> Patch:
    boxes = tuple(Boxes(b.center[:, ::-1], b.size[:, ::-1], b.score) for b in patch.boxes)
    return Patch(patch.image.T, patch.target.transpose(0, 2, 1), boxes)

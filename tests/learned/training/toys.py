"""Toy images with bright rectangles in noise, for what learns boxes."""

from __future__ import annotations

import numpy as np

from tomodist.learned.training.examples import Example, Loaded
from tomodist.values.boxes import Boxes, fill


def rectangles(seed: int, *, n: int = 4, shape: tuple[int, int] = (96, 128)) -> Loaded:
    """Rectangles of 10 to 24 pixels that stay apart, twice as bright as the noise is strong."""
    random = np.random.default_rng(seed)
    centers, sizes = np.zeros((0, 2)), np.zeros((0, 2))
    while len(centers) < n:
        size = random.uniform(10, 24, 2)
        center = random.uniform(size / 2, shape - size / 2)
        if (np.abs(centers - center) > (sizes + size) / 2 + 6).any(axis=1).all():
            centers, sizes = np.vstack([centers, center]), np.vstack([sizes, size])
    true = Boxes(centers, sizes, np.ones(n))
    image = 2.0 * fill(true, shape) + random.normal(size=shape)
    image = ((image - image.mean()) / image.std()).astype(np.float32)
    return Loaded(f"toy {seed}", Example.of(image, np.zeros((1, *shape), np.uint8), [true]))


def squares(seed: int, *, shape: tuple[int, int] = (48, 56), n_classes: int = 1) -> Loaded:
    """Bright squares of 8 pixels in noise of half their height, with their masks."""
    random = np.random.default_rng(seed)
    target = np.zeros((n_classes, *shape), np.uint8)
    for channel in target:
        for _ in range(3):
            row, column = random.integers(0, np.array(shape) - 8)
            channel[row : row + 8, column : column + 8] = 1
    image = 2.0 * (target * np.arange(1, n_classes + 1)[:, None, None]).max(axis=0)
    image = image + random.normal(size=shape)
    image = ((image - image.mean()) / image.std()).astype(np.float32)
    return Loaded(f"squares {seed}", Example.of(image, target))

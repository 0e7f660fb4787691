"""Toy images with bright rectangles in noise, for what learns boxes."""

from __future__ import annotations

import numpy as np

from tomodist.detect.boxes import Boxes, fill
from tomodist.training.examples import Example, Loaded


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

"""The learned detector of masks: probabilities of a network, cut at the model's threshold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.errors import InputError
from tomodist.learned.detectors.normalise import prepared, rescaled, scaled_shape
from tomodist.learned.model.network import TILE, activated, dense_output
from tomodist.learned.model.opened import n_outputs
from tomodist.learned.networks.spec import bytes_per_pixel
from tomodist.values.maps import as_map

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tomodist.learned.model.card import Activation, ModelCard
    from tomodist.learned.model.network import Network
    from tomodist.learned.model.opened import Model
    from tomodist.values.arrays import Float32Array, Image, Map


TORCH_MEMORY = 200 * 2**20
"""Bytes that torch takes in a process beside what tomodist's other libraries do."""


@dataclass(frozen=True)
class LearnedSegmentation:
    """Masks of one class, or of all, from a 2D network.

    Parameters
    ----------
    model : Model
        For segmentation, of two dimensions.
    name : str, optional
        Of the class that `__call__` maps; by default the only one.
    threshold : float, optional
        On probability; by default the model's.
    tile : int
        Side of the cores into which larger images are cut.
    average : bool
        Mean over the eight mirror images and quarter turns (test-time augmentation): eight times
        the work.

    Raises
    ------
    InputError
        If the model is for something else, has no such class, or the threshold makes no sense.
    """

    model: Model
    name: str | None = None
    threshold: float | None = None
    tile: int = TILE
    average: bool = False

    def __post_init__(self) -> None:
        card = self.model.card
        if (card.task, card.dims) != ("segment", 2):
            what = "boxes" if card.task == "boxes" else "volumes"
            raise InputError(
                f"{self.model.path} is a model for {what}; use a model for masks of images"
            )
        if self.name is not None and self.name not in card.classes:
            classes = ", ".join(card.classes)
            raise InputError(f"{self.model.path} has no class {self.name!r}; use one of {classes}")
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise InputError(f"`probability` is {self.threshold:g}; it must be between 0 and 1")
        if self.tile < 1:
            raise InputError(f"`tile` is {self.tile}; it must be 1 or more")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that are mapped."""
        return self.model.card.classes if self.name is None else (self.name,)

    @property
    def thresholds(self) -> Float32Array:
        """Thresholds of those classes."""
        card = self.model.card
        of = dict(zip(card.classes, card.thresholds, strict=True))
        return np.array([self.threshold or of[name] for name in self.classes], np.float32)

    def probabilities(self, image: Image, pixel_size: float) -> Float32Array:
        """Probabilities of the classes.

        Parameters
        ----------
        image : ndarray, shape (height, width), float32
            NaN = not measured.
        pixel_size : float
            In Å.

        Returns
        -------
        ndarray, shape (n_classes, height, width), float32
            0 to 1; 0 where the image was not measured.
        """
        card = self.model.card
        known = [card.classes.index(name) for name in self.classes]
        ready = prepared(image, pixel_size, card.pixel_size, card.normalisation["clip"])
        scaled = probabilities_of(
            self.model.network(), ready, card.activation, tile=self.tile, average=self.average
        )[known]
        full = np.stack([rescaled(channel, image.shape) for channel in scaled])
        return np.where(np.isfinite(image), full, np.float32(0))

    def memory(self, image_shape: tuple[int, int], pixel_size: float) -> int:
        """Memory that a task needs for one image, torch included.

        Parameters and result as for `LearnedBoxes.memory`.
        """
        card = self.model.card
        shape = scaled_shape(image_shape, pixel_size, card.pixel_size)
        # Three float32 arrays of full size at once.
        full_size = 12 * len(self.classes) * image_shape[0] * image_shape[1]  # list, stack, masked
        return full_size + detection_memory(card, shape, self.tile, average=self.average)

    def folders(self) -> tuple[Path, ...]:
        """Folder of the model."""
        return (Path(self.model.path),)

    def __call__(self, image: Image, pixel_size: float) -> Map:
        """Detect in one image; see `tomodist.detectors.base.MapDetector`.

        Raises
        ------
        InputError
            If the model has several classes and none was named.
        """
        if len(self.classes) != 1:
            raise InputError(f"{self.model.path} has several classes; select one of them")
        structure = self.probabilities(image, pixel_size)[0] > self.thresholds[0]
        return as_map(structure, np.isfinite(image))

    def parameters(self) -> dict[str, Any]:
        """Name and settings as plain values."""
        return {
            "detector": "LearnedSegmentation",
            **self.model.parameters(),
            "mapped": list(self.classes),
            "thresholds": [round(float(t), 6) for t in self.thresholds],
            "tile": self.tile,
            "average": self.average,
        }


def detection_memory(
    card: ModelCard, shape: tuple[int, ...], tile: int, *, average: bool = False
) -> int:
    """Bytes of a task that detects in an image, torch and its copies included.

    Parameters
    ----------
    card : ModelCard
        What the network is.
    shape : tuple of int
        Of the image at the model's pixel size.
    tile : int
        Side of the cores of large images.
    average : bool
        Whether outputs are averaged over orientations.

    Returns
    -------
    int

    Notes
    -----
    Held against measured peaks of processes (`tests/benchmarks/bench_inference.py`): of the default
    network 61 to 72 bytes per pixel of a window in bfloat16 and up to 120 in float32, and 21 per
    pixel of the image.
    """
    height, width = shape[0], shape[1]
    widest = tile + 2 * card.tiling["radius"]
    # The largest window: a core with its margins, or the whole image.
    window = min(height, widest) * min(width, widest)
    outputs = n_outputs(card) * (3 if average else 1)
    per_pixel = bytes_per_pixel(card.architecture, 2, card.options)
    return TORCH_MEMORY + per_pixel * window + (4 * outputs + 20) * height * width


def probabilities_of(
    network: Network,
    image: Float32Array,
    activation: Activation = "sigmoid",
    *,
    tile: int = TILE,
    average: bool = False,
) -> Float32Array:
    """Probabilities of the classes in a normalised image.

    Parameters
    ----------
    network : Network
        Segmentation network.
    image : ndarray, shape (height, width), float32
        Normalised.
    activation : {"sigmoid", "softmax", "none"}
        What makes probabilities of the outputs.
    tile : int
        Side of the cores of larger images.
    average : bool
        Mean over the eight mirror images and quarter turns.

    Returns
    -------
    ndarray, shape (n_classes, height, width), float32
        0 to 1.
    """
    if not average:
        return activated(dense_output(network, image, tile), activation)
    total: Float32Array | None = None
    for turned, back in _orientations(image):
        upright = back(activated(dense_output(network, turned, tile), activation))
        total = upright.copy() if total is None else np.add(total, upright, out=total)
    assert total is not None
    return total / np.float32(8)


def _orientations(
    image: Float32Array,
) -> Iterator[tuple[Float32Array, Callable[[Float32Array], Float32Array]]]:
    """The eight orientations of an image, each with the inverse for its probabilities."""
    for mirrored in (False, True):
        for turns in range(4):
            form = np.rot90(image[:, ::-1] if mirrored else image, turns)

            def back(
                probabilities: Float32Array,
                turns: int = turns,
                mirrored: bool = mirrored,  # noqa: FBT001
            ) -> Float32Array:
                straight = np.rot90(probabilities, -turns, axes=(1, 2))
                return straight[:, :, ::-1] if mirrored else straight

            yield np.ascontiguousarray(form), back

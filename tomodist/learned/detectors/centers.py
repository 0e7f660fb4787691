"""The learned detector of boxes: peaks of heat maps say where objects are, other outputs how large.

A network looks at an image once and gives, for every cell of `stride` x `stride` pixels,

    n_classes   heat maps (logits): whether an object of the class has its middle in the cell
    2           offsets (y, x): from the middle of the cell to that of the object, in cells
    2           logarithms of the height and the width, in cells

so there are neither anchors nor overlapping boxes to be thinned out [1]_. One rule: a cell's middle
is the middle of its pixels. Along each axis, with a stride of 4:

    pixel   0   1   2   3   4   5   6   7
    cell  [       0       |       1       )      middle of cell 1: 1.5 * 4 - 0.5 = 5.5

References
----------
.. [1] X. Zhou, D. Wang, P. Krähenbühl, "Objects as Points" (2019).
   https://arxiv.org/abs/1904.07850
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from tomodist.errors import InputError
from tomodist.learned.detectors.faster_rcnn import boxes_of_rows
from tomodist.learned.detectors.normalise import prepared, scaled_shape
from tomodist.learned.detectors.segmentation import detection_memory
from tomodist.learned.model.network import TILE, dense_output, sigmoid
from tomodist.learned.networks.spec import FASTER_RCNN, N_REGRESSION
from tomodist.values.boxes import Boxes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.learned.model.network import Network
    from tomodist.learned.model.opened import Model
    from tomodist.values.arrays import BoolArray, Float32Array


STRIDE = 4
"""Pixels of a cell, by default: objects whose middles are nearer are one."""

_LARGEST = 1e4  # cells: what an untrained network says of sizes must not overflow


@dataclass(frozen=True)
class LearnedBoxes:
    """Boxes of one class from a 2D network.

    Parameters
    ----------
    model : Model
        For boxes, of two dimensions: of heat maps, or a Faster R-CNN.
    name : str, optional
        Of the class; by default the only one.
    threshold : float, optional
        Boxes of a higher score are kept; by default the model's.
    tile : int
        Side of the cores into which larger images are cut; a Faster R-CNN sees whole images.

    Raises
    ------
    InputError
        If the model is for something else, has no such class or several and none was named, or the
        threshold or the tile makes no sense.
    """

    model: Model
    name: str | None = None
    threshold: float | None = None
    tile: int = TILE

    def __post_init__(self) -> None:
        card, path = self.model.card, self.model.path
        if (card.task, card.dims) != ("boxes", 2):
            raise InputError(
                f"{path} is not a model for boxes of images; use a model that was trained for boxes"
            )
        classes = ", ".join(card.classes)
        if self.name is None and len(card.classes) != 1:
            raise InputError(f"{path} has several classes ({classes}); select one of them")
        if self.name is not None and self.name not in card.classes:
            raise InputError(f"{path} has no class {self.name!r}; use one of {classes}")
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise InputError(
                f"the threshold `probability` is {self.threshold:g}; it must be between 0 and 1"
            )
        if self.tile < 1:
            raise InputError(f"`tile` is {self.tile}; it must be 1 or more")

    @property
    def index(self) -> int:
        """Index of the class in the model's list."""
        return 0 if self.name is None else self.model.card.classes.index(self.name)

    @property
    def lowest(self) -> float:
        """Threshold in use: that of this detector, or the model's."""
        chosen = self.threshold
        return self.model.card.thresholds[self.index] if chosen is None else chosen

    def memory(self, image_shape: tuple[int, int], pixel_size: float) -> int:
        """Memory that a task needs for one image.

        Parameters
        ----------
        image_shape : tuple of int
            Height and width in pixels.
        pixel_size : float
            In Å.

        Returns
        -------
        int
            Bytes at the peak, torch included.
        """
        card = self.model.card
        shape = scaled_shape(image_shape, pixel_size, card.pixel_size)
        whole = card.architecture == FASTER_RCNN
        return detection_memory(card, shape, max(shape) if whole else self.tile)

    def folders(self) -> tuple[Path, ...]:
        """Folder of the model."""
        return (Path(self.model.path),)

    def __call__(self, image: Float32Array, pixel_size: float) -> Boxes:
        """Detect in one image; see `tomodist.detectors.base.BoxDetector`."""
        card = self.model.card
        shape = scaled_shape(image.shape, pixel_size, card.pixel_size)
        ready = prepared(image, pixel_size, card.pixel_size, card.normalisation["clip"])
        network = self.model.network()
        if card.architecture == FASTER_RCNN:
            boxes = boxes_of_rows(network(ready[None, None])[0], self.lowest, self.index)
        else:
            outputs = dense_output(network, ready, self.tile)
            boxes = decode(outputs, network.output_stride, self.lowest, self.index)
        return measured_boxes(rescaled_boxes(boxes, shape, image.shape), np.isfinite(image))

    def parameters(self) -> dict[str, Any]:
        """Name and settings as plain values."""
        return {
            "detector": "LearnedBoxes",
            **self.model.parameters(),
            "mapped": [self.model.card.classes[self.index]],
            "threshold": round(self.lowest, 6),
            "tile": self.tile,
        }


def decode(outputs: Float32Array, stride: int, threshold: float, class_index: int) -> Boxes:
    """Boxes of one class from the outputs of a network.

    Parameters
    ----------
    outputs : ndarray, shape (n_classes + 4, height, width), float32
        Logits of the heat maps, offsets and logarithms of sizes (both y, x; in cells).
    stride : int
        Pixels of a cell along each axis.
    threshold : float
        Peaks of a higher probability are objects.
    class_index : int
        Of the heat map.

    Returns
    -------
    Boxes
        In pixels, the surest first. Score: probability at the peak.

    Notes
    -----
    A peak is a cell that no neighbour of the eight surpasses; of adjacent ones that are equal, the
    first. The object is at ((cell + 1/2 + offset) stride - 1/2), and exp(log size) stride large.
    """
    heat = sigmoid(outputs[class_index])
    # A cell is a peak if it equals the maximum of its 3 x 3 neighbourhood.
    peak = (heat > threshold) & (heat == ndimage.maximum_filter(heat, 3, mode="nearest"))
    # A flat top is one peak: half precision makes neighbours equal.
    parts, n = ndimage.label(peak, np.ones((3, 3)))
    first = np.unique(parts.ravel(), return_index=True)[1][-n:] if n else np.zeros(0, np.int64)
    first = first[np.argsort(-heat.ravel()[first], kind="stable")]
    cell = np.stack(np.unravel_index(first, heat.shape), axis=1)
    offsets = outputs[-N_REGRESSION:].reshape(N_REGRESSION, -1)[:, first].T.astype(np.float64)
    center = (cell + 0.5 + offsets[:, :2]) * stride - 0.5
    # Clipped before and after exp: an untrained network must not overflow.
    size = np.minimum(np.exp(np.minimum(offsets[:, 2:], np.log(_LARGEST))), _LARGEST) * stride
    return Boxes(center, size, heat.ravel()[first])


def rescaled_boxes(boxes: Boxes, shape: Sequence[int], new_shape: Sequence[int]) -> Boxes:
    """Boxes of an image of one shape in pixels of another over the same field.

    The outer edges of both are the same, -1/2 and n - 1/2, so along an axis of factor f an index i
    becomes (i + 1/2) f - 1/2.

    Parameters
    ----------
    boxes : Boxes
        Boxes of one image.
    shape, new_shape : sequence of int
        Height and width of the image, before and after.

    Returns
    -------
    Boxes
        In pixels of the new image.

    Examples
    --------
    >>> rescaled_boxes(Boxes([[0, 2]], [[1, 2]], [1]), (5, 5), (10, 15))
    Boxes(center=array([[0.5, 7. ]]), size=array([[2., 6.]]), score=array([1.]))
    """
    factor = np.asarray(new_shape, np.float64) / np.asarray(shape, np.float64)
    return Boxes((boxes.center + 0.5) * factor - 0.5, boxes.size * factor, boxes.score)


def measured_boxes(boxes: Boxes, measured: BoolArray) -> Boxes:
    """Boxes whose centre lies in the image, and on a pixel that was measured.

    Parameters
    ----------
    boxes : Boxes
        Boxes of one image.
    measured : ndarray, shape (height, width), bool
        Where the image was measured.

    Returns
    -------
    Boxes
    """
    pixel = np.floor(boxes.center + 0.5).astype(np.int64)
    inside = ((pixel >= 0) & (pixel < measured.shape)).all(axis=1)
    # Clipped only to index safely; boxes outside are excluded by `inside`.
    near = np.clip(pixel, 0, np.array(measured.shape) - 1)
    return boxes.select(inside & measured[near[:, 0], near[:, 1]])


def found_boxes(
    network: Network, image: Float32Array, threshold: float, n_classes: int
) -> list[Boxes]:
    """Boxes of every class in a normalised image.

    Parameters
    ----------
    network : Network
        Network of centres.
    image : ndarray, shape (height, width), float32
        Normalised.
    threshold : float
        Boxes of a higher score are kept.
    n_classes : int
        Number of heat maps.

    Returns
    -------
    list of Boxes
        One per class, the highest score first.
    """
    outputs = dense_output(network, image)
    return [decode(outputs, network.output_stride, threshold, k) for k in range(n_classes)]

"""Training for boxes: Gaussian heat maps of centres, offsets and sizes; average precision.

What a network is to say of a box (see `tomodist.detect.learned.centers` for the outputs):

- its heat map is 1 in the cell of the centre and falls as a Gaussian around it, of a width in
  proportion to the box's along each axis, as in TTFNet [1]_; where objects overlap, the larger
  value counts;
- offset and size (by smooth L1) are learnt wherever the heat map is that of the box, with its value
  as weight, not in the centre's cell alone as in CenterNet: in noise the peak is often a cell
  beside it, and its offset must lead back.

One rule: what is not to be learnt from (`IGNORED`) has no part in any loss, nor in the score.

References
----------
.. [1] Z. Liu, T. Zheng, G. Xu, Z. Yang, H. Liu, D. Cai, "Training-Time-Friendly Network for
   Real-Time Object Detection", AAAI (2020). https://arxiv.org/abs/1909.00700
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tomodist.detect.learned.centers import STRIDE, found_boxes
from tomodist.metrics.precision import RankedHits, rank_boxes
from tomodist.networks.build import seeded
from tomodist.networks.residual import PRIOR
from tomodist.networks.spec import N_PLACE, Architecture
from tomodist.training.examples import IGNORED
from tomodist.training.loop import Batch, Score
from tomodist.training.losses import focal
from tomodist.training.patches import draw_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tomodist.detect.boxes import Boxes
    from tomodist.detect.learned.network import Network
    from tomodist.training.examples import Example, Loader
    from tomodist.training.patches import Patch
    from tomodist.training.schedule import Schedule

    FloatArray = npt.NDArray[np.float32]

SIGMA = 0.09
"""Width of a heat map's Gaussian, as a part of the box: 0.54 / 6, the best of TTFNet's."""

MIN_IOUS = (0.5, 0.75)
"""A box is found if it and the true one have so much in common, at least: what is told is of the
first; networks are chosen by the mean over both, as one tomogram's held-out tilts soon give 1."""

LOWEST = 0.05
"""Boxes of a lower score have no part in the average precision."""

THRESHOLDS = np.arange(10, 91) / 100  # what may be chosen; beyond, few boxes would decide
_LEAST = 0.05  # of a Gaussian: beyond, nothing is learnt of offset and size
# Cells, or logarithms, below which errors count squared: plain L1 pulls as hard at small errors as
# at large ones, and after 400 steps centres were still off by 1.2 pixels on average, all alike.
_SMOOTH = 0.5


class Targets(NamedTuple):
    """What a network is to say of one image.

    Parameters
    ----------
    heat : ndarray, shape (n_classes, height, width), float32
        Of cells: 1 where an object has its middle.
    place : ndarray, shape (4, height, width), float32
        Offsets and logarithms of sizes, in cells.
    weight : ndarray, shape (1, height, width), float32
        Of `place`.
    known : ndarray, shape (n_classes, height, width), float32
        0 where nothing is to be learnt from.
    """

    heat: FloatArray
    place: FloatArray
    weight: FloatArray
    known: FloatArray


@dataclass(frozen=True)
class CentersJob:
    """Learn to find the boxes of each class by their centres.

    Parameters
    ----------
    schedule : Schedule
        Size and number of patches.
    classes : tuple of str
        Names, for what is told.
    stride : int
        Of the network's outputs.
    """

    schedule: Schedule
    classes: tuple[str, ...]
    stride: int = STRIDE

    def batch(self, examples: Sequence[Example], random: np.random.Generator) -> Batch:
        """Images (n, 1, ...) and the targets of each cell."""
        patches = draw_batch(examples, self.schedule.batch, self.schedule.side, random)
        targets = [targets_of(patch, self.stride) for patch in patches]
        parts = {name: np.stack([getattr(t, name) for t in targets]) for name in Targets._fields}
        return {"image": np.stack([p.image for p in patches])[:, None], **parts}

    def loss(self, module: Any, batch: dict[str, Any]) -> Any:  # noqa: ANN401 -- torch's
        """Penalty-reduced focal loss of the heat maps, smooth L1 of offsets and sizes."""
        from torch.nn.functional import smooth_l1_loss

        outputs = module(batch["image"]).float()
        heat, place = outputs[:, :-N_PLACE], outputs[:, -N_PLACE:]
        weight = batch["weight"]
        apart = smooth_l1_loss(place, batch["place"], beta=_SMOOTH, reduction="none")
        mean = (apart * weight).sum() / weight.sum().clamp(min=1e-6) / 2  # of y and x
        return focal(heat, batch["heat"], batch["known"]) + mean

    def score(self, network: Network, loaders: Sequence[Loader]) -> Score:
        """Mean over the classes of the average precision; see `score_of`."""
        n = len(self.classes)
        return score_of(self.classes, loaders, lambda x: found_boxes(network, x, LOWEST, n))


def first_network(
    n_classes: int, seed: int, log_size: float, architecture: Architecture | None = None
) -> Any:  # noqa: ANN401 -- see `build`
    """A network for centres with random weights, whose first outputs make sense.

    Heat maps say `PRIOR` everywhere, offsets 0, and sizes the mean of those to be learnt: from the
    bias of a heat map it would take hundreds of steps to get there.

    Parameters
    ----------
    n_classes : int
        Heat maps.
    seed : int
        Of the weights.
    log_size : float
        Mean logarithm of the sides of boxes, in pixels; see `mean_log_size`.
    architecture : Architecture, optional
        By default the residual U-Net with a stride of 4.

    Returns
    -------
    Module
    """
    import torch

    chosen = architecture or center_architecture(n_classes)
    module = seeded(chosen, seed)
    prior = float(np.log(PRIOR / (1 - PRIOR)))
    cells = log_size - float(np.log(module.output_stride))
    with torch.no_grad():
        module.head.bias[:-N_PLACE] = prior
        module.head.bias[-N_PLACE:] = torch.tensor([0.0, 0.0, cells, cells])
    return module


def center_architecture(n_classes: int) -> Architecture:
    """The default network for boxes of so many classes."""
    return Architecture("residual-unet", 2, n_classes + N_PLACE, {"output_stride": STRIDE})


def mean_log_size(boxes: Sequence[Boxes]) -> float:
    """Mean logarithm of the sides of all boxes, in pixels; of none, that of four strides."""
    sizes = np.concatenate([np.zeros((0, 2)), *(b.size for b in boxes)])
    return float(np.log(np.maximum(sizes, 1.0)).mean()) if len(sizes) else float(np.log(4 * STRIDE))


def targets_of(patch: Patch | Example, stride: int) -> Targets:
    """What a network is to say of a patch.

    Parameters
    ----------
    patch : Patch or Example
        Image, target and boxes; sides are multiples of `stride`, or the last cells are cut off.
    stride : int
        Pixels of a cell.

    Returns
    -------
    Targets
    """
    shape = tuple(-(-n // stride) for n in patch.image.shape)
    known = _known(patch.target, stride)
    heat = np.zeros((len(patch.target), *shape), np.float32)
    place = np.zeros((N_PLACE, *shape), np.float32)
    nearest = np.zeros(shape, np.float32)
    for k, boxes in enumerate(patch.boxes):
        for center, size in zip((boxes.center + 0.5) / stride, boxes.size / stride, strict=True):
            window, bump = _bump(center, size, shape)
            np.maximum(heat[k][window], bump, out=heat[k][window])
            own = (bump > nearest[window]) & (known[k][window] > 0)
            nearest[window][own] = bump[own]
            _put(place, window, own, center, size)
    weight = np.where(nearest > _LEAST, nearest, np.float32(0))
    return Targets(heat, place, weight[None], known)


def score_of(
    classes: Sequence[str],
    loaders: Sequence[Loader],
    find: Callable[[FloatArray], Sequence[Boxes]],
) -> Score:
    """How good a detector of boxes is on examples.

    Parameters
    ----------
    classes : sequence of str
        Names.
    loaders : sequence of Loader
        Examples with boxes.
    find : callable
        Boxes of every class in a normalised image.

    Returns
    -------
    Score
        Mean over the classes of the average precision at IoUs of 0.5 and 0.75. Details: ``ap50``,
        ``ap75`` and ``f1`` (the best at 0.5) per class, and ``thresholds``, of that F1, in the
        order of the classes.
    """
    ranked = [[RankedHits.nothing() for _ in MIN_IOUS] for _ in classes]
    for loader in loaders:
        example = loader.load()
        for k, boxes in enumerate(find(example.image)):
            found, true = (_judged(b, example.target[k]) for b in (boxes, example.boxes[k]))
            for i, least in enumerate(MIN_IOUS):
                ranked[k][i] += hits_of(found, true, least)
    thresholds = [at[0].best_threshold(THRESHOLDS) for at in ranked]
    precision = np.array([[r.average_precision for r in at] for at in ranked])
    f1 = [at[0].f1(t) for at, t in zip(ranked, thresholds, strict=True)]
    details = {
        "ap50": dict(zip(classes, precision[:, 0].tolist(), strict=True)),
        "ap75": dict(zip(classes, precision[:, 1].tolist(), strict=True)),
        "f1": dict(zip(classes, f1, strict=True)),
        "thresholds": thresholds,
    }
    return Score(float(precision.mean()), details)


def hits_of(found: Boxes, true: Boxes, min_iou: float = MIN_IOUS[0]) -> RankedHits:
    """Which boxes of an image are true ones; see `rank_boxes`."""
    return rank_boxes(
        found.center, found.size, found.score, true.center, true.size, min_iou=min_iou
    )


def _bump(
    center: npt.NDArray[np.float64], size: npt.NDArray[np.float64], shape: tuple[int, ...]
) -> tuple[tuple[slice, ...], FloatArray]:
    """Gaussian about the cell of a box's centre, and its place; 1 in that cell, in cells."""
    cell = np.clip(np.floor(center).astype(np.int64), 0, np.array(shape) - 1)
    sigma = np.maximum(SIGMA * size, 1e-3)
    reach = np.ceil(3.5 * sigma).astype(np.int64)
    start, stop = np.maximum(cell - reach, 0), np.minimum(cell + reach + 1, shape)
    lines = [
        np.exp(-((np.arange(a, b) - c) ** 2) / (2 * s**2))
        for a, b, c, s in zip(start, stop, cell, sigma, strict=True)
    ]
    window = tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
    return window, np.outer(*lines).astype(np.float32)


def _put(
    place: FloatArray,
    window: tuple[slice, ...],
    own: npt.NDArray[np.bool_],
    center: npt.NDArray[np.float64],
    size: npt.NDArray[np.float64],
) -> None:
    """Offsets and sizes of a box, in the cells of a window that are its own."""
    cells = np.meshgrid(*(np.arange(s.start, s.stop) for s in window), indexing="ij")
    for axis in range(2):
        place[axis][window][own] = (center[axis] - 0.5 - cells[axis])[own]
        place[2 + axis][window][own] = np.log(max(size[axis], 1e-3))


def _known(target: npt.NDArray[np.uint8], stride: int) -> FloatArray:
    """1 in cells of which every pixel is to be learnt from."""
    n, height, width = target.shape
    up = [-n % stride for n in (height, width)]
    whole = np.pad(target, ((0, 0), (0, up[0]), (0, up[1])), constant_values=IGNORED)
    cells = whole.reshape(n, whole.shape[1] // stride, stride, whole.shape[2] // stride, stride)
    return np.asarray((cells != IGNORED).all(axis=(2, 4)), np.float32)


def _judged(boxes: Boxes, target: npt.NDArray[np.uint8]) -> Boxes:
    """Boxes whose centre does not lie on what is to be ignored."""
    last = np.array(target.shape) - 1
    pixel = np.clip(np.floor(boxes.center + 0.5).astype(np.int64), 0, last)
    return boxes.select(target[pixel[:, 0], pixel[:, 1]] != IGNORED)

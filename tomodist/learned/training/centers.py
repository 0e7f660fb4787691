"""Training for boxes by their centres: batches, losses, and average precision.

One rule: networks are judged as detectors are used, by the boxes that their outputs give in whole
images; what is not to be learnt from (`IGNORED`) has no part in the score.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.learned.detectors.centers import STRIDE, found_boxes
from tomodist.learned.networks.build import seeded
from tomodist.learned.networks.spec import N_REGRESSION, Architecture
from tomodist.learned.training.examples import IGNORED
from tomodist.learned.training.heatmaps import Targets, targets_of
from tomodist.learned.training.loop import Batch, Score
from tomodist.learned.training.losses import focal
from tomodist.learned.training.patches import draw_batch
from tomodist.metrics.precision import RankedHits, rank_boxes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tomodist.learned.model.network import Network
    from tomodist.learned.training.examples import Example, Loader
    from tomodist.learned.training.schedule import Schedule
    from tomodist.values.arrays import Float32Array, UInt8Array
    from tomodist.values.boxes import Boxes


MIN_IOUS = (0.5, 0.75)
"""Least IoU of a box with a true one. Reports use the first value; networks are chosen by the mean
over both, because the held-out tilts of one tomogram soon give 1 at the first alone."""

LOWEST = 0.05
"""Boxes of a lower score have no part in the average precision."""

THRESHOLDS = np.arange(10, 91) / 100  # what may be chosen; beyond, few boxes would decide
# Cells, or logarithms, below which errors count squared: plain L1 pulls as hard at small errors as
# at large ones, and leaves all centres off to the same side (by 1.2 pixels after 400 steps, once).
_SMOOTH = 0.5


@dataclass(frozen=True)
class CentersJob:
    """Learn to find the boxes of each class by their centres.

    Parameters
    ----------
    schedule : Schedule
        Size and number of patches.
    classes : tuple of str
        Names, for the report.
    stride : int
        Of the network's outputs.
    """

    schedule: Schedule
    classes: tuple[str, ...]
    stride: int = STRIDE

    def batch(self, examples: Sequence[Example], random: np.random.Generator) -> Batch:
        """Images (n, 1, ...) and the targets of each cell.

        Parameters and result as for `Job.batch`.
        """
        patches = draw_batch(examples, self.schedule.batch, self.schedule.side, random)
        targets = [targets_of(patch, self.stride) for patch in patches]
        parts = {name: np.stack([getattr(t, name) for t in targets]) for name in Targets._fields}
        return {"image": np.stack([p.image for p in patches])[:, None], **parts}

    def loss(self, module: Any, batch: dict[str, Any]) -> Any:  # noqa: ANN401 -- torch's
        """Penalty-reduced focal loss of the heat maps, smooth L1 of offsets and sizes.

        Parameters and result as for `Job.loss`.
        """
        from torch.nn.functional import smooth_l1_loss

        outputs = module(batch["image"]).float()
        heat, regression = outputs[:, :-N_REGRESSION], outputs[:, -N_REGRESSION:]
        weight = batch["weight"]
        apart = smooth_l1_loss(regression, batch["regression"], beta=_SMOOTH, reduction="none")
        mean = (apart * weight).sum() / weight.sum().clamp(min=1e-6) / 2  # of y and x
        return focal(heat, batch["heat"], batch["known"]) + mean

    def score(self, network: Network, loaders: Sequence[Loader]) -> Score:
        """Mean over the classes of the average precision; see `score_of`.

        Parameters and result as for `Job.score`.
        """
        n = len(self.classes)
        return score_of(self.classes, loaders, lambda x: found_boxes(network, x, LOWEST, n))


def first_network(n_classes: int, seed: int, log_size: float) -> Any:  # noqa: ANN401 -- see `build`
    """The default network for centres: random weights, and first outputs that make sense.

    Parameters
    ----------
    n_classes : int
        Heat maps.
    seed : int
        Of the weights.
    log_size : float
        See `set_first_outputs`.

    Returns
    -------
    Module
    """
    module = seeded(center_architecture(n_classes), seed)
    set_first_outputs(module, log_size)
    return module


def set_first_outputs(module: Any, log_size: float) -> None:  # noqa: ANN401 -- see `build`
    """Let a network say offsets of 0 and sizes of the mean, before anything is learnt.

    Heat maps keep their prior. Sizes would otherwise begin at a twentieth of a cell, and take
    hundreds of steps to get anywhere. A network without a last convolution of its own by the name
    of ``head`` (MONAI's) stays as it is.

    Parameters
    ----------
    module : Module
        For centres.
    log_size : float
        Mean logarithm of the sides of boxes, in pixels; see `mean_log_size`.
    """
    import torch

    if hasattr(module, "head"):
        # Sizes are learnt in cells, so the stride is divided out.
        cells = log_size - float(np.log(module.output_stride))
        with torch.no_grad():
            module.head.bias[-N_REGRESSION:] = torch.tensor([0.0, 0.0, cells, cells])


def center_architecture(n_classes: int) -> Architecture:
    """The default network for boxes of so many classes."""
    return Architecture("residual-unet", 2, n_classes + N_REGRESSION, {"output_stride": STRIDE})


def mean_log_size(boxes: Sequence[Boxes]) -> float:
    """Mean logarithm of the sides of all boxes, in pixels; of none, that of four strides."""
    sizes = np.concatenate([np.zeros((0, 2)), *(b.size for b in boxes)])
    return float(np.log(np.maximum(sizes, 1.0)).mean()) if len(sizes) else float(np.log(4 * STRIDE))


def score_of(
    classes: Sequence[str],
    loaders: Sequence[Loader],
    find: Callable[[Float32Array], Sequence[Boxes]],
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
    # One ranking per class and IoU, over all examples together.
    ranked = [[RankedHits.nothing() for _ in MIN_IOUS] for _ in classes]
    for loader in loaders:
        example = loader.load()
        for k, boxes in enumerate(find(example.image)):
            detected, true = (_judged(b, example.target[k]) for b in (boxes, example.boxes[k]))
            for i, least in enumerate(MIN_IOUS):
                ranked[k][i] += hits_of(detected, true, least)
    thresholds = [at[0].best_threshold(THRESHOLDS) for at in ranked]
    precision = np.array([[r.average_precision for r in at] for at in ranked])
    f1 = [at[0].f1(t) for at, t in zip(ranked, thresholds, strict=True)]
    details = {
        "ap50": dict(zip(classes, precision[:, 0].tolist(), strict=True)),
        "ap75": dict(zip(classes, precision[:, 1].tolist(), strict=True)),
        "f1": dict(zip(classes, f1, strict=True)),
        "thresholds": thresholds,
    }
    has_truth = [at[0].n_truth > 0 for at in ranked]  # a class without a true box says nothing
    return Score(float(precision[has_truth].mean()) if any(has_truth) else 0.0, details)


def hits_of(detected: Boxes, true: Boxes, min_iou: float = MIN_IOUS[0]) -> RankedHits:
    """Which detected boxes of an image are true ones; see `rank_boxes`.

    Parameters
    ----------
    detected, true : Boxes
        Boxes of one image.
    min_iou : float
        Boxes that overlap less are not the same.

    Returns
    -------
    RankedHits
    """
    return rank_boxes(
        detected.center, detected.size, detected.score, true.center, true.size, min_iou=min_iou
    )


def _judged(boxes: Boxes, target: UInt8Array) -> Boxes:
    """Boxes whose centre does not lie on what is to be ignored."""
    last = np.array(target.shape) - 1
    pixel = np.clip(np.floor(boxes.center + 0.5).astype(np.int64), 0, last)
    return boxes.select(target[pixel[:, 0], pixel[:, 1]] != IGNORED)

"""Training for segmentation: patches with targets, Dice and cross-entropy, IoU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.learned.model.network import dense_output, sigmoid
from tomodist.learned.training.loop import Batch, Score
from tomodist.learned.training.losses import dice_and_cross_entropy
from tomodist.learned.training.patches import draw_batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.learned.model.network import Network
    from tomodist.learned.training.examples import Example, Loader
    from tomodist.learned.training.schedule import Schedule
    from tomodist.values.arrays import Float32Array, FloatArray, IntArray

STEPS = 100  # thresholds on probability are multiples of 1 / STEPS
_SENSIBLE = (0.1, 0.9)  # no threshold beyond is chosen: few examples would decide


@dataclass(frozen=True)
class SegmentJob:
    """Learn to tell, pixel by pixel, where each class is.

    Parameters
    ----------
    schedule : Schedule
        Size and number of patches.
    classes : tuple of str
        Names, for the report.
    """

    schedule: Schedule
    classes: tuple[str, ...]

    def batch(self, examples: Sequence[Example], random: np.random.Generator) -> Batch:
        """Images (n, 1, ...) and targets (n, n_classes, ...).

        Parameters and result as for `Job.batch`.
        """
        patches = draw_batch(examples, self.schedule.batch, self.schedule.side, random)
        return {
            "image": np.stack([p.image for p in patches])[:, None],
            "target": np.stack([p.target for p in patches]),
        }

    def loss(self, module: Any, batch: dict[str, Any]) -> Any:  # noqa: ANN401 -- torch's
        """Dice and cross-entropy.

        Parameters and result as for `Job.loss`.
        """
        return dice_and_cross_entropy(module(batch["image"]), batch["target"])

    def score(self, network: Network, loaders: Sequence[Loader]) -> Score:
        """Mean of the IoU at the best threshold, over all examples together.

        A class of which nothing is there to be found has no IoU, and no part in the mean.

        Parameters and result as for `Job.score`.
        """
        inside = np.zeros((len(self.classes), STEPS), np.int64)
        outside = np.zeros_like(inside)
        for loader in loaders:
            example = loader.load()
            count_probabilities(
                sigmoid(dense_output(network, example.image)), example, inside, outside
            )
        iou, threshold = best_thresholds(inside, outside)
        has_truth = inside.sum(axis=1) > 0
        details = {
            "iou": dict(zip(self.classes, iou.tolist(), strict=True)),
            "thresholds": threshold.tolist(),
        }
        return Score(float(iou[has_truth].mean()) if has_truth.any() else 0.0, details)


def count_probabilities(
    probability: Float32Array,
    example: Example,
    inside: IntArray,
    outside: IntArray,
) -> None:
    """Add the histograms of an example's probabilities.

    Parameters
    ----------
    probability : ndarray, shape (n_classes, ...), float32
        0 to 1.
    example : Example
        With its target.
    inside, outside : ndarray, shape (n_classes, STEPS), int64
        Histograms where the class is, and where it is not; added to in place.
    """
    step = np.minimum((probability * STEPS).astype(np.int64), STEPS - 1)
    for k, target in enumerate(example.target):
        for counts, where in ((inside, target == 1), (outside, target == 0)):
            counts[k] += np.bincount(step[k][where], minlength=STEPS)


def best_thresholds(inside: IntArray, outside: IntArray) -> tuple[FloatArray, FloatArray]:
    """IoU at the best threshold, and the threshold, of every class.

    Parameters
    ----------
    inside, outside : ndarray, shape (n_classes, STEPS), int64
        Pixels per step of probability where the class is, and where it is not.

    Returns
    -------
    ndarray, shape (n_classes,), float64
        IoU; 0 for a class that is nowhere, and the threshold is then 0.5.
    ndarray, shape (n_classes,), float64
        Thresholds on probability.

    Examples
    --------
    >>> inside, outside = np.zeros((2, 1, STEPS), np.int64)
    >>> inside[0, 60], inside[0, 20], outside[0, 40] = 6, 2, 4
    >>> best_thresholds(inside, outside)
    (array([0.75]), array([0.5]))
    """
    total = inside.sum(axis=1, keepdims=True)
    # Cumulative from the top: all thresholds at once.
    hits = inside[:, ::-1].cumsum(axis=1)[:, ::-1]  # at step k: probability >= k / STEPS
    wrong = outside[:, ::-1].cumsum(axis=1)[:, ::-1]
    iou = hits / np.maximum(total + wrong, 1)
    low, high = (int(s * STEPS) for s in _SENSIBLE)
    iou = iou[:, low : high + 1]
    best = iou.max(axis=1)
    # Of all thresholds as good as the best, the middle one.
    good = [np.flatnonzero(row >= top - 1e-12) for row, top in zip(iou, best, strict=True)]
    step = np.array([g[(len(g) - 1) // 2] for g in good], np.float64)
    return best, (low + step) / STEPS

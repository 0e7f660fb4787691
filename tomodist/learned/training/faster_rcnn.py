"""Training a Faster R-CNN: torchvision's losses, and the same score as for centres.

One rule: what is not to be learnt from is blanked in the image, because the method has no place for
it: nothing is seen there, and nothing is there to be found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.learned.detectors.faster_rcnn import boxes_of_rows
from tomodist.learned.training.centers import LOWEST, score_of
from tomodist.learned.training.examples import IGNORED
from tomodist.learned.training.patches import draw_batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.learned.model.network import Network
    from tomodist.learned.training.examples import Example, Loader
    from tomodist.learned.training.loop import Batch, Score
    from tomodist.learned.training.patches import Patch
    from tomodist.learned.training.schedule import Schedule
    from tomodist.values.arrays import Float32Array
    from tomodist.values.boxes import Boxes


@dataclass(frozen=True)
class FasterRCNNJob:
    """Learn to find the boxes of each class by a Faster R-CNN.

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
        """Images (n, 1, ...), and corners and class of their boxes; rows of class 0 are none.

        Parameters and result as for `Job.batch`.
        """
        patches = draw_batch(examples, self.schedule.batch, self.schedule.side, random)
        corners = [corners_of(patch) for patch in patches]
        # A rectangular array: patches with fewer boxes are padded by class 0.
        rows = np.zeros((len(patches), max(len(c) for c in corners), 5), np.float32)
        for k, boxes in enumerate(corners):
            rows[k, : len(boxes)] = boxes
        return {"image": np.stack([_blanked(p) for p in patches])[:, None], "corners": rows}

    def loss(self, module: Any, batch: dict[str, Any]) -> Any:  # noqa: ANN401 -- torch's
        """Sum of torchvision's four losses.

        Parameters and result as for `Job.loss`.
        """
        targets = []
        for rows in batch["corners"]:
            boxes = rows[rows[:, 4] > 0]
            targets.append({"boxes": boxes[:, :4], "labels": boxes[:, 4].long()})
        return sum(module(batch["image"], targets).values())

    def score(self, network: Network, loaders: Sequence[Loader]) -> Score:
        """Mean over the classes of the average precision; see `score_of`.

        Parameters and result as for `Job.score`.
        """

        def find(image: Float32Array) -> list[Boxes]:
            rows = network(image[None, None])[0]
            return [boxes_of_rows(rows, LOWEST, k) for k in range(len(self.classes))]

        return score_of(self.classes, loaders, find)


def corners_of(patch: Patch) -> Float32Array:
    """Boxes of a patch as torchvision wants them.

    Parameters
    ----------
    patch : Patch
        With boxes per class.

    Returns
    -------
    ndarray, shape (n, 5), float32
        x0, y0, x1, y1 in pixels from the outer edge of the first pixel, cut off at the patch, and
        the number of the class, from 1 on.
    """
    height, width = patch.image.shape
    parts = [np.zeros((0, 5))]
    for k, boxes in enumerate(patch.boxes, start=1):
        # Index coordinates to distances from the outer edge of the first pixel.
        low, high = boxes.center - boxes.size / 2 + 0.5, boxes.center + boxes.size / 2 + 0.5
        corners = np.concatenate([low[:, ::-1], high[:, ::-1]], axis=1)
        corners = np.clip(corners, 0, [width, height, width, height])
        parts.append(np.column_stack([corners, np.full(len(corners), k)]))
    rows = np.concatenate(parts).astype(np.float32)
    return rows[((rows[:, 2:4] - rows[:, :2]) >= 1).all(axis=1)]


def _blanked(patch: Patch) -> Float32Array:
    """The image, 0 where nothing is to be learnt of any class."""
    ignored = (patch.target == IGNORED).all(axis=0)
    return np.where(ignored, np.float32(0), patch.image)

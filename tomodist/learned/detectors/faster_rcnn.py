"""What a Faster R-CNN gives, as boxes (the network: `tomodist.learned.networks.faster_rcnn`).

One rule: it gives rows (y, x, height, width, score, class), as many for every image; those of a
score of 0 are none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tomodist.values.boxes import Boxes

if TYPE_CHECKING:
    from tomodist.values.arrays import Float32Array


def boxes_of_rows(rows: Float32Array, threshold: float, class_index: int) -> Boxes:
    """Boxes of one class.

    Parameters
    ----------
    rows : ndarray, shape (n, 6), float32
        Centre and size (y, x, height, width) in pixels, score, and number of the class.
    threshold : float
        Boxes of a higher score are kept.
    class_index : int
        Of the class.

    Returns
    -------
    Boxes
        The surest first.
    """
    score, number = rows[:, 4], rows[:, 5]
    # Padding rows have score 0 and are dropped at any threshold.
    kept = rows[(score > max(threshold, 0.0)) & (number == class_index)]
    kept = kept[np.argsort(-kept[:, 4], kind="stable")]
    return Boxes(kept[:, :2], kept[:, 2:4], kept[:, 4])

"""A threshold for every structure: the one at which its own reprojection agrees best.

The common threshold is the best compromise; structures that few tilts show need a lower one than
those that nearly all show, whose outlines it leaves too wide. So each component at the common
threshold T may be cut down further. Thresholds from T up are judged by the IoU, in every tilt, of
its reprojection with those marks that lie within its reprojection at T (marks beyond it are no
business of this component). It takes the lowest threshold that is not surely worse than the best:
not by more than two standard errors of the difference over the tilts. Taking the best itself cuts
large objects down by chance where maps have holes; measured in docs/reports/lifting.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tomodist.algorithms.lift.project import largest_in_windows
from tomodist.algorithms.lift.windows import read_inside
from tomodist.algorithms.objects.components import label_brick
from tomodist.algorithms.threshold.curve import count_agreement, curve_of
from tomodist.values.maps import UNMEASURED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.algorithms.lift.windows import ReadImage
    from tomodist.values.arrays import AnyArray, FloatArray
    from tomodist.values.geometry import TiltGeometry, VolumeGrid

FEWEST = 8  # voxels: of fewer, thresholds are chance
_SURE = 2.0  # standard errors


def component_at(scores: AnyArray, threshold: float, voxel: Sequence[int]) -> AnyArray:
    """Scores of the component above a threshold that holds a voxel; 0 elsewhere.

    Parameters
    ----------
    scores : ndarray, shape (nz, ny, nx)
        The component's bounding box, or more.
    threshold : float
        Of the component.
    voxel : sequence of int
        One of its voxels, as an index into `scores`.

    Returns
    -------
    ndarray, shape (nz, ny, nx)
    """
    labels = label_brick(scores, threshold)
    return np.where(labels == labels[tuple(voxel)], scores, 0)


def structure_threshold(
    scores: AnyArray,
    start: Sequence[int],
    threshold: int,
    geometry: TiltGeometry,
    grid: VolumeGrid,
    read: ReadImage,
    max_score: int,
) -> int:
    """The best threshold of one component.

    Parameters
    ----------
    scores : ndarray, shape (nz, ny, nx), integer
        Of the component, from `component_at`.
    start : sequence of int
        First voxel (z, y, x) of `scores` in the volume.
    threshold : int
        The common one; the result is no lower.
    geometry, grid
        Of maps and volume.
    read : callable
        Reads maps; see `tomodist.algorithms.lift.windows`.
    max_score : int
        The highest possible score.

    Returns
    -------
    int
        `threshold` itself where no tilt marks the component.
    """
    if np.count_nonzero(scores) < FEWEST:
        return threshold
    matrices = geometry.matrices(grid)
    largest, bounds = largest_in_windows(scores, start, matrices, geometry.image_shape, max_score)
    counts = np.zeros((geometry.n_tilts, 2, max_score + 1), np.int64)
    for t, window in enumerate(bounds):
        part, inside = read_inside(read, t, window, geometry.image_shape)
        seen = largest[t][inside]
        # Only marks within the component's own shadow count; the rest belongs to other structures.
        shadow = np.where(seen > threshold, part, UNMEASURED)
        counts[t] = count_agreement(seen[None], shadow[None], max_score)[0]
    if not counts[:, 1].any():
        return threshold
    return threshold + _lowest_as_good(curve_of(counts).iou[:, threshold : int(scores.max())])


def _lowest_as_good(iou: FloatArray) -> int:
    """Column of the lowest threshold that is not surely worse than the best; of (n_tilts, n)."""
    best = iou[:, int(np.argmax(iou.mean(axis=0)))]
    # Differences tilt by tilt: the tilts' common variation drops out of the standard error.
    worse = best[:, None] - iou
    error = worse.std(axis=0, ddof=1) / np.sqrt(len(iou)) if len(iou) > 1 else 0.0
    return int(np.argmax(worse.mean(axis=0) <= _SURE * error + 1e-12))

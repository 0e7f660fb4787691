"""Objects in 3D from 2D boxes in memory, for experiments: by components of votes, and by tracks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import ndimage

from tomodist.algorithms.lift.backproject import Votes
from tomodist.algorithms.objects.box_index import LinkRule
from tomodist.algorithms.objects.tracks import link_boxes
from tomodist.algorithms.objects.triangulation import supporting_boxes, triangulate
from tomodist.experiments.inmemory import lifted, threshold_curve
from tomodist.values.boxes import Boxes, fill

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.values.arrays import FloatArray
    from tomodist.values.geometry import TiltGeometry, VolumeGrid


class Objects(NamedTuple):
    """Centres and sizes (z, y, x) in voxels, shape (n, 3) each, float64."""

    center: FloatArray
    size: FloatArray


def enough_tilts(geometry: TiltGeometry) -> int:
    """Tilts that an object must be seen in: a quarter, and three."""
    return max(3, -(-geometry.n_tilts // 4))


def by_tracks(geometry: TiltGeometry, grid: VolumeGrid, boxes: Sequence[FloatArray]) -> Objects:
    """Boxes linked across tilts.

    Parameters
    ----------
    geometry, grid
        Of boxes and volume.
    boxes : sequence of ndarray, shape (n_boxes, 4), float64
        Per tilt: centre and size (y, x, height, width), in pixels.

    Returns
    -------
    Objects
    """
    tracks = link_boxes(geometry, grid, boxes, LinkRule(enough_tilts(geometry)))
    return Objects(tracks.center, tracks.size)


def by_components(geometry: TiltGeometry, grid: VolumeGrid, boxes: Sequence[FloatArray]) -> Objects:
    """Objects from connected components of the votes of filled boxes.

    Centres are triangulated from the boxes, and parts that too few boxes support are dropped; see
    `by_tracks` for the parameters.

    Parameters and result as for `by_tracks`.
    """
    if not any(len(b) for b in boxes):
        return Objects(np.zeros((0, 3)), np.zeros((0, 3)))
    shape = geometry.image_shape
    maps = np.stack([fill(Boxes(b[:, :2], b[:, 2:], np.ones(len(b))), shape) for b in boxes])
    votes = lifted(Votes(geometry, grid), maps)
    best = threshold_curve(votes, maps, geometry, grid, geometry.n_tilts).best
    labels, n = ndimage.label(votes > best)
    if not n:
        return Objects(np.zeros((0, 3)), np.zeros((0, 3)))
    number = np.arange(1, n + 1)
    centers = np.array(ndimage.center_of_mass(votes, labels, number)).reshape(-1, 3)
    sizes = np.array(
        [[s.stop - s.start for s in window] for window in ndimage.find_objects(labels)], np.float64
    )
    # The structure with more votes keeps a box that two of them claim.
    weight = np.asarray(ndimage.sum(votes, labels, number), np.float64)
    matrices = geometry.matrices(grid)
    centers = triangulate(matrices, centers, boxes)
    _, residual = supporting_boxes(matrices, centers, boxes, weight)
    kept = np.isfinite(residual).sum(axis=0) >= enough_tilts(geometry)
    return Objects(centers[kept], sizes[kept])

"""How well a 3D position agrees with the 2D boxes: support, residual, and the best position.

A tilt *supports* a structure if the projection of its centre lies inside one of the tilt's boxes;
the *residual* is the distance from there to the centre of that box (the nearest one).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from tomodist.values.arrays import BoolArray, FloatArray
from tomodist.values.projection import project_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.values.arrays import BoolArray, FloatArray


def supporting_boxes(
    matrices: FloatArray,
    centers: FloatArray,
    boxes: Sequence[FloatArray],
    strength: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray]:
    """The box that supports each structure in each tilt, and how far it is.

    Parameters
    ----------
    matrices : ndarray, shape (n_tilts, 2, 4), float64
        Voxel-to-pixel matrices.
    centers : ndarray, shape (n, 3), float64
        Voxel indices (z, y, x).
    boxes : sequence of ndarray, shape (n_boxes, 4), float64
        Per tilt: centre and size (y, x, height, width), in pixels.
    strength : ndarray, shape (n,), float64, optional
        If given, a box supports one structure only: the strongest of those that claim it.

    Returns
    -------
    matched : ndarray, shape (n_tilts, n, 2), float64
        Centre (y, x) of the supporting box; NaN where there is none.
    residual : ndarray, shape (n_tilts, n), float64
        Distance in pixels; NaN where there is none.
    """
    expected = project_points(matrices, centers)
    matched = np.full(expected.shape, np.nan)
    for t, here in enumerate(boxes):
        if len(here) and len(centers):
            nearest, inside = _nearest_around(expected[t], here)
            box = here[nearest]
            if strength is not None:
                inside &= _strongest(nearest, np.where(inside, strength, -np.inf))
            matched[t, inside] = box[inside, :2]
    return matched, np.linalg.norm(matched - expected, axis=2)


def _nearest_around(
    points: FloatArray, boxes: FloatArray
) -> tuple[npt.NDArray[np.intp], BoolArray]:
    """Nearest box (of eight) that contains each point, and whether there is one."""
    n = min(8, len(boxes))
    near = np.asarray(cKDTree(boxes[:, :2]).query(points, k=list(range(1, n + 1)))[1])
    box = boxes[near]
    within = np.abs(points[:, None] - box[..., :2]) <= box[..., 2:] / 2
    inside = np.logical_and.reduce(within, axis=2)
    first = near[np.arange(len(points)), inside.argmax(axis=1)]
    return first, np.logical_or.reduce(inside, axis=1)


def _strongest(claimed: npt.NDArray[np.intp], strength: FloatArray) -> BoolArray:
    """Whether each claimant is the strongest that claims its box; the first of equals wins."""
    # Sorted by box, then strength, then index: the first of every box wins.
    order = np.lexsort((np.arange(len(claimed)), -strength, claimed))
    first = np.ones(len(order), bool)
    first[1:] = claimed[order][1:] != claimed[order][:-1]
    wins = np.empty(len(order), bool)
    wins[order] = first
    return wins


def triangulate(
    matrices: FloatArray, centers: FloatArray, boxes: Sequence[FloatArray], rounds: int = 3
) -> FloatArray:
    """Move each centre to where it fits the boxes that support it best.

    Parameters
    ----------
    matrices, centers, boxes
        As for `supporting_boxes`.
    rounds : int
        How often the supporting boxes are looked up again.

    Returns
    -------
    ndarray, shape (n, 3), float64
        Least-squares positions (z, y, x): the p that minimises sum_t |M_t (p, 1) - box_t|². A
        centre with fewer than three supporting tilts stays where it is.
    """
    centers = centers.copy()
    for _ in range(rounds):
        matched, residual = supporting_boxes(matrices, centers, boxes)
        for k in range(len(centers)):
            tilts = np.isfinite(residual[:, k])
            if tilts.sum() >= 3:
                # Two equations (row, column) per tilt for the three unknowns z, y, x.
                system = matrices[tilts, :, :3].reshape(-1, 3)
                target = (matched[tilts, k] - matrices[tilts, :, 3]).reshape(-1)
                centers[k] = np.linalg.lstsq(system, target, rcond=None)[0]
    return centers

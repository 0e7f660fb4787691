"""Tracks: 2D boxes linked across tilts, each track one object in 3D; no volume at all.

An object at p is seen in tilt t at q_t = L_t p + o_t, so its boxes lie on a curve that three
numbers fix (in the single-axis case v = y and u = x cos t + z sin t). Tracks are found as follows:

1. Pairs of tilts that look from rather different directions propose points: two boxes that the
   same plane through both rays can hold (in the single-axis case: of the same y) meet at one point.
2. Every point is moved to where it fits the boxes nearest to its projections best (a robust least
   squares, so a box of something else beside it has little say), and scores by how well it fits.
3. The best points take their boxes, one after the other, each with what the better ones left over.
4. Boxes and tracks are assigned one to one in every tilt, at the least total distance, and the
   tracks fitted again. Tracks of too few tilts are dropped, halves of one object joined.
5. The spread of a track's boxes with the viewing direction gives its extent along z, y and x.

Positions are voxel indices (z, y, x), in any geometry that voxel-to-pixel matrices can express.
"""

from __future__ import annotations

import heapq
import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import KDTree

from tomodist.algorithms.objects.box_index import BoxIndex, LinkRule
from tomodist.algorithms.objects.ellipsoid import extents
from tomodist.algorithms.objects.proposals import inside, proposals, viewing_order
from tomodist.errors import InputError
from tomodist.values.projection import project_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.values.arrays import FloatArray, IntArray
    from tomodist.values.geometry import TiltGeometry, VolumeGrid

_ROUNDS, _BLOCKS = 3, 5
_WITHIN = 0.3  # of the size: two centres so near, along every axis, are of one object
_CAUCHY = 2.385  # sigmas: the scale of Cauchy's weights that are 95 % as good as least squares
_RAYLEIGH = 1.17741  # median distance of normal errors of sigma 1 along both axes
_HAS = 0.2  # what a box at its gate counts for a point; one just at it counts 1


@dataclass(frozen=True, eq=False)
class Tracks:
    """Objects, and the boxes that show them.

    Parameters
    ----------
    center : ndarray, shape (n, 3), float64
        Voxel indices (z, y, x).
    sigma : ndarray, shape (n, 3), float64
        Standard error of the centre, in voxels, from the scatter of the boxes about it; errors that
        neighbouring tilts share, such as of the alignment, are part of it as far as they show.
    size : ndarray, shape (n, 3), float64
        Of the 3D box, in voxels.
    box : ndarray, shape (n_tilts, n), intp
        Index of the box that shows the object; -1 where none does.
    residual : ndarray, shape (n_tilts, n), float64
        How far that box's centre is from the object's projection, in pixels; NaN where none is.
    """

    center: FloatArray
    sigma: FloatArray
    size: FloatArray
    box: IntArray
    residual: FloatArray

    def __len__(self) -> int:
        return len(self.center)

    @property
    def n_tilts(self) -> IntArray:
        """Tilts that show each object: shape (n,)."""
        n: IntArray = (self.box >= 0).sum(axis=0)
        return n


def link_boxes(
    geometry: TiltGeometry,
    grid: VolumeGrid,
    boxes: Sequence[FloatArray],
    rule: LinkRule | None = None,
) -> Tracks:
    """Find the objects that the boxes of all tilts show.

    Parameters
    ----------
    geometry : TiltGeometry
        Of the boxes.
    grid : VolumeGrid
        Of the volume; objects whose centre lies outside are dropped.
    boxes : sequence of ndarray, shape (n_boxes, 4), float64
        Per tilt: centre and size (y, x, height, width), in pixels.
    rule : LinkRule, optional
        Which boxes belong together.

    Returns
    -------
    Tracks
        In the order of z, y, x of their centres.

    Notes
    -----
    With r_t the distance of a box from the projection of p, p minimises sum_t w_t r_t² with
    Cauchy's weights w_t = 1 / (1 + r_t² / c²), found by iteration: c is half the box's gate
    (`LinkRule.gates`) while boxes are searched for, and 2.385 robust sigmas of the r_t in the end.

    Raises
    ------
    InputError
        If there is not one array of boxes per tilt, or a box is not finite or of negative size.
    """
    if len(boxes) != geometry.n_tilts:
        raise InputError(f"`boxes` has {len(boxes)} tilts, but the geometry has {geometry.n_tilts}")
    rule, shape = rule or LinkRule(), grid.shape
    arrays = tuple(np.asarray(b, np.float64).reshape(-1, 4) for b in boxes)
    for t, rows in enumerate(arrays):
        if not np.isfinite(rows).all() or (rows[:, 2:] < 0).any():
            raise InputError(f"a box of tilt {t} is not finite, or has a negative size; remove it")
    box_index = BoxIndex(geometry.matrices(grid), arrays, rule, geometry.image_shape)
    points = proposals(box_index, shape)
    # Proposals from two tilts are off by their boxes' errors: wide gates first.
    for widening in (1.5, 1.0, 1.0):
        points = _fitted(box_index, points, box_index.nearest(points, widening))
        # Many pairs of tilts propose the same object: one point per voxel is enough.
        points = points[np.unique(np.round(points), axis=0, return_index=True)[1]]
    points = points[inside(points, shape)]
    points = points[_chosen(box_index, points)]
    for _ in range(_ROUNDS):
        box = box_index.assigned(points)
        points = _fitted(box_index, points, box)
        kept = ((box >= 0).sum(axis=0) >= rule.min_tilts) & inside(points, shape)
        points = _joined(box_index, points[kept], box[:, kept])
    box = box_index.assigned(points)
    points = points[(box >= 0).sum(axis=0) >= rule.min_tilts]
    points = points[np.lexsort(points.T[::-1])]
    box = box_index.assigned(points)
    points = _fitted(box_index, points, box, finally_=True)
    size = extents(box_index.matrices, box_index.boxes, box)
    kept = _apart_in_space(points, size, (box >= 0).sum(axis=0))
    return _tracks(box_index, points[kept], size[kept], box[:, kept])


def _fitted(
    box_index: BoxIndex, points: FloatArray, box: IntArray, *, finally_: bool = False
) -> FloatArray:
    """Points moved to where they fit their boxes best; those with less than two boxes stay.

    While boxes are searched for, gates say which are to be trusted; finally their own scatter does.
    """
    enough = (box >= 0).sum(axis=0) >= 2
    points = points.copy()
    moved, rays = points[enough], box_index.matrices[:, :, :3]
    for _ in range(4 if finally_ else 2):
        apart = box_index.offset(moved, box[:, enough])
        weight = _own_weights(apart) if finally_ else _weights(box_index, apart, box[:, enough])
        system = np.einsum("tn,tki,tkj->nij", weight, rays, rays, optimize=True)
        # Points with boxes in few directions have a singular system; this leaves them in place.
        system += 1e-9 * np.trace(system, axis1=1, axis2=2)[:, None, None] * np.eye(3)
        target = np.einsum("tn,tki,tnk->ni", weight, rays, np.nan_to_num(apart), optimize=True)
        moved = moved + np.linalg.solve(system, target[:, :, None])[:, :, 0]
    points[enough] = moved
    return points


def _weights(box_index: BoxIndex, apart: FloatArray, box: IntArray) -> FloatArray:
    """Weight of every box in the fit: 1 at the projection, 1/5 at the gate; (n_tilts, n)."""
    weight = np.zeros(box.shape)
    for t, gates in enumerate(box_index.gates):
        has = box[t] >= 0
        far = (4 * (apart[t, has] / gates[box[t, has]]) ** 2).max(axis=1)
        weight[t, has] = 1 / (1 + far)
    return weight


def _own_weights(apart: FloatArray) -> FloatArray:
    """Cauchy weights on the scale of each point's own scatter; (n_tilts, n).

    On normal errors they are 95 % as good as least squares, and outliers have little say.
    """
    has = np.isfinite(apart[:, :, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of points without a box
        scatter = np.nanmedian(np.linalg.norm(apart, axis=2), axis=0) / _RAYLEIGH
    scale = np.maximum(_CAUCHY * np.nan_to_num(scatter), 1e-6)
    squared = np.nan_to_num((apart**2).mean(axis=2)) / scale**2
    return np.where(has, 1 / (1 + squared), 0.0)


def _chosen(box_index: BoxIndex, points: FloatArray) -> IntArray:
    """Indices of the points that are objects: best first, each takes the boxes that remain."""
    box = box_index.nearest(points)
    close = np.where(box >= 0, _HAS + (1 - _HAS) * box_index.closeness(points, box), 0.0).T
    first = np.cumsum([0, *(len(b) for b in box_index.boxes)])
    number = np.where(
        box >= 0, box + first[:-1, None], first[-1]
    ).T  # of all boxes; the last is none
    free, chance = np.ones(first[-1] + 1), np.append(box_index.chances, 0.0)
    free[-1] = 0
    line = [(-score, k) for k, score in enumerate(close.sum(axis=1).tolist())]
    chosen: list[int] = []
    n_before = -1
    while len(chosen) > n_before:  # with fewer boxes left over, fewer are beyond chance
        n_before = len(chosen)
        line, waiting = [], line
        heapq.heapify(waiting)
        while waiting:
            score, k = heapq.heappop(waiting)
            here = number[k]
            score_now = -float(close[k] @ free[here])
            if score_now > score + 1e-9:  # others took some of its boxes: it goes back in line
                if -score_now >= _HAS * box_index.rule.min_tilts:
                    heapq.heappush(waiting, (score_now, k))
            elif free[here].sum() >= max(
                box_index.rule.min_tilts, _beyond_chance(float(chance @ free))
            ):
                chosen.append(k)
                free[here] = 0
            else:
                line.append((score, k))
    return np.array(chosen, np.intp)


def _beyond_chance(expected: float) -> float:
    """Number of boxes that no point has by chance (four sigma above the mean)."""
    return expected + 4 * math.sqrt(expected)


def _joined(box_index: BoxIndex, points: FloatArray, box: IntArray) -> FloatArray:
    """Merge points that show the same object in different tilts."""
    if len(points) < 2:
        return points
    size = max((float(g.max()) for g in box_index.gates if len(g)), default=0.0)
    scale = np.linalg.norm(box_index.matrices[:, 0, :3], axis=1).min()
    pairs = KDTree(points).query_pairs(2 * size / scale, output_type="ndarray")
    pixels = project_points(box_index.matrices, points)
    n_boxes = (box >= 0).sum(axis=0)
    gone = np.zeros(len(points), np.bool_)
    for i, j in pairs[np.lexsort(pairs.T)] if len(pairs) else ():
        has = (box[:, i] >= 0) | (box[:, j] >= 0)
        # Two halves of one track hardly share a tilt, and project to the same pixels in most of
        # them.
        both = int(((box[:, i] >= 0) & (box[:, j] >= 0)).sum())
        apart = np.abs(pixels[:, i] - pixels[:, j])[has]
        gate = np.array(
            [box_index.gates[t][max(box[t, i], box[t, j])] for t in np.flatnonzero(has)]
        )
        if both <= 0.2 * n_boxes[[i, j]].min() and (apart <= gate).all(axis=1).mean() > 0.8:
            gone[i if n_boxes[i] < n_boxes[j] else j] = True
    return points[~gone]


def _apart_in_space(points: FloatArray, size: FloatArray, n_boxes: IntArray) -> IntArray:
    """Indices of the points that remain when overlapping objects are merged.

    Objects hide each other in projection but not in space, so two so near are one, detected twice.
    """
    kept = np.ones(len(points), np.bool_)
    if len(points) > 1:
        tree = KDTree(points)
        for k in np.argsort(-n_boxes, kind="stable"):
            if kept[k]:
                near = np.array(tree.query_ball_point(points[k], _WITHIN * size[k].max()))
                inside_k = (np.abs(points[near] - points[k]) < _WITHIN * size[k]).all(axis=1)
                kept[near[inside_k]] = False
                kept[k] = True
    return np.flatnonzero(kept)


def _tracks(box_index: BoxIndex, points: FloatArray, size: FloatArray, box: IntArray) -> Tracks:
    apart = box_index.offset(points, box)
    sigma = _standard_errors(box_index.matrices, apart)
    return Tracks(points, sigma, size, box, np.linalg.norm(apart, axis=2))


def _standard_errors(matrices: FloatArray, apart: FloatArray) -> FloatArray:
    """Standard errors of the centres: by scatter or by blocks of tilts, whichever is larger.

    Boxes of neighbouring tilts err together where the alignment does. Leaving out one of five
    blocks of neighbouring tilts at a time shows it: (m - 1) / m times the sum of squared changes.
    """
    weight = _own_weights(apart)
    rays = matrices[:, :, :3]
    system = np.einsum("tki,tkj->tij", rays, rays)
    target = np.einsum("tki,tnk->tni", rays, np.nan_to_num(apart))
    blocks = np.array_split(np.argsort(viewing_order(matrices)), _BLOCKS)
    whole = np.einsum("tn,tij->nij", weight, system)
    moves = []
    for block in blocks:
        left = whole - np.einsum("tn,tij->nij", weight[block], system[block])
        left += 1e-6 * np.trace(whole, axis1=1, axis2=2)[:, None, None] * np.eye(3)
        rest = np.delete(np.arange(len(weight)), block)
        right = np.einsum("tn,tni->ni", weight[rest], target[rest])
        moves.append(np.linalg.solve(left, right[:, :, None])[:, :, 0])
    # Delete-a-block jackknife: (m - 1) / m times the sum of squared deviations.
    change = np.stack(moves) - np.mean(moves, axis=0)
    jackknife = np.sqrt((_BLOCKS - 1) / _BLOCKS * (change**2).sum(axis=0))
    errors: FloatArray = np.maximum(_independent_errors(matrices, apart), jackknife)
    return errors


def _independent_errors(matrices: FloatArray, apart: FloatArray) -> FloatArray:
    """sigma² (sum_t L_tᵀ L_t)⁻¹, with sigma the robust scatter of the boxes."""
    errors = np.full((apart.shape[1], 3), np.nan)
    for k in range(apart.shape[1]):
        has = np.isfinite(apart[:, k, 0])
        rays = matrices[has, :, :3].reshape(-1, 3)
        n, typical = len(rays), float(np.median(np.linalg.norm(apart[has, k], axis=1)))
        # Median distance of normal errors is 1.177 sigma; n - 3 degrees of freedom for z, y, x.
        scatter = typical / _RAYLEIGH * math.sqrt(n / max(n - 3, 1))
        errors[k] = scatter * np.sqrt(np.diag(np.linalg.pinv(rays.T @ rays)))
    return errors

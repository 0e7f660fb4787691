"""The 2D boxes of a tilt series, and which of them a point of the volume may explain.

One rule: a box may show an object whose projection is within the box's *gate*, a rectangle around
its centre: some pixels, and a part of its size, because detectors place large boxes less well.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import KDTree

from tomodist.errors import InputError
from tomodist.metrics.assignment import assign, near_pairs
from tomodist.values.projection import project_points

if TYPE_CHECKING:
    from tomodist.values.arrays import FloatArray, IntArray


@dataclass(frozen=True)
class LinkRule:
    """Which boxes may belong to one object.

    Parameters
    ----------
    min_tilts : int
        Objects that fewer boxes show are dropped; 3 or more.
    tolerance : float
        How far, in pixels, the centre of a box may be from where the object projects, ...
    share : float
        ... plus this part of the box's size.

    Raises
    ------
    InputError
        If a number is out of range.
    """

    min_tilts: int = 3
    tolerance: float = 2.0
    share: float = 0.15

    def __post_init__(self) -> None:
        if self.min_tilts < 3:
            raise InputError(f"`min_tilts` is {self.min_tilts}; it must be 3 or more")
        if not 0 < self.tolerance < np.inf:
            raise InputError(f"`tolerance` is {self.tolerance} pixels; it must be positive")
        if not 0 <= self.share <= 1:
            raise InputError(f"`share` is {self.share}; it must be 0 to 1")

    def gates(self, boxes: FloatArray) -> FloatArray:
        """How far an object may be from each box: shape (n, 2), rows and columns, in pixels."""
        gates: FloatArray = self.tolerance + self.share * boxes[:, 2:]
        return gates


@dataclass(frozen=True, eq=False)
class BoxIndex:
    """The boxes of all tilts.

    Parameters
    ----------
    matrices : ndarray, shape (n_tilts, 2, 4), float64
        Voxel-to-pixel matrices.
    boxes : tuple of ndarray, shape (n_boxes, 4), float64
        Per tilt: centre and size (y, x, height, width), in pixels.
    rule : LinkRule
        Which boxes may show one object.
    image_shape : tuple of int
        Height and width of the images.
    """

    matrices: FloatArray
    boxes: tuple[FloatArray, ...]
    rule: LinkRule
    image_shape: tuple[int, int]

    @functools.cached_property
    def trees(self) -> list[KDTree | None]:
        """KD-tree of the boxes' centres of every tilt; None without boxes."""
        return [KDTree(b[:, :2]) if len(b) else None for b in self.boxes]

    @functools.cached_property
    def gates(self) -> list[FloatArray]:
        """Gates of all boxes, per tilt."""
        return [self.rule.gates(b) for b in self.boxes]

    @functools.cached_property
    def chances(self) -> FloatArray:
        """Probability that a random point of the image lies in the gate of each box."""
        # A gate reaches g pixels to either side along each axis.
        area = [(2 * g).prod(axis=1) for g in self.gates]
        chances: FloatArray = np.concatenate([np.zeros(0), *area]) / math.prod(self.image_shape)
        return chances

    def offset(self, points: FloatArray, box: IntArray) -> FloatArray:
        """Vector from each point's projection to the centre of its box.

        Parameters
        ----------
        points : ndarray, shape (n, 3), float64
            Voxel indices (z, y, x).
        box : ndarray, shape (n_tilts, n), int64
            Index of the box of each point in each tilt; -1 for none.

        Returns
        -------
        ndarray, shape (n_tilts, n, 2), float64
            Rows and columns, in pixels; NaN where there is no box.
        """
        apart = np.full((*box.shape, 2), np.nan)
        for t, pixels in enumerate(project_points(self.matrices, points)):
            has = box[t] >= 0
            apart[t, has] = self.boxes[t][box[t, has], :2] - pixels[has]
        return apart

    def closeness(self, points: FloatArray, box: IntArray) -> FloatArray:
        """How close each point's projection is to its box.

        Parameters
        ----------
        points : ndarray, shape (n, 3), float64
            Voxel indices (z, y, x).
        box : ndarray, shape (n_tilts, n), int64
            Index of the box of each point in each tilt; -1 for none.

        Returns
        -------
        ndarray, shape (n_tilts, n), float64
            1 at the centre of the box, 0 at its gate, beyond it, and without a box.
        """
        apart = self.offset(points, box)
        for t, gates in enumerate(self.gates):
            has = box[t] >= 0
            apart[t, has] /= gates[box[t, has]]
        far: FloatArray = np.nan_to_num((apart**2).max(axis=2), nan=1.0)
        return np.clip(1 - far, 0, 1)

    def nearest(self, points: FloatArray, widening: float = 1.0) -> IntArray:
        """Index of the box nearest to each point's projection, where its gate allows it.

        Parameters
        ----------
        points : ndarray, shape (n, 3), float64
            Voxel indices (z, y, x).
        widening : float
            Factor on the gates.

        Returns
        -------
        ndarray, shape (n_tilts, n), int64
            -1 where no gate contains the projection.
        """
        box = np.full((len(self.boxes), len(points)), -1)
        if not len(points):
            return box
        for t, (tree, pixels) in enumerate(
            zip(self.trees, project_points(self.matrices, points), strict=True)
        ):
            if tree is not None:
                # Only the nearest centre is tested; a farther box with a wider gate is not tried.
                near = np.asarray(tree.query(pixels)[1])
                apart = np.abs(self.boxes[t][near, :2] - pixels)
                allowed = (apart <= widening * self.gates[t][near]).all(axis=1)
                box[t, allowed] = near[allowed]
        return box

    def assigned(self, points: FloatArray) -> IntArray:
        """One-to-one assignment of boxes to points in every tilt: most pairs, then nearest."""
        box = np.full((len(self.boxes), len(points)), -1)
        for t, pixels in enumerate(project_points(self.matrices, points)):
            pairs, cost = self._allowed(t, pixels)
            kept = assign(pairs, cost, len(points), len(self.boxes[t]))
            box[t, pairs[0][kept]] = pairs[1][kept]
        return box

    def _allowed(self, t: int, pixels: FloatArray) -> tuple[tuple[IntArray, IntArray], FloatArray]:
        """Pairs of point and box that the gates of a tilt allow, and how far apart they are."""
        gates = self.gates[t]
        # Maximum norm and the largest gate: a superset, thinned out by each box's own gate below.
        rows, columns = near_pairs(pixels, self.boxes[t][:, :2], gates.max(initial=0), norm=np.inf)
        apart = np.abs(self.boxes[t][columns, :2] - pixels[rows]) / gates[columns]
        allowed = (apart <= 1).all(axis=1)
        return (rows[allowed], columns[allowed]), (apart[allowed] ** 2).mean(axis=1)

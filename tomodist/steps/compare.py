"""Step: a mask beside the true one, brick by brick; and objects beside the true ones.

A brick is read with a halo as wide as anything matters, and only what lies inside the brick is
counted:

    +-----------+
    |   halo    |    masks: the largest distance, and one voxel more, by which surfaces are found
    |  +-----+  |    edges: the largest tolerance
    |  |brick|  |
    |  +-----+  |
    +-----------+

One rule: bricks give counts, and counts add up, so that results do not depend on how it is cut.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tomodist.metrics import (
    Agreement,
    Confusion,
    EdgeScores,
    MaskScores,
    Matches,
    ObjectScores,
    SurfaceDistances,
    match_boxes,
    match_points,
    surface_distances,
    tolerant_f1,
)
from tomodist.planning.costs import TaskCosts, comparing
from tomodist.planning.plan import Plan, Resources, Shape3, Terms, plan_step
from tomodist.runtime.runner import Batch, Work, task_of
from tomodist.values.windows import Window, brick_windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.sources.truth import MaskVolume
    from tomodist.values.arrays import BoolArray, FloatArray

TOLERANCES = (1, 2)  # voxels, of edges
IOUS = (0.25, 0.5)  # of boxes
VolumeScores = MaskScores | EdgeScores


@dataclass(frozen=True)
class VolumePair:
    """Two volumes to compare, and how.

    Parameters
    ----------
    found, truth : MaskVolume
        The result and the truth, of one shape.
    kind : {"mask", "edges"}
        How they are judged.
    reach : int
        Of masks, surface distances up to so many voxels are told apart.
    within : MaskVolume, optional
        Only voxels in here count; their counterparts may lie outside.
    """

    found: MaskVolume
    truth: MaskVolume
    kind: Literal["mask", "edges"]
    reach: int
    within: MaskVolume | None = None

    @property
    def halo(self) -> int:
        """Voxels around a brick that matter to it."""
        return self.reach + 1 if self.kind == "mask" else max(TOLERANCES)

    @property
    def nothing(self) -> VolumeScores:
        """Scores of no voxel at all."""
        if self.kind == "mask":
            return MaskScores(Confusion(), SurfaceDistances.empty(self.reach))
        return EdgeScores(TOLERANCES, (Agreement(),) * len(TOLERANCES))


def plan_comparison(
    pair: VolumePair, resources: Resources, brick: Sequence[int] | None = None
) -> Plan:
    """Plan the comparison: per voxel of a brick with its halo, what its task holds.

    Parameters
    ----------
    pair : VolumePair
        Result and truth.
    resources : Resources
        Workers and their memory.
    brick : sequence of int, optional
        Brick (z, y, x); None: the planner chooses.

    Returns
    -------
    Plan

    Raises
    ------
    InputError, PlanError
        If the brick makes no sense, or not even the smallest one fits.
    """
    volumes = [v for v in (pair.found, pair.truth, pair.within) if v is not None]
    stored = max(v.itemsize for v in volumes)
    squared = np.min_scalar_type(2 * pair.reach**2 + 2).itemsize
    measuring = 4 + squared + 1  # both surfaces, those asked for, distances, and one mask more
    per_voxel = {
        "masks": 4,  # found, truth, within, counted
        "working": max(stored + 2, measuring),  # one after the other
    }

    def with_halo(size: Shape3) -> int:
        return math.prod(
            min(b + 2 * pair.halo, n) for b, n in zip(size, pair.truth.shape, strict=True)
        )

    def terms(size: Shape3, _: int) -> Terms:
        voxels = with_halo(size)
        layer = 24 * math.prod(sorted(size)[1:])
        return {name: n * voxels for name, n in per_voxel.items()} | {
            "layers": layer,
            "chunks": max(v.unpacked for v in volumes),
        }

    def costs(size: Shape3, _: int) -> TaskCosts:
        reach = pair.halo if pair.kind == "mask" else sum(TOLERANCES)
        return TaskCosts(leaf=comparing(with_halo(size), reach), join=0.0)

    return plan_step(
        f"evaluate {pair.kind}",
        pair.truth.shape,
        resources,
        terms,
        costs,
        brick=brick,
        bytes_read=lambda size: 2 * with_halo(size) * max(stored, 1),
        itemsize=0,
    )


def compare_volumes(pair: VolumePair, plan: Plan, name: str = "") -> Work[VolumeScores]:
    """Compare two volumes.

    Parameters
    ----------
    pair : VolumePair
        What is compared, and how.
    plan : Plan
        From `plan_comparison`.
    name : str
        For the progress bar.

    Yields
    ------
    Batch

    Returns
    -------
    MaskScores or EdgeScores
    """
    total: list[Any] = [pair.nothing]  # of one kind, as are all parts

    def add(part: VolumeScores) -> None:
        total[0] = total[0] + part

    bricks = brick_windows(pair.truth.shape, plan.brick)
    tasks = (task_of(_compare_brick, pair, window) for window in bricks)
    yield Batch(f"evaluate {name}".strip(), tasks, plan.n_bricks, each=add)
    scores: VolumeScores = total[0]
    return scores


def _compare_brick(pair: VolumePair, brick: Window) -> VolumeScores:
    """Scores of one brick."""
    grown = tuple(
        (max(a - pair.halo, 0), min(b + pair.halo, n))
        for (a, b), n in zip(brick, pair.truth.shape, strict=True)
    )
    inner = tuple(slice(a - low, b - low) for (a, b), (low, _) in zip(brick, grown, strict=True))
    found, truth = pair.found.read(grown), pair.truth.read(grown)
    counted = np.zeros(found.shape, dtype=np.bool_)
    counted[inner] = True if pair.within is None else pair.within.read(brick)
    if not (found[inner].any() or truth[inner].any()) or not counted.any():
        return pair.nothing
    if pair.kind == "edges":
        return EdgeScores(
            TOLERANCES, tuple(tolerant_f1(found, truth, t, counted=counted) for t in TOLERANCES)
        )
    here = counted[inner]
    voxels = Confusion.of(found[inner] & here, truth[inner] & here)
    return MaskScores(voxels, surface_distances(found, truth, pair.reach, counted=counted))


@dataclass(frozen=True, eq=False)
class Objects:
    """Objects of one side of a comparison.

    Parameters
    ----------
    centers : ndarray, shape (n, 3), float64
        z, y, x in Å.
    sizes : ndarray, shape (n, 3), float64, optional
        In Å.
    counted : ndarray, shape (n,), bool, optional
        Which of them count; the others may still be the counterpart of one that does.
    """

    centers: FloatArray
    sizes: FloatArray | None = None
    counted: BoolArray | None = None


def compare_boxes(found: Objects, truth: Objects) -> ObjectScores:
    """Compare boxes: matched one to one at each IoU.

    Parameters
    ----------
    found, truth : Objects
        With sizes.

    Returns
    -------
    ObjectScores

    Raises
    ------
    InputError
        If a size is not positive.
    """
    matches = [
        match_boxes(found.centers, _sizes(found), truth.centers, _sizes(truth), min_iou=least)
        for least in IOUS
    ]
    return _scores([f"IoU {least:g}" for least in IOUS], matches, found, truth)


def compare_points(found: Objects, truth: Objects, distance: float) -> ObjectScores:
    """Compare points: matched one to one within a distance in Å.

    Parameters
    ----------
    found, truth : Objects
        Sizes are not looked at.
    distance : float
        In Å; pairs farther apart are never matched.

    Returns
    -------
    ObjectScores

    Raises
    ------
    InputError
        If the distance is not positive.
    """
    matches = match_points(found.centers, truth.centers, distance)
    return _scores([f"within {distance:g} Å"], [matches], found, truth)


def objects_within(centers: FloatArray, voxel_size: float, within: MaskVolume) -> BoolArray:
    """Which positions lie in a mask.

    Parameters
    ----------
    centers : ndarray, shape (n, 3), float64
        z, y, x in Å from the centre of voxel 0.
    voxel_size : float
        In Å.
    within : MaskVolume
        The mask; what lies outside the volume is outside the mask.

    Returns
    -------
    ndarray, shape (n,), bool
    """
    index = np.rint(centers / voxel_size).astype(np.int64)
    shape = np.array(within.shape)
    inside: BoolArray = np.logical_and.reduce((index >= 0) & (index < shape), axis=1)
    block = index // 64
    for place in np.unique(block[inside], axis=0):
        low = place * 64
        window = tuple(zip(low.tolist(), np.minimum(low + 64, shape).tolist(), strict=True))
        rows = np.flatnonzero(inside & (block == place).all(axis=1))
        inside[rows] = within.read(window)[tuple((index[rows] - low).T)]
    return inside


def _sizes(objects: Objects) -> FloatArray:
    return np.zeros_like(objects.centers) if objects.sizes is None else objects.sizes


def _scores(
    criteria: list[str], matches: list[Matches], found: Objects, truth: Objects
) -> ObjectScores:
    return ObjectScores(
        tuple(criteria),
        tuple(_agreement(m, found.counted, truth.counted) for m in matches),
        tuple(_errors(m, truth.counted) for m in matches),
        tuple(m.pairs for m in matches),
    )


def _agreement(matches: Matches, found: BoolArray | None, truth: BoolArray | None) -> Agreement:
    """Counts of the objects that count, whether or not their counterparts do."""
    if found is None or truth is None:
        return Agreement(
            matches.predicted_hits, matches.n_predicted, matches.truth_hits, matches.n_truth
        )
    return Agreement(
        sum(bool(found[i]) for i, _ in matches.pairs),
        int(found.sum()),
        sum(bool(truth[j]) for _, j in matches.pairs),
        int(truth.sum()),
    )


def _errors(matches: Matches, truth: BoolArray | None) -> tuple[float, ...]:
    """Errors of the pairs of which the true object counts."""
    pairs = zip(matches.pairs, matches.center_errors, strict=True)
    return tuple(error for (_, j), error in pairs if truth is None or truth[j])

"""Points at which objects may be, from pairs of tilts: where their boxes meet in 3D."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.algorithms.objects.box_index import BoxIndex
    from tomodist.values.arrays import BoolArray, FloatArray, IntArray

N_PAIRS = 16  # tilts that propose, each with one on either side; more where there are few boxes
_MANY = 300  # boxes per tilt
_BASELINE = np.deg2rad(40)  # of a pair: far enough to tell z, near enough to match few by chance
_UNLIKE = 2.0  # boxes whose heights differ by more than this factor show different things


def proposals(box_index: BoxIndex, shape: Sequence[int]) -> FloatArray:
    """Points of the volume at which two boxes of a pair of tilts meet.

    Parameters
    ----------
    box_index : BoxIndex
        The boxes of all tilts.
    shape : sequence of int
        Of the volume.

    Returns
    -------
    ndarray, shape (n, 3), float64
        Voxel indices (z, y, x); every object many times, and many where there is none.
    """
    points = [_meeting(box_index, a, b, shape) for a, b in _pairs_of_tilts(box_index)]
    return np.concatenate([np.zeros((0, 3)), *points])


def _pairs_of_tilts(box_index: BoxIndex) -> list[tuple[int, int]]:
    """Tilts that propose points: spread over the series, each with those some 40 degrees away."""
    order = np.argsort(viewing_order(box_index.matrices))
    tilts = np.array([t for t in order if len(box_index.boxes[t])], np.intp)
    if len(tilts) < 2:
        return []
    n_boxes = sum(map(len, box_index.boxes)) / len(tilts)
    n_pairs = int(np.clip(N_PAIRS * _MANY / n_boxes, N_PAIRS, 4 * N_PAIRS))
    rays = _rays(box_index.matrices[tilts])
    angle = np.arccos(np.clip(np.abs(rays @ rays.T), 0, 1))
    # A short tilt range has no 40 degrees: then most of what it has.
    far = min(_BASELINE, 0.6 * float(angle.max()))
    pairs = set()
    for k in np.unique(np.linspace(0, len(tilts) - 1, n_pairs).round().astype(int)):
        for partner in _partners(k, angle[k], far):
            pairs.add((int(tilts[min(k, partner)]), int(tilts[max(k, partner)])))
    return sorted(pairs)


def _partners(k: int, angle: FloatArray, far: float) -> list[int]:
    """On either side of tilt k, the tilt about `far` away."""
    sides = (np.arange(k), np.arange(k + 1, len(angle)))
    best = [int(side[np.argmin(np.abs(angle[side] - far))]) for side in sides if len(side)]
    return [partner for partner in best if angle[partner] > 0.5 * far]


def viewing_order(matrices: FloatArray) -> FloatArray:
    """Number per tilt that increases with its viewing angle, in any order of the stack.

    Parameters
    ----------
    matrices : ndarray, shape (n_tilts, 2, 4), float64
        Voxel-to-pixel matrices.

    Returns
    -------
    ndarray, shape (n_tilts,), float64
        The tangent of the angle between the tilt's ray and the mean ray, with a sign.
    """
    rays = _rays(matrices)
    # The ray most parallel to all others; rays are made to point to the same side as it.
    middle = rays[np.argmax(np.abs(rays @ rays.T).sum(axis=1))]
    rays = rays * np.where(rays @ middle < 0, -1.0, 1.0)[:, None]
    # The main direction in which rays leave the middle one: across the tilt axis.
    across = np.linalg.svd(rays - (rays @ middle)[:, None] * middle)[2][0]
    order = (rays @ across) / np.maximum(rays @ middle, 1e-9)
    largest = across[np.argmax(np.abs(across))]
    return np.asarray(np.round(order * np.sign(largest), 9))


def _rays(matrices: FloatArray) -> FloatArray:
    """Unit vectors (z, y, x) along the rays of every tilt."""
    rays = np.cross(matrices[:, 0, :3], matrices[:, 1, :3])
    return np.asarray(rays / np.linalg.norm(rays, axis=1, keepdims=True))


def _meeting(box_index: BoxIndex, a: int, b: int, shape: Sequence[int]) -> FloatArray:
    """Points where rays through boxes of tilt a meet rays through boxes of tilt b.

    Both rays are at right angles to n, so n · p is the same all along either; in the single-axis
    case that is y.
    """
    linear, shift = box_index.matrices[[a, b], :, :3], box_index.matrices[[a, b], :, 3]
    rays = np.cross(linear[:, 0], linear[:, 1])
    normal = np.cross(rays[0], rays[1])
    normal /= np.linalg.norm(normal)
    level, gate = [], []
    for k, t in enumerate((a, b)):
        # n = factors @ L, so n · p of every point on a ray follows from its pixel alone.
        factors = np.linalg.lstsq(linear[k].T, normal, rcond=None)[0]
        level.append((box_index.boxes[t][:, :2] - shift[k]) @ factors)
        gate.append(box_index.gates[t] @ np.abs(factors))
    i, j = _alike(level[0], level[1], gate[0], gate[1])
    height = np.maximum(box_index.boxes[a][i, 2], 1), np.maximum(box_index.boxes[b][j, 2], 1)
    similar = np.maximum(height[0] / height[1], height[1] / height[0]) <= _UNLIKE
    i, j = i[similar], j[similar]
    seen_at = np.concatenate([box_index.boxes[a][i, :2], box_index.boxes[b][j, :2]], axis=1)
    points = (seen_at - shift.reshape(-1)) @ np.linalg.pinv(linear.reshape(4, 3)).T
    return points[inside(points, shape)]


def _alike(
    a: FloatArray, b: FloatArray, gate_a: FloatArray, gate_b: FloatArray
) -> tuple[IntArray, IntArray]:
    """Pairs (i, j) with |a_i - b_j| at most the sum of their gates."""
    order = np.argsort(b)
    # With b sorted, the candidates of a_i are a range; the largest gate bounds it.
    reach = gate_a + gate_b.max(initial=0)
    first = np.searchsorted(b[order], a - reach, "left")
    n = np.searchsorted(b[order], a + reach, "right") - first
    i = np.repeat(np.arange(len(a)), n)
    # Ranges [first_i, first_i + n_i) written one after the other, without a Python loop.
    j = order[np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n) + np.repeat(first, n)]
    near = np.abs(a[i] - b[j]) <= gate_a[i] + gate_b[j]
    return i[near], j[near]


def inside(points: FloatArray, shape: Sequence[int]) -> BoolArray:
    """Whether each point lies in a volume.

    Parameters
    ----------
    points : ndarray, shape (n, 3), float64
        Voxel indices (z, y, x).
    shape : sequence of int
        Shape of the volume.

    Returns
    -------
    ndarray, shape (n,), bool
    """
    within = (points >= -0.5) & (points <= np.asarray(shape) - 0.5)
    return np.asarray(within.all(axis=1))

"""Points at which objects may be, from pairs of tilts: where their boxes meet in 3D."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.geometry import FloatArray
    from tomodist.lift.seen import IntArray, SeenBoxes

N_PAIRS = 16  # of tilts; where a third of all boxes are missed, one object in 8000 is not proposed
_BASELINE = np.deg2rad(40)  # of a pair: far enough to tell z, near enough to match few by chance
_UNLIKE = 2.0  # boxes whose heights differ by more than this factor show different things


def proposals(seen: SeenBoxes, shape: Sequence[int]) -> FloatArray:
    """Points of the volume at which two boxes of a pair of tilts meet.

    Parameters
    ----------
    seen : SeenBoxes
        The boxes of all tilts.
    shape : sequence of int
        Of the volume.

    Returns
    -------
    ndarray, shape (n, 3), float64
        Voxel indices (z, y, x); every object many times, and many where there is none.
    """
    found = [_meeting(seen, a, b, shape) for a, b in _pairs_of_tilts(seen)]
    return np.concatenate([np.zeros((0, 3)), *found])


def _pairs_of_tilts(seen: SeenBoxes) -> list[tuple[int, int]]:
    """Tilts that propose points: spread over the series, each with one some 40 degrees away."""
    tilts = np.array([t for t, b in enumerate(seen.boxes) if len(b)], np.intp)
    if len(tilts) < 2:
        return []
    rays = np.cross(seen.matrices[tilts, 0, :3], seen.matrices[tilts, 1, :3])
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    angle = np.arccos(np.clip(np.abs(rays @ rays.T), 0, 1))
    far = min(_BASELINE, 0.6 * float(angle.max()))
    pairs = set()
    for k in np.unique(np.linspace(0, len(tilts) - 1, N_PAIRS).round().astype(int)):
        partner = int(np.argmin(np.abs(angle[k] - far)))
        if angle[k, partner] > 0.2 * far:
            pairs.add((int(tilts[min(k, partner)]), int(tilts[max(k, partner)])))
    return sorted(pairs)


def _meeting(seen: SeenBoxes, a: int, b: int, shape: Sequence[int]) -> FloatArray:
    """Where boxes of tilt a meet boxes of tilt b.

    Both rays are at right angles to n, so n · p is the same all along either; in the single-axis
    case that is y.
    """
    linear, shift = seen.matrices[[a, b], :, :3], seen.matrices[[a, b], :, 3]
    rays = np.cross(linear[:, 0], linear[:, 1])
    normal = np.cross(rays[0], rays[1])
    normal /= np.linalg.norm(normal)
    level, gate = [], []
    for k, t in enumerate((a, b)):
        factors = np.linalg.lstsq(linear[k].T, normal, rcond=None)[0]
        level.append((seen.boxes[t][:, :2] - shift[k]) @ factors)
        gate.append(seen.gates[t] @ np.abs(factors))
    i, j = _alike(level[0], level[1], gate[0], gate[1])
    height = np.maximum(seen.boxes[a][i, 2], 1), np.maximum(seen.boxes[b][j, 2], 1)
    similar = np.maximum(height[0] / height[1], height[1] / height[0]) <= _UNLIKE
    i, j = i[similar], j[similar]
    seen_at = np.concatenate([seen.boxes[a][i, :2], seen.boxes[b][j, :2]], axis=1)
    points = (seen_at - shift.reshape(-1)) @ np.linalg.pinv(linear.reshape(4, 3)).T
    return points[inside(points, shape)]


def _alike(
    a: FloatArray, b: FloatArray, gate_a: FloatArray, gate_b: FloatArray
) -> tuple[IntArray, IntArray]:
    """Pairs (i, j) with |a_i - b_j| at most the sum of their gates."""
    order = np.argsort(b)
    reach = gate_a + gate_b.max(initial=0)
    first = np.searchsorted(b[order], a - reach, "left")
    n = np.searchsorted(b[order], a + reach, "right") - first
    i = np.repeat(np.arange(len(a)), n)
    j = order[np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n) + np.repeat(first, n)]
    near = np.abs(a[i] - b[j]) <= gate_a[i] + gate_b[j]
    return i[near], j[near]


def inside(points: FloatArray, shape: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Which points lie in a volume: shape (n,), bool."""
    within = (points >= -0.5) & (points <= np.asarray(shape) - 0.5)
    return np.asarray(within.all(axis=1))

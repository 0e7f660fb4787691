"""Ready-made scenes: a hollow sphere, and a piece of a cell.

One rule: what a phantom promises (no overlap, everything inside the volume) is proven while it is
built, by exact tests on ellipsoids; a phantom that cannot be built is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tomodist.errors import InputError
from tomodist.simulate.packing import grown, place_ellipsoids, random_rotation, vector
from tomodist.simulate.scene import Ellipsoid, Scene

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.values.arrays import FloatArray

# Lengths of a cell in Å, densities in 1/Å.
_LONG, _SHORT = (1000.0, 2000.0), (750.0, 950.0)  # semi-axes of mitochondria
_MEMBRANE, _BETWEEN = 70.0, 150.0  # thickness of each membrane, and the space between the two
_WALL = 2 * _MEMBRANE + _BETWEEN
_GRANULE = (150.0, 300.0)  # radius of calcium phosphate granules
_GOLD = 50.0  # radius
_GAP = 60.0  # at least so much between two objects; granules half
_CROWDING = 0.35  # a granule's radius, at most, relative to the narrowest room around it
_BETWEEN_DENSITY, _MATRIX_DENSITY, _MEMBRANE_DENSITY = 0.4e-4, 0.8e-4, 4.0e-4
_GRANULE_DENSITY, _GOLD_DENSITY = 6.0e-4, 2.0e-2
_ROOM = (2400.0, 4500.0, 4500.0)  # (z, y, x) that one mitochondrion of full size wants


def hollow_sphere(radius: float, thickness: float, density: float) -> Scene:
    """Build one spherical shell at the volume centre.

    Parameters
    ----------
    radius : float
        Outer radius, in Å.
    thickness : float
        Of the shell, in Å.
    density : float
        Contrast per Å, positive.

    Returns
    -------
    Scene
        With the single label ``"sphere"``.

    Raises
    ------
    InputError
        If `thickness` is not between 0 and `radius`, or `density` not positive.

    Examples
    --------
    >>> hollow_sphere(100, 20, 1e-3).structures("sphere")
    (Structure(label='sphere', id=1, center=(0.0, 0.0, 0.0), size=(200.0, 200.0, 200.0)),)
    """
    if not (0 < thickness < radius and density > 0):
        raise InputError(
            "a hollow sphere needs 0 < thickness < radius (Å) and a positive density; found "
            f"thickness {thickness}, radius {radius}, density {density}"
        )
    outer = Ellipsoid((0, 0, 0), (radius, radius, radius), density=density, label="sphere")
    return Scene((outer, replace(grown(outer, -thickness), density=-density)))


def cell(
    size_zyx: Sequence[float] = (3000.0, 12000.0, 12000.0),
    *,
    n_mitochondria: int = 3,
    n_granules: int = 3,
    n_gold: int = 30,
    seed: int = 0,
) -> Scene:
    """Build a piece of a cell: mitochondria with granules, and gold beads.

    Parameters
    ----------
    size_zyx : sequence of float
        Lengths of the volume, in Å. In a small volume all lengths shrink in proportion.
    n_mitochondria, n_granules, n_gold : int
        Number of mitochondria, of dense granules in each of them, and of beads.
    seed : int
        Of the random placement, 0 or more.

    Returns
    -------
    Scene
        Labels ``"mitochondrion"`` (the whole body), ``"membrane"`` (its two membranes; same ids),
        ``"granule"`` and ``"gold"`` (on two planes, at the top and the bottom). Nothing overlaps
        but what lies inside a mitochondrion, and everything is inside the volume.

    Raises
    ------
    InputError
        If a length is not positive, a number negative, or there is no room.

    Examples
    --------
    >>> scene = cell(n_gold=4, seed=1)
    >>> scene.names
    ('mitochondrion', 'membrane', 'granule', 'gold')
    >>> [len(scene.structures(name)) for name in scene.names]
    [3, 3, 9, 4]
    """
    size = np.asarray(size_zyx, dtype=np.float64)
    numbers = (n_mitochondria, n_granules, n_gold, seed)
    if size.shape != (3,) or not np.all(np.isfinite(size) & (size > 0)) or min(numbers) < 0:
        raise InputError(
            "a cell needs three positive lengths (z, y, x) in Å and no negative numbers; found "
            f"{tuple(size_zyx)} and {numbers}"
        )
    maker = _Maker(size / 2, _scale(size, n_mitochondria), np.random.default_rng(seed))
    bodies = maker.bodies(n_mitochondria)
    granules = [g for body in bodies for g in maker.granules(n_granules, body)]
    beads = maker.beads(n_gold, bodies)
    bodies, granules, beads = _numbered(bodies), _numbered(granules), _numbered(beads)
    organelles = [part for body in bodies for part in maker.matrix(body)]
    membranes = [part for body in bodies for part in maker.membranes(body)]
    return Scene((*organelles, *membranes, *granules, *beads))


def _scale(size: FloatArray, n_mitochondria: int) -> float:
    """Factor on all lengths, at most 1, with which the mitochondria have room in the volume."""
    needed = np.multiply(_ROOM, np.sqrt([1, max(n_mitochondria, 1), max(n_mitochondria, 1)]))
    return min(1.0, float(np.min(size / needed)))


def _numbered(ellipsoids: Sequence[Ellipsoid]) -> list[Ellipsoid]:
    return [replace(e, structure=k) for k, e in enumerate(ellipsoids, start=1)]


@dataclass(frozen=True)
class _Maker:
    """Draws the parts of a cell in a volume of half size `half`; its lengths times `scale`."""

    half: FloatArray
    scale: float
    random: np.random.Generator

    def bodies(self, count: int) -> list[Ellipsoid]:
        limits = self.half - [2.2 * _GOLD * self.scale, 0, 0]  # the beads' planes stay free
        return place_ellipsoids(count, self._body, gap=_GAP * self.scale, limits=limits)

    def granules(self, count: int, body: Ellipsoid) -> list[Ellipsoid]:
        inner = grown(body, -_WALL * self.scale)
        return place_ellipsoids(count, lambda: self._granule(inner), gap=_GAP / 2 * self.scale)

    def beads(self, count: int, bodies: Sequence[Ellipsoid]) -> list[Ellipsoid]:
        return place_ellipsoids(count, self._bead, taken=bodies, gap=_GAP * self.scale)

    def matrix(self, body: Ellipsoid) -> list[Ellipsoid]:
        inner = grown(body, -(_MEMBRANE + _BETWEEN) * self.scale)
        return [body, replace(inner, density=_MATRIX_DENSITY)]

    def membranes(self, body: Ellipsoid) -> list[Ellipsoid]:
        """Four surfaces from outside in: the outer membrane's two, then the inner one's."""
        outer = replace(body, label="membrane")
        depths = (0, _MEMBRANE, _MEMBRANE + _BETWEEN, _WALL)
        return [
            replace(grown(outer, -depth * self.scale), density=sign * _MEMBRANE_DENSITY)
            for depth, sign in zip(depths, (1, -1, 1, -1), strict=True)
        ]

    def _body(self) -> Ellipsoid:
        axes = [self.random.uniform(*bounds) for bounds in (_LONG, _SHORT, _SHORT)]
        return Ellipsoid(
            vector(self.random.uniform(-self.half, self.half)),
            vector(np.array(axes) * self.scale),
            random_rotation(self.random),
            _BETWEEN_DENSITY,
            "mitochondrion",
        )

    def _granule(self, inner: Ellipsoid) -> Ellipsoid:
        """Draw one inside: E scaled by 1 - r / (shortest semi-axis), plus a ball r, is within E."""
        room = min(inner.semi_axes)
        radius = min(self.random.uniform(*_GRANULE) * self.scale, _CROWDING * room)
        direction = self.random.normal(size=3)
        direction *= np.cbrt(self.random.uniform()) / np.linalg.norm(direction)
        offset = np.asarray(inner.rotation) @ (direction * inner.semi_axes * (1 - radius / room))
        return Ellipsoid(
            vector(inner.center + offset),
            vector(radius * self.random.uniform(0.75, 1, size=3)),
            random_rotation(self.random),
            _GRANULE_DENSITY,
            "granule",
        )

    def _bead(self) -> Ellipsoid:
        radius = _GOLD * self.scale
        top = self.half - radius
        z = top[0] * self.random.choice([-1.0, 1.0])
        y, x = self.random.uniform(-top[1:], top[1:])
        return Ellipsoid(
            (float(z), float(y), float(x)), (radius,) * 3, density=_GOLD_DENSITY, label="gold"
        )

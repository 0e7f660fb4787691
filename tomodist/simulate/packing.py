"""Put ellipsoids where there is room for them.

One rule: two ellipsoids count as apart only if that is proven; the proof may miss pairs that almost
touch, never the other way round.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tomodist.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tomodist.simulate.scene import Ellipsoid, Matrix, Vector
    from tomodist.values.arrays import FloatArray

_TRIES = 2000  # per object
_WEIGHTS = np.linspace(0, 1, 66)[1:-1, None, None]


def disjoint(a: Ellipsoid, b: Ellipsoid) -> bool:
    """Whether two ellipsoids are proven to share no point.

    Parameters
    ----------
    a, b : Ellipsoid
        Densities and labels do not matter.

    Returns
    -------
    bool

    Notes
    -----
    A plane of normal n separates them if (n·r)² > (sqrt(nᵀ Ca n) + sqrt(nᵀ Cb n))², with r between
    the centres. By Cauchy the right side is at most nᵀ M n with M = Ca / w + Cb / (1 - w), for any
    w within 0..1, with equality for one w; and some n does it if rᵀ M⁻¹ r > 1.

    References
    ----------
    J. W. Perram, M. S. Wertheim, J. Comput. Phys. 58, 409 (1985),
    doi:10.1016/0021-9991(85)90171-8.

    Examples
    --------
    >>> from tomodist.simulate import Ellipsoid
    >>> ball = Ellipsoid((0, 0, 0), (10, 10, 10))
    >>> disjoint(ball, Ellipsoid((0, 0, 21), (10, 10, 10)))
    True
    >>> disjoint(ball, Ellipsoid((0, 0, 19), (10, 10, 10)))
    False
    """
    apart = np.subtract(b.center, a.center)
    # Spheres around both are apart: no need for the exact test.
    if np.linalg.norm(apart) > max(a.semi_axes) + max(b.semi_axes):
        return True
    summed = a.covariance / _WEIGHTS + b.covariance / (1 - _WEIGHTS)
    return bool(np.max(np.linalg.inv(summed) @ apart @ apart) > 1)


def place_ellipsoids(
    count: int,
    draw: Callable[[], Ellipsoid],
    *,
    taken: Sequence[Ellipsoid] = (),
    gap: float = 0.0,
    limits: FloatArray | None = None,
) -> list[Ellipsoid]:
    """Draw ellipsoids at random until `count` of them have found room.

    Parameters
    ----------
    count : int
        How many to place.
    draw : callable
        Gives a candidate.
    taken : sequence of Ellipsoid
        What is there already.
    gap : float
        In Å; a candidate is tested with its semi-axes grown by so much.
    limits : ndarray, shape (3,), float64, optional
        Half the size (z, y, x) of the box that must hold them, in Å.

    Returns
    -------
    list of Ellipsoid
        The new ones.

    Raises
    ------
    InputError
        If one of them has found no room after 2000 tries.
    """
    placed: list[Ellipsoid] = []
    for k in range(count):
        candidate = next(
            (c for c in (draw() for _ in range(_TRIES)) if _fits(c, taken, placed, gap, limits)),
            None,
        )
        if candidate is None:
            raise InputError(
                f"no room found for object {k + 1} of {count} in {_TRIES} tries; "
                "use fewer objects or a larger volume"
            )
        placed.append(candidate)
    return placed


def random_rotation(random: np.random.Generator) -> Matrix:
    """Uniformly distributed axes (a reflection is as good as a rotation for an ellipsoid)."""
    q, r = np.linalg.qr(random.normal(size=(3, 3)))
    a, b, c = (vector(row) for row in q * np.sign(np.diag(r)))
    return a, b, c


def vector(values: FloatArray) -> Vector:
    """Turn an array of shape (3,) into plain floats."""
    z, y, x = values.tolist()
    return z, y, x


def grown(ellipsoid: Ellipsoid, by: float) -> Ellipsoid:
    """Ellipsoid with its surface moved out.

    Parameters
    ----------
    ellipsoid : Ellipsoid
        The ellipsoid.
    by : float
        In Å; negative moves the surface in.

    Returns
    -------
    Ellipsoid
    """
    return replace(ellipsoid, semi_axes=vector(np.add(ellipsoid.semi_axes, by)))


def _fits(
    candidate: Ellipsoid,
    taken: Sequence[Ellipsoid],
    placed: Sequence[Ellipsoid],
    gap: float,
    limits: FloatArray | None,
) -> bool:
    if limits is not None and np.any(np.abs(candidate.center) + candidate.half_size > limits):
        return False
    wide = grown(candidate, gap)
    return all(disjoint(wide, other) for other in (*taken, *placed))

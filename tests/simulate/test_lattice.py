from __future__ import annotations

import numpy as np
import pytest

from tomodist.simulate import lattice


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_slabs_cover_the_ellipsoid_once_with_its_radius(
    ndim: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lattice, "_POINTS_PER_SLAB", 37)
    random = np.random.default_rng(ndim)
    root = random.normal(size=(ndim, ndim)) + 3 * np.eye(ndim)
    covariance, center = root @ root.T, np.arange(8.3, 8.3 + ndim)
    start, stop = (2,) * ndim, (17, 15, 20)[:ndim]
    shape = tuple(b - a for a, b in zip(start, stop, strict=True))
    radius_sq, visits = np.full(shape, np.inf), np.zeros(shape, dtype=int)
    for index, values in lattice.slabs(center, covariance, start, stop):
        radius_sq[index], visits[index] = values, visits[index] + 1
    points = np.moveaxis(np.indices(shape), 0, -1) + 2 - center
    expected = np.einsum("...i,ij,...j", points, np.linalg.inv(covariance), points)
    assert visits.max() == 1
    assert np.all(visits[expected < 1] == 1)
    assert radius_sq[visits == 1] == pytest.approx(expected[visits == 1])


@pytest.mark.parametrize("center", [-9.0, 40.0, 4.5])
def test_nothing_comes_from_an_ellipse_that_holds_no_point_of_the_window(center: float) -> None:
    size = 0.4 if center == 4.5 else 3.0
    where, covariance = np.array([center, 5.0]), size**2 * np.eye(2)
    assert list(lattice.slabs(where, covariance, (0, 0), (10, 10))) == []

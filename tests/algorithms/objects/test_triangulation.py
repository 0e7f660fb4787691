from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from tests import reference
from tests.geometries import general
from tomodist.algorithms.objects.triangulation import supporting_boxes, triangulate

Array = npt.NDArray[np.float64]


def boxes_at(pixels: Array, size: float) -> list[Array]:
    """A box (y, x, height, width) around every point, per tilt."""
    return [np.concatenate([here, np.full_like(here, size)], axis=1) for here in pixels]


OFFSET = np.array([3.0, -4.0])
POINTS = np.array([[1.0, 2.0, 3.0], [9.25, 1.5, 0.75], [3.5, 30.125, 20.0]])


def test_known_points_are_recovered_from_their_boxes() -> None:
    geometry, grid = general(6, n_tilts=7)
    matrices = geometry.matrices(grid)
    boxes = boxes_at(reference.pixels(geometry, grid, POINTS), 8.0)
    moved = POINTS + np.random.default_rng(0).uniform(-1, 1, POINTS.shape)
    found = triangulate(matrices, moved, boxes)
    np.testing.assert_allclose(found, POINTS, atol=1e-6)
    assert (moved != found).all()
    _, residual = supporting_boxes(matrices, found, boxes)
    assert np.abs(residual).max() < 1e-6


def test_residual_is_the_distance_to_the_center_of_the_box() -> None:
    geometry, grid = general(6, n_tilts=4)
    pixels = reference.pixels(geometry, grid, POINTS)
    boxes = boxes_at(pixels + OFFSET, 8.1)
    matched, residual = supporting_boxes(geometry.matrices(grid), POINTS[2:], boxes)
    np.testing.assert_allclose(matched[:, 0], pixels[:, 2] + OFFSET, atol=1e-9)
    np.testing.assert_allclose(residual, 5.0, atol=1e-9)


def test_a_point_outside_every_box_is_not_supported() -> None:
    geometry, grid = general(6, n_tilts=4)
    pixels = reference.pixels(geometry, grid, POINTS[2:])
    boxes = boxes_at(pixels + np.array([0.0, 4.1]), 8.0)
    boxes[3] = np.zeros((0, 4))
    matched, residual = supporting_boxes(geometry.matrices(grid), POINTS[2:], boxes)
    assert np.isnan(matched).all()
    assert np.isnan(residual).all()


@pytest.mark.parametrize("n_supporting", [0, 2])
def test_too_few_boxes_leave_a_point_where_it_is(n_supporting: int) -> None:
    geometry, grid = general(6, n_tilts=5)
    boxes = boxes_at(reference.pixels(geometry, grid, POINTS), 8.0)
    boxes[n_supporting:] = [np.zeros((0, 4))] * (5 - n_supporting)
    moved = POINTS + 0.5
    np.testing.assert_array_equal(triangulate(geometry.matrices(grid), moved, boxes), moved)


def test_no_points_and_no_boxes() -> None:
    geometry, grid = general(6, n_tilts=2)
    matched, residual = supporting_boxes(
        geometry.matrices(grid), np.zeros((0, 3)), [np.zeros((0, 4))] * 2
    )
    assert (matched.shape, residual.shape) == ((2, 0, 2), (2, 0))

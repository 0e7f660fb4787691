from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import reference
from tests.geometries import binary_maps, general, random_window, reader, single_axis
from tomodist.algorithms.lift.backproject import Votes, lift_brick
from tomodist.algorithms.lift.edges import RefinedEdges
from tomodist.errors import InputError
from tomodist.values.geometry import TiltGeometry, VolumeGrid


@pytest.mark.parametrize("keep_own", [True, False], ids=["keep own", "support alone"])
@pytest.mark.parametrize("rule", [(1, 1, 1), (1, 3, 2), (2, 4, 2), (4, 6, 3), (8, 9, 1)], ids=str)
@pytest.mark.parametrize("aligned", [True, False], ids=["single axis", "general"])
def test_refined_edges_equal_the_literal_algorithm(
    rule: tuple[int, int, int], *, aligned: bool, keep_own: bool
) -> None:
    """The tilts are in random order, as in a dose-symmetric series."""
    geometry, grid = single_axis(4, 9) if aligned else general(4, 9)
    assert list(geometry.tilt_angles) != sorted(geometry.tilt_angles)
    maps = binary_maps(4, geometry, density=0.3)
    separate = reference.marks(maps, geometry, grid)
    expected = reference.refined(separate, geometry.tilt_angles, *rule, keep_own=keep_own)
    lifting = RefinedEdges(geometry, grid, *rule, keep_own=keep_own)
    found = lift_brick(lifting, reader(maps), (0, 0, 0), grid.shape)
    np.testing.assert_array_equal(found, expected)


@given(st.integers(0, 2**32 - 1), st.booleans())
@settings(deadline=None, max_examples=15)
def test_any_brick_is_the_slice_of_the_whole(seed: int, aligned: bool) -> None:  # noqa: FBT001
    geometry, grid = single_axis(seed, 7) if aligned else general(seed, 7)
    maps = binary_maps(seed, geometry, density=0.4, unmeasured=0.1)
    lifting = RefinedEdges(geometry, grid, 2, 3, 2)
    whole = lift_brick(lifting, reader(maps), (0, 0, 0), grid.shape)
    start, stop = random_window(seed, grid.shape)
    found = lift_brick(lifting, reader(maps), start, stop)
    np.testing.assert_array_equal(found, whole[tuple(map(slice, start, stop))])


def test_without_rounds_the_edges_are_the_votes() -> None:
    geometry, grid = general(2, 6)
    maps = binary_maps(2, geometry)
    refined = lift_brick(
        RefinedEdges(geometry, grid, rounds=0), reader(maps), (0, 0, 0), grid.shape
    )
    votes = lift_brick(Votes(geometry, grid), reader(maps), (0, 0, 0), grid.shape)
    np.testing.assert_array_equal(refined, votes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reach": -1}, "`reach` is -1 tilts; it must be 0 to 31"),
        ({"reach": 32}, "`reach` is 32 tilts; it must be 0 to 31"),
        ({"support": 0}, "`support` is 0 tilts; with a `reach` of 2 it must be 1 to 5"),
        ({"support": 6}, "`support` is 6 tilts; with a `reach` of 2 it must be 1 to 5"),
        ({"rounds": -1}, "`rounds` is -1; it must be 0 or more"),
    ],
    ids=str,
)
def test_contradictory_parameters(change: dict[str, Any], message: str) -> None:
    geometry, grid = TiltGeometry([0.0], (4, 4), 10.0), VolumeGrid((4, 4, 4), 10.0)
    with pytest.raises(InputError, match=message):
        RefinedEdges(geometry, grid, **change)


def test_some_of_the_tilts_are_refused() -> None:
    geometry, grid = general(0, 4)
    maps = binary_maps(0, geometry)
    with pytest.raises(InputError, match=r"got 2 of 4 tilts; .* remove `tilts_per_task`"):
        lift_brick(RefinedEdges(geometry, grid), reader(maps), (0, 0, 0), grid.shape, 2)


def test_a_brick_of_more_rows_than_the_kernel_takes_is_refused() -> None:
    geometry, grid = TiltGeometry([0.0], (40000, 3), 10.0), VolumeGrid((1, 40000, 2), 10.0)
    edges = RefinedEdges(geometry, grid, 1, 2, 1)
    with pytest.raises(InputError, match="brick of 40000 rows; it supports at most 32768"):
        edges.contribution(lambda *_: np.zeros((1, 1), np.uint8), [0], (0, 0, 0), grid.shape)

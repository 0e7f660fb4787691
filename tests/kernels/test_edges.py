from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import reference
from tests.geometries import binary_maps, general, single_axis
from tests.kernels.calls import INTERPRETED, few, refined_by, votes_by
from tomodist.kernels.edges import refinement
from tomodist.kernels.votes import votes_any, votes_rows
from tomodist.values.geometry import TiltGeometry, VolumeGrid

seeds = st.integers(0, 2**32 - 1)


def in_order(seed: int, n_tilts: int, *, aligned: bool) -> tuple[TiltGeometry, VolumeGrid]:
    geometry, grid = single_axis(seed, n_tilts) if aligned else general(seed, n_tilts)
    return geometry.select(np.argsort(geometry.tilt_angles).tolist()), grid


@given(seeds, st.sampled_from([1, 5] if INTERPRETED else [1, 5, 64, 65]))
@few(10)
def test_no_rounds_give_the_votes(seed: int, n_tilts: int) -> None:
    geometry, grid = in_order(seed, n_tilts, aligned=True)
    maps = binary_maps(seed, geometry)
    votes = votes_by(votes_rows, maps, geometry, grid)
    by_rows = refined_by(maps, geometry, grid, (2, 3, 0), rows_only=True)
    np.testing.assert_array_equal(by_rows, votes)
    by_any = refined_by(maps, geometry, grid, (2, 3, 0))
    np.testing.assert_array_equal(by_any, votes_by(votes_any, maps, geometry, grid))


@pytest.mark.parametrize("keep_own", [True, False], ids=["keep own", "support alone"])
@pytest.mark.parametrize("rule", [(1, 2, 1), (2, 4, 2), (3, 3, 3), (0, 1, 1), (5, 11, 1)], ids=str)
@pytest.mark.parametrize("n_tilts", [1, 4, 9])
def test_refinement_equals_the_literal_algorithm(
    n_tilts: int, rule: tuple[int, int, int], *, keep_own: bool
) -> None:
    geometry, grid = in_order(n_tilts, n_tilts, aligned=True)
    maps = binary_maps(3, geometry, density=0.4)
    separate = reference.marks(maps, geometry, grid)
    expected = reference.refined(separate, geometry.tilt_angles, *rule, keep_own=keep_own)
    for rows_only in (True, False):
        found = refined_by(maps, geometry, grid, rule, keep_own=keep_own, rows_only=rows_only)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("n_tilts", [63, 64, 65, 128, 130, 300])
@pytest.mark.parametrize("rule", [(2, 4, 2), (31, 30, 1)], ids=str)
@pytest.mark.parametrize("keep_own", [True, False], ids=["keep own", "support alone"])
def test_neighbours_are_found_among_any_number_of_tilts(
    n_tilts: int, rule: tuple[int, int, int], *, keep_own: bool
) -> None:
    geometry = TiltGeometry(np.linspace(-61, 60, n_tilts).tolist(), (3, 9), 10.0)
    grid = VolumeGrid((2, 3, 4), 10.0)
    maps = binary_maps(n_tilts, geometry, density=0.35)
    separate = reference.marks(maps, geometry, grid)
    expected = reference.refined(separate, geometry.tilt_angles, *rule, keep_own=keep_own)
    assert 0 < expected.sum() < n_tilts * grid.n_voxels
    found = refined_by(maps, geometry, grid, rule, keep_own=keep_own, rows_only=True)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("n_tilts", "w", "k", "expected"),
    [
        (5, 1, 2, [2, 2, 2, 2, 2]),
        (7, 2, 4, [3, 4, 4, 4, 4, 4, 3]),
        (5, 2, 5, [3, 4, 5, 4, 3]),
        (3, 5, 11, [3, 3, 3]),
        (1, 2, 3, [1]),
    ],
    ids=str,
)
def test_support_scales_at_the_ends(n_tilts: int, w: int, k: int, expected: list[int]) -> None:
    needed = refinement(n_tilts, w, k, 1, keep_own=True).needed
    found = [sum(int(plane[t] & 1) << p for p, plane in enumerate(needed)) for t in range(n_tilts)]
    assert found == expected
    assert all(int(word) in (0, 2**64 - 1) for plane in needed for word in plane)

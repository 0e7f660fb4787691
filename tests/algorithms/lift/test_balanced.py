"""Balanced votes against plain NumPy, for any cut of the work; what they are for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import reference
from tests.geometries import binary_maps, general, random_window, reader, single_axis
from tomodist.algorithms.lift.backproject import lift_brick
from tomodist.algorithms.lift.balanced import BalancedVotes
from tomodist.errors import InputError
from tomodist.values.geometry import TiltGeometry, VolumeGrid


def expected_scores(
    maps: reference.Int, geometry: TiltGeometry, grid: VolumeGrid, sectors: int, *, coverage: bool
) -> reference.Int:
    """The definition, voxel by voxel, from plain votes of single tilts."""
    each = [
        reference.votes(maps[t : t + 1], geometry.select([t]), grid)
        for t in range(geometry.n_tilts)
    ]
    seen = [
        reference.votes((maps[t : t + 1] != 2).astype(np.int64), geometry.select([t]), grid)
        for t in range(geometry.n_tilts)
    ]
    order = np.argsort(geometry.tilt_angles, kind="stable")
    parts = np.array_split(order, max(1, min(sectors, len(order) // 3)))
    shares, total, whole = [], np.zeros(grid.shape), np.zeros(grid.shape)
    for part in parts:
        votes = np.sum([each[t] for t in part], axis=0).astype(np.float32)
        n = np.sum([seen[t] for t in part], axis=0) if coverage else np.full(grid.shape, len(part))
        n = n.astype(np.float32)
        shares.append(np.where(n > 0, votes / np.maximum(n, 1), np.float32(1)))
        total, whole = total + votes, whole + n
    overall = total.astype(np.float32) / np.maximum(whole, 1).astype(np.float32)
    half = np.float32(0.5)
    balanced = half * overall + half * np.min(shares, axis=0)
    return np.asarray(np.rint(np.float32(254) * balanced), np.int64)


@given(st.integers(0, 2**32 - 1), st.booleans(), st.booleans(), st.integers(1, 4))
@settings(deadline=None, max_examples=25)
def test_scores_equal_the_definition(
    seed: int,
    aligned: bool,  # noqa: FBT001 -- hypothesis
    coverage: bool,  # noqa: FBT001
    sectors: int,
) -> None:
    geometry, grid = single_axis(seed, 9) if aligned else general(seed, 9)
    maps = binary_maps(seed, geometry, density=0.3, unmeasured=0.2).astype(np.uint8)
    lifting = BalancedVotes(geometry, grid, sectors, coverage)
    expected = expected_scores(maps.astype(np.int64), geometry, grid, sectors, coverage=coverage)
    found = lift_brick(lifting, reader(maps), (0, 0, 0), grid.shape)
    np.testing.assert_array_equal(found, expected)
    start, stop = random_window(seed, grid.shape)
    inside = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    for group in (1, 4, None):
        part = lift_brick(lifting, reader(maps), start, stop, group)
        np.testing.assert_array_equal(part, expected[inside])


def test_agreement_of_all_tilts_is_254_and_of_none_0() -> None:
    geometry, grid = TiltGeometry(range(-60, 61, 10), (4, 40), 10.0), VolumeGrid((6, 4, 6), 10.0)
    for value, score in ((1, 254), (0, 0)):
        maps = np.full((13, 4, 40), value, np.uint8)
        found = lift_brick(BalancedVotes(geometry, grid), reader(maps), (0, 0, 0), grid.shape)
        assert (found == score).all()


def test_a_voxel_that_one_side_denies_scores_half_of_what_the_rest_says() -> None:
    """Plain votes cannot tell a third of the tilts on one side from a third spread over all."""
    geometry, grid = TiltGeometry(range(-60, 61, 10), (1, 41), 10.0), VolumeGrid((1, 1, 1), 10.0)
    spread, one_side = np.zeros((2, 13, 1, 41), np.uint8)
    one_side[:9] = 1
    spread[[0, 1, 3, 4, 6, 7, 9, 10, 12]] = 1
    scores = [
        int(lift_brick(BalancedVotes(geometry, grid), reader(m), (0, 0, 0), (1, 1, 1))[0, 0, 0])
        for m in (one_side, spread)
    ]
    assert scores == [round(254 * 9 / 13 / 2), round(254 * (9 / 13 + 1 / 2) / 2)]


def test_coverage_counts_the_tilts_that_see_a_voxel() -> None:
    geometry, grid = TiltGeometry(range(-60, 61, 10), (4, 40), 10.0), VolumeGrid((6, 4, 6), 10.0)
    maps = np.ones((13, 4, 40), np.uint8)
    maps[:4] = 2  # these four show nothing, neither for nor against
    for coverage, score in ((True, 254), (False, round(254 * (9 / 13 + 1 / 5) / 2))):
        lifting = BalancedVotes(geometry, grid, coverage=coverage)
        found = lift_brick(lifting, reader(maps), (0, 0, 0), grid.shape)
        assert (found == score).all()


@pytest.mark.parametrize(
    ("n_tilts", "n_sectors"), [(1, 1), (5, 1), (6, 2), (8, 2), (9, 3), (60, 3)]
)
def test_a_sector_has_three_tilts_at_least(n_tilts: int, n_sectors: int) -> None:
    angles = np.linspace(-60, 60, n_tilts).tolist()
    parts = BalancedVotes(TiltGeometry(angles, (4, 4), 1), VolumeGrid((4, 4, 4), 1)).parts
    assert len(parts) == n_sectors
    assert sorted(np.concatenate(parts).tolist()) == list(range(n_tilts))


def test_no_sectors_are_refused() -> None:
    geometry = TiltGeometry([0], (4, 4), 1)
    with pytest.raises(InputError, match="`sectors` is 0"):
        BalancedVotes(geometry, VolumeGrid((4, 4, 4), 1), sectors=0)

"""The threshold of one structure: against a literal loop; what it is for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import reference
from tests.geometries import binary_maps, general, reader, single_axis
from tomodist.algorithms.lift.backproject import Votes, lift_brick
from tomodist.algorithms.lift.project import largest_in_windows
from tomodist.algorithms.threshold.per_structure import component_at, structure_threshold
from tomodist.values.geometry import TiltGeometry, VolumeGrid
from tomodist.values.projection import visible_window


def literal(
    scores: reference.Int,
    common: int,
    maps: reference.Int,
    geometry: TiltGeometry,
    grid: VolumeGrid,
) -> int:
    """Reproject at every threshold; marks count where the reprojection at the common one is."""
    shadow = reference.project_binary(scores > common, geometry, grid)
    own = shadow & (maps == 1)
    known = shadow & (maps != 2)
    if not own.any():
        return common
    rows = []
    for threshold in range(common, int(scores.max())):
        image = reference.project_binary(scores > threshold, geometry, grid) & known
        both, either = (image & own).sum((1, 2)), (image | own).sum((1, 2))
        rows.append(np.where(either > 0, both / np.maximum(either, 1), 1.0))
    best = rows[int(np.argmax([r.mean() for r in rows]))]
    for threshold, row in enumerate(rows, start=common):
        worse = best - row
        if worse.mean() <= 2 * worse.std(ddof=1) / np.sqrt(len(row)) + 1e-12:
            return threshold
    raise AssertionError


@given(st.integers(0, 2**32 - 1), st.booleans(), st.integers(0, 3))
@settings(deadline=None, max_examples=25)
def test_it_equals_the_literal_loop(
    seed: int,
    aligned: bool,  # noqa: FBT001 -- hypothesis
    common: int,
) -> None:
    geometry, grid = single_axis(seed, 6) if aligned else general(seed, 6)
    maps = binary_maps(seed, geometry, density=0.4, unmeasured=0.1)
    votes = lift_brick(Votes(geometry, grid), reader(maps), (0, 0, 0), grid.shape)
    voxel = np.unravel_index(int(votes.argmax()), votes.shape)
    whole = component_at(votes, common, [int(v) for v in voxel])
    if np.count_nonzero(whole) < 8:
        return
    place = tuple(slice(int(a.min()), int(a.max()) + 1) for a in np.nonzero(whole))
    start = [s.start for s in place]
    found = structure_threshold(whole[place], start, common, geometry, grid, reader(maps), 6)
    expected = literal(whole.astype(np.int64), common, maps.astype(np.int64), geometry, grid)
    assert found == expected


@given(st.integers(0, 2**32 - 1), st.booleans())
@settings(deadline=None, max_examples=20)
def test_the_largest_score_along_every_ray(seed: int, aligned: bool) -> None:  # noqa: FBT001
    geometry, grid = single_axis(seed, 4) if aligned else general(seed, 4)
    random = np.random.default_rng(seed)
    brick = random.integers(0, 9, grid.shape).astype(np.uint8)
    matrices = geometry.matrices(grid)
    found, bounds = largest_in_windows(brick, (0, 0, 0), matrices, geometry.image_shape, 254)
    expected = reference.project_max(brick.astype(np.int64), geometry, grid)
    window = visible_window(matrices, (0, 0, 0), grid.shape, geometry.image_shape)
    for t, ((row, row_end), (column, column_end)) in enumerate(bounds.tolist()):
        rows = slice(max(row, 0), min(row_end, geometry.image_shape[0]))
        inside = found[t, rows.start - row : rows.stop - row, : column_end - column]
        np.testing.assert_array_equal(inside, expected[t, rows, column:column_end])
        assert (window[t, 1] == bounds[t, 1]).all()


def masks_of(radius: npt.NDArray[np.float64], places: npt.NDArray[np.float64]) -> tuple[
    npt.NDArray[np.uint8], TiltGeometry, VolumeGrid
]:  # fmt: skip
    """Disks of a radius per tilt and object, of 13 tilts."""
    angles = np.arange(-60.0, 61, 10)
    geometry = TiltGeometry(angles.tolist(), (40, 60), 1.0)
    grid = VolumeGrid((30, 40, 60), 1.0)
    maps = np.zeros((13, 40, 60), np.uint8)
    rows, columns = np.ogrid[:40, :60]
    for t, angle in enumerate(np.deg2rad(angles)):
        for r, (z, y, x) in zip(radius[t], places, strict=True):
            u = x * np.cos(angle) + z * np.sin(angle) + 29.5
            maps[t] |= ((rows - 19.5 - y) ** 2 + (columns - u) ** 2 <= r**2).astype(np.uint8)
    return maps, geometry, grid


def test_objects_seen_by_few_and_by_all_tilts_both_get_their_size() -> None:
    """The second is missed by 5 of 13 tilts; at a threshold that keeps it the first is too wide."""
    places = np.array([[0.0, -9, -14], [0, 9, 14]])
    radius = np.full((13, 2), 5.0)
    radius[[1, 4, 6, 9, 11], 1] = 0
    maps, geometry, grid = masks_of(radius, places)
    votes = lift_brick(Votes(geometry, grid), reader(maps), (0, 0, 0), grid.shape)
    cuts = []
    for z, y, x in places:
        voxel = np.round(np.array([z, y, x]) + grid.center).astype(int)
        alone = component_at(votes, 6, voxel.tolist())
        cuts.append(structure_threshold(alone, (0, 0, 0), 6, geometry, grid, reader(maps), 13))
    assert cuts[1] == 7  # all of the eight tilts that show it
    assert cuts[0] == 12
    assert structure_threshold(alone, (0, 0, 0), 7, geometry, grid, reader(maps), 13) == 7


@pytest.mark.parametrize("what", ["few voxels", "no marks"])
def test_the_common_threshold_is_kept_where_there_is_no_evidence(what: str) -> None:
    geometry, grid = TiltGeometry([-30, 0, 30], (12, 12), 1.0), VolumeGrid((12, 12, 12), 1.0)
    scores = np.zeros(grid.shape, np.uint8)
    scores[5:7, 5:7, 5 : 6 if what == "few voxels" else 8] = 3
    scores[6, 6, 5] = 2
    maps = np.full((3, 12, 12), what == "few voxels", np.uint8)
    assert structure_threshold(scores, (0, 0, 0), 1, geometry, grid, reader(maps), 3) == 1

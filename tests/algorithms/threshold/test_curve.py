from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import reference
from tests.geometries import binary_maps, general, reader, single_axis
from tomodist.algorithms.lift.backproject import Votes, lift_brick
from tomodist.algorithms.lift.project import ReadVolume, project_tile
from tomodist.algorithms.threshold.curve import ThresholdCurve, count_agreement, curve_of
from tomodist.errors import InputError
from tomodist.values.geometry import TiltGeometry, VolumeGrid


def curve_by_tiles(
    maps: reference.Int, geometry: TiltGeometry, grid: VolumeGrid, rows_per_tile: int
) -> tuple[reference.Int, ThresholdCurve]:
    """Votes and the curve, counted tile by tile and tilt by tilt."""
    votes = lift_brick(Votes(geometry, grid), reader(maps), (0, 0, 0), grid.shape)
    window = tuple((0, n) for n in grid.shape)
    counts = np.zeros((geometry.n_tilts, 2, geometry.n_tilts + 1), np.int64)
    height = geometry.image_shape[0]
    for first in range(0, height, rows_per_tile):
        rows = (first, min(first + rows_per_tile, height))
        for t in range(geometry.n_tilts):
            largest = project_tile("max", geometry, grid, reader_of(votes), [window], [t], rows)
            part = maps[t : t + 1, slice(*rows)]
            counts[t : t + 1] += count_agreement(largest, part, geometry.n_tilts)
    return votes.astype(np.int64), curve_of(counts)


def reader_of(volume: reference.Int) -> ReadVolume:
    def read(*window: tuple[int, int]) -> reference.Int:
        return volume[tuple(slice(*w) for w in window)]

    return read


@given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([1, 4, 100]))
@settings(deadline=None, max_examples=20)
def test_curve_equals_the_literal_loop_over_thresholds(
    seed: int,
    aligned: bool,  # noqa: FBT001 -- hypothesis
    rows_per_tile: int,
) -> None:
    geometry, grid = single_axis(seed, 6) if aligned else general(seed, 6)
    maps = binary_maps(seed, geometry, density=0.3, unmeasured=0.1).astype(np.int64)
    votes, curve = curve_by_tiles(maps, geometry, grid, rows_per_tile)
    expected = reference.iou_curve(votes, maps, geometry, grid)
    np.testing.assert_array_equal(curve.iou, expected)
    assert curve.best == int(np.argmax(expected.mean(axis=0)))


def test_pixels_beside_a_narrow_volume_do_not_count() -> None:
    geometry, grid = TiltGeometry([-40, 0, 40], (4, 30), 10.0), VolumeGrid((4, 4, 6), 10.0)
    maps = np.zeros((3, 4, 30), np.int64)
    maps[:, :, :5] = 1  # far beside it
    maps[:, :, 13:17] = 1
    votes, curve = curve_by_tiles(maps, geometry, grid, 4)
    np.testing.assert_array_equal(curve.iou, reference.iou_curve(votes, maps, geometry, grid))
    assert curve.iou[1, 0] > 0.6


def test_a_tilt_without_marks_agrees_only_with_an_empty_reprojection() -> None:
    counts = np.zeros((2, 2, 3), np.int64)
    counts[0, 1] = (1, 2, 3)  # six marked pixels, whose rays reach votes 0, 1 and 2
    counts[0, 0] = (8, 4, 0)
    counts[1, 0] = (9, 0, 5)  # nothing is marked
    curve = curve_of(counts)
    assert curve.iou.tolist() == [[5 / 10, 3 / 6], [0.0, 0.0]]
    assert curve.precision.tolist() == [[5 / 9, 1.0], [0.0, 0.0]]
    assert curve.recall.tolist() == [[5 / 6, 3 / 6], [1.0, 1.0]]
    counts[1, 0] = (9, 5, 0)
    assert curve_of(counts).iou[1].tolist() == [0.0, 1.0]


def test_the_lowest_of_equal_thresholds_is_taken() -> None:
    iou = np.array([[0.2, 0.6, 0.6], [0.4, 0.6, 0.6]])
    curve = ThresholdCurve(iou, iou, iou)
    assert curve.best == 1
    assert curve.score.tolist() == pytest.approx([0.3, 0.6, 0.6])
    assert curve.thresholds.tolist() == [0, 1, 2]


def test_no_marked_pixel_is_refused() -> None:
    geometry, grid = general(1, 3)
    maps = np.zeros((3, *geometry.image_shape), np.int64)
    with pytest.raises(InputError, match="no map marks any pixel that sees the volume"):
        curve_by_tiles(maps, geometry, grid, 100)


@pytest.mark.parametrize("votes", [[-2, 0], [0, 4]], ids=["negative", "more than tilts"])
def test_votes_of_other_tilts_are_refused(votes: list[int]) -> None:
    largest, maps = np.array([[votes]], np.int16), np.zeros((1, 1, 2), np.uint8)
    with pytest.raises(InputError, match=f"scores are {votes[0]} to"):
        count_agreement(largest, maps, 3)

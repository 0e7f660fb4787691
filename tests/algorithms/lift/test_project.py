from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import reference
from tests.geometries import general, random_cuts, single_axis
from tomodist.algorithms.lift.project import ProjectionKind, project_tile
from tomodist.errors import InputError
from tomodist.values.geometry import TiltGeometry, VolumeGrid

Window = tuple[tuple[int, int], ...]


class Volume:
    """A volume in memory that notes what is read of it."""

    def __init__(self, values: npt.NDArray[Any]) -> None:
        self.values = values
        self.n_read = 0

    def __call__(self, *window: tuple[int, int]) -> npt.NDArray[Any]:
        part = self.values[tuple(slice(*w) for w in window)]
        self.n_read += part.size
        return part


def expected_of(
    kind: str, volume: npt.NDArray[Any], geometry: TiltGeometry, grid: VolumeGrid
) -> Any:
    if kind == "binary":
        return reference.project_binary(volume > 0, geometry, grid)
    if kind == "max":
        return reference.project_max(volume, geometry, grid)
    return reference.project_sum(volume, geometry, grid)


@given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from(["binary", "max", "sum"]))
@settings(deadline=None, max_examples=40)
def test_any_tile_from_any_bricks_is_the_part_of_the_whole(
    seed: int,
    aligned: bool,  # noqa: FBT001 -- hypothesis
    kind: str,
) -> None:
    geometry, grid = single_axis(seed, 4) if aligned else general(seed, 4)
    random = np.random.default_rng(seed)
    volume = random.integers(0, 5, grid.shape).astype(np.uint8)
    first, end = sorted(random.choice(geometry.image_shape[0] + 1, 2, replace=False).tolist())
    tilts = random.permutation(4)[: random.integers(1, 5)].tolist()
    bricks = random_cuts(seed, grid.shape)
    found = project_tile(
        cast("ProjectionKind", kind), geometry, grid, Volume(volume), bricks, tilts, (first, end)
    )
    expected = expected_of(kind, volume, geometry, grid)[tilts, first:end]
    if kind == "sum":
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    else:
        np.testing.assert_array_equal(found, expected)


def test_single_axis_tiles_read_every_voxel_once() -> None:
    geometry, grid = TiltGeometry([-30, 30], (12, 9), 10.0), VolumeGrid((3, 8, 5), 10.0)
    volume = Volume(np.ones(grid.shape, np.uint8))
    bricks: list[Window] = [((0, 3), (0, 5), (0, 5)), ((0, 3), (5, 8), (0, 5))]
    for rows in [(0, 4), (4, 9), (9, 12)]:
        project_tile("max", geometry, grid, volume, bricks, [0, 1], rows)
    assert volume.n_read == grid.n_voxels


def test_pixels_whose_ray_misses_the_volume_are_told_apart() -> None:
    geometry, grid = TiltGeometry([0.0], (4, 9), 10.0), VolumeGrid((3, 2, 5), 10.0)
    zeros = Volume(np.zeros(grid.shape, np.uint8))
    found = project_tile("max", geometry, grid, zeros, [((0, 3), (0, 2), (0, 5))], [0], (0, 4))
    expected = np.full((1, 4, 9), -1)
    expected[0, 1:3, 2:7] = 0
    np.testing.assert_array_equal(found, expected)


def test_unknown_kind_is_refused() -> None:
    geometry, grid = general(0)
    volume = Volume(np.zeros(grid.shape))
    with pytest.raises(InputError, match="kind is 'mean'; it must be one of binary, max, sum"):
        project_tile(
            cast("ProjectionKind", "mean"),
            geometry,
            grid,
            volume,
            [],
            [0],
            (0, 1),
        )

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import reference
from tests.geometries import general, grey_images, single_axis
from tests.kernels.calls import few, linear_by, project_by, sum_by, votes_by
from tomodist.kernels.backproject import linear_any, linear_rows
from tomodist.kernels.project import max_any, max_rows, sum_any, sum_rows
from tomodist.kernels.votes import votes_any, votes_rows
from tomodist.values.geometry import TiltGeometry, VolumeGrid

seeds = st.integers(0, 2**32 - 1)


def random_votes(seed: int, grid: VolumeGrid, highest: int = 3) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, highest + 1, grid.shape).astype(np.uint8)


@given(seeds)
@few(15)
def test_max_of_rows_equals_max_of_any_bitwise(seed: int) -> None:
    geometry, grid = single_axis(seed)
    volume = random_votes(seed, grid)
    by_rows = project_by(max_rows, volume, geometry, grid, -1, np.int16)
    by_any = project_by(max_any, volume, geometry, grid, -1, np.int16)
    np.testing.assert_array_equal(by_rows, by_any)
    np.testing.assert_array_equal(by_rows, reference.project_max(volume, geometry, grid))


@given(seeds)
@few(15)
def test_sum_of_rows_equals_sum_of_any(seed: int) -> None:
    geometry, grid = single_axis(seed)
    volume = np.random.default_rng(seed).random(grid.shape).astype(np.float32)
    weights = np.array([1.0, 0.5, 3.0], np.float32)
    by_rows = sum_by(sum_rows, volume, geometry, grid, weights)
    by_any = sum_by(sum_any, volume, geometry, grid, weights)
    np.testing.assert_allclose(by_rows, by_any, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("ratio", [1.0, 2.0], ids=["voxel=pixel", "voxel=2 pixels"])
@pytest.mark.parametrize("seed", range(6))
def test_projections_equal_the_reference_in_a_general_geometry(seed: int, ratio: float) -> None:
    geometry, grid = general(seed, ratio=ratio)
    volume = random_votes(seed, grid)
    np.testing.assert_array_equal(
        project_by(max_any, volume, geometry, grid, -1, np.int16),
        reference.project_max(volume, geometry, grid),
    )
    mask = (volume > 2).astype(np.int8)
    np.testing.assert_array_equal(
        project_by(max_any, mask, geometry, grid, 0, np.int8),
        reference.project_binary(mask, geometry, grid),
    )
    weights = np.array([1.0, 0.25, 2.0], np.float32)
    np.testing.assert_allclose(
        sum_by(sum_any, volume.astype(np.float32), geometry, grid, weights),
        reference.project_sum(volume, geometry, grid, weights.tolist()),
        rtol=1e-5,
        atol=1e-5,
    )


@given(seeds)
@few(15)
def test_projection_of_a_threshold_is_the_threshold_of_the_projection(seed: int) -> None:
    """FP(1(M > T)) = 1(maxFP(M) > T): what lets Algorithm 1 run in one pass."""
    geometry, grid = general(seed)
    volume = random_votes(seed, grid)
    largest = project_by(max_any, volume, geometry, grid, -1, np.int16)
    for threshold in range(4):
        mask = (volume > threshold).astype(np.int8)
        projected = project_by(max_any, mask, geometry, grid, 0, np.int8)
        np.testing.assert_array_equal(projected == 1, largest > threshold)


@pytest.mark.parametrize("seed", range(8))
def test_sum_projection_is_the_adjoint_of_linear_backprojection(seed: int) -> None:
    geometry, grid = general(seed)
    _check_adjoint(seed, geometry, grid, "any")


@pytest.mark.parametrize("seed", range(8))
def test_sum_projection_is_the_adjoint_of_linear_backprojection_rows(seed: int) -> None:
    geometry, grid = single_axis(seed)
    _check_adjoint(seed, geometry, grid, "rows")


def _check_adjoint(seed: int, geometry: TiltGeometry, grid: VolumeGrid, form: str) -> None:
    """<A x, y> = <x, A^T y>, summed in double precision."""
    down, up = (sum_any, linear_any) if form == "any" else (sum_rows, linear_rows)
    x = np.random.default_rng(seed).random(grid.shape).astype(np.float32)
    y = grey_images(seed, geometry)
    weights = np.array([1.0, 0.5, 3.0], np.float32)
    forward = sum_by(down, x, geometry, grid, weights).astype(np.float64)
    back = linear_by(up, y, geometry, grid, weights).astype(np.float64)
    assert (forward * y).sum() == pytest.approx((x * back).sum(), rel=1e-5)
    assert (x * back).sum() > 0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("form", ["rows", "any"])
def test_binary_projection_is_the_transpose_of_binary_backprojection(seed: int, form: str) -> None:
    """Voxel by voxel and pixel by pixel: each marks the other, or neither does."""
    geometry, grid = general(seed, 1) if form == "any" else single_axis(seed, 1)
    down, up = (max_any, votes_any) if form == "any" else (max_rows, votes_rows)
    n_pixels, n_voxels = int(np.prod(geometry.image_shape)), grid.n_voxels
    single_pixels = np.eye(n_pixels, dtype=np.uint8).reshape(-1, 1, *geometry.image_shape)
    single_voxels = np.eye(n_voxels, dtype=np.int8).reshape(-1, *grid.shape)
    back = [votes_by(up, maps, geometry, grid).ravel() for maps in single_pixels]
    forward = [project_by(down, v, geometry, grid, 0, np.int8).ravel() for v in single_voxels]
    np.testing.assert_array_equal(np.array(back), np.array(forward).T)
    assert np.array(back).any()


def test_a_row_of_nan_reaches_only_the_pixels_that_it_shares() -> None:
    geometry = TiltGeometry([-30.0, 0.0, 30.0], (4, 24), 10.0)
    grid = VolumeGrid((3, 4, 24), 10.0)
    volume = np.ones(grid.shape, np.float32)
    volume[0, :, 0] = np.nan
    weights = np.ones(3, np.float32)
    by_rows = sum_by(sum_rows, volume, geometry, grid, weights)
    by_any = sum_by(sum_any, volume, geometry, grid, weights)
    assert 0 < np.isnan(by_any).sum() <= 3 * 4 * 2
    np.testing.assert_array_equal(np.isnan(by_rows), np.isnan(by_any))

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.geometries import single_axis
from tests.kernels.calls import few
from tomodist.kernels.backproject import coverage_rows, linear_rows
from tomodist.kernels.counts import count_values
from tomodist.kernels.memory import aligned_zeros, swapped


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "f8"])
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (2, 7, 5), (1, 8, 3), (3, 17, 33), (2, 0, 4)], ids=str
)
def test_swapped_is_the_transpose(shape: tuple[int, int, int], dtype: str) -> None:
    values = (np.random.default_rng(0).random(shape) * 200).astype(dtype)
    found = swapped(values)
    np.testing.assert_array_equal(found, values.transpose(0, 2, 1))
    assert found.flags.c_contiguous
    view = np.asfortranarray(values)
    np.testing.assert_array_equal(swapped(view), found)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=3), st.sampled_from(["u1", "u2", "f4"]))
@few(25)
def test_aligned_zeros_begin_on_a_cache_line(shape: list[int], dtype: str) -> None:
    found = aligned_zeros(shape, dtype)
    assert found.shape == tuple(shape)
    assert found.ctypes.data % 64 == 0
    assert not found.any()


@given(st.integers(0, 2**32 - 1))
@few(25)
def test_counts_are_those_of_a_literal_loop(seed: int) -> None:
    random = np.random.default_rng(seed)
    shape, n = random.integers(1, 9, 2), int(random.integers(1, 6))
    largest = random.integers(-1, n, shape).astype(np.int16)
    values = random.integers(0, 3, shape).astype(np.uint8)
    counts = np.ones((2, n), np.int64)  # added to
    count_values(largest, values, counts)
    for k in (0, 1):
        expected = [1 + np.sum((values == k) & (largest == v)) for v in range(n)]
        assert counts[k].tolist() == expected


@given(st.integers(0, 2**32 - 1))
@few(25)
def test_coverage_is_the_backprojection_of_where_there_are_values(seed: int) -> None:
    geometry, grid = single_axis(seed)
    random, (nz, _, nx) = np.random.default_rng(seed), grid.shape
    measured = random.random((geometry.n_tilts, geometry.image_shape[1])) < 0.7
    weights = random.random(geometry.n_tilts).astype(np.float32)
    origin = np.zeros((geometry.n_tilts, 2), np.int64)
    at = (origin, geometry.matrices(grid), weights, np.zeros(3, np.int64))
    coverage, expected = np.zeros((nz, nx), np.float32), np.zeros((nz, nx, 1), np.float32)
    coverage_rows(measured, *at, coverage)
    linear_rows(measured[:, :, None].astype(np.float32), *at, expected)
    np.testing.assert_array_equal(coverage, expected[:, :, 0])

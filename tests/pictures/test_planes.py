"""Planes of volumes: which are shown, and how they are averaged and smoothed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from matplotlib.figure import Figure

from tomodist.formats.zarr import Group
from tomodist.pictures.planes import (
    contrast_of,
    draw_outline,
    drawn_level,
    mean_plane,
    middle_of,
    plane_of,
    smoothed,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.formats.zarr import ArrayHandle

SHAPE = (5, 7, 6)


@pytest.fixture
def stored(tmp_path: Path) -> ArrayHandle:
    group = Group(str(tmp_path / "g.zarr"))
    array = group.create("a", SHAPE, np.float32, dims=tuple("zyx"), brick=SHAPE)
    values = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    values[2, 3, 1] = np.nan
    array.write((0, 0, 0), values)
    return array


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_planes_and_their_mean(stored: ArrayHandle, axis: int) -> None:
    values = stored.read()
    np.testing.assert_array_equal(plane_of(stored, axis, 3), values.take(3, axis=axis))
    some = values.take(range(1, 4), axis=axis)
    np.testing.assert_allclose(mean_plane(stored, axis, 1, 4), np.nanmean(some, axis=axis))


def test_what_no_plane_measures_stays_unmeasured(stored: ArrayHandle) -> None:
    mean = mean_plane(stored, 0, 2, 3)
    assert np.isnan(mean[3, 1])
    assert np.isfinite(mean).sum() == mean.size - 1


def test_smoothing_ignores_what_is_not_measured() -> None:
    plane = np.full((20, 31), 3.0)
    plane[4:9, 10:14] = np.nan
    mean = smoothed(plane, 2.0)
    np.testing.assert_array_equal(np.isnan(mean), np.isnan(plane))
    np.testing.assert_allclose(mean[np.isfinite(mean)], 3.0)


def test_smoothing_does_not_move_anything() -> None:
    plane = np.zeros((21, 34))
    plane[7, 25] = 1.0
    mean = smoothed(plane, 1.5)
    assert mean[7, 25] == mean.max()
    rows, columns = np.indices(plane.shape)
    total = mean.sum()
    assert (rows * mean).sum() / total == pytest.approx(7, abs=0.01)
    assert (columns * mean).sum() / total == pytest.approx(25, abs=0.01)


@pytest.mark.parametrize(
    ("shape", "level"), [((100, 1024, 900), 0), ((100, 1025, 900), 1), ((300, 4096, 4097), 3)]
)
def test_the_level_that_is_drawn_fits_a_page(shape: tuple[int, ...], level: int) -> None:
    assert drawn_level(shape) == level


def test_contrast_is_of_the_measured_values() -> None:
    section = np.full((40, 50), np.nan)
    assert contrast_of(section) == (0.0, 1.0)
    section[10:30, 10:30] = np.arange(400).reshape(20, 20)
    low, high = contrast_of(section)
    assert 0 < low < 5
    assert 394 < high < 399
    assert middle_of(section).shape == (20, 26)


def test_an_outline_has_the_place_of_its_mask() -> None:
    axes = Figure().subplots()
    mask = np.zeros((10, 20), bool)
    draw_outline(axes, mask, (0.0, 40.0, 0.0, 20.0), "red")
    assert not axes.collections
    mask[2:4, 15:18] = True
    draw_outline(axes, mask, (0.0, 40.0, 0.0, 20.0), "red")
    points = np.concatenate([path.vertices for path in axes.collections[0].get_paths()])
    assert points.min(axis=0) == pytest.approx([30, 4], abs=1)
    assert points.max(axis=0) == pytest.approx([36, 8], abs=1)

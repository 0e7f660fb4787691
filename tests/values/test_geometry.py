from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import reference
from tests.geometries import general, random_window, single_axis
from tomodist.errors import GeometryError
from tomodist.values.geometry import TiltGeometry, VolumeGrid
from tomodist.values.projection import half_widths, project_points, row_offset, visible_window

seeds = st.integers(0, 2**32 - 1)
few = settings(deadline=None, max_examples=25)

PLAIN = TiltGeometry([-3.0, 0.0, 3.0], image_shape=(8, 9), pixel_size=10.0)
FULL = TiltGeometry(
    [-52.0, 3.25, 38.0],
    image_shape=(51, 44),
    pixel_size=8.123456789,
    tilt_axis_angle=84.1,
    x_tilt=[4.0, -7.0, 11.0],
    shift_y=[13.0, -21.0, 1 / 3],
    shift_x=-9.0,
    magnification=[1.02, 0.97, 1.1],
    image_center=(24.0, 23.5),
)


def imod(
    voxel: tuple[float, float, float],
    sizes: dict[str, int],
    tilt: float,
    alpha: float = 0.0,
) -> tuple[float, float]:
    """Pixel (x, y) by the Fortran of IMOD's `tilt` (C1), which counts from 1.

    `voxel` is (column, slice, row) of the PERPENDICULAR output file, counted from 0.
    """
    column, section, row = (v + 1 for v in voxel)
    center_in_x = sizes["nx"] / 2.0 + 0.5
    center_slice = sizes["ny"] / 2.0 + 0.5
    center_out_x = sizes["width"] // 2 + 0.5  # integer division
    center_out_y = sizes["thickness"] // 2 + 0.5
    sin_beta, cos_beta = -math.sin(math.radians(tilt)), math.cos(math.radians(tilt))
    sin_alpha, cos_alpha = -math.sin(math.radians(alpha)), math.cos(math.radians(alpha))
    x, y, z = column - center_out_x, section - center_slice, row - center_out_y
    x_proj = x * cos_beta + y * sin_alpha * sin_beta + z * cos_alpha * sin_beta + center_in_x
    y_proj = y * cos_alpha - z * sin_alpha + center_slice
    return x_proj - 1, y_proj - 1


@pytest.mark.parametrize(
    ("tilt", "x_tilt", "x_axis_tilt", "offset", "expected"),
    [
        (0.0, 0.0, 0.0, 0.0, (732.0000, 400.0000)),
        (40.0, 0.0, 0.0, 0.0, (635.0963, 400.0000)),
        (40.0, 0.0, 3.0, 0.0, (645.9066, 396.7482)),
        (-37.5, 1.5, -2.0, 4.0, (744.9763, 404.8999)),
    ],
    ids=["untilted", "tilted", "XAXISTILT", "all"],
)
def test_golden_values_of_imod(
    tilt: float, x_tilt: float, x_axis_tilt: float, offset: float, expected: tuple[float, float]
) -> None:
    sizes = {"nx": 1024, "ny": 1440, "width": 960, "thickness": 300}
    alpha = x_tilt - x_axis_tilt
    literal = imod((700, 400, 220), sizes, tilt + offset, alpha)
    assert literal == pytest.approx(expected, abs=1e-4)
    geometry = TiltGeometry([tilt + offset], (1440, 1024), 1.0, x_tilt=alpha)
    grid = VolumeGrid.from_imod((300, 1440, 960), 1.0)
    row, column = project_points(geometry.matrices(grid), [[300 - 1 - 220, 400, 700]])[0, 0]
    assert (column, row) == pytest.approx(expected, abs=1e-4)


@given(
    st.tuples(*[st.integers(4, 60)] * 4),
    st.tuples(*[st.integers(0, 40)] * 3),
    st.floats(-80, 80),
    st.floats(-20, 20),
)
@few
def test_any_parameters_agree_with_imod(
    sizes: tuple[int, ...], voxel: tuple[int, ...], tilt: float, alpha: float
) -> None:
    named = dict(zip(("nx", "ny", "width", "thickness"), sizes, strict=True))
    nx, ny, width, thickness = sizes
    column, section, row = voxel
    geometry = TiltGeometry([tilt], (ny, nx), 7.0, x_tilt=alpha)
    grid = VolumeGrid.from_imod((thickness, ny, width), 7.0)
    index = [[thickness - 1 - row, section, column]]
    found = project_points(geometry.matrices(grid), index)[0, 0]
    assert found[::-1] == pytest.approx(imod((column, section, row), named, tilt, alpha), abs=1e-9)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((300, 1440, 960), (149.5, 719.5, 479.5)),
        ((301, 1440, 960), (150.5, 719.5, 479.5)),
        ((300, 1440, 961), (149.5, 719.5, 479.5)),
        ((301, 1441, 961), (150.5, 720.0, 479.5)),
    ],
    ids=["even", "odd z", "odd x", "all odd"],
)
def test_imod_puts_the_center_of_odd_sizes_half_a_voxel_off(
    shape: tuple[int, int, int], expected: tuple[float, float, float]
) -> None:
    assert VolumeGrid.from_imod(shape, 10.0).center == expected


@given(seeds)
@few
def test_matrices_are_the_product_of_rotations(seed: int) -> None:
    geometry, grid = general(seed)
    index = np.random.default_rng(seed).uniform(-5, 20, (6, 3))
    expected = reference.pixels(geometry, grid, index)
    np.testing.assert_allclose(project_points(geometry.matrices(grid), index), expected, atol=1e-9)


@given(seeds)
@few
def test_half_widths_bound_the_projected_voxel(seed: int) -> None:
    geometry, grid = general(seed)
    expected = reference.half_sizes(geometry, grid)
    np.testing.assert_allclose(half_widths(geometry.matrices(grid)), expected, atol=1e-12)


@pytest.mark.parametrize("shape", [(6, 8, 10), (7, 9, 11), (7, 8, 11)], ids=str)
@pytest.mark.parametrize("image_shape", [(12, 14), (13, 15), (12, 15)], ids=str)
def test_the_rotation_center_never_moves(
    shape: tuple[int, int, int], image_shape: tuple[int, int]
) -> None:
    random = np.random.default_rng(0)
    angles, axis, pitch = (random.uniform(-90, 90, 20).tolist() for _ in range(3))
    geometry = TiltGeometry(angles, image_shape, 5.0, axis, pitch, magnification=1.3)
    grid = VolumeGrid(shape, 7.0)
    middle = [(n - 1) / 2 for n in shape]
    found = project_points(geometry.matrices(grid), [middle])[:, 0]
    expected = np.broadcast_to([(n - 1) / 2 for n in image_shape], (20, 2))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_rotation_center_lands_at_the_shift() -> None:
    geometry = TiltGeometry([-40, 25], (10, 12), 4.0, 33.0, 5.0, shift_y=[8, -4], shift_x=[2, 6])
    grid = VolumeGrid((5, 6, 7), 9.0, center=(1.25, 0.5, 3.0))
    found = project_points(geometry.matrices(grid), [grid.center])[:, 0]
    np.testing.assert_allclose(found, [[4.5 + 2, 5.5 + 0.5], [4.5 - 1, 5.5 + 1.5]], atol=1e-12)


def test_an_axis_angle_off_by_180_degrees_inverts_the_hand() -> None:
    """The wrong geometry sees at -p what the right one sees at p: a point inversion."""
    geometry, grid = general(3)
    axis = reference.per_tilt(geometry.tilt_axis_angle)
    right = TiltGeometry(geometry.tilt_angles, (9, 8), 5.0, axis, geometry.x_tilt)
    wrong = TiltGeometry(
        geometry.tilt_angles, (9, 8), 5.0, [a + 180 for a in axis], geometry.x_tilt
    )
    p = np.random.default_rng(0).uniform(0, 9, (5, 3))
    inverted = 2 * np.array(grid.center) - p
    np.testing.assert_allclose(
        project_points(wrong.matrices(grid), p),
        project_points(right.matrices(grid), inverted),
        atol=1e-9,
    )
    triple = np.linalg.det(p[1:4] - p[0]), np.linalg.det(inverted[1:4] - inverted[0])
    assert triple[0] == pytest.approx(-triple[1])
    assert abs(triple[0]) > 1


def test_positive_tilt_moves_higher_z_to_higher_x() -> None:
    geometry, grid = TiltGeometry([30.0], (5, 5), 10.0), VolumeGrid((5, 5, 5), 10.0)
    low, high = project_points(geometry.matrices(grid), [[1, 2, 2], [3, 2, 2]])[0]
    assert high - low == pytest.approx([0.0, 2 * math.sin(math.radians(30))])


@pytest.mark.parametrize("geometry", [PLAIN, FULL], ids=["plain", "full"])
def test_geometry_survives_repr_dict_and_json(geometry: TiltGeometry) -> None:
    assert eval(repr(geometry)) == geometry
    assert TiltGeometry.from_dict(json.loads(json.dumps(geometry.to_dict()))) == geometry
    assert hash(geometry) == hash(eval(repr(geometry)))


@pytest.mark.parametrize(
    "grid",
    [VolumeGrid((5, 6, 7), 10.0), VolumeGrid((5, 6, 7), 1 / 3, center=(0.1, 2.0, -3.5))],
    ids=["plain", "own center"],
)
def test_grid_survives_repr_dict_and_json(grid: VolumeGrid) -> None:
    assert eval(repr(grid)) == grid
    assert VolumeGrid.from_dict(json.loads(json.dumps(grid.to_dict()))) == grid


def test_numpy_values_become_plain_ones() -> None:
    arrays: dict[str, Any] = {
        "tilt_angles": np.array([1, 2]),
        "image_shape": np.array([4, 5]),
        "pixel_size": np.float32(2),
        "shift_x": np.array([1.0, 2.0]),
    }
    expected = TiltGeometry([1, 2], (4, 5), 2, shift_x=[1, 2])
    assert repr(TiltGeometry(**arrays)) == repr(expected)


@pytest.mark.parametrize(
    ("geometry", "ny", "expected"),
    [
        (PLAIN, 8, 0),
        (PLAIN, 6, 1),
        (PLAIN, 12, -2),
        (PLAIN, 7, None),
        (TiltGeometry([0, 9], (8, 9), 10.0, shift_x=3.3), 8, 0),
        (TiltGeometry([0, 9], (8, 9), 10.0, shift_y=20.0), 8, 2),
        (TiltGeometry([0, 9], (8, 9), 10.0, shift_y=[20.0, 10.0]), 8, None),
        (TiltGeometry([0, 9], (8, 9), 10.0, shift_y=5.0), 8, None),
        (TiltGeometry([0, 9], (8, 9), 10.0, tilt_axis_angle=0.01), 8, None),
        (TiltGeometry([0, 9], (8, 9), 10.0, tilt_axis_angle=180.0), 8, None),
        (TiltGeometry([0, 9], (8, 9), 10.0, x_tilt=0.01), 8, None),
        (TiltGeometry([0, 9], (8, 9), 10.0, magnification=[1, 1.01]), 8, None),
        (TiltGeometry([0, 9], (8, 9), 5.0), 8, None),
        (TiltGeometry([0, 9], (8, 9), 5.0, magnification=0.5), 8, 0),
    ],
    ids=[
        "same",
        "smaller",
        "larger",
        "half a row",
        "shift x",
        "whole rows",
        "unlike rows",
        "half shift",
        "axis",
        "axis turned over",
        "pitch",
        "magnification",
        "voxel of two pixels",
        "magnified back",
    ],
)
def test_row_offset(geometry: TiltGeometry, ny: int, expected: int | None) -> None:
    assert row_offset(geometry.matrices(VolumeGrid((5, ny, 7), 10.0))) == expected


@given(seeds, st.booleans())
@few
def test_visible_window_holds_every_pixel_that_a_brick_touches(seed: int, aligned: bool) -> None:  # noqa: FBT001
    geometry, grid = single_axis(seed) if aligned else general(seed)
    start, stop = random_window(seed, grid.shape)
    window = visible_window(geometry.matrices(grid), start, stop, geometry.image_shape)
    assert (window >= 0).all()
    assert (window <= np.array(geometry.image_shape)[:, None]).all()
    brick = np.s_[:, start[0] : stop[0], start[1] : stop[1], start[2] : stop[2]]
    used = reference.touched(geometry, grid)[brick] | (reference.weights(geometry, grid)[brick] > 0)
    for t, pixel_used in enumerate(np.asarray(used.any(axis=(1, 2, 3)))):
        (row, row_end), (column, column_end) = window[t]
        outside = pixel_used.copy()
        outside[row:row_end, column:column_end] = False
        assert not outside.any()


def test_visible_window_of_a_brick_beyond_the_image_is_empty() -> None:
    geometry, grid = TiltGeometry([0.0], (8, 9), 10.0), VolumeGrid((4, 8, 60), 10.0)
    matrices = geometry.matrices(grid)
    right = visible_window(matrices, (0, 0, 50), (4, 8, 60), (8, 9))[0, 1]
    left = visible_window(matrices, (0, 0, 0), (4, 8, 10), (8, 9))[0, 1]
    assert (right.tolist(), left.tolist()) == ([9, 9], [0, 0])


@given(seeds)
@few
def test_select_takes_every_parameter_along(seed: int) -> None:
    geometry, grid = general(seed, n_tilts=5)
    order = np.random.default_rng(seed).permutation(5)[:3].tolist()
    picked = geometry.select(order)
    np.testing.assert_array_equal(picked.matrices(grid), geometry.matrices(grid)[order])
    assert picked.tilt_angles == tuple(geometry.tilt_angles[t] for t in order)


def test_positions_and_indices_are_inverse() -> None:
    grid = VolumeGrid((5, 6, 7), 2.5, center=(1.0, 2.0, 3.0))
    index = np.random.default_rng(0).uniform(-3, 9, (4, 3))
    np.testing.assert_allclose(grid.indices(grid.positions(index)), index, atol=1e-12)
    assert grid.positions([2, 4, 6]).tolist() == [2.5, 5.0, 7.5]
    assert grid.axis("y").tolist() == [0.0, 2.5, 5.0, 7.5, 10.0, 12.5]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tilt_angles": []}, "`tilt_angles` must be 1 or more angles .* found \\(\\)"),
        ({"tilt_angles": [0, 181]}, "in -180..180 degrees; found \\(0.0, 181.0\\)"),
        ({"tilt_angles": [0, math.nan]}, "`tilt_angles` has the value nan at position 1"),
        ({"image_shape": (8,)}, r"`image_shape` must be 2 positive sizes; found \(8,\)"),
        ({"image_shape": (8, 0)}, r"`image_shape` must be 2 positive sizes; found \(8, 0\)"),
        ({"pixel_size": 0.0}, "`pixel_size` is 0.0 Å; it must be a positive number"),
        ({"pixel_size": math.inf}, "`pixel_size` is inf Å"),
        ({"shift_x": [1.0, 2.0]}, "`shift_x` has 2 values, but there are 3 tilt angles"),
        (
            {"x_tilt": [[1.0, 2.0, 3.0]]},
            r"`x_tilt` must be 1 value or 3; found .* \(1, 3\)",
        ),
        ({"shift_y": [0, -math.inf, 0]}, "`shift_y` has the value -inf at position 1"),
        ({"tilt_axis_angle": math.nan}, "`tilt_axis_angle` has the value nan at position 0"),
        ({"magnification": [1, 0, 1]}, r"`magnification` must be positive; found \[1, 0, 1\]"),
        ({"image_center": (1.0, math.nan)}, "`image_center` has the value nan at position 1"),
        ({"image_center": (1.0, 2.0, 3.0)}, r"`image_center` must be \(row, column\)"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_impossible_geometry(change: dict[str, Any], message: str) -> None:
    good = {"tilt_angles": [-3, 0, 3], "image_shape": (8, 9), "pixel_size": 10.0}
    with pytest.raises(GeometryError, match=message):
        TiltGeometry(**{**good, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (5, 6)}, r"`shape` must be 3 positive sizes; found \(5, 6\)"),
        ({"shape": (5, -1, 6)}, r"`shape` must be 3 positive sizes; found \(5, -1, 6\)"),
        ({"voxel_size": -1.0}, "`voxel_size` is -1.0 Å; it must be a positive number"),
        ({"center": (1.0, 2.0)}, r"`center` must be \(z, y, x\); found \(1.0, 2.0\)"),
        ({"center": (1.0, 2.0, math.inf)}, "`center` has the value inf at position 2"),
    ],
    ids=str,
)
def test_impossible_grid(change: dict[str, Any], message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        VolumeGrid(**{"shape": (5, 6, 7), "voxel_size": 10.0, **change})


def test_right_angles_are_exact() -> None:
    matrices: npt.NDArray[np.float64] = TiltGeometry([90, -90, 180], (5, 5), 1.0).matrices(
        VolumeGrid((5, 5, 5), 1.0)
    )
    assert matrices[:, 1, :3].tolist() == [[1, 0, 0], [-1, 0, 0], [0, 0, -1]]

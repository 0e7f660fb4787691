"""The Python interface: the same numbers as the bricks below it, lazy, with coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import dask.array as da
import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

import tomodist
from tests.cli.materials import ANGLES, BEADS, write_series
from tests.geometries import binary_maps, general, grey_images, reader
from tomodist import Boxes, TiltGeometry, VolumeGrid
from tomodist.algorithms.lift.backproject import Lifting, Votes, WeightedMean, lift_brick
from tomodist.algorithms.lift.edges import RefinedEdges
from tomodist.algorithms.lift.project import project_tile
from tomodist.algorithms.threshold.curve import count_agreement, curve_of
from tomodist.errors import GeometryError, InputError
from tomodist.values.projection import project_points, row_offset

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Array = npt.NDArray[Any]
Case = tuple[TiltGeometry, VolumeGrid]
TILTS = (-50.0, -20.0, 5.0, 31.0, 62.0)
BRICK = (4, 3, 5)  # cuts the volumes below at odd places


def aligned(height: int, ny: int) -> Case:
    geometry = TiltGeometry(TILTS, (height, 13), 10.0)
    return geometry, VolumeGrid((7, ny, 11), 10.0)


def general_case(seed: int) -> Case:
    return general(seed, n_tilts=5)


CASES = {
    "rows of images and volume alike": aligned(8, 8),
    "images have more rows": aligned(14, 8),
    "images have many more rows": aligned(150, 8),
    "images have fewer rows": aligned(6, 14),
    "odd numbers of rows": aligned(9, 5),
    "rows half a pixel off": aligned(9, 8),
    "general geometry": general_case(3),
    "general geometry, other sizes": general_case(8),
}


@pytest.fixture(params=CASES.values(), ids=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


def as_numpy(values: Array) -> Any:
    return values


def as_dask(values: Array) -> Any:
    return da.from_array(values, chunks=(2, 3, 4))


def as_xarray(values: Array) -> Any:
    return xr.DataArray(as_dask(values), dims=("tilt", "y", "x"))


KINDS = [as_numpy, as_dask, as_xarray]


def whole(lifting: Lifting, maps: Array) -> Array:
    """The volume as one brick."""
    return lift_brick(lifting, reader(maps), (0, 0, 0), lifting.grid.shape)


def raising(shape: tuple[int, ...], dtype: npt.DTypeLike = np.uint8) -> da.Array:
    """An array that must not be computed."""

    def fail(_: Array) -> Array:
        message = "computed too early"
        raise RuntimeError(message)

    return da.map_blocks(
        fail, da.zeros(shape, dtype, chunks=4), dtype=dtype, meta=np.empty(0, dtype)
    )


# -------------------------------------------------------------------------------- equality


@pytest.mark.parametrize("kind", KINDS)
def test_votes_equal_one_brick(case: Case, kind: Callable[[Array], Any]) -> None:
    geometry, grid = case
    maps = binary_maps(1, geometry, unmeasured=0.1)
    expected = whole(Votes(geometry, grid), maps)
    assert expected.max() >= 2
    for brick in (BRICK, (128, 256, 256)):
        votes = tomodist.backproject(kind(maps), geometry, grid, brick=brick)
        assert votes.dtype == np.uint8
        np.testing.assert_array_equal(votes.values, expected)
    np.testing.assert_array_equal(
        tomodist.backproject(kind(maps == 1), geometry, grid).values, expected
    )


@pytest.mark.parametrize("weights", [None, (1, 0.5, 2, 1, 0.25)], ids=["equal", "weighted"])
@pytest.mark.parametrize("kind", KINDS)
def test_weighted_mean_equals_one_brick(
    case: Case, kind: Callable[[Array], Any], weights: tuple[float, ...] | None
) -> None:
    geometry, grid = case
    images = grey_images(1, geometry)
    images[2, :, :2] = np.nan
    expected = whole(WeightedMean(geometry, grid, weights), images)
    mean = tomodist.backproject(
        kind(images), geometry, grid, "linear", weights=weights, brick=BRICK
    )
    assert mean.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(mean.values), np.isnan(expected))
    np.testing.assert_allclose(mean.values, expected, rtol=1e-5)
    assert np.isfinite(expected).any()


@pytest.mark.parametrize("kind", KINDS)
def test_edges_equal_one_brick(case: Case, kind: Callable[[Array], Any]) -> None:
    geometry, grid = case
    maps = binary_maps(1, geometry, density=0.6)
    expected = whole(RefinedEdges(geometry, grid, 1, 2, 1), maps)
    found = tomodist.detect_edges(
        kind(maps), geometry, grid, reach=1, support=2, rounds=1, brick=BRICK
    )
    np.testing.assert_array_equal(found.values, expected)
    assert expected.any()


@pytest.mark.parametrize("kind", ["binary", "max", "sum"])
@pytest.mark.parametrize("form", [as_numpy, as_dask, as_xarray])
def test_projection_equals_one_tile(
    case: Case, form: Callable[[Array], Any], kind: Literal["binary", "max", "sum"]
) -> None:
    geometry, grid = case
    votes = whole(Votes(geometry, grid), binary_maps(1, geometry))
    volume = votes > 1 if kind == "binary" else votes
    window = [tuple((0, n) for n in grid.shape)]

    def read(*ranges: tuple[int, int]) -> Array:
        return volume[tuple(slice(*r) for r in ranges)]

    tilts = range(geometry.n_tilts)
    rows = (0, geometry.image_shape[0])
    expected = project_tile(kind, geometry, grid, read, window, tilts, rows)
    found = tomodist.project(form(volume), geometry, kind, grid=grid)
    assert (found.dims, found.dtype) == (("tilt", "y", "x"), expected.dtype)
    np.testing.assert_allclose(found.values, expected, rtol=0 if kind != "sum" else 1e-5)
    assert expected.max() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_threshold_is_the_one_of_the_whole_images(case: Case, kind: Callable[[Array], Any]) -> None:
    geometry, grid = case
    maps = binary_maps(1, geometry, density=0.3)
    votes = tomodist.backproject(maps, geometry, grid)
    curve = tomodist.choose_threshold(votes, kind(maps), geometry)
    largest = tomodist.project(votes, geometry, "max").values
    expected = curve_of(count_agreement(largest, maps, geometry.n_tilts))
    np.testing.assert_array_equal(curve.iou, expected.iou)
    assert curve.best == int(np.argmax(curve.score))
    again = tomodist.choose_threshold(votes.values, kind(maps), geometry, grid=grid)
    np.testing.assert_array_equal(again.iou, curve.iou)


# ------------------------------------------------------------------ laziness and coordinates


def test_nothing_is_computed_until_asked(case: Case) -> None:
    geometry, grid = case
    maps = raising((geometry.n_tilts, *geometry.image_shape))
    volume = raising(grid.shape)
    lazy = [
        tomodist.backproject(maps, geometry, grid),
        tomodist.backproject(maps.astype(np.float32), geometry, grid, "linear"),
        tomodist.detect_edges(xr.DataArray(maps), geometry, grid),
        tomodist.project(volume, geometry, "sum", grid=grid),
    ]
    for array in lazy:
        assert isinstance(array.data, da.Array)
        with pytest.raises(RuntimeError, match="computed too early"):
            array.compute()


def test_a_brick_reads_only_its_rows() -> None:
    geometry, grid = aligned(40, 40)
    maps = np.zeros((5, 40, 13), np.uint8)
    maps[:, 3, 6] = 1
    first = da.from_array(maps[:, :20], chunks=(5, 10, 13))
    series = da.concatenate([first, raising((5, 20, 13))], axis=1)
    votes = tomodist.backproject(series, geometry, grid, brick=(7, 10, 11))
    assert votes[:, :20].max().compute() == 5
    with pytest.raises(RuntimeError, match="computed too early"):
        votes[:, 20:].compute()


def test_volumes_have_dims_coordinates_and_their_place(case: Case) -> None:
    geometry, grid = case
    volume = tomodist.backproject(binary_maps(1, geometry), geometry, grid, brick=BRICK)
    assert volume.dims == ("z", "y", "x")
    assert volume.shape == grid.shape
    for axis in volume.dims:
        np.testing.assert_array_equal(volume[axis].values, grid.axis(str(axis)))
    noted = {"voxel_size": grid.voxel_size, "center": list(grid.center)}
    assert {name: volume.attrs[name] for name in noted} == noted
    assert volume.attrs["levels"] == geometry.n_tilts
    images = tomodist.project(volume, geometry)  # finds its grid on the volume
    assert images["tilt_angle"].values.tolist() == list(geometry.tilt_angles)
    expected = tomodist.project(volume.values, geometry, grid=grid)
    np.testing.assert_array_equal(images.values, expected.values)
    assert volume.data.chunksize == tuple(min(b, n) for b, n in zip(BRICK, grid.shape, strict=True))


def test_open_tilt_series_is_lazy_and_describes_itself(tmp_path: Path) -> None:
    stack = write_series(tmp_path)
    angles = stack.with_suffix(".tlt")
    series = tomodist.open_tilt_series(stack, tilt_angles=angles, thickness=16, exclude=[2])
    assert isinstance(series.data, da.Array)
    assert (series.dims, series.shape) == (("tilt", "y", "x"), (8, 40, 48))
    np.testing.assert_allclose(series["tilt_angle"], np.delete(ANGLES, 2))
    geometry = TiltGeometry.from_dict(series.attrs["geometry"])
    grid = VolumeGrid.from_dict(series.attrs["grid"])
    assert grid.shape == (16, 40, 48)
    stack.unlink()  # so nothing was read yet
    with pytest.raises(InputError, match=r"TS_01\.mrc"):
        series[3].compute()
    write_series(tmp_path)
    maps = [tomodist.Blobs(60.0)(image, geometry.pixel_size) for image in series.values]
    found = tomodist.locate(maps, geometry, grid)
    np.testing.assert_allclose(centers(found, grid), sorted(BEADS), atol=0.3)


# ------------------------------------------------------------------------------- bad arguments


@pytest.mark.parametrize("lift", [tomodist.backproject, tomodist.detect_edges])
@pytest.mark.parametrize(
    ("wrong", "found"),
    [(255, "255"), (3, "3"), (-1, "-1"), (0.5, "float64")],
    ids=["uint8 mask of 255", "class numbers", "negative", "probabilities"],
)
def test_what_is_no_binary_map_is_refused(lift: Any, wrong: float, found: str) -> None:
    geometry, grid = aligned(8, 8)
    maps = np.zeros((5, 8, 13), np.asarray(wrong).dtype)
    maps[3, 4, 6] = wrong
    with pytest.raises(InputError, match=rf"map of tilt \d holds {found}; .* `maps > 0`") as error:
        lift(maps, geometry, grid).compute()
    assert isinstance(error.value, ValueError)


@pytest.mark.parametrize("shape", [(5, 8, 12), (4, 8, 13), (5, 13, 8), (8, 13)], ids=str)
def test_maps_of_another_shape_are_refused_at_once(shape: tuple[int, ...]) -> None:
    geometry, grid = aligned(8, 8)
    maps = np.zeros(shape, np.uint8)
    for refused in (
        lambda: tomodist.backproject(maps, geometry, grid),
        lambda: tomodist.detect_edges(maps, geometry, grid),
        lambda: tomodist.locate(maps, geometry, grid),
        lambda: tomodist.choose_threshold(np.zeros(grid.shape, np.uint8), maps, geometry),
    ):
        with pytest.raises(InputError, match=r"maps has shape .*, but .* \(5, 8, 13\)"):
            refused()


def test_bad_choices_are_refused_at_once() -> None:
    geometry, grid = aligned(8, 8)
    maps: Any = np.zeros((5, 8, 13), np.uint8)
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: tomodist.backproject(maps, geometry, grid, "soft"), "'soft'; .*'linear'"),  # type: ignore[arg-type]
        (lambda: tomodist.project(np.zeros(grid.shape), geometry, "mean"), "'mean'; .* max, sum"),  # type: ignore[arg-type]
        (lambda: tomodist.project(np.zeros((7, 8)), geometry), "shape"),
        (lambda: tomodist.project(np.zeros((7, 8, 9)), geometry, grid=grid), r"\(7, 8, 9\)"),
        (lambda: tomodist.detect_edges(maps, geometry, grid, reach=1, support=4), "`support` is 4"),
        (
            lambda: tomodist.backproject(maps, geometry, grid, brick=(4, 0, 4)),
            r"brick .*\(4, 0, 4\)",
        ),
        (lambda: tomodist.backproject(maps, geometry, grid, brick=(4, 4)), r"brick .*\(4, 4\)"),
        (lambda: tomodist.backproject(maps, geometry, grid, "linear", weights=(1, 2)), "2 .* 5"),
        (lambda: tomodist.locate([Boxes.empty()] * 4, geometry, grid), "4 tilts, .* has 5"),
        (lambda: tomodist.locate([], geometry, grid), "0 tilts, .* has 5"),
        (
            lambda: tomodist.backproject(maps, geometry, grid, "linear", weights=[1, 1, -1, 1, 1]),
            "0 or more; .*-1",
        ),
        (lambda: tomodist.choose_threshold(np.zeros(grid.shape, int), maps, geometry), "no map"),
    ]
    for refused, message in cases:
        with pytest.raises((InputError, GeometryError), match=message):
            refused()


# ------------------------------------------------------------------------------------ locate


def centers(found: xr.Dataset, grid: VolumeGrid) -> npt.NDArray[np.float64]:
    """Centres in voxels, in order of z."""
    table = np.stack([found[axis].values for axis in "zyx"], axis=1) / grid.voxel_size
    return table[np.argsort(table[:, 0])]


def boxes_on_tilts(
    geometry: TiltGeometry, grid: VolumeGrid, points: Array, size: float
) -> list[Boxes]:
    """Square boxes, exactly where points project to."""
    places = project_points(geometry.matrices(grid), points)
    n = len(points)
    return [Boxes(here, np.full((n, 2), size), np.ones(n)) for here in places]


@pytest.mark.parametrize("kind", ["single axis", "raw images"])
def test_boxes_give_the_known_places(kind: str) -> None:
    tilts = np.linspace(-60, 60, 25).tolist()
    geometry = TiltGeometry(tilts, (60, 70), 10.0)
    if kind == "raw images":
        shift = np.linspace(-40, 40, 25).tolist()
        geometry = TiltGeometry(tilts, (70, 64), 10.0, 83.0, shift_x=shift, shift_y=shift[::-1])
    grid = VolumeGrid((40, 60, 70), 10.0)
    points = np.array([[8.3, 20.6, 31.2], [21.4, 41.7, 40.9], [30.8, 16.1, 44.5]])
    assert (row_offset(geometry.matrices(grid)) is None) == (kind == "raw images")
    found = tomodist.locate(boxes_on_tilts(geometry, grid, points, 7.0), geometry, grid)
    assert found.sizes["structure"] == 3
    np.testing.assert_allclose(centers(found, grid), points, atol=1e-4)
    assert float(found["residual"].max()) < 1e-4  # float32
    assert int(found["n_tilts"].min()) >= 20  # a box on a nearer one's centre counts once
    sizes = np.stack([found[f"size_{axis}"].values for axis in "zyx"], axis=1)
    np.testing.assert_allclose(sizes[:, 1:], 70, atol=15)  # 7 pixels, along z more
    mirrored = [grid.shape[0] - 1, 0, 0] + [-1, 1, 1] * points
    assert np.abs(centers(found, grid) - mirrored[::-1]).max() > 5


def test_overlapping_boxes_stay_apart_and_keep_their_fractions() -> None:
    geometry = TiltGeometry(np.linspace(-60, 60, 25).tolist(), (40, 50), 10.0)
    grid = VolumeGrid((30, 40, 50), 10.0)
    points = np.array([[9.25, 15.7, 20.1], [20.6, 19.2, 24.9]])  # they overlap in most images
    found = tomodist.locate(boxes_on_tilts(geometry, grid, points, 7.0), geometry, grid)
    np.testing.assert_allclose(centers(found, grid), points, atol=1e-4)


def test_locate_takes_filled_boxes_and_drops_what_few_tilts_see() -> None:
    geometry, grid = TiltGeometry(np.linspace(-60, 60, 25).tolist(), (60, 70), 10.0), None
    grid = VolumeGrid((40, 60, 70), 10.0)
    points = np.array([[8.0, 20.0, 31.0], [21.0, 41.0, 40.0]])
    boxes = boxes_on_tilts(geometry, grid, points, 7.0)
    some = [b if 8 <= t < 17 else b.select([0]) for t, b in enumerate(boxes)]
    maps = np.stack([_filled(b, geometry.image_shape) for b in some])
    seen = tomodist.locate(maps, geometry, grid, "votes", threshold=6)
    assert sorted(seen["n_tilts"].values.tolist()) == [9, 25]
    strict = tomodist.locate(
        da.from_array(maps, chunks=5), geometry, grid, "votes", threshold=6, min_tilts=10
    )
    assert strict["n_tilts"].values.tolist() == [25]
    np.testing.assert_allclose(centers(strict, grid), points[:1], atol=0.35)
    large = tomodist.locate(some, geometry, grid, "votes", threshold=6, min_voxels=10**6)
    assert large.sizes["structure"] == 0


def _filled(boxes: Boxes, shape: tuple[int, int]) -> Array:
    from tomodist.values.boxes import fill

    return fill(boxes, shape)

"""Stored reconstructions: the right values, however the work is cut and wherever it stops."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
import zarr
from ome_zarr_models.v05 import Image

from tests import reference
from tests.geometries import general, grey_images, reader, single_axis
from tests.phantoms import balls, images_of_balls
from tomodist.algorithms.lift.backproject import WeightedMean, lift_brick
from tomodist.algorithms.reconstruct.sirt import Sirt
from tomodist.algorithms.reconstruct.wbp import WeightedBackprojection
from tomodist.errors import ExistsError, InputError, PlanError, StoreError
from tomodist.planning.plan import Cut, MiB, Resources
from tomodist.runtime.cluster import open_session
from tomodist.runtime.runner import Session, Silent
from tomodist.store.tomogram import Tomogram
from tomodist.store.volumes import create_stack
from tomodist.tasks.base import run
from tomodist.tasks.reconstruct import ReconstructionTask, method_of
from tomodist.values.geometry import TiltGeometry, VolumeGrid

if TYPE_CHECKING:
    from pathlib import Path

Volume = npt.NDArray[np.float32]
GRID = VolumeGrid((40, 70, 75), 10.0)
GEOMETRY = TiltGeometry(tuple(range(-60, 61, 10)), (70, 90), 10.0)
SLOTS = {n: Session(Resources(1, n, 4096 * MiB)) for n in (1, 2)}


def store(folder: Path, images: Volume, geometry: TiltGeometry, grid: VolumeGrid) -> Tomogram:
    """A store with these images."""
    tomogram = Tomogram.create(folder / "t.zarr")
    with tomogram.series.stage({"step": "test"}) as staging:
        stack = create_stack(staging, "images", geometry, np.float32)
        for tilt, image in enumerate(images):
            stack.write((tilt, 0, 0), image[None])
        staging.describe(geometry=geometry.to_dict(), grid=grid.to_dict())
    return tomogram


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Tomogram:
    """The phantom with noise on a background, and a margin without measurement."""
    images = images_of_balls(GEOMETRY, GRID)
    images += np.random.default_rng(3).normal(50, 0.3, images.shape).astype(np.float32)
    images[:, :, :3] = images[4, 60:, 80:] = np.nan
    return store(tmp_path_factory.mktemp("series"), images, GEOMETRY, GRID)


def made(
    tomogram: Tomogram,
    method: str = "wbp",
    name: str = "new",
    session: Session = SLOTS[2],
    *,
    overwrite: bool = True,
    cut: dict[str, Any] | None = None,
    **options: Any,
) -> Volume:
    """A reconstruction, run and read."""
    unit = tomogram.reconstruction(name)
    task = ReconstructionTask(unit, method_of(tomogram, method, options), Cut(**(cut or {})))
    run(session, task, overwrite=overwrite)
    return stored(tomogram, name)


def stored(tomogram: Tomogram, name: str, level: int = 0) -> Volume:
    return tomogram.reconstruction(name).level(level).read()


def residuals(tomogram: Tomogram, name: str = "new") -> list[float]:
    return list(tomogram.reconstruction(name).attributes["residuals"])


# --------------------------------------------------------------------- weighted backprojection


def test_wbp_is_the_filter_and_then_the_mean(series: Tomogram) -> None:
    images = series.series.array("images").read()
    method = WeightedBackprojection(GEOMETRY, GRID, cutoff=0.3, filter_kind="exact")
    filtered = np.stack([method.filtered(t, image) for t, image in enumerate(images)])
    expected = lift_brick(method.lifting, reader(filtered), (0, 0, 0), GRID.shape)
    volume = made(series, cutoff=0.3, filter_kind="exact")
    np.testing.assert_allclose(volume, expected, atol=1e-5)


def test_the_result_is_an_ome_zarr_pyramid_without_leftovers(series: Tomogram) -> None:
    made(series, "sirt", "pyramid", iterations=2)
    group = zarr.open_group(str(series.place.path / "reconstructions" / "pyramid"), mode="r")
    image = Image.from_zarr(group)
    assert image.ome_attributes.multiscales[0].datasets[0].path == "scale0/reconstruction"
    full, half = stored(series, "pyramid"), stored(series, "pyramid", 1)
    np.testing.assert_allclose(half[3, 4, 5], full[6:8, 8:10, 10:12].mean(), rtol=1e-5)
    found = sorted(p.name for p in (series.place.path / "reconstructions" / "pyramid").iterdir())
    assert found == ["scale0", "scale1", "zarr.json"]
    data = series.reconstruction("pyramid").dataset()["reconstruction"]
    np.testing.assert_array_equal(data.values, full)
    assert "pyramid" in series.names("reconstructions")


@pytest.mark.parametrize("method", ["wbp", "sirt"])
def test_the_same_volume_however_the_work_is_cut(series: Tomogram, method: str) -> None:
    options: dict[str, Any] = {"iterations": 3} if method == "sirt" else {}
    whole = made(series, method, session=SLOTS[1], cut={"brick": (64, 128, 128)}, **options)
    for cut in ({"brick": (64, 64, 64)}, {"brick": (64, 64, 128), "tilts_per_task": 4}):
        again = made(series, method, "cut", cut=cut, **options)
        np.testing.assert_allclose(again, whole, atol=2e-5)
    small = Session(Resources(1, 4, 1600 * MiB))  # other tiles and bricks
    np.testing.assert_allclose(made(series, method, "cut", small, **options), whole, atol=2e-5)


@pytest.mark.parametrize("method", ["wbp", "sirt"])
def test_bitwise_the_same_for_any_number_of_workers(series: Tomogram, method: str) -> None:
    options: dict[str, Any] = {"iterations": 2} if method == "sirt" else {}
    expected = made(series, method, session=SLOTS[1], **options)
    for n in (2, 5):
        session = Session(Resources(1, n, 4096 * MiB))
        found = made(series, method, f"with_{n}", session, **options)
        assert found.tobytes() == expected.tobytes()


def test_worker_processes_give_the_same_bytes(series: Tomogram) -> None:
    expected = made(series, "sirt", iterations=2)
    with open_session("local", n_workers=2, memory_limit=1024 * MiB) as session:
        found = made(series, "sirt", "processes", session, iterations=2)
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("method", ["wbp", "sirt"])
def test_raw_images_and_their_geometry_give_the_aligned_volume(tmp_path: Path, method: str) -> None:
    grid = VolumeGrid((26, 27, 30), 10.0)
    options: dict[str, Any] = {}
    if method == "sirt":
        options = {"iterations": 6, "background": "none"}
    volumes = []
    for axis in (0, 25):
        geometry = TiltGeometry(tuple(range(-80, 81, 8)), (60, 61), 10.0, axis)
        images = images_of_balls(geometry, grid)
        tomogram = store(tmp_path / str(axis), images, geometry, grid)
        volumes.append(made(tomogram, method, **options))
    assert np.corrcoef(volumes[0].ravel(), volumes[1].ravel())[0, 1] > 0.998
    assert np.corrcoef(volumes[0].ravel(), balls(grid).ravel())[0, 1] > 0.95


# --------------------------------------------------------------------------------------- SIRT


def dense_sirt(
    images: Volume, geometry: TiltGeometry, grid: VolumeGrid, n: int
) -> tuple[npt.NDArray[np.float64], list[float]]:
    """SIRT with the whole matrix in memory, from the slow reference's interpolation weights."""
    scale = np.linalg.norm(geometry.matrices(grid)[:, 0, :3], axis=1)
    hats = reference.weights(geometry, grid) * (scale**2).reshape(-1, 1, 1, 1, 1, 1)
    a = hats.reshape(geometry.n_tilts, grid.n_voxels, -1).transpose(0, 2, 1)
    a = a.reshape(-1, grid.n_voxels)
    b = images.reshape(-1).astype(np.float64)
    used = np.isfinite(b) & (a.sum(axis=1) >= 0.5)
    a, b = a[used], b[used]
    rows = a.sum(axis=1)
    per_tilt = np.repeat(scale**2, images[0].size)[used]
    back_of = (a / per_tilt[:, None]).T  # the mean takes tilts alike, whatever their magnification
    columns = back_of.sum(axis=1)
    x, sizes = np.zeros(grid.n_voxels), []
    for _ in range(n):
        r = (b - a @ x) / rows
        sizes.append(float(np.sqrt(((b - a @ x) * r).sum())))
        back = back_of @ r
        x += np.divide(back, columns, out=np.zeros(x.shape), where=columns > 0)
    x[columns == 0] = np.nan
    return x.reshape(grid.shape), [s / sizes[0] for s in sizes]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("turned", [False, True], ids=["single axis", "general"])
def test_sirt_is_the_dense_sirt(tmp_path: Path, seed: int, *, turned: bool) -> None:
    geometry, grid = general(seed, 5, ratio=1.0) if turned else single_axis(seed, 5)
    images = grey_images(seed, geometry)
    images[1, :2] = np.nan
    tomogram = store(tmp_path, images, geometry, grid)
    expected, sizes = dense_sirt(images, geometry, grid, 6)
    found = made(tomogram, "sirt", iterations=6, background="none")
    np.testing.assert_allclose(found, expected, atol=2e-5)
    np.testing.assert_allclose(residuals(tomogram), sizes, rtol=1e-4)


def test_voxels_wider_than_the_interpolation_reaches_are_refused() -> None:
    geometry = TiltGeometry([-30.0, 0.0, 30.0], (15, 15), 10.0)
    with pytest.raises(
        InputError, match=r"voxels are 2 pixels wide, but SIRT supports at most 1\.5"
    ):
        Sirt(geometry, VolumeGrid((8, 8, 8), 20.0))


def test_the_residual_falls_and_the_phantom_rises(series: Tomogram) -> None:
    volume = made(series, "sirt", "long", iterations=12)
    sizes = residuals(series, "long")
    assert sizes[0] == 1
    assert all(b < a for a, b in itertools.pairwise(sizes))
    truth = balls(GRID)
    known = np.isfinite(volume)
    assert np.corrcoef(volume[known], truth[known])[0, 1] > 0.5
    inside = truth > 1.2
    assert volume[inside].mean() > 0.5  # bright stays bright
    assert volume[truth < -0.9].mean() < -0.3


def test_densities_come_back_in_their_units(tmp_path: Path) -> None:
    """Without noise, a missing wedge or a background, and kept above 0."""
    grid = VolumeGrid((33, 26, 36), 10.0)
    geometry = TiltGeometry(tuple(np.arange(-90, 90, 9.0)), (26, 60), 10.0)
    truth = np.clip(balls(grid), 0, None)
    images = reference_images(truth, geometry, grid)
    tomogram = store(tmp_path, images, geometry, grid)
    options: dict[str, Any] = {"background": "none", "non_negative": True}
    volume = made(tomogram, "sirt", iterations=25, **options)
    assert volume.min() >= 0
    assert volume.max() == pytest.approx(truth.max(), rel=0.15)
    assert volume.sum() == pytest.approx(truth.sum(), rel=0.01)


def reference_images(volume: Volume, geometry: TiltGeometry, grid: VolumeGrid) -> Volume:
    sirt = Sirt(geometry, grid, background="none")
    window = tuple((0, n) for n in grid.shape)
    rows = (0, geometry.image_shape[0])
    return sirt.project(lambda *_: volume.copy(), [window], range(geometry.n_tilts), rows)


# ---------------------------------------------------------------------------- interruption


class Interrupting(Silent):
    """Ctrl-C after some tasks; counts them."""

    def __init__(self, after: int) -> None:
        self.after, self.n = after, 0
        self.said: list[str] = []

    def advance(self, bar: Any) -> None:  # noqa: ARG002
        self.n += 1
        if self.n == self.after:
            raise KeyboardInterrupt

    def message(self, text: str) -> None:
        self.said.append(text)


@pytest.mark.parametrize("after", [3, 17, 24, 29, 33], ids=str)
def test_an_interrupted_sirt_goes_on_within_its_iteration(
    series: Tomogram, tmp_path: Path, after: int
) -> None:
    """2 tiles of ray sums, 13 backgrounds, then 2 tiles and 4 bricks three times."""
    images = series.series.array("images").read()
    tomogram = store(tmp_path, images, GEOMETRY, GRID)
    cut = {"brick": (64, 64, 64)}
    expected = made(series, "sirt", "expected", cut=cut, iterations=3)
    stopped = Interrupting(after)
    one = Resources(1, 1, 4096 * MiB)
    with pytest.raises(KeyboardInterrupt):
        made(tomogram, "sirt", session=Session(one, progress=stopped), cut=cut, iterations=3)
    assert not tomogram.reconstruction("new").exists()
    staged = tomogram.place.path / ".staging" / "reconstructions--new"
    before = {p: p.stat().st_mtime_ns for p in staged.rglob("c/*/*/*") if p.is_file()}
    again = Interrupting(10**6)
    found = made(tomogram, "sirt", session=Session(one, progress=again), cut=cut, iterations=3)
    assert found.tobytes() == expected.tobytes()
    assert residuals(tomogram) == pytest.approx(residuals(series, "expected"), rel=1e-9)
    kept = tomogram.place.path / "reconstructions" / "new"
    for path, time in before.items():
        place = kept / path.relative_to(staged)
        assert not place.exists() or place.stat().st_mtime_ns == time
    assert len(again.said) == 3 - max(0, (after - 15) // 6)


def test_a_finished_reconstruction_is_not_made_again(series: Tomogram) -> None:
    made(series, name="once")
    shard = next(
        (series.place.path / "reconstructions/once/scale0/reconstruction/c").rglob("*/*/*")
    )
    time = shard.stat().st_mtime_ns
    made(series, name="once", overwrite=False)
    assert shard.stat().st_mtime_ns == time
    with pytest.raises(ExistsError, match=r"cutoff was 0.35, now 0.2.*`overwrite`.*`name`"):
        made(series, name="once", overwrite=False, cutoff=0.2)
    made(series, name="once", cutoff=0.2)
    assert series.reconstruction("once").attributes["cutoff"] == 0.2


# ------------------------------------------------------------------------------- bad inputs


@pytest.mark.parametrize("method", ["wbp", "sirt"])
def test_too_little_memory_is_said_before_anything_is_made(series: Tomogram, method: str) -> None:
    session = Session(Resources(1, 2, 480 * MiB))
    with pytest.raises(PlanError, match="`memory`"):
        made(series, method, "none", session)
    assert not (series.place.path / ".staging" / "reconstructions--none").exists()


def test_what_makes_no_sense_is_refused(series: Tomogram, tmp_path: Path) -> None:
    for method, options, words in (
        ("art", {}, "'art'; it must be wbp or sirt"),
        ("sirt", {"iterations": 0}, "`iterations` is 0; it must be 1 to 1000"),
        ("sirt", {"background": "edge"}, "'edge'; it must be mean or none"),
        ("sirt", {"non_negative": True}, "set `background` to none"),
    ):
        with pytest.raises(InputError, match=words):
            method_of(series, method, options)
    with pytest.raises(InputError, match="letters"):
        series.reconstruction("a/b")
    with pytest.raises(StoreError, match=r"no tilt series; run `tomodist ingest`"):
        method_of(Tomogram.create(tmp_path / "empty.zarr"), "wbp")


# ------------------------------------------------------------------------------------- ASTRA

# In ASTRA a ray of angle a hits the detector at u = x cos a + Y sin a, with Y up and row 0 of a
# volume at the top; here u = x cos t + z sin t, with z growing with the row. So a = -t, rows are z,
# columns x, and both have their centres at (n - 1)/2. Its projector interpolates along the rows
# or columns of the volume (Joseph), ours along the detector, so smooth objects are compared.


def astra_slice(
    algorithm: str,
    sinogram: Volume,
    angles: npt.NDArray[np.float64],
    shape: tuple[int, int],
    n: int,
) -> Volume:
    astra = pytest.importorskip("astra", reason="the ASTRA toolbox is of the extra 'bench' only")
    rays = astra.create_proj_geom("parallel", 1.0, sinogram.shape[1], -np.deg2rad(angles))
    space = astra.create_vol_geom(*shape)
    config = astra.astra_dict(algorithm)
    config["ProjectorId"] = astra.create_projector("linear", rays, space)
    config["ProjectionDataId"] = astra.data2d.create("-sino", rays, sinogram)
    config["ReconstructionDataId"] = astra.data2d.create("-vol", space, 0)
    astra.algorithm.run(astra.algorithm.create(config), n)
    found: Volume = astra.data2d.get(config["ReconstructionDataId"])
    astra.clear()
    return found


def one_slice() -> tuple[VolumeGrid, TiltGeometry, Volume]:
    """The middle of the phantom, in thin slices around y = 5 of the second ball."""
    grid = VolumeGrid((48, 16, 61), 10.0)
    geometry = TiltGeometry(tuple(np.arange(-60, 61, 4.0)), (16, 120), 10.0)
    return grid, geometry, images_of_balls(geometry, grid)


def test_backprojection_agrees_with_astra() -> None:
    grid, geometry, images = one_slice()
    expected = astra_slice("BP", images[:, 12], np.array(geometry.tilt_angles), (48, 61), 1)
    mean = WeightedMean(geometry, grid)
    tilts = range(geometry.n_tilts)
    found = mean.contribution(reader(images), tilts, (0, 12, 0), (48, 13, 61))[0][:, :, 0]
    difference, largest = found - expected, np.abs(expected).max()
    assert np.sqrt(np.mean(difference**2)) < 0.01 * largest
    assert np.abs(difference).max() < 0.05 * largest  # Joseph's weights per voxel vary about 1
    assert np.corrcoef(found[::-1].ravel(), expected.ravel())[0, 1] < 0.7


def test_sirt_agrees_with_astra(tmp_path: Path) -> None:
    grid, geometry, images = one_slice()
    expected = astra_slice("SIRT", images[:, 12], np.array(geometry.tilt_angles), (48, 61), 15)
    tomogram = store(tmp_path, images, geometry, grid)
    found = made(tomogram, "sirt", iterations=15, background="none")[:, 12]
    assert np.abs(found - expected).max() < 0.03 * np.abs(expected).max()
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.999
    assert np.corrcoef(found[::-1].ravel(), expected.ravel())[0, 1] < 0.5

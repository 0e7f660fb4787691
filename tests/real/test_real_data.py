"""The commands and the Python interface on real series (see `data_dir`); skipped without them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import h5py
import matplotlib.image
import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

import tomodist
from tests.cli.materials import THREADS
from tests.cli.materials import tomodist as command
from tomodist.formats.imod.alignment import alignment_geometry, read_tilt_angles, read_xf
from tomodist.store.boxes import box_rows
from tomodist.values.projection import project_points

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.values.arrays import Image

pytestmark = pytest.mark.slow


def existing(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path


# --------------------------------------------------------------- EMPIAR-10499: gold in a real cell


@pytest.fixture(scope="module")
def gold(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tomodist.Tomogram:
    """The store after the commands of the README."""
    stack = existing(data_dir / "empiar10499" / "10499_bin2.mrc")
    store = tmp_path_factory.mktemp("empiar") / "TS_254.zarr"
    alignment = (
        "--tilt-angles",
        stack.with_suffix(".tlt"),
        "--alignment",
        stack.with_suffix(".xf"),
    )
    more = ("--thickness", 200, "-o", store, *THREADS)
    assert command("ingest", stack, *alignment, *more) == 0
    blobs = ("--detector", "blobs", "--diameter", 100, "--dark", "--label", "gold")
    assert command("locate", store, *blobs, *THREADS) == 0
    return tomodist.Tomogram.open(store)


def test_gold_beads_are_found_once_each(gold: tomodist.Tomogram) -> None:
    table = gold.label("gold").structures.dataset().load()
    assert 17 <= table.sizes["structure"] <= 26  # 22; about 20 are seen by eye
    assert float(table["residual"].median()) < 1.0  # pixels; 0.56
    assert float(table["residual"].max()) < 1.0  # 0.73
    assert 5 < float(table["sigma_z"].median()) < 40  # Å; 16, as the alignment errs
    centers = np.stack([table[axis].values for axis in "zyx"], axis=1) / gold.grid.voxel_size
    apart = np.linalg.norm(centers[:, None] - centers[None], axis=2)
    assert apart[np.triu_indices(len(centers), 1)].min() > 3
    # The beads lie on the two faces of the ice, which is not seen in any single image.
    z = np.sort(centers[:, 0])
    assert z[np.argmax(np.diff(z)) + 1] - z[np.argmax(np.diff(z))] > 40


def test_close_pairs_of_beads_stay_apart(gold: tomodist.Tomogram) -> None:
    """Four pairs are 130 to 210 Å apart, the nearest just beyond the size of a bead."""
    table = gold.label("gold").structures.dataset().load()
    centers = np.stack([table[axis].values for axis in "zyx"], axis=1)
    apart = np.linalg.norm(centers[:, None] - centers[None], axis=2)
    pairs = np.argwhere(np.triu((apart > 0) & (apart < 220)))
    assert len(pairs) == 4
    for pair in pairs:
        assert int(table["n_tilts"].values[pair].min()) >= 36
        boxes = table["box"].values[pair]
        both = (boxes >= 0).all(axis=0)
        assert (boxes[0, both] != boxes[1, both]).all()


def test_gold_is_dark_in_every_tilt_where_the_beads_project(gold: tomodist.Tomogram) -> None:
    table = gold.label("gold").structures.dataset().load()
    index = np.stack([table[axis].values for axis in "zyx"], axis=1) / gold.grid.voxel_size
    assert dark_part(gold, index) > 0.8
    upside_down = index.copy()
    upside_down[:, 0] = gold.grid.shape[0] - 1 - index[:, 0]
    assert dark_part(gold, upside_down) < 0.2


def dark_part(gold: tomodist.Tomogram, index: npt.NDArray[np.float64]) -> float:
    """Where voxels project to, the part of all images that is two deviations below the median."""
    places = project_points(gold.geometry.matrices(gold.grid), index)
    dark = []
    for image, points in zip(gold.series.array("images").read(), places, strict=True):
        values = ndimage.map_coordinates(np.nan_to_num(image), points.T, order=1, cval=np.nan)
        dark.append(values < np.nanmedian(image) - 2 * np.nanstd(image))
    return float(np.mean(dark))


def test_gold_has_its_detections_in_nearly_all_tilts(gold: tomodist.Tomogram) -> None:
    boxes = box_rows(gold.label("gold").maps)
    table = gold.label("gold").structures.dataset().load()
    assert len(boxes) == gold.geometry.n_tilts == 41
    assert int(table["n_tilts"].min()) >= 30
    assert min(map(len, boxes)) >= 15


# -------------------------------------------------- HAADF-STEM of a needle, tilt axis along x


def test_needle_is_ingested_with_a_vertical_axis(data_dir: Path, tmp_path: Path) -> None:
    stack = existing(data_dir / "etspy_haadf" / "HAADF.mrc")  # angles and pixels from its header
    store = tmp_path / "needle.zarr"
    axis = ("--tilt-axis-angle", 90, "--thickness", 64)
    assert command("ingest", stack, *axis, "-o", store, *THREADS) == 0
    series = tomodist.open_tilt_series(store)
    geometry = tomodist.Tomogram.open(store).geometry
    assert geometry.pixel_size == pytest.approx(33.6)
    assert geometry.tilt_angles == tuple(range(-76, 77, 2))
    images = series.values
    # The raw needle drifts across its axis from tilt to tilt (12 pixels), along it little (3).
    y, x = np.mean([np.abs(shift(a, b)) for a, b in itertools.pairwise(images)], axis=0)
    assert x > 2 * y
    raw = tomodist.open_tilt_series(stack, tilt_axis_angle=0).values
    y, x = np.mean([np.abs(shift(a, b)) for a, b in itertools.pairwise(raw)], axis=0)
    assert y > 2 * x
    # What each row across the axis adds up to stays, but for the drift along the axis.
    along = images.sum(axis=2)
    assert mean_correlation(along) > 0.94


def shift(a: Image, b: Image) -> npt.NDArray[np.int64]:
    """By how many pixels (y, x) image b lies off image a."""
    spectra = [np.fft.fft2(image - image.mean()) for image in (a, b)]
    peak = np.argmax(np.fft.ifft2(spectra[1] * spectra[0].conj()).real)
    size = np.array(a.shape)
    place = np.array(np.unravel_index(peak, a.shape))
    off: npt.NDArray[np.int64] = (place + size // 2) % size - size // 2
    return off


def mean_correlation(profiles: Image) -> float:
    """Of the profiles of successive tilts."""
    pairs = itertools.pairwise(profiles)
    return float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in pairs]))


class Section:
    """The part of a section across the needle that exceeds half of its maximum."""

    def __init__(self, plane: npt.NDArray[Any]) -> None:
        inside = plane > np.nanmax(plane) / 2
        self.n_parts = int(ndimage.label(inside)[1])
        z, x = np.nonzero(inside)
        self.height, self.width = int(np.ptp(z)) + 1, int(np.ptp(x)) + 1
        self.filled = inside.sum() / (self.height * self.width)
        small, large = np.linalg.eigvalsh(np.cov(z, x))
        self.roundness = float(np.sqrt(small / large))
        middle = plane[plane.shape[0] // 2 - 3 :][:6, plane.shape[1] // 2 - 3 :][:, :6]
        self.solid = float(middle.mean() / np.nanmax(plane))


@pytest.fixture(scope="module")
def needle(data_dir: Path) -> tuple[list[float], Image]:
    """Tilt angles and images, aligned by etspy: (tilt, y, x), the axis in the middle row."""
    path = existing(data_dir / "etspy_haadf" / "HAADF_Aligned.hspy")
    with h5py.File(path) as file:
        signal = file["Experiments/__unnamed__"]
        angles = signal["metadata/Tomography/_sig_tilts/data"][:, 0].tolist()
        return angles, signal["data"][...]


def reconstructed(
    needle: tuple[list[float], Image], tilt_axis_angle: float, shape: tuple[int, int, int]
) -> npt.NDArray[Any]:
    angles, images = needle
    geometry = tomodist.TiltGeometry(angles, images.shape[1:], 33.6, tilt_axis_angle)
    grid = tomodist.VolumeGrid(shape, 33.6)
    return tomodist.backproject(images, geometry, grid, "linear", brick=(70, 64, 70)).values


def test_needle_is_a_compact_body(needle: tuple[list[float], Image], tmp_path: Path) -> None:
    """At +90 and -90 degrees alike: the images cannot tell which, one is the other's mirror.

    With +90 the volume's y runs along -x of the images: Rz(90) takes +y to -x.
    """
    _, images = needle
    volume = reconstructed(needle, 90, (140, 256, 140))
    matplotlib.image.imsave(tmp_path / "needle.png", volume[:, 140], origin="lower", cmap="gray")
    for column in (40, 100, 115, 130, 150):  # along the needle, from its shaft to its tip
        found = Section(volume[:, 255 - column])
        profile = images[38, :, column]
        width = int((profile > profile.max() / 2).sum())  # seen from above: 72 to 44 pixels
        assert found.n_parts == 1
        assert found.solid > 0.95
        assert found.filled > 0.75  # an ellipse fills 0.785 of its box
        assert found.roundness > 0.75  # the missing wedge of 28 degrees stretches it along z
        assert found.width == pytest.approx(1.22 * width, rel=0.05)  # unfiltered rays blur it
    mirrored = reconstructed(needle, -90, (140, 16, 140))
    np.testing.assert_allclose(mirrored, volume[::-1, 135:119:-1, ::-1], rtol=1e-3)


def test_needle_is_hollow_about_the_wrong_axis(needle: tuple[list[float], Image]) -> None:
    wrong = Section(reconstructed(needle, 0, (140, 256, 140))[:, 128])
    assert wrong.solid < 0.8
    assert wrong.width > 1.5 * 64


# ------------------------------------------------------------------------------- other files


def test_serialem_stack_brings_its_angles(data_dir: Path, tmp_path: Path) -> None:
    folder = data_dir / "etspy_haadf" / "SerialEM_MultiTilt_Test"
    stack = existing(folder / "test_000.mrc")
    series = tomodist.open_tilt_series(stack, binning=8)
    assert series.shape == (2, 128, 128)
    assert series["tilt_angle"].values.tolist() == [0.0, 0.0]
    assert series.attrs["geometry"]["pixel_size"] == pytest.approx(8 * 7.88)
    store = tmp_path / "test.zarr"
    assert command("ingest", stack, "--bin", 8, "--thickness", 32, "-o", store, *THREADS) == 0
    np.testing.assert_array_equal(tomodist.open_tilt_series(store).values, series.values)


def test_imod_files_of_cryoet_alignment(data_dir: Path) -> None:
    folder = existing(data_dir / "metadata" / "cryoet-alignment")
    angles, transforms = read_tilt_angles(folder / "tilt_1.tlt"), read_xf(folder / "tilt_1.xf")
    assert (len(angles), transforms.shape) == (59, (59, 2, 3))
    assert (angles[0], angles[1]) == (-52.24, -50.24)
    assert list(angles) == sorted(angles)
    found = alignment_geometry(transforms, 10.0)
    axis = found["tilt_axis_angle"]
    assert (min(axis), max(axis)) == pytest.approx((-100.45, -99.52), abs=0.01)
    assert np.allclose(found["magnification"], 1, atol=1e-3)


def test_aretomo_aln_is_no_xf(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = existing(data_dir / "metadata" / "cryoet-alignment")
    stack = existing(data_dir / "empiar10499" / "10499_bin2.mrc")
    given = ("--tilt-angles", stack.with_suffix(".tlt"), "--alignment", folder / "test.aln")
    assert command("ingest", stack, *given, "-o", tmp_path / "no.zarr") == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert said.endswith("test.aln is an AreTomo .aln file; use its .xf instead")
    assert not list(tmp_path.iterdir())

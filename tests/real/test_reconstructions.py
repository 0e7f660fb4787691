"""Grey-value reconstructions of real series (see `data_dir`); skipped without them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from tests.cli.materials import THREADS, write_stack
from tests.cli.materials import tomodist as command
from tests.real.test_real_data import Section, existing
from tomodist.store.tomogram import Tomogram

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.long

Volume = npt.NDArray[Any]
SIRT = ("--method", "sirt", "--iterations", 5)


def volume_of(tomogram: Tomogram, name: str) -> Volume:
    return tomogram.reconstruction(name).volume.read()


# ------------------------------------------------------------------ EMPIAR-10499: a real cell


@pytest.fixture(scope="module")
def cell(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Tomogram:
    stack = existing(data_dir / "empiar10499" / "10499_bin2.mrc")
    store = tmp_path_factory.mktemp("cell") / "TS_254.zarr"
    angles = ("--tilt-angles", stack.with_suffix(".tlt"))
    alignment = ("--alignment", stack.with_suffix(".xf"), "--thickness", 200)
    assert command("ingest", stack, *angles, *alignment, "-o", store, *THREADS) == 0
    assert command("reconstruct", store, *THREADS) == 0
    assert command("reconstruct", store, *SIRT, *THREADS) == 0
    return Tomogram.open(store)


@pytest.fixture(scope="module")
def beads(cell: Tomogram) -> npt.NDArray[np.float64]:
    """Voxel indices (z, y, x) of the gold, found on the images alone."""
    blobs = ("--detector", "blobs", "--diameter", 100, "--label", "gold")
    assert command("locate", cell.place.path, *blobs, *THREADS) == 0
    table = cell.label("gold").structures.dataset().load()
    return np.stack([table[axis].values for axis in "zyx"], axis=1) / cell.grid.voxel_size


@pytest.mark.parametrize("name", ["wbp", "sirt"])
def test_gold_is_the_darkest_there_is(
    cell: Tomogram, beads: npt.NDArray[np.float64], name: str
) -> None:
    """A mirrored or shifted volume would have nothing there."""
    volume = volume_of(cell, name)
    smooth = ndimage.gaussian_filter(np.nan_to_num(volume), 1.5)
    gold = ndimage.map_coordinates(smooth, beads.T, order=1)
    middle = smooth[50:150, 30:280, 30:290]
    assert np.median(gold) < np.quantile(middle, 0.0005)
    assert np.mean(gold < np.quantile(middle, 0.01)) > 0.8
    for axis in range(3):
        mirrored = beads.copy()
        mirrored[:, axis] = volume.shape[axis] - 1 - beads[:, axis]
        there = ndimage.map_coordinates(smooth, mirrored.T, order=1)
        assert np.median(there) > np.quantile(middle, 0.05)


@pytest.mark.parametrize("name", ["wbp", "sirt"])
def test_the_cell_is_darker_than_the_ice_beside_it(cell: Tomogram, name: str) -> None:
    """In the middle section: cytoplasm, and both corners beyond the membrane."""
    section = np.nan_to_num(volume_of(cell, name)[95:105]).mean(axis=0)
    inside = section[100:250, 130:200].mean()
    for corner in (section[260:300, 30:60], section[20:60, 280:320]):
        assert inside < corner.mean() - 3 * corner.std() / np.sqrt(corner.size)


def test_the_membrane_is_a_dark_line(cell: Tomogram) -> None:
    """From (y, x) = (100, 33) to (270, 110): darker than both sides."""
    section = np.nan_to_num(volume_of(cell, "wbp")[95:105]).mean(axis=0)
    smooth = ndimage.gaussian_filter(section, 1)
    y = np.linspace(120, 250, 200)
    x = np.interp(y, (100, 130, 200, 270), (31, 43, 77, 107))
    steps = range(-12, 13)
    profile = [ndimage.map_coordinates(smooth, [y, x + k], order=1).mean() for k in steps]
    ice, cytoplasm = np.mean(profile[:5]), np.mean(profile[-5:])
    assert abs(steps[int(np.argmin(profile))]) <= 4
    assert min(profile) < cytoplasm - 0.3 * (ice - cytoplasm) < cytoplasm < ice


# --------------------------------------------------------- HAADF-STEM of a needle, aligned


@pytest.fixture(scope="module")
def needle(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Tomogram:
    """Resampled from a tilt axis along x; a quarter turn moves whole pixels."""
    path = existing(data_dir / "etspy_haadf" / "HAADF_Aligned.hspy")
    folder = tmp_path_factory.mktemp("needle")
    with h5py.File(path) as file:
        signal = file["Experiments/__unnamed__"]
        angles = signal["metadata/Tomography/_sig_tilts/data"][:, 0]
        images = signal["data"][:, :, 96:160].astype(np.float32)  # the bright part
    stack = write_stack(folder / "needle.mrc", images, 33.6)
    stack.with_suffix(".tlt").write_text("".join(f"{angle:.2f}\n" for angle in angles))
    store = folder / "needle.zarr"
    axis = ("--tilt-angles", stack.with_suffix(".tlt"), "--tilt-axis-angle", 90)
    assert command("ingest", stack, *axis, "--thickness", 140, "-o", store, *THREADS) == 0
    assert command("reconstruct", store, *THREADS) == 0
    bright = (*SIRT, "--background", "none", "--non-negative")
    assert command("reconstruct", store, *bright, *THREADS) == 0
    return Tomogram.open(store)


@pytest.mark.parametrize("name", ["wbp", "sirt"])
def test_the_needle_is_compact_solid_and_bright(needle: Tomogram, name: str) -> None:
    volume = volume_of(needle, name)
    images = needle.series.array("images").read()
    for y in (12, 30, 45, 60):
        section = np.nan_to_num(volume[:, y])
        found = Section(ndimage.uniform_filter(section, 3))
        profile = images[38, y]
        width = int((profile > profile.max() / 2).sum())
        assert found.n_parts == 1
        assert found.roundness > (0.9 if name == "wbp" else 0.8)  # unfiltered: 0.75
        assert found.filled > 0.7  # a circle fills 0.785 of its box
        assert found.solid > 0.6
        assert found.width == pytest.approx(1.1 * width, rel=0.12)  # unfiltered: 1.22
        z, x = np.nonzero(section > section.max() / 2)
        outside = np.hypot(*np.ogrid[-70:70, -128:128]) > 60
        assert abs(section[outside].mean()) < 0.1 * section[z, x].mean()

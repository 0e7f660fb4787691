"""``tomodist reconstruct`` and what becomes of its results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.image
import mrcfile
import numpy as np
import pytest
import zarr
from ome_zarr_models.v05 import Image

from tests.cli.materials import BEADS, PIXEL, THREADS, ingest, tomodist, tree, write_series
from tomodist.store.tomogram import Tomogram

if TYPE_CHECKING:
    from pathlib import Path

METHODS = (["--method", "wbp"], ["--method", "sirt", "--iterations", 4])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reconstruct")
    path = folder / "TS_01.zarr"
    assert ingest(write_series(folder), path) == 0
    for method in METHODS:
        assert tomodist("reconstruct", path, *method, *THREADS) == 0
    return path


@pytest.mark.parametrize("name", ["wbp", "sirt"])
def test_dark_beads_are_dark_where_they_are(store: Path, name: str) -> None:
    tomogram = Tomogram.open(store)
    volume = tomogram.reconstruction(name).volume.read()
    for place in BEADS:
        window = tuple(slice(k - 1, k + 2) for k in place)
        dark = volume[window].mean()
        assert dark < np.nanmean(volume) - 3 * np.nanstd(volume)
        for axis in range(3):
            assert dark < 2 * np.flip(volume, axis)[window].mean()  # not at the mirrored place


def test_the_picture_shows_the_sections(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tomodist("reconstruct", store, *METHODS[1], *THREADS) == 0
    said = capsys.readouterr().out
    assert "nothing to do: everything is there already" in said  # the fixture made it
    picture = store.with_name("TS_01_sirt_reconstruction.png")
    assert f"picture: {picture}" in said
    pixels = matplotlib.image.imread(picture)[..., :3]
    assert pixels.shape[0] > pixels.shape[1] > 800
    assert 0.3 < pixels.mean() < 0.95


def test_sirt_says_the_residual_of_every_iteration(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--method", "sirt", "--iterations", 3, "--name", "three")
    assert tomodist("reconstruct", store, *options, *THREADS) == 0
    said = capsys.readouterr()
    for k in (1, 2, 3):
        assert f"iteration {k} of 3: residual " in said.err
    assert "iteration 1 of 3: residual 100.00 %" in said.err
    assert "residual before the last of 3 iterations: " in said.out


def test_a_second_identical_run_and_a_dry_run_do_nothing(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(store, skip="\n")
    for method in METHODS:
        assert tomodist("reconstruct", store, *method, *THREADS) == 0
        assert tomodist("reconstruct", store, *method, "--name", "x", "--dry-run", *THREADS) == 0
    said = capsys.readouterr().out
    assert ("filter" in said, "project" in said, "backproject" in said) == (True,) * 3
    assert tree(store, skip="\n") == before


def test_other_parameters_need_overwrite(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("reconstruct", store, "--name", "again", *THREADS)
    assert tomodist(*command) == 0
    assert tomodist(*command, "--radial", 0.2, 0.05) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "cutoff was 0.35, now 0.2" in said
    assert "another --name" in said
    assert tomodist(*command, "--radial", 0.2, 0.05, "--filter", "exact", "--overwrite") == 0
    made = Tomogram.open(store).reconstruction("again").attributes
    assert (made["cutoff"], made["falloff"], made["filter"]) == (0.2, 0.05, "exact")


def test_info_shows_how_it_was_made(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tomodist("info", store) == 0
    said = capsys.readouterr().out
    assert "reconstructions/wbp" in said
    assert "16 x 40 x 48 float32" in said
    assert "filter=ramp" in said


def test_mrc_has_the_values_and_the_voxel_size(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "wbp.mrc"
    export = ("export", store, "--reconstruction", "wbp", "-o", path)
    assert tomodist(*export, "--format", "mrc") == 0
    volume = Tomogram.open(store).reconstruction("wbp").volume.read()
    with mrcfile.open(path) as file:
        np.testing.assert_array_equal(file.data, np.nan_to_num(volume))
        assert file.voxel_size.x == pytest.approx(PIXEL)
        assert file.is_volume()
        assert file.header.origin.item() == (0, 0, 0)
    assert mrcfile.validate(path)


def test_zarr_is_a_valid_copy(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "wbp.zarr"
    export = ("export", store, "--reconstruction", "wbp", "-o", path, "--format", "zarr")
    assert tomodist(*export) == 0
    group = zarr.open_group(str(path), mode="r")
    level = Image.from_zarr(group).ome_attributes.multiscales[0].datasets[0]
    assert level.coordinateTransformations[0].model_dump()["scale"] == [PIXEL] * 3
    volume = Tomogram.open(store).reconstruction("wbp").volume.read()
    copied = zarr.open_array(str(path / "scale0" / "reconstruction"), mode="r")
    np.testing.assert_array_equal(np.asarray(copied[...]), volume)
    assert tomodist(*export) == 1
    assert tomodist(*export, "--overwrite") == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["wbp.zarr"]

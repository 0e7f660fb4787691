"""The commands on small simulated series: what they write agrees with the known truth."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.image
import mrcfile
import numpy as np
import numpy.typing as npt
import pytest
import starfile
import tifffile
import zarr

from tests.cli.materials import THREADS, ingest, tomodist, tree
from tests.cli.simulated import (
    AXES,
    GOLD_DIAMETER,
    VOXEL,
    farthest,
    found_centers,
    locate,
    true_centers,
)
from tomodist.cli import COMMANDS
from tomodist.metrics import Confusion, tolerant_f1
from tomodist.store.tomogram import Tomogram, Unit

THICKNESS = 56


class Story(NamedTuple):
    """A simulated cell, and its store with everything in it."""

    folder: Path
    store: Path

    @property
    def tomogram(self) -> Tomogram:
        return Tomogram.open(self.store)

    def array(self, unit: str) -> npt.NDArray[Any]:
        unit.split("/", maxsplit=1)[0]
        return Unit(self.tomogram, unit).volume.read()


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("story")
    store = folder / "TS_01.zarr"
    size = ("--width", 96, "--height", 90, "--thickness", THICKNESS)
    content = ("--mitochondria", 1, "--granules", 2, "--gold", 5, "--seed", 1)
    tilts = ("--tilts=-60,60,6", "--name", "TS_01")
    assert tomodist("simulate", "cell", *size, *content, *tilts, "-o", folder) == 0
    assert ingest(folder / "TS_01.mrc", store, THICKNESS) == 0
    assert tomodist(*locate(store)) == 0
    masks = folder / "TS_01_granule_maps.mrc"
    assert tomodist("segment", store, "--label", "granule", "--maps", masks, *THREADS) == 0
    assert tomodist("edges", store, "--label", "edge", *THREADS) == 0
    return Story(folder, store)


def test_star_has_the_true_gold_and_not_its_mirror_image(story: Story) -> None:
    path = story.folder / "gold.star"
    command = ["export", story.store, "--label", "gold", "--format", "star", "-o", path]
    assert tomodist(*command) == 0
    particles = starfile.read(path)
    assert set(particles["rlnTomoName"]) == {"TS_01"}
    names = [f"rlnCenteredCoordinate{axis.upper()}Angst" for axis in AXES]
    centered = particles[names].to_numpy()
    middle = np.array(story.tomogram.grid.center) * VOXEL
    truth = true_centers(story.folder / "TS_01_gold_truth.csv") - middle
    assert farthest(truth, centered) < 0.2
    for axis in range(3):
        mirror = np.where(np.arange(3) == axis, -1, 1)
        assert farthest(truth * mirror, centered) > 3
    assert farthest(truth[:, ::-1], centered) > 3  # x, y, z taken for z, y, x


def test_positions_in_star_do_not_depend_on_binning(story: Story) -> None:
    """The volume centre is the same point at any binning; voxel 0 is not."""
    found = {}
    for binning in (1, 2):
        store = story.folder / f"bin{binning}.zarr"
        stack = story.folder / "TS_01.mrc"
        angles = ["--tilt-angles", stack.with_suffix(".tlt")]
        size = ["--thickness", story.tomogram.grid.shape[0] // binning]
        where = ["--bin", binning, "-o", store, "--cluster", "threads"]
        assert tomodist("ingest", stack, *angles, *size, *where) == 0
        blobs = ["--detector", "blobs", "--diameter", 100, "--cluster", "threads"]
        assert tomodist("locate", store, "--label", "gold", *blobs) == 0
        star = story.folder / f"bin{binning}.star"
        assert tomodist("export", store, "--label", "gold", "--format", "star", "-o", star) == 0
        names = [f"rlnCenteredCoordinate{axis.upper()}Angst" for axis in AXES]
        found[binning] = starfile.read(star)[names].to_numpy()
    offsets = [b - found[1][np.linalg.norm(found[1] - b, axis=1).argmin()] for b in found[2]]
    assert len(offsets) >= 4
    assert np.abs(np.median(offsets, axis=0)).max() < 0.2 * VOXEL


def test_results_of_another_tilt_series_are_not_exported(
    story: Story, capsys: pytest.CaptureFixture[str]
) -> None:
    store, stack = story.folder / "outdated.zarr", story.folder / "TS_01.mrc"
    angles = ["--tilt-angles", stack.with_suffix(".tlt"), "-o", store, "--cluster", "threads"]
    assert tomodist("ingest", stack, *angles, "--thickness", 40) == 0
    blobs = ["--detector", "blobs", "--diameter", 100, "--cluster", "threads"]
    votes = ["--method", "votes", "--threshold", 5]
    assert tomodist("locate", store, "--label", "gold", *votes, *blobs) == 0
    assert tomodist("ingest", stack, *angles, "--thickness", 48, "--overwrite") == 0
    capsys.readouterr()
    out = story.folder / "outdated.csv"
    assert tomodist("export", store, "--label", "gold", "--format", "csv", "-o", out) == 1
    assert "its source tilt_series was changed or removed" in capsys.readouterr().err
    assert not out.exists()
    assert tomodist("info", store) == 0
    assert "OUT OF DATE" in capsys.readouterr().out


def test_csv_has_one_row_per_structure(story: Story) -> None:
    path = story.folder / "gold.csv"
    assert tomodist("export", story.store, "--label", "gold", "--format", "csv", "-o", path) == 0
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == story.tomogram.label("gold").structures.dataset().sizes["structure"] >= 5
    np.testing.assert_allclose(true_centers(path), found_centers(story.store), atol=1e-3)
    assert max(float(row["residual_pixel"]) for row in rows) < 1
    assert [int(row["id"]) for row in rows] == list(range(1, len(rows) + 1))


def test_mrc_mask_is_where_labels_are(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    path = story.folder / "granule.mrc"
    command = ["export", story.store, "--label", "granule", "--format", "mrc", "-o", path]
    assert tomodist(*command) == 0
    capsys.readouterr()
    assert mrcfile.validate(path), capsys.readouterr().out
    with mrcfile.open(path) as file:
        assert (int(file.header.mode), file.is_volume()) == (0, True)
        assert [float(file.voxel_size[a]) for a in "xyz"] == [VOXEL] * 3
        mask = file.data.copy()
    np.testing.assert_array_equal(mask, story.array("labels/granule") > 0)
    with mrcfile.open(story.folder / "TS_01_granule_truth.mrc") as file:
        assert Confusion.of(mask > 0, file.data > 0).iou > 0.6


@pytest.mark.parametrize("volume", ["labels", "scores"])
def test_mrc_volume_equals_the_stored_one(story: Story, volume: str) -> None:
    path = story.folder / f"{volume}.mrc"
    command = ["export", story.store, "--label", "granule", "--format", "mrc", "-o", path]
    assert tomodist(*command, "--volume", volume) == 0
    with mrcfile.open(path) as file:
        np.testing.assert_array_equal(file.data, story.array(f"{volume}/granule"))
    assert tomodist(*command) == 1  # it exists
    assert tomodist(*command, "--overwrite") == 0


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("form", ["tif", "npy", "zarr"])
def test_maps_of_every_format_give_the_same_scores(story: Story, form: str) -> None:
    with mrcfile.open(story.folder / "TS_01_granule_maps.mrc") as file:
        masks = file.data.copy()
    path = story.folder / f"masks.{form}"
    if form == "tif":
        tifffile.imwrite(path, np.where(masks, 255, 0).astype(np.uint8), photometric="minisblack")
    elif form == "npy":
        np.save(path, masks > 0)
    else:
        array = zarr.create_array(str(path), shape=masks.shape, chunks=(4, 50, 50), dtype="i2")
        array[...] = masks
    command = ["segment", story.store, "--label", form, "--maps", path, *THREADS]
    assert tomodist(*command) == 0
    for kind in ("scores", "labels"):
        expected = story.array(f"{kind}/granule")
        np.testing.assert_array_equal(story.array(f"{kind}/{form}"), expected)
        assert expected.any()


@pytest.mark.usefixtures("without_pictures")
def test_edges_lie_on_the_shell(tmp_path: Path) -> None:
    size = ("--width", 64, "--height", 60, "--thickness", 56, "--tilts=-60,60,4")
    assert tomodist("simulate", "sphere", *size, "-o", tmp_path) == 0
    store = tmp_path / "sphere.zarr"
    assert ingest(tmp_path / "sphere.mrc", store, 56) == 0
    options = ("--sigma", 1.5, "--min-voxels", 20)
    assert tomodist("edges", store, "--label", "shell", *options, *THREADS) == 0
    found = Tomogram.open(store).label("shell").labels.volume.read() > 0
    with mrcfile.open(tmp_path / "sphere_sphere_truth.mrc") as file:
        agreement = tolerant_f1(found, file.data > 0, 2)
    assert agreement.precision > 0.7
    assert agreement.recall > 0.65  # top and bottom lie in the missing wedge


def test_pictures_are_not_blank(story: Story) -> None:
    pictures = sorted(story.folder.glob("TS_01_*.png"))
    # with a threshold that was chosen there is the curve, too; edges have a fixed one
    expected = {"gold_slices", "gold_tilts", "gold_contact", "gold_threshold", "granule_slices",
                "granule_tilts", "granule_threshold", "edge_slices", "edge_tilts"}  # fmt: skip
    assert expected <= {path.stem.removeprefix("TS_01_") for path in pictures}
    for path in pictures:
        values = matplotlib.image.imread(path)
        assert values[..., :3].std() > 0.05, path
        assert min(values.shape[:2]) > 300, path


def test_info_names_everything(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    assert tomodist("info", story.store) == 0
    said = capsys.readouterr().out
    words = ("21 images of 96 x 90 pixels of 20 Å", "-60° to", "56 x 90 x 96 voxels", "maps/gold",
             "detector=Blobs", "scores/edge", "labels/granule", "structures/gold")  # fmt: skip
    assert [word for word in words if word not in said] == []


@pytest.mark.parametrize("task", ["segment", "locate", "edges"])
def test_plan_writes_nothing(story: Story, task: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(story.store, skip="\n")
    options = ("--workers", 3, "--memory", "2GiB")
    assert tomodist("plan", story.store, "--task", task, *options) == 0
    said = capsys.readouterr().out
    assert "2.0 GiB" in said
    assert ("backproject" in said, "select" in said) == (True, True)
    assert tree(story.store, skip="\n") == before


def test_dry_run_writes_nothing(story: Story, tmp_path: Path) -> None:
    before = tree(story.store, skip="\n")
    assert tomodist(*locate(story.store, 80, "--label", "other", "--dry-run")) == 0
    assert tree(story.store, skip="\n") == before
    assert ingest(story.folder / "TS_01.mrc", tmp_path / "new.zarr", 10, "--dry-run") == 0
    assert not list(tmp_path.iterdir())


def test_second_identical_run_does_nothing(story: Story) -> None:
    masks = story.folder / "TS_01_granule_maps.mrc"
    before = tree(story.store, skip="\n")  # locks included
    assert ingest(story.folder / "TS_01.mrc", story.store, THICKNESS) == 0
    assert tomodist(*locate(story.store)) == 0
    assert tomodist("segment", story.store, "--label", "granule", "--maps", masks, *THREADS) == 0
    assert tomodist("edges", story.store, "--label", "edge", *THREADS) == 0
    assert tree(story.store, skip="\n") == before


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize(
    ("option", "value", "key"),
    [
        ("--diameter", 80, "diameter was 60.0, now 80.0"),
        ("--sensitivity", 8, "threshold was 6.0, now 8.0"),
        ("--threshold", 7, "threshold was 19, now 7.0"),
        ("--min-voxels", 9, "min_voxels was 1, now 9"),
        ("--min-tilts", 12, "min_tilts was 6, now 12"),
    ],
)
def test_other_parameters_need_overwrite(
    story: Story,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    option: str,
    value: object,
    key: str,
) -> None:
    store = Path(shutil.copytree(story.store, tmp_path / "copy.zarr"))
    before = tree(store)
    if option == "--threshold":
        chosen = Tomogram.open(store).label("gold").curves.attributes["best"]
        key = f"threshold was {chosen}, now 7.0"
    capsys.readouterr()
    assert tomodist(*locate(store, GOLD_DIAMETER, option, value)) == 1
    assert key in capsys.readouterr().err
    assert tree(store) == before
    assert tomodist(*locate(store, GOLD_DIAMETER, option, value, "--overwrite")) == 0
    after = tree(store)
    assert [name for name in before if name.startswith("labels/gold") and name in after]
    changed = {n.split("/")[0] for n in before if before[n] != after.get(n) and "gold" in n}
    assert {"labels", "structures"} <= changed
    assert ("maps" in changed) == (option in ("--diameter", "--sensitivity"))
    truth = true_centers(story.folder / "TS_01_gold_truth.csv")
    assert farthest(truth, found_centers(store)) < 0.5


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert tomodist(command, "--help") == 0
    said = capsys.readouterr().out
    assert f"Example: tomodist {command} " in " ".join(said.split())
    assert tomodist("--help") == 0
    assert f"  {command} " in capsys.readouterr().out


def test_unknown_command_and_option_are_usage_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert tomodist("ingst") == 2
    assert "ingst" in capsys.readouterr().err
    assert tomodist("info", "x.zarr", "--verbos") == 2
    assert "--verbos" in capsys.readouterr().err


# ------------------------------------------------------------------------------ as processes


def process(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from tomodist.cli import main; main()"]
    return subprocess.run(
        [*command, *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def test_process_fails_with_one_line_and_status_1(tmp_path: Path) -> None:
    done = process("ingest", "TS_07.mrc", folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("TS_07.mrc: file not found; check the path\n")
    assert not list(tmp_path.iterdir())


def test_worker_processes_give_the_same_bytes(story: Story, tmp_path: Path) -> None:
    arguments = [*locate(tmp_path / "TS_01.zarr")[: -len(THREADS)], "--workers", 2]
    shutil.copytree(story.store / "tilt_series", tmp_path / "TS_01.zarr" / "tilt_series")
    shutil.copy(story.store / "zarr.json", tmp_path / "TS_01.zarr")
    done = process(*arguments, "--brick", "64,64,64", "--tilts-per-task", 5, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "median residual" in done.stdout
    found = Tomogram.open(tmp_path / "TS_01.zarr")
    for kind in ("scores", "labels"):
        array = Unit(found, f"{kind}/gold").volume.read()
        np.testing.assert_array_equal(array, story.array(f"{kind}/gold"))
    np.testing.assert_array_equal(found_centers(found.place.path), found_centers(story.store))

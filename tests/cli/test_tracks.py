"""``tomodist locate`` by tracks, on a simulated cell with gold: places, pictures, other methods."""

from __future__ import annotations

import csv
import json
import shutil
from typing import TYPE_CHECKING

import matplotlib.image
import numpy as np
import pytest
import starfile

from tests.cli.materials import THREADS, ingest, tomodist, tree
from tests.cli.simulated import GOLD_DIAMETER, farthest, found_centers, true_centers
from tomodist.store.tomogram import Tomogram

if TYPE_CHECKING:
    from pathlib import Path

BLOBS = ("--label", "gold", "--detector", "blobs", "--diameter", GOLD_DIAMETER, *THREADS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A series with gold, and a store in which it is located."""
    folder = tmp_path_factory.mktemp("tracks")
    size = ("--width", 96, "--height", 91, "--thickness", 55)
    content = ("--mitochondria", 0, "--granules", 0, "--gold", 6, "--seed", 3)
    tilts = ("--tilts=-60,60,5", "--name", "TS_01")
    assert tomodist("simulate", "cell", *size, *content, *tilts, "-o", folder) == 0
    assert ingest(folder / "TS_01.mrc", folder / "TS_01.zarr", 55) == 0
    assert tomodist("locate", folder / "TS_01.zarr", *BLOBS) == 0
    return folder


def test_gold_is_where_it_is_and_not_mirrored(folder: Path) -> None:
    truth = true_centers(folder / "TS_01_gold_truth.csv")
    found = found_centers(folder / "TS_01.zarr")
    assert farthest(truth, found) < 0.2
    assert len(found) == len(truth)
    depth = 54 * 20.0
    assert farthest(truth * [-1, 1, 1] + [depth, 0, 0], found) > 3


def test_no_volume_is_made(folder: Path) -> None:
    tomogram = Tomogram.open(folder / "TS_01.zarr")
    made = {kind: tomogram.names(kind) for kind in ("maps", "scores", "labels", "structures")}
    assert made == {"maps": ["gold"], "scores": [], "labels": [], "structures": ["gold"]}


def test_the_table_tells_errors_support_and_boxes(folder: Path) -> None:
    tomogram = Tomogram.open(folder / "TS_01.zarr")
    table = tomogram.label("gold").structures.dataset().load()
    boxes = tomogram.label("gold").maps.array("boxes").read()
    assert (table["n_tilts"].values >= 7).all()
    assert (table["residual"].values < 0.5).all()
    assert ((table["sigma_z"] > 0) & (table["sigma_z"] < 5)).all()
    np.testing.assert_array_equal((table["box"] >= 0).sum("tilt"), table["n_tilts"])
    for box, residual in zip(table["box"].values, table["residual_per_tilt"].values, strict=True):
        for tilt in np.flatnonzero(box >= 0):
            assert np.isfinite(boxes[tilt, box[tilt]]).all()
            assert residual[tilt] < 5


def test_tilts_that_show_few_objects_are_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boxes = Tomogram.open(folder / "TS_01.zarr").label("gold").maps.array("boxes").read()
    rows = ["tilt,y,x,diameter"]
    for t, here in enumerate(boxes):
        bad = t in (3, 17)
        places = here[np.isfinite(here[:, 0]), :2]
        rows += [f"{t},{y},{95 - x if bad else x},3" for y, x in places]
    (tmp_path / "off.csv").write_text("\n".join(rows))
    store = shutil.copytree(folder / "TS_01.zarr", tmp_path / "copy.zarr")
    given = ("--boxes", tmp_path / "off.csv", "--label", "off", *THREADS)
    capsys.readouterr()
    assert tomodist("locate", store, *given) == 0
    said = capsys.readouterr().out
    assert "boxes lie elsewhere" in said
    table = said[said.index("boxes lie elsewhere") :]
    named = [line.split("│")[1].strip() for line in table.splitlines() if "°" in line]
    assert named == ["3", "17"]


def test_star_csv_and_copick_have_all_of_it(folder: Path) -> None:
    store, n = folder / "TS_01.zarr", len(found_centers(folder / "TS_01.zarr"))
    export = ("export", store, "--label", "gold")
    assert tomodist(*export, "--format", "star", "-o", folder / "gold.star") == 0
    assert len(starfile.read(folder / "gold.star")) == n
    assert tomodist(*export, "--format", "csv", "-o", folder / "gold.csv") == 0
    with (folder / "gold.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [len(rows), "sigma_z_angstrom" in rows[0], "n_voxels" in rows[0]] == [n, True, False]
    assert tomodist(*export, "--format", "copick", "-o", folder / "copick") == 0
    (picks,) = (folder / "copick").rglob("Picks/*.json")
    points = json.loads(picks.read_text())["points"]
    assert [len(points), min(p["score"] for p in points) >= 7] == [n, True]


def test_a_volume_that_is_not_there_is_not_exported(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    export = ("export", folder / "TS_01.zarr", "--label", "gold", "--format", "mrc")
    assert tomodist(*export, "-o", folder / "gold.mrc") == 1
    assert "the locate method 'votes' makes a volume" in capsys.readouterr().err
    assert not (folder / "gold.mrc").exists()


def test_pictures_show_every_object(folder: Path) -> None:
    names = {path.name for path in folder.glob("*.png")}
    assert names == {"TS_01_gold_tilts.png", "TS_01_gold_contact.png"}
    sheet = matplotlib.image.imread(folder / "TS_01_gold_contact.png")[..., :3]
    assert sheet.std() > 0.05


def test_a_second_run_does_nothing(folder: Path) -> None:
    before = tree(folder / "TS_01.zarr", skip="\n")
    assert tomodist("locate", folder / "TS_01.zarr", *BLOBS) == 0
    assert tree(folder / "TS_01.zarr", skip="\n") == before


def test_changing_the_method_needs_overwrite_and_leaves_nothing_that_disagrees(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = shutil.copytree(folder / "TS_01.zarr", tmp_path / "copy.zarr")
    votes = ("locate", store, *BLOBS, "--method", "votes")
    assert tomodist(*votes) == 1
    assert "use --overwrite" in capsys.readouterr().err
    assert tomodist(*votes, "--overwrite") == 0
    assert Tomogram.open(store).names("labels") == ["gold"]
    assert tomodist("locate", store, *BLOBS, "--overwrite") == 0
    left = Tomogram.open(store)
    assert [left.names(kind) for kind in ("scores", "labels", "curves")] == [[], [], []]
    np.testing.assert_array_equal(found_centers(store), found_centers(folder / "TS_01.zarr"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--threshold", 5), "--threshold applies only to --method votes"),
        (("--min-voxels", 5), "--min-voxels applies only to --method votes"),
        (("--brick", "64,64,64"), "--brick applies only to --method votes"),
        (("--method", "votes", "--tolerance", 3), "--tolerance applies only to --method tracks"),
        (("--tolerance", 0), "must be positive"),
        (("--min-tilts", 2), "it must be 3 or more"),
    ],
)
def test_options_of_the_other_method_are_refused(
    folder: Path, options: tuple[object, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(folder / "TS_01.zarr", skip="\n")
    assert tomodist("locate", folder / "TS_01.zarr", *BLOBS, *options) == 1
    assert says in capsys.readouterr().err
    assert tree(folder / "TS_01.zarr", skip="\n") == before


def test_dry_run_plans_no_volume(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(folder / "TS_01.zarr", skip="\n")
    assert tomodist("locate", folder / "TS_01.zarr", *BLOBS, "--dry-run") == 0
    said = capsys.readouterr().out
    assert "detect" in said
    assert "backproject" not in said
    assert tree(folder / "TS_01.zarr", skip="\n") == before

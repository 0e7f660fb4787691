"""Picks of copick and points of the portal say where the structures are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.materials import BEADS, PIXEL, THREADS, ingest, tomodist, tree, write_series
from tests.cli.simulated import found_centers
from tomodist.store.tomogram import Tomogram


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("picks")
    path = folder / "TS_01.zarr"
    assert ingest(write_series(folder), path) == 0
    blobs = ("--detector", "blobs", "--diameter", 60, *THREADS)
    for label in ("gold", "gold_10nm"):
        assert tomodist("locate", path, "--label", label, *blobs) == 0
    return path


def export(store: Path, root: Path, *more: object, label: str = "gold") -> int:
    return tomodist("export", store, "--label", label, "--format", "copick", "-o", root, *more)


def content(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text())
    assert isinstance(found, dict)
    return found


def test_picks_lie_where_the_beads_are(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "project"
    assert export(store, root) == 0
    place = Path("ExperimentRuns/TS_01/Picks/tomodist_0_gold.json")
    assert str(root / place) in capsys.readouterr().out
    files = sorted(p.relative_to(root) for p in root.rglob("*") if p.is_file())
    assert files == sorted([place, Path("copick_config.json")])
    picks = content(root / place)
    points = picks.pop("points")
    assert picks == {
        "pickable_object_name": "gold",
        "user_id": "tomodist",
        "session_id": "0",
        "run_name": "TS_01",
        "voxel_spacing": PIXEL,
        "unit": "angstrom",
        "trust_orientation": False,
    }
    places = np.array([[point["location"][axis] for axis in "zyx"] for point in points])
    np.testing.assert_array_equal(places, found_centers(store))
    truth = np.array(BEADS) * PIXEL
    apart = np.linalg.norm(truth[:, None] - places[None], axis=2).min(axis=1)
    assert apart.max() < 0.3 * PIXEL
    table = Tomogram.open(store).label("gold").structures.dataset().load()
    assert [point["instance_id"] for point in points] == table["id"].values.tolist() == [1, 2]
    merit = "mean_score" if "mean_score" in table else "n_tilts"  # tracks have no votes
    assert [point["score"] for point in points] == table[merit].values.tolist()
    assert all(point["transformation_"] == np.eye(4).tolist() for point in points)


def test_the_configuration_knows_every_exported_object(store: Path, tmp_path: Path) -> None:
    root = tmp_path / "project"
    for label in ("gold", "gold_10nm"):
        assert export(store, root, label=label) == 0
    config = content(root / "copick_config.json")
    assert config["config_type"] == "filesystem"
    assert config["overlay_root"] == f"local://{root}"
    objects = config["pickable_objects"]
    assert [(o["name"], o["label"], o["is_particle"]) for o in objects] == [
        ("gold", 1, True), ("gold-10nm", 2, True),
    ]  # fmt: skip
    for known in objects:
        assert 20 < known["radius"] < 50  # Å; the beads have 30
        assert [len(known["color"]), known["color"][3]] == [4, 255]
        assert all(isinstance(c, int) and 0 <= c <= 255 for c in known["color"])
    assert objects[0]["color"] != objects[1]["color"]
    assert (root / "ExperimentRuns/TS_01/Picks/tomodist_0_gold-10nm.json").is_file()


@pytest.mark.parametrize("config", ['{"description": "mine", "pickable_objects": []}', "{", "[]"])
def test_a_configuration_of_others_is_left_alone(store: Path, tmp_path: Path, config: str) -> None:
    (tmp_path / "copick_config.json").write_text(config)
    assert export(store, tmp_path) == 0
    assert (tmp_path / "copick_config.json").read_text() == config


def test_picks_are_replaced_only_when_asked(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(store, tmp_path) == 0
    path = tmp_path / "ExperimentRuns/TS_01/Picks/tomodist_0_gold.json"
    path.write_text("corrected by hand")
    capsys.readouterr()
    before = tree(tmp_path)
    assert export(store, tmp_path) == 1
    assert f"{path} exists; use --overwrite" in capsys.readouterr().err
    assert tree(tmp_path) == before
    assert export(store, tmp_path, "--user", "me", "--session", "17") == 0
    assert path.read_text() == "corrected by hand"
    other = content(path.with_name("me_17_gold.json"))
    assert (other["user_id"], other["session_id"]) == ("me", "17")
    assert export(store, tmp_path, "--overwrite") == 0
    assert content(path)["user_id"] == "tomodist"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--user", "a_b"), "--user is 'a_b'; use only letters, digits, '-' and '.'"),
        (("--session", ""), "--session is ''"),
        (("--session", "1/2"), "--session is '1/2'"),
        (("--label", "silver"), "no structures labelled 'silver'"),
    ],
)  # fmt: skip
def test_picks_that_cannot_be_written(
    store: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    words: str,
) -> None:
    assert export(store, tmp_path / "project", *more) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("tomodist: ")
    assert words in said
    assert not (tmp_path / "project").exists()


def test_projects_are_no_stores_and_no_files(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(store, tmp_path / "copy.zarr"))
    before = tree(copy)
    assert export(copy, copy) == 1
    assert "is a tomogram store; use another --output" in capsys.readouterr().err
    assert tree(copy) == before
    file = tmp_path / "file"
    file.write_text("mine")
    assert export(store, file) == 1
    assert "cannot be created" in capsys.readouterr().err
    assert file.read_text() == "mine"


def test_points_of_the_portal_are_in_voxels(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "gold_point.ndjson"
    assert tomodist("export", store, "--label", "gold", "--format", "ndjson", "-o", path) == 0
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert {line["type"] for line in lines} == {"point"}
    places = np.array([[line["location"][axis] for axis in "zyx"] for line in lines])
    np.testing.assert_allclose(places * PIXEL, found_centers(store), rtol=1e-12)
    assert np.linalg.norm(np.array(BEADS)[:, None] - places[None], axis=2).min(axis=1).max() < 0.3
    command = ("export", store, "--label", "gold", "--format", "ndjson", "-o", path)
    assert tomodist(*command) == 1
    assert tomodist(*command, "--overwrite") == 0

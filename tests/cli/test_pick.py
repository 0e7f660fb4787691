"""``tomodist pick``: points of a score volume, where the beads are, for other programs."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
import starfile

from tests.cli.materials import BEADS, PIXEL, THREADS, ingest, tomodist, tree, write_series
from tests.cli.simulated import found_centers
from tomodist.store.tomogram import Tomogram

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pick")
    store = folder / "TS_01.zarr"
    assert ingest(write_series(folder), store) == 0
    blobs = ("--label", "bead", "--detector", "blobs", "--diameter", 60)
    assert tomodist("segment", store, *blobs, *THREADS) == 0
    return store


def pick(store: Path, *options: object) -> int:
    return tomodist("pick", store, "--label", "bead", *options, *THREADS)


def test_points_are_where_the_beads_are(store: Path) -> None:
    assert pick(store, "--distance", 60) == 0
    found = found_centers(store, "bead-points") / PIXEL
    np.testing.assert_allclose(found, sorted(BEADS), atol=0.6)
    star = store.parent / "points.star"
    export = ("export", store, "--label", "bead-points", "--format", "star", "-o", star)
    assert tomodist(*export) == 0
    assert len(starfile.read(star)) == 2
    before = tree(store, skip="\n")
    assert pick(store, "--distance", 60) == 0
    assert tree(store, skip="\n") == before


def test_workers_do_not_matter(store: Path) -> None:
    assert pick(store, "--distance", 50, "--name", "here") == 0
    there = ("--label", "bead", "--distance", 50, "--name", "there", "--workers", 2)
    assert tomodist("pick", store, *there) == 0
    a, b = (Tomogram.open(store).label(n).structures.dataset().load() for n in ("here", "there"))
    for name in a.data_vars:
        np.testing.assert_array_equal(a[name], b[name])


def test_a_large_distance_leaves_the_highest(store: Path) -> None:
    assert pick(store, "--distance", 300, "--name", "far") == 0
    assert Tomogram.open(store).label("far").structures.dataset().sizes["structure"] == 1


def test_points_of_scores_that_have_changed_are_not_exported(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    assert pick(copy, "--distance", 70, "--name", "stale") == 0
    blobs = ("--label", "bead", "--detector", "blobs", "--diameter", 60)
    again = ("--votes", "plain", "--overwrite", *THREADS)
    assert tomodist("segment", copy, *blobs, *again) == 0
    capsys.readouterr()
    export = ("export", copy, "--label", "stale", "--format", "csv", "-o", tmp_path / "s.csv")
    assert tomodist(*export) == 1
    assert "its source scores/bead was changed or removed" in capsys.readouterr().err
    assert not (tmp_path / "s.csv").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--distance", 0), "must be above 0"),
        (("--distance", 1e5), "at most 64"),
        (("--distance", 60, "--name", "bead"), "another name"),
        (("--distance", 60, "--name", "a/b"), "cannot name a folder"),
    ],
)
def test_options_that_make_no_sense(
    store: Path, options: tuple[object, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(store, skip="\n")
    assert pick(store, *options) == 1
    assert says in capsys.readouterr().err
    assert tree(store, skip="\n") == before


def test_there_have_to_be_scores(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tomodist("pick", store, "--label", "nothing", "--distance", 60, *THREADS) == 1
    assert "no scores labelled 'nothing'" in capsys.readouterr().err

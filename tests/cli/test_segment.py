"""``tomodist segment``: balanced votes, own thresholds, tilts left out, how sure a result is."""

from __future__ import annotations

import csv
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib.image
import mrcfile
import numpy as np
import numpy.typing as npt
import pytest

from tests.cli.materials import THREADS, ingest, tomodist, tree, write_stack
from tomodist.algorithms.lift.balanced import MAX_SCORE, BalancedVotes
from tomodist.experiments.inmemory import cut_each, lifted, threshold_curve
from tomodist.metrics import Confusion
from tomodist.store.tomogram import Tomogram, Unit

if TYPE_CHECKING:
    from pathlib import Path

THICKNESS = 56
BAD = (3, 11)
pytestmark = pytest.mark.usefixtures("without_pictures")


class Place(NamedTuple):
    """A simulated cell: its folder, its store, its true 2D masks and its true volume."""

    folder: Path
    store: Path
    masks: npt.NDArray[np.int8]
    truth: npt.NDArray[np.bool_]

    @property
    def tomogram(self) -> Tomogram:
        return Tomogram.open(self.store)

    def array(self, unit: str) -> npt.NDArray[Any]:
        unit.split("/", maxsplit=1)[0]
        return Unit(self.tomogram, unit).volume.read()

    def segment(self, label: str, *options: object, masks: str = "degraded.mrc") -> int:
        maps = ("--label", label, "--maps", self.folder / masks)
        return tomodist("segment", self.store, *maps, *options, *THREADS)

    def iou(self, label: str) -> float:
        return Confusion.of(self.array(f"labels/{label}") > 0, self.truth).iou


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("segment")
    size = ("--width", 96, "--height", 90, "--thickness", THICKNESS)
    content = ("--mitochondria", 2, "--granules", 3, "--gold", 0, "--seed", 4)
    tilts = ("--tilts=-60,60,5", "--name", "TS_01")
    assert tomodist("simulate", "cell", *size, *content, *tilts, "-o", folder) == 0
    assert ingest(folder / "TS_01.mrc", folder / "TS_01.zarr", THICKNESS) == 0
    with mrcfile.open(folder / "TS_01_mitochondrion_maps.mrc") as file:
        masks = file.data.copy()
    with mrcfile.open(folder / "TS_01_mitochondrion_truth.mrc") as file:
        truth = file.data > 0
    random = np.random.default_rng(0)
    degraded = masks.copy()
    for image in degraded:  # up to two pixels off
        image[...] = np.roll(image, random.integers(-2, 3, 2), axis=(0, 1))
    write_stack(folder / "degraded.mrc", degraded, 20.0)
    spoiled = degraded.copy()
    spoiled[BAD[0]] = np.roll(degraded[BAD[0]], 40, axis=1)
    spoiled[BAD[1]] = 0
    write_stack(folder / "spoiled.mrc", spoiled, 20.0)
    return Place(folder, folder / "TS_01.zarr", degraded, truth)


def test_the_default_equals_the_same_in_memory(place: Place) -> None:
    assert place.segment("default") == 0
    tomogram = place.tomogram
    lifting = BalancedVotes(tomogram.geometry, tomogram.grid)
    maps = (place.masks > 0).astype(np.uint8)
    scores = lifted(lifting, maps)
    np.testing.assert_array_equal(place.array("scores/default"), scores)
    at = (maps, tomogram.geometry, tomogram.grid, MAX_SCORE)
    best = threshold_curve(scores, *at).best
    assert tomogram.label("default").curves.attributes["best"] == pytest.approx(best / MAX_SCORE)
    assert place.segment("one", "--one-threshold") == 0
    np.testing.assert_array_equal(place.array("labels/one") > 0, scores > best)
    mask = cut_each(scores, best, *at)
    np.testing.assert_array_equal(place.array("labels/default") > 0, mask)
    table = tomogram.label("default").structures.dataset().load()
    assert (table["threshold"].values >= best / MAX_SCORE - 1e-9).all()
    assert table["n_voxels"].values.sum() == mask.sum()


def test_it_is_better_than_plain_votes(place: Place) -> None:
    assert place.segment("default") == 0
    assert place.segment("plain", "--votes", "plain", "--one-threshold") == 0
    assert place.iou("default") > place.iou("plain")


@pytest.mark.parametrize(
    "votes", ["balanced", pytest.param("plain", marks=pytest.mark.long)], ids=str
)
def test_workers_and_bricks_do_not_matter(place: Place, votes: str, tmp_path: Path) -> None:
    own = ("--votes", votes, "--own-thresholds")
    assert place.segment(f"whole-{votes}", *own) == 0
    store = tmp_path / "other.zarr"
    shutil.copytree(place.store / "tilt_series", store / "tilt_series")
    shutil.copy(place.store / "zarr.json", store)
    maps = ("--label", "cut", "--maps", place.folder / "degraded.mrc", *own)
    cut = ("--brick", "64,64,64", "--tilts-per-task", 7, "--workers", 2)
    assert tomodist("segment", store, *maps, *cut) == 0
    other = Tomogram.open(store)
    for kind in ("scores", "labels"):
        found = Unit(other, f"{kind}/cut").volume.read()
        np.testing.assert_array_equal(found, place.array(f"{kind}/whole-{votes}"))
    ours, theirs = (
        place.tomogram.label(f"whole-{votes}").structures.dataset().load(),
        other.label("cut").structures.dataset().load(),
    )
    for name in ours.data_vars:
        np.testing.assert_array_equal(ours[name], theirs[name])


def test_left_out_tilts_are_as_if_they_were_never_taken(place: Place, tmp_path: Path) -> None:
    out = ",".join(map(str, BAD))
    assert place.segment("without", "--exclude-tilts", out, masks="spoiled.mrc") == 0
    store = tmp_path / "fewer.zarr"
    assert ingest(place.folder / "TS_01.mrc", store, THICKNESS, "--exclude", out) == 0
    maps = ("--label", "fewer", "--maps", place.folder / "spoiled.mrc")
    assert tomodist("segment", store, *maps, *THREADS) == 0
    fewer = Tomogram.open(store)
    for kind in ("scores", "labels"):
        found = Unit(fewer, f"{kind}/fewer").volume.read()
        np.testing.assert_array_equal(found, place.array(f"{kind}/without"))
    assert place.tomogram.label("without").curves.dataset().sizes["tilt"] == 23


def test_bad_tilts_are_named_and_left_out(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert place.segment("spoiled", masks="spoiled.mrc") == 0
    said = capsys.readouterr().out
    assert "tilts that disagree" in said
    assert "marks nothing" in said
    assert place.segment("auto", "--exclude-tilts", "auto", masks="spoiled.mrc") == 0
    left_out = place.tomogram.label("auto").scores.attributes["excluded"]
    assert set(BAD) <= set(left_out)
    assert len(left_out) <= 4
    assert place.iou("auto") > place.iou("spoiled")
    before = tree(place.store, skip="\n")
    assert place.segment("auto", "--exclude-tilts", "auto", masks="spoiled.mrc") == 0
    assert tree(place.store, skip="\n") == before


def test_where_all_agree_nothing_is_left_out(place: Place) -> None:
    options = ("--votes", "plain", "--exclude-tilts", "auto")
    assert place.segment("clean", *options, masks="TS_01_mitochondrion_maps.mrc") == 0
    assert place.tomogram.label("clean").scores.attributes["excluded"] == []


def test_interrupted_after_the_first_look(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the scores of all tilts in place, a rerun goes on from there."""
    options = ("--exclude-tilts", "auto")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tomodist.tasks.lifting.tilt_agreement", stop)
        assert place.segment("broken", *options, masks="spoiled.mrc") == 130
    assert place.tomogram.label("broken").scores.attributes["excluded"] == []
    assert place.segment("broken", *options, masks="spoiled.mrc") == 0
    assert place.segment("auto", *options, masks="spoiled.mrc") == 0
    np.testing.assert_array_equal(place.array("labels/broken"), place.array("labels/auto"))


def test_shares_tell_how_sure_a_voxel_is(place: Place) -> None:
    assert place.segment("default") == 0
    path = place.folder / "shares.mrc"
    export = ("export", place.store, "--label", "default", "--format", "mrc", "-o", path)
    assert tomodist(*export, "--volume", "shares", "--overwrite") == 0
    with mrcfile.open(path) as file:
        assert int(file.header.mode) == 2
        shares = file.data.copy()
    np.testing.assert_allclose(shares, place.array("scores/default") / 254, rtol=1e-6)


def test_stability_is_the_part_that_stays_at_a_higher_threshold(place: Place) -> None:
    assert place.segment("default") == 0
    table = place.tomogram.label("default").structures.dataset().load()
    labels, scores = place.array("labels/default"), place.array("scores/default")
    for k, number in enumerate(table["id"].values.tolist()):
        inside = scores[labels == number].astype(float)
        higher = table["threshold"].values[k] * 254 + 25.4
        assert table["stability"].values[k] == pytest.approx((inside > higher).mean())
    path = place.folder / "stable.csv"
    export = ("export", place.store, "--label", "default", "--format", "csv", "-o", path)
    assert tomodist(*export, "--overwrite") == 0
    with path.open(newline="") as file:
        assert {"stability", "threshold"} <= set(next(csv.reader(file)))


def test_a_threshold_on_balanced_votes_is_a_share(place: Place) -> None:
    assert place.segment("half", "--threshold", 0.5, "--one-threshold") == 0
    np.testing.assert_array_equal(place.array("labels/half") > 0, place.array("scores/half") > 127)


def test_the_agreement_is_drawn(place: Place) -> None:
    from tomodist.pictures.results import draw_agreement

    assert place.segment("spoiled", masks="spoiled.mrc") == 0
    path = draw_agreement(place.tomogram.label("spoiled"), place.folder / "agreement.png")
    assert matplotlib.image.imread(path)[..., :3].std() > 0.05


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--threshold", 4), "balanced votes are shares"),
        (("--votes", "plain", "--sectors", 3), "--sectors and --coverage apply only to"),
        (("--votes", "plain", "--coverage"), "--sectors and --coverage apply only to"),
        (("--sectors", 0), "--sectors is 0"),
        (("--exclude-tilts", "25"), "the series has tilts 0 to 24"),
        (("--exclude-tilts", ",".join(map(str, range(25)))), "leaves none of the 25 tilts"),
    ],
)
def test_options_that_make_no_sense(
    place: Place, options: tuple[object, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(place.store, skip="\n")
    assert place.segment("new", *options) == 1
    assert says in capsys.readouterr().err
    assert tree(place.store, skip="\n") == before


def test_what_is_no_list_of_tilts_is_a_usage_error(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert place.segment("new", "--exclude-tilts", "1,x") == 2
    assert "numbers of tilts like 0,3-5,38" in capsys.readouterr().err

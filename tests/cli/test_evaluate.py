"""``tomodist evaluate`` on a small simulated cell, and what users get wrong with it."""

# ruff: noqa: E501 -- one row of a table is one line

from __future__ import annotations

import csv
import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import mrcfile
import numpy as np
import numpy.typing as npt
import pytest

from tests.cli.materials import THREADS, ingest, tomodist, tree
from tests.cli.simulated import VOXEL, found_centers, locate, true_centers
from tests.cli.test_bad_inputs import error_lines
from tests.io.truths import write_mrc, write_zarr
from tests.metrics.masks import slow_distances, slow_surface
from tomodist.io.store import Tomogram
from tomodist.metrics import Confusion, match_points, tolerant_f1

if TYPE_CHECKING:
    from collections.abc import Callable

SHAPE = (56, 70, 74)


class Story(NamedTuple):
    """A simulated cell, its truth, and its store with granules and gold found."""

    folder: Path
    store: Path

    def truth(self, label: str, suffix: str = "mrc") -> Path:
        return self.folder / f"TS_01_{label}_truth.{suffix}"

    def found(self, label: str) -> npt.NDArray[np.bool_]:
        array = Tomogram.open(self.store).array(f"labels/{label}", "scale0/labels").read()
        return np.asarray(array > 0)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("story")
    store = folder / "TS_01.zarr"
    size = ("--width", SHAPE[2], "--height", SHAPE[1], "--thickness", SHAPE[0])
    content = ("--mitochondria", 1, "--granules", 2, "--gold", 4, "--seed", 1)
    tilts = ("--tilts=-60,60,6", "--name", "TS_01")
    assert tomodist("simulate", "cell", *size, *content, *tilts, "-o", folder) == 0
    assert ingest(folder / "TS_01.mrc", store, SHAPE[0]) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tomodist.pictures.draw_all", lambda *_: [])
        assert tomodist(*locate(store)) == 0
        maps = folder / "TS_01_granule_maps.mrc"
        assert tomodist("segment", store, "--label", "granule", "--maps", maps, *THREADS) == 0
    return Story(folder, store)


def volume(path: Path) -> npt.NDArray[Any]:
    with mrcfile.open(path) as file:
        return np.array(file.data)


def refused(constant: str) -> None:
    raise AssertionError(constant)


def evaluated(target: Path, *arguments: object) -> dict[str, Any]:
    """Content of the JSON that a call writes."""
    assert tomodist("evaluate", *arguments, "--json", target, *THREADS) == 0
    content: dict[str, Any] = json.loads(target.read_text(), parse_constant=refused)
    return content


def test_a_mask_beside_the_truth(
    story: Story, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = story.truth("granule")
    content = evaluated(tmp_path / "s.json", story.store, "--label", "granule", "--truth", truth)
    said = capsys.readouterr().out
    found, true = story.found("granule"), volume(truth) > 0
    expected = Confusion.of(found, true)
    (one,) = content["results"]
    assert one["voxels"] == vars(expected)
    assert one["iou"] == expected.iou > 0.6
    a, b = slow_surface(found), slow_surface(true)
    distances = np.concatenate([slow_distances(a, b, 32), slow_distances(b, a, 32)])
    assert one["surface"]["both"]["mean_voxels"] == pytest.approx(distances.mean())
    assert one["surface"]["both"]["mean_angstrom"] == pytest.approx(distances.mean() * VOXEL)
    assert (one["label"], one["kind"], one["voxel_size_angstrom"]) == ("granule", "mask", VOXEL)
    assert content["pooled"]["mask"]["voxels"] == one["voxels"]
    for word in ("granule", f"{expected.iou:.2f}", f"{expected.recall:.2f}", "s.json"):
        assert word in said
    assert "all together" not in said


def test_an_exported_mask_scores_as_the_store_does(story: Story, tmp_path: Path) -> None:
    found = tmp_path / "found.mrc"
    export = ("--label", "granule", "--format", "mrc", "-o", found)
    assert tomodist("export", story.store, *export) == 0
    truth = ("--truth", story.truth("granule"))
    stored = evaluated(tmp_path / "a.json", story.store, "--label", "granule", *truth)
    of_file = evaluated(tmp_path / "b.json", found, *truth)
    for content in (stored, of_file):
        del content["results"][0]["found"], content["results"][0]["label"]
    assert stored == of_file


def test_gold_as_boxes_and_points_in_every_table(story: Story, tmp_path: Path) -> None:
    """Truth and result through CSV and STAR, which are measured from different places."""
    truth, found = true_centers(story.truth("gold", "csv")), found_centers(story.store)
    expected = match_points(found, truth, 30)
    assert expected.recall == 1
    star, table = tmp_path / "gold.star", tmp_path / "gold.csv"
    for path in (star, table):
        export = ("--label", "gold", "--format", path.suffix[1:], "-o", path)
        assert tomodist("export", story.store, *export) == 0
    points = ("--kind", "points", "--distance", 30)
    csv_truth = ("--truth", story.truth("gold", "csv"))
    calls = [
        (story.store, "--label", "gold", *csv_truth, *points),
        (table, *csv_truth, *points),
    ]
    for k, call in enumerate(calls):
        (match,) = evaluated(tmp_path / f"{k}.json", *call)["results"][0]["matches"]
        assert (match["n_predicted"], match["n_truth"]) == (len(found), len(truth))
        assert match["predicted_hits"] == match["truth_hits"] == len(expected.pairs)
        assert match["mean_center_error_angstrom"] == pytest.approx(
            expected.mean_center_error, abs=0.01
        )
        assert match["pairs"] == [list(pair) for pair in expected.pairs]
    (itself,) = evaluated(
        tmp_path / "star.json", story.store, "--label", "gold", "--truth", star, "--distance", 0.01
    )["results"]
    assert itself["kind"] == "points"
    assert itself["matches"][0]["f1"] == 1
    (boxes,) = evaluated(tmp_path / "c.json", story.store, "--label", "gold", *csv_truth)["results"]
    assert [match["match"] for match in boxes["matches"]] == ["IoU 0.25", "IoU 0.5"]


def test_several_pairs_are_told_apart_and_pooled(
    story: Story, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs: list[object] = []
    for label, suffix, kind in (
        ("granule", "mrc", "mask"),
        ("gold", "mrc", "mask"),
        ("gold", "csv", "boxes"),
        ("granule", "mrc", "edges"),
    ):
        pairs += ["--label", label, "--truth", story.truth(label, suffix), "--kind", kind]
    content = evaluated(tmp_path / "s.json", story.store, *pairs)
    said = capsys.readouterr().out
    kinds = [(one["label"], one["kind"]) for one in content["results"]]
    assert kinds == [("granule", "mask"), ("gold", "mask"), ("gold", "boxes"), ("granule", "edges")]
    masks = [Confusion(**one["voxels"]) for one in content["results"][:2]]
    pooled = content["pooled"]["mask"]
    assert pooled["voxels"] == vars(masks[0] + masks[1])
    assert pooled["iou"] == (masks[0] + masks[1]).iou
    first, second = (one["surface_counts"] for one in content["results"][:2])
    both = pooled["surface_counts"]
    for way in ("from_predicted", "from_truth"):
        assert sum(both[way]) == sum(first[way]) + sum(second[way])
        assert both[f"{way}_beyond"] == first[f"{way}_beyond"] + second[f"{way}_beyond"]
    expected = tolerant_f1(story.found("granule"), volume(story.truth("granule")), 1)
    assert content["results"][3]["tolerances"][0]["f1"] == expected.f1
    assert said.count("all together") == 1
    assert set(content["pooled"]) == {"mask", "boxes", "edges"}


def test_one_class_of_a_label_volume(story: Story, tmp_path: Path) -> None:
    """The simulated truth numbers its granules."""
    truth = volume(story.truth("granule"))
    numbers = [int(n) for n in np.unique(truth) if n]
    assert len(numbers) == 2
    arguments: list[object] = [write_zarr(tmp_path / "found.zarr", truth)]
    for n in numbers:
        arguments += ["--truth", story.truth("granule"), "--value", n, "--found-value", numbers[0]]
    content = evaluated(tmp_path / "s.json", *arguments)
    assert [one["iou"] for one in content["results"]] == [1.0, 0.0]
    assert [one["value"] for one in content["results"]] == numbers


def test_only_the_region_counts(story: Story, tmp_path: Path) -> None:
    region = np.zeros(SHAPE, np.int8)
    region[:, : SHAPE[1] // 2] = 1
    within = write_mrc(tmp_path / "half.mrc", region, VOXEL)
    pairs = ("--label", "granule", "--truth", story.truth("granule"),
             "--label", "gold", "--truth", story.truth("gold", "csv"))  # fmt: skip
    content = evaluated(tmp_path / "s.json", story.store, *pairs, "--within", within)
    half = (slice(None), slice(0, SHAPE[1] // 2))
    mask = Confusion.of(story.found("granule")[half], volume(story.truth("granule"))[half])
    assert content["results"][0]["voxels"] == vars(mask)
    inside = np.rint(true_centers(story.truth("gold", "csv"))[:, 1] / VOXEL) < SHAPE[1] // 2
    assert content["results"][1]["matches"][0]["n_truth"] == inside.sum()
    assert content["within"] == str(within)


@pytest.mark.parametrize(
    "options", [("--brick", "64,64,64"), ("--brick", "64,128,64"), ("--workers", 2)]
)
def test_the_document_is_the_same_however_the_work_is_cut(
    story: Story, tmp_path: Path, options: tuple[object, ...]
) -> None:
    pairs = (story.store, "--label", "granule", "--truth", story.truth("granule"))
    a = evaluated(tmp_path / "a.json", *pairs, "--workers", 1)
    assert a == evaluated(tmp_path / "b.json", *pairs, *options)


def test_a_result_of_nothing_is_null_where_there_is_no_number(
    story: Story, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = write_mrc(tmp_path / "nothing.mrc", np.zeros(SHAPE, np.int8), VOXEL)
    (one,) = evaluated(tmp_path / "s.json", nothing, "--truth", story.truth("granule"))["results"]
    assert (one["iou"], one["recall"], one["precision"]) == (0, 0, 1)
    assert one["surface"]["from_predicted"]["mean_voxels"] is None
    assert one["surface"]["both"]["share_beyond"] == 1
    header, *_ = story.truth("gold", "csv").read_text().splitlines()
    (tmp_path / "none.csv").write_text(header + "\n")
    truth = ("--truth", story.truth("gold", "csv"))
    (boxes,) = evaluated(tmp_path / "t.json", tmp_path / "none.csv", *truth)["results"]
    assert boxes["matches"][0]["median_center_error_angstrom"] is None
    assert (boxes["matches"][0]["n_predicted"], boxes["matches"][0]["recall"]) == (0, 0)
    assert "│ -" in capsys.readouterr().out


def test_tables_start_no_workers(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("tomodist.cli.evaluate.session_of", started)
    truth = ("--truth", story.truth("gold", "csv"))
    assert tomodist("evaluate", story.store, "--label", "gold", *truth) == 0


def test_a_document_is_replaced_only_when_asked(story: Story, tmp_path: Path) -> None:
    target = tmp_path / "s.json"
    target.write_text("precious")
    call = (
        "evaluate",
        story.store,
        "--label",
        "gold",
        "--truth",
        story.truth("gold", "csv"),
        "--json",
        target,
    )
    assert tomodist(*call) == 1
    assert target.read_text() == "precious"
    assert tomodist(*call, "--overwrite") == 0
    assert json.loads(target.read_text())["results"][0]["label"] == "gold"
    assert [path.name for path in tmp_path.iterdir()] == ["s.json"]


# ------------------------------------------------------------------------------ bad inputs


class Place(NamedTuple):
    """Where a bad input is made, and what good there is beside it."""

    here: Path
    story: Story

    @property
    def gold(self) -> Path:
        return self.story.truth("gold", "csv")

    @property
    def granule(self) -> Path:
        return self.story.truth("granule")

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.here / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def mrc(self, shape: tuple[int, int, int] = SHAPE, voxel: float = VOXEL, fill: int = 1) -> Path:
        return write_mrc(self.here / "truth.mrc", np.full(shape, fill, np.int8), voxel)

    def changed(self, old: str, new: str) -> Path:
        """The table of gold with something in it replaced."""
        content = self.gold.read_text()
        assert old in content
        return self.write("gold.csv", content.replace(old, new))


Arguments = list[object]


class Bad(NamedTuple):
    name: str
    arguments: Callable[[Place], Arguments]
    words: tuple[str, ...]
    status: int = 1


def granule(p: Place, truth: Path, *more: object) -> Arguments:
    return ["evaluate", p.story.store, "--label", "granule", "--truth", truth, *more, *THREADS]


def gold(p: Place, truth: Path, *more: object) -> Arguments:
    return ["evaluate", p.story.store, "--label", "gold", "--truth", truth, *more, *THREADS]


def plain(found: Path, truth: Path, *more: object) -> Arguments:
    return ["evaluate", found, "--truth", truth, *more, *THREADS]


def nan_in_a_table(p: Place) -> Arguments:
    with p.gold.open(newline="") as file:
        first = list(csv.reader(file))[1]
    return gold(p, p.changed(",".join(first), ",".join([first[0], "nan", *first[2:]])))


def outdated(p: Place) -> Arguments:
    store = Path(shutil.copytree(p.story.store, p.here / "copy.zarr"))
    shutil.rmtree(store / "scores" / "granule")
    return ["evaluate", store, "--label", "granule", "--truth", p.granule]


STAR_OF_TWO = (
    "data_particles\n\nloop_\n_rlnTomoName\n_rlnCenteredCoordinateXAngst\n"
    "_rlnCenteredCoordinateYAngst\n_rlnCenteredCoordinateZAngst\nTS_02 1 2 3\nTS_03 1 2 3\n"
)
PIXELS = "data_\n\nloop_\n_rlnCoordinateX\n_rlnCoordinateY\n_rlnCoordinateZ\n1 2 3\n"

BAD = [
    Bad("no such store", lambda p: ["evaluate", p.here / "no.zarr", "--label", "gold", "--truth", p.gold], ("no.zarr", "no such tomogram store")),
    Bad("a stack as store", lambda p: ["evaluate", p.granule, "--label", "granule", "--truth", p.granule], ("not a tomogram store",)),
    Bad("no label", lambda p: plain(p.story.store, p.granule), ("is a tomogram store", "--label", "gold, granule")),
    Bad("unknown label", lambda p: ["evaluate", p.story.store, "--label", "lipid", "--truth", p.granule], ("no labels labelled 'lipid'", "there: gold, granule")),
    Bad("unknown label of a table", lambda p: ["evaluate", p.story.store, "--label", "lipid", "--truth", p.gold], ("no structures labelled 'lipid'", "gold, granule")),
    Bad("label of a path", lambda p: ["evaluate", p.story.store, "--label", "a/../b", "--truth", p.gold], ("'a/../b'", "letters, digits")),
    Bad("fewer truths than labels", lambda p: granule(p, p.granule, "--label", "gold"), ("--label is given 2 times", "--truth 1 times")),
    Bad("more truths than labels", lambda p: granule(p, p.granule, "--truth", p.gold), ("--label is given 1 times", "--truth 2 times")),
    Bad("kinds of some", lambda p: [*granule(p, p.granule), *gold(p, p.gold)[2:], *granule(p, p.granule)[2:], "--kind", "mask", "--kind", "boxes"], ("--kind is given 2 times", "--truth 3 times")),
    Bad("no truth", lambda p: ["evaluate", p.story.store, "--label", "gold"], ("--truth",), 2),
    Bad("missing truth", lambda p: granule(p, p.here / "no.mrc"), ("no.mrc", "no such file", "check the path")),
    Bad("missing result", lambda p: plain(p.here / "no.mrc", p.granule), ("no.mrc", "no such file", "check the path")),
    Bad("truncated truth", lambda p: granule(p, p.write("t.mrc", p.granule.read_bytes()[:20000])), ("t.mrc", "cut short", "copy it again")),
    Bad("truncated table", lambda p: gold(p, p.write("t.csv", p.gold.read_text()[:-30])), ("t.csv, line 5", "columns", "cut short")),
    Bad("HTML as volume", lambda p: granule(p, p.write("t.mrc", "<!DOCTYPE html>")), ("t.mrc", "HTML")),
    Bad("HTML as table", lambda p: gold(p, p.write("t.star", "<!DOCTYPE html>")), ("t.star", "HTML")),
    Bad("folder as truth", lambda p: granule(p, p.here), ("neither a Zarr array", "give MRC, Zarr, STAR or CSV")),
    Bad("store as truth", lambda p: granule(p, p.story.store), ("is a tomogram store", "TS_01.zarr/labels/gold")),
    Bad("other shape", lambda p: granule(p, p.mrc((56, 70, 75))), ("truth.mrc has 56 x 70 x 75", "granule has 56 x 70 x 74", "same voxels")),
    Bad("other voxels", lambda p: granule(p, p.mrc(voxel=20.1)), ("of 20.1 Å", "of 20 Å", "same voxels")),
    Bad("region of other shape", lambda p: granule(p, p.granule, "--within", p.mrc((56, 71, 74))), ("56 x 71 x 74", "56 x 70 x 74")),
    Bad("region of other shape for a table", lambda p: gold(p, p.gold, "--within", p.mrc((56, 71, 74))), ("56 x 71 x 74", "56 x 70 x 74")),
    Bad("table as region", lambda p: granule(p, p.granule, "--within", p.gold), ("--within", "is a table", "give a volume")),
    Bad("empty region", lambda p: granule(p, p.granule, "--within", p.mrc(fill=0)), ("truth.mrc", "no voxel of anything but 0")),
    Bad("empty truth", lambda p: granule(p, p.mrc(fill=0)), ("truth.mrc", "no voxel of anything but 0", "nothing to compare with")),
    Bad("empty class", lambda p: granule(p, p.granule, "--value", 77), ("no voxel of the value 77",)),
    Bad("empty table", lambda p: gold(p, p.write("t.csv", p.gold.read_text().splitlines()[0])), ("t.csv has no structures", "nothing to compare with")),
    Bad("NaN in a table", nan_in_a_table, ("gold.csv, line 2", "z_angstrom is 'nan'", "correct or remove")),
    Bad("table without a unit", lambda p: gold(p, p.changed("z_angstrom", "z")), ("no column z_angstrom", "z has no unit")),
    Bad("table without a column", lambda p: gold(p, p.changed("size_x_angstrom", "note")), ("no column size_x_angstrom", "note")),
    Bad("boxes without sizes", lambda p: gold(p, p.write("t.csv", "z_angstrom,y_angstrom,x_angstrom\n1,2,3\n"), "--kind", "boxes"), ("t.csv has no sizes", "--kind points")),
    Bad("points without a distance", lambda p: gold(p, p.gold, "--kind", "points"), ("--distance", "radius")),
    Bad("a distance without points", lambda p: granule(p, p.granule, "--distance", 10), ("--distance is of points", "--kind points")),
    Bad("negative distance", lambda p: gold(p, p.gold, "--distance", -4), ("--distance is -4.0 Å", "positive")),
    Bad("edges of a table", lambda p: gold(p, p.gold, "--kind", "edges"), ("is a table", "--kind edges", "--kind points")),
    Bad("points of a volume", lambda p: granule(p, p.granule, "--kind", "points"), ("is a volume", "--kind points", "--kind mask")),
    Bad("unknown kind", lambda p: gold(p, p.gold, "--kind", "spheres"), ("'spheres'", "mask", "points"), 2),
    Bad("value of a table", lambda p: gold(p, p.gold, "--value", 1), ("is a table", "--value")),
    Bad("found value of a store", lambda p: granule(p, p.granule, "--found-value", 1), ("--found-value", "leave it out")),
    Bad("a table beside a volume", lambda p: plain(p.gold, p.granule), ("is a table", "is a volume", "both")),
    Bad("a volume beside a table", lambda p: plain(p.granule, p.gold), ("is a volume", "is a table", "both")),
    Bad("other tomograms' particles", lambda p: gold(p, p.write("t.star", STAR_OF_TWO), "--distance", 9), ("t.star", "2 tomograms (TS_02, TS_03)", "'TS_01'")),
    Bad("pixels of unknown size", lambda p: gold(p, p.write("t.star", PIXELS), "--distance", 9), ("t.star", "no pixel size", "--pixel-size")),
    Bad("tables of two frames", lambda p: plain(p.gold, p.write("t.star", PIXELS), "--distance", 9, "--pixel-size", 20), ("centre of the first voxel", "corner", "give a store")),
    Bad("endless distance", lambda p: granule(p, p.granule, "--max-distance", 4000), ("--max-distance is 4000", "1 to 255")),
    Bad("too little memory", lambda p: granule(p, p.granule, "--memory", "400MiB", "--max-distance", 200), ("evaluate mask", "400.0 MiB", "--memory")),
    Bad("brick of odd size", lambda p: granule(p, p.granule, "--brick", "60,64,64"), ("--brick", "multiples of 64"), 2),
    Bad("garbage cluster", lambda p: [*granule(p, p.granule)[:-1], "slurmy"], ("--cluster", "slurmy")),
    Bad("JSON over a file", lambda p: granule(p, p.granule, "--json", p.write("s.json", "precious")), ("s.json exists", "--overwrite")),
    Bad("JSON over a folder", lambda p: granule(p, p.granule, "--json", p.here, "--overwrite"), ("is a folder",)),
    Bad("JSON into no folder", lambda p: granule(p, p.granule, "--json", p.here / "no" / "s.json"), ("s.json", "no folder", "make it first")),
    Bad("outdated result", outdated, ("labels/granule was made from another scores/granule", "then evaluate")),
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_one_line_says_what_and_nothing_is_left_behind(
    bad: Bad, story: Story, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = bad.arguments(Place(tmp_path, story))
    before = tree(tmp_path), tree(story.folder)
    start = time.perf_counter()
    status = tomodist(*arguments)
    elapsed = time.perf_counter() - start
    lines = error_lines(capsys)
    assert status == bad.status, lines
    if status == 1:
        assert len(lines) == 1
        assert lines[0].startswith("tomodist: ")
    assert [word for word in bad.words if word not in lines[-1]] == [], lines[-1]
    assert (tree(tmp_path), tree(story.folder)) == before
    assert elapsed < 5

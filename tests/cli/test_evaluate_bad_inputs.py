"""What users get wrong with ``tomodist evaluate``: each is one line, and nothing is left behind."""

# ruff: noqa: E501 -- one row of a table is one line

from __future__ import annotations

import csv
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from tests.cli.evaluated import SHAPE, Story, make_story
from tests.cli.materials import THREADS, tomodist, tree
from tests.cli.simulated import VOXEL
from tests.cli.test_bad_inputs import error_lines
from tests.sources.truths import write_mrc

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return make_story(tmp_path_factory.mktemp("story"))


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
    Bad("unknown label", lambda p: ["evaluate", p.story.store, "--label", "lipid", "--truth", p.granule], ("no labels labelled 'lipid'", "available: gold, granule")),
    Bad("unknown label of a table", lambda p: ["evaluate", p.story.store, "--label", "lipid", "--truth", p.gold], ("no structures labelled 'lipid'", "gold, granule")),
    Bad("label of a path", lambda p: ["evaluate", p.story.store, "--label", "a/../b", "--truth", p.gold], ("'a/../b'", "letters, digits")),
    Bad("fewer truths than labels", lambda p: granule(p, p.granule, "--label", "gold"), ("--label is used 2 times", "--truth 1 times")),
    Bad("more truths than labels", lambda p: granule(p, p.granule, "--truth", p.gold), ("--label is used 1 times", "--truth 2 times")),
    Bad("kinds of some", lambda p: [*granule(p, p.granule), *gold(p, p.gold)[2:], *granule(p, p.granule)[2:], "--kind", "mask", "--kind", "boxes"], ("--kind is used 2 times", "--truth 3 times")),
    Bad("no truth", lambda p: ["evaluate", p.story.store, "--label", "gold"], ("--truth",), 2),
    Bad("missing truth", lambda p: granule(p, p.here / "no.mrc"), ("no.mrc", "file not found", "check the path")),
    Bad("missing result", lambda p: plain(p.here / "no.mrc", p.granule), ("no.mrc", "file not found", "check the path")),
    Bad("truncated truth", lambda p: granule(p, p.write("t.mrc", p.granule.read_bytes()[:20000])), ("t.mrc", "cut short", "copy it again")),
    Bad("truncated table", lambda p: gold(p, p.write("t.csv", p.gold.read_text()[:-30])), ("t.csv, line 5", "columns", "truncated or damaged")),
    Bad("HTML as volume", lambda p: granule(p, p.write("t.mrc", "<!DOCTYPE html>")), ("t.mrc", "HTML")),
    Bad("HTML as table", lambda p: gold(p, p.write("t.star", "<!DOCTYPE html>")), ("t.star", "HTML")),
    Bad("folder as truth", lambda p: granule(p, p.here), ("neither a Zarr array", "use MRC, Zarr, STAR or CSV")),
    Bad("store as truth", lambda p: granule(p, p.story.store), ("is a tomogram store", "TS_01.zarr/labels/gold")),
    Bad("other shape", lambda p: granule(p, p.mrc((56, 70, 75))), ("truth.mrc has 56 x 70 x 75", "granule has 56 x 70 x 74", "same voxels")),
    Bad("other voxels", lambda p: granule(p, p.mrc(voxel=20.1)), ("of 20.1 Å", "of 20 Å", "same voxels")),
    Bad("region of other shape", lambda p: granule(p, p.granule, "--within", p.mrc((56, 71, 74))), ("56 x 71 x 74", "56 x 70 x 74")),
    Bad("region of other shape for a table", lambda p: gold(p, p.gold, "--within", p.mrc((56, 71, 74))), ("56 x 71 x 74", "56 x 70 x 74")),
    Bad("table as region", lambda p: granule(p, p.granule, "--within", p.gold), ("--within", "is a table", "use a volume")),
    Bad("empty region", lambda p: granule(p, p.granule, "--within", p.mrc(fill=0)), ("truth.mrc", "no voxel of anything but 0")),
    Bad("empty truth", lambda p: granule(p, p.mrc(fill=0)), ("truth.mrc", "no voxel of anything but 0", "nothing to compare with")),
    Bad("empty class", lambda p: granule(p, p.granule, "--value", 77), ("no voxel of the value 77",)),
    Bad("empty table", lambda p: gold(p, p.write("t.csv", p.gold.read_text().splitlines()[0])), ("t.csv has no structures", "nothing to compare with")),
    Bad("NaN in a table", nan_in_a_table, ("gold.csv, line 2", "z_angstrom is 'nan'", "correct or remove")),
    Bad("table without a unit", lambda p: gold(p, p.changed("z_angstrom", "z")), ("no column z_angstrom", "z has no unit")),
    Bad("table without a column", lambda p: gold(p, p.changed("size_x_angstrom", "note")), ("no column size_x_angstrom", "note")),
    Bad("boxes without sizes", lambda p: gold(p, p.write("t.csv", "z_angstrom,y_angstrom,x_angstrom\n1,2,3\n"), "--kind", "boxes"), ("t.csv has no sizes", "kind points")),
    Bad("points without a distance", lambda p: gold(p, p.gold, "--kind", "points"), ("--distance", "radius")),
    Bad("a distance without points", lambda p: granule(p, p.granule, "--distance", 10), ("--distance applies only to points", "kind points")),
    Bad("negative distance", lambda p: gold(p, p.gold, "--distance", -4), ("--distance is -4.0 Å", "positive")),
    Bad("edges of a table", lambda p: gold(p, p.gold, "--kind", "edges"), ("is a table", "--kind edges", "kind points")),
    Bad("points of a volume", lambda p: granule(p, p.granule, "--kind", "points"), ("is a volume", "kind points", "kind mask")),
    Bad("unknown kind", lambda p: gold(p, p.gold, "--kind", "spheres"), ("'spheres'", "mask", "points"), 2),
    Bad("value of a table", lambda p: gold(p, p.gold, "--value", 1), ("is a table", "--value")),
    Bad("found value of a store", lambda p: granule(p, p.granule, "--found-value", 1), ("--found-value", "remove it")),
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
    Bad("JSON into no folder", lambda p: granule(p, p.granule, "--json", p.here / "no" / "s.json"), ("s.json", "not found", "create it first")),
    Bad("outdated result", outdated, ("labels/granule is out of date: its source scores/granule", "re-create labels/granule")),
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_one_line_says_what_and_nothing_is_left_behind(
    bad: Bad, story: Story, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = bad.arguments(Place(tmp_path, story))
    before = tree(tmp_path), tree(story.folder)
    start = time.process_time()
    status = tomodist(*arguments)
    elapsed = time.process_time() - start
    lines = error_lines(capsys)
    assert status == bad.status, lines
    if status == 1:
        assert len(lines) == 1
        assert lines[0].startswith("tomodist: ")
    assert [word for word in bad.words if word not in lines[-1]] == [], lines[-1]
    assert (tree(tmp_path), tree(story.folder)) == before
    assert elapsed < 30

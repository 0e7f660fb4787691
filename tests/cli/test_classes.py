"""``tomodist segment --classes`` on a simulated cell, up to exports and the truth."""

# ruff: noqa: E501 -- one row of a table is one line

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib.image
import mrcfile
import numpy as np
import numpy.typing as npt
import pytest

from tests.cli.materials import THREADS, ingest, tomodist, tree, write_stack
from tests.cli.simulated import VOXEL
from tests.cli.test_frames import Frame, raw_series
from tomodist.metrics import Confusion
from tomodist.store.tomogram import Tomogram, Unit

if TYPE_CHECKING:
    from collections.abc import Callable

SHAPE = (56, 90, 96)
NAMES = ("mitochondrion", "granule", "gold")


class Story(NamedTuple):
    """A simulated cell, its label maps and a store in which they were lifted."""

    folder: Path
    store: Path

    @property
    def maps(self) -> Path:
        return self.folder / "classes.mrc"

    def truth(self, name: str) -> Path:
        return self.folder / f"TS_01_{name}_truth.mrc"

    def array(self, unit: str) -> npt.NDArray[Any]:
        return Unit(Tomogram.open(self.store), unit).volume.read()


def content(path: Path) -> npt.NDArray[Any]:
    with mrcfile.open(path) as file:
        return np.array(file.data)


def label_maps(folder: Path) -> npt.NDArray[np.int8]:
    """What lies inside hides what lies around it."""
    labels = np.zeros(content(folder / "TS_01_gold_maps.mrc").shape, np.int8)
    for value, name in enumerate(NAMES, start=1):
        labels[content(folder / f"TS_01_{name}_maps.mrc") > 0] = value
    return labels


def segment(story: Story, *more: object, maps: Path | None = None) -> list[object]:
    given = ("--maps", maps or story.maps, "--label", "cell", *THREADS)
    return ["segment", story.store, *given, *more]


ALL = ("--classes", ",".join(NAMES))


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("classes")
    story = Story(folder, folder / "TS_01.zarr")
    size = ("--width", SHAPE[2], "--height", SHAPE[1], "--thickness", SHAPE[0])
    specimen = ("--mitochondria", 1, "--granules", 2, "--gold", 5, "--seed", 1)
    tilts = ("--tilts=-60,60,6", "--name", "TS_01")
    assert tomodist("simulate", "cell", *size, *specimen, *tilts, "-o", folder) == 0
    assert ingest(folder / "TS_01.mrc", story.store, SHAPE[0]) == 0
    write_stack(story.maps, label_maps(folder), VOXEL)
    assert tomodist(*segment(story, *ALL)) == 0
    return story


def test_classes_agree_with_the_truth(story: Story, tmp_path: Path) -> None:
    """Voxels around granules are lost to the mitochondrion: its maps have holes in front of them."""
    target, pairs = tmp_path / "scores.json", []
    for value, name in enumerate(NAMES, start=1):
        pairs += ["--label", "cell", "--found-value", value, "--truth", story.truth(name)]
    assert tomodist("evaluate", story.store, *pairs, "--json", target, *THREADS) == 0
    results = json.loads(target.read_text())["results"]
    assert [one["label"] for one in results] == [f"cell/{name}" for name in NAMES]
    least = {"mitochondrion": 0.6, "granule": 0.8, "gold": 0.5}
    for value, (name, one) in enumerate(zip(NAMES, results, strict=True), start=1):
        found = story.array("labels/cell") == value
        assert one["iou"] == Confusion.of(found, content(story.truth(name)) > 0).iou > least[name]


def test_every_class_is_a_label_of_its_own(story: Story, tmp_path: Path) -> None:
    granules = story.array("labels/granule")
    assert granules.max() == 2
    out = tmp_path / "granule.csv"
    assert tomodist("export", story.store, "--label", "granule", "--format", "csv", "-o", out) == 0
    assert len(out.read_text().splitlines()) == 3
    truth = ("--truth", story.truth("granule"), *THREADS)
    assert tomodist("evaluate", story.store, "--label", "granule", *truth) == 0
    decided = story.array("labels/cell")
    assert set(np.unique(decided)) == {0, 1, 2, 3}
    for value, name in enumerate(NAMES, start=1):
        assert (story.array(f"labels/{name}")[decided == value] > 0).all()


def test_class_numbers_are_exported_as_bytes(story: Story, tmp_path: Path) -> None:
    for volume, expected in (
        ("labels", story.array("labels/cell")),
        ("mask", story.array("labels/cell") > 0),
    ):
        path = tmp_path / f"{volume}.mrc"
        given = ("--label", "cell", "--volume", volume, "--format", "mrc", "-o", path)
        assert tomodist("export", story.store, *given) == 0
        found = content(path)
        assert found.dtype == np.int8
        np.testing.assert_array_equal(found, expected)


def test_info_names_the_classes(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert tomodist("info", story.store) == 0
    said = capsys.readouterr().out
    for words in ("maps/cell", "labels/cell", "1 = mitochondrion", "class_of=cell", "value=3"):
        assert words in said
    assert "OUTDATED" not in said


def test_a_picture_shows_a_colour_for_every_class(story: Story) -> None:
    image = matplotlib.image.imread(story.folder / "TS_01_cell_classes.png")[..., :3]
    height, width = image.shape[:2]
    image[6 * height // 10 :, 6 * width // 10 :] = 1  # the legend
    for color in ("1f77b4", "ff7f0e", "2ca02c"):
        rgb = np.array([int(color[k : k + 2], 16) for k in (0, 2, 4)]) / 255
        n = (np.abs(image - rgb).max(axis=2) < 0.01).sum()
        assert n > 50, color
    expected = {f"TS_01_{name}_{kind}.png" for name in NAMES for kind in ("slices", "tilts")}
    assert expected <= {path.name for path in story.folder.glob("*.png")}


def test_a_dry_run_and_a_second_run_write_nothing(
    story: Story, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(story.folder, skip="\n")
    capsys.readouterr()
    assert tomodist(*segment(story, *ALL, "--dry-run")) == 0
    said = capsys.readouterr().out
    assert [step in said for step in ("backproject", "select", "decide")] == [True] * 3
    monkeypatch.setattr("tomodist.pictures.draw_all", lambda *_: [])
    monkeypatch.setattr("tomodist.pictures.draw_classes", lambda *_: "")
    assert tomodist(*segment(story, *ALL)) == 0
    assert tree(story.folder, skip="\n") == before


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("form", ["npy", "mrc of float32"])
def test_without_names_classes_are_numbered(story: Story, tmp_path: Path, form: str) -> None:
    """By the values that occur, in whatever type they are stored."""
    copy = Story(tmp_path, Path(shutil.copytree(story.store, tmp_path / "TS_01.zarr")))
    labels = np.where(label_maps(story.folder) == 1, 0, label_maps(story.folder))
    maps = tmp_path / "labels.npy"
    if form == "npy":
        np.save(maps, labels.astype(np.int64))
    else:
        maps = write_stack(tmp_path / "labels.mrc", labels.astype(np.float32), VOXEL)
    command = segment(copy, "--classes", "auto", "--label", "part", maps=maps)
    assert tomodist(*command) == 0
    tomogram = Tomogram.open(copy.store)
    assert tomogram.label("part").labels.attributes["classes"] == {"2": "part-2", "3": "part-3"}
    for name, other in (("part-2", "granule"), ("part-3", "gold")):
        np.testing.assert_array_equal(copy.array(f"labels/{name}"), story.array(f"labels/{other}"))


@pytest.mark.usefixtures("without_pictures")
def test_label_maps_of_raw_images_lie_where_binary_ones_do(tmp_path: Path) -> None:
    frame = Frame((88, 101), 84.0, shifted=True)
    stack, _ = raw_series(tmp_path, frame, radius=6)
    store = tmp_path / "TS.zarr"
    assert ingest(stack, store, 40, "--alignment", stack.with_suffix(".xf")) == 0
    masks = content(tmp_path / "raw_gold_maps.mrc") > 0
    labels: npt.NDArray[np.int8] = np.where(masks, 2, 0).astype(np.int8)
    labels[:, ::9] = np.where(masks[:, ::9], 1, 0)  # lines, which no mean would survive
    maps = write_stack(tmp_path / "labels.mrc", labels, VOXEL)
    story = Story(tmp_path, store)
    given = ("--classes", "line,ball", "--maps-frame", "raw", "--threshold", 0.2)
    assert tomodist(*segment(story, *given, maps=maps)) == 0
    binary = ("--maps", tmp_path / "raw_gold_maps.mrc", "--maps-frame", "raw", *THREADS)
    assert tomodist("segment", store, "--label", "gold", *binary, "--threshold", 0.2) == 0
    tomogram = Tomogram.open(store)
    stored = tomogram.label("cell").maps.array("maps").read()
    assert set(np.unique(stored)) == {0, 1, 2, 255}
    there = tomogram.label("gold").maps.array("maps").read()
    agreement = Confusion.of(np.isin(stored, (1, 2)), there == 1)
    assert agreement.iou > 0.93
    np.testing.assert_array_equal(stored == 255, there == 2)
    assert 0.08 < (stored == 1).sum() / (there == 1).sum() < 0.14  # a ninth
    assert (story.array("labels/cell") > 0).any()


# --------------------------------------------------------------------- what users get wrong


class Bad(NamedTuple):
    """Options and maps that cannot be used, and what must be said about it."""

    name: str
    given: Callable[[Story, Path], list[object]]
    words: tuple[str, ...]
    status: int = 1


def changed(value: float, section: int = 7, dtype: type = np.float32) -> Any:
    """Label maps of which one pixel of a section has another value."""

    def given(story: Story, here: Path) -> list[object]:
        labels: npt.NDArray[Any] = label_maps(story.folder).astype(dtype)
        labels[section, 5, 6] = value
        np.save(here / "labels.npy", labels)
        return segment(story, *ALL, maps=here / "labels.npy")

    return given


def of(*more: object) -> Callable[[Story, Path], list[object]]:
    return lambda story, _: segment(story, *more)


def shaped(*shape: int) -> Callable[[Story, Path], list[object]]:
    def given(story: Story, here: Path) -> list[object]:
        np.save(here / "labels.npy", np.ones(shape, np.uint8))
        return segment(story, *ALL, maps=here / "labels.npy")

    return given


def nothing(story: Story, here: Path) -> list[object]:
    np.save(here / "labels.npy", np.zeros((21, *SHAPE[1:]), np.uint8))
    return segment(story, "--classes", "auto", maps=here / "labels.npy")


def boxes(story: Story, _: Path) -> list[object]:
    table = story.folder / "TS_01_gold_boxes.csv"
    return ["segment", story.store, "--boxes", table, "--label", "cell", *ALL, *THREADS]


def evaluate(label: str, value: int, truth: str = "granule_truth.mrc") -> Any:
    def given(story: Story, _: Path) -> list[object]:
        pair = (
            "--label",
            label,
            "--found-value",
            value,
            "--truth",
            story.folder / f"TS_01_{truth}",
        )
        return ["evaluate", story.store, *pair, *THREADS]

    return given


def exported(volume: str, form: str) -> Any:
    def given(story: Story, here: Path) -> list[object]:
        out = ("--format", form, "-o", here / f"x.{form}")
        return ["export", story.store, "--label", "cell", "--volume", volume, *out]

    return given


BAD = [
    Bad("value above K", changed(4, dtype=np.uint8), ("labels.npy", "section 7 holds 4", "names 3", "3 = gold", "name every value")),
    Bad("value of another section", changed(200, 20, np.int16), ("section 20 holds 200", "names 3")),
    Bad("255", changed(255, dtype=np.uint8), ("section 7 holds 255", "up to 254")),
    Bad("value beyond bytes", changed(300, dtype=np.int32), ("section 7 holds 300", "up to 254")),
    Bad("negative value", changed(-1, dtype=np.int16), ("section 7 holds -1", "0 for nothing", "correct")),
    Bad("fractions", changed(0.5), ("section 7 holds 0.5", "whole numbers", "remove --classes")),
    Bad("NaN", changed(np.nan), ("section 7 holds nan", "whole numbers")),
    Bad("infinity", changed(np.inf), ("section 7 holds inf", "up to 254")),
    Bad("wrong size", shaped(21, 90, 97), ("labels.npy", "(21, 90, 97)", "90 x 96", "one map per tilt")),
    Bad("wrong number of tilts", shaped(20, 90, 96), ("(20, 90, 96)", "21 tilts")),
    Bad("nothing at all", nothing, ("labels.npy", "holds only 0", "other maps")),
    Bad("a class twice", of("--classes", "gold,granule,gold"), ("'gold' twice", "different name")),
    Bad("the label as a class", of("--classes", "granule,cell,gold"), ("'cell'", "--label of all classes", "another name")),
    Bad("a class of a path", of("--classes", "a/b,granule,gold"), ("'a/b'", "letters, digits")),
    Bad("a class without a name", of("--classes", "granule,,gold"), ("granule,,gold", "empty name"), 2),
    Bad("no classes", of("--classes", ""), ("empty name",), 2),
    Bad("too many classes", of("--classes", ",".join(f"c{k}" for k in range(255))), ("names 255 classes", "1 to 254")),
    Bad("too few classes", of("--classes", "mitochondrion,granule"), ("classes.mrc", "holds 3", "names 2", "2 = granule")),
    Bad("other names", of("--classes", "body,granule,gold"), ("maps/cell", "made differently", "--overwrite")),
    Bad("a class that is another class", of("--classes", "gold,x,y"), ("maps/gold exists", "not class 1 of cell", "--overwrite", "another name in --classes")),
    Bad("tilts left out by themselves", of(*ALL, "--exclude-tilts", "auto"), ("--exclude-tilts is 'auto'", "every class", "name them")),
    Bad("no such tilt", of(*ALL, "--exclude-tilts", "3,21"), ("--exclude-tilts names tilt 21", "0 to 20")),
    Bad("groups of tilts", of(*ALL, "--tilts-per-task", 5), ("--tilts-per-task is 5", "3 classes", "all 21 tilts", "--brick")),
    Bad("too little memory", of(*ALL, "--memory", "100MiB"), ("100.0 MiB", "--memory")),
    Bad("classes of boxes", boxes, ("--classes", "--maps", "--boxes")),
    Bad("flipped", of(*ALL, "--flip-y"), ("--flip-y", "--boxes", "remove them")),
    Bad("no maps", lambda s, _: ["segment", s.store, "--label", "cell", *ALL], ("--classes", "applies to --maps")),
    Bad("no label", lambda s, _: ["segment", s.store, "--maps", s.maps, *ALL], ("--label",)),
    Bad("evaluate a class that is not there", evaluate("cell", 4), ("--found-value 4", "1 = mitochondrion, 2 = granule, 3 = gold", "use one of these")),
    Bad("evaluate a class of one class", evaluate("granule", 1), ("--found-value 1", "labels/granule", "is one class", "remove it")),
    Bad("evaluate a class of a table", evaluate("granule", 1, "granule_truth.csv"), ("--found-value", "table", "remove it")),
    Bad("scores of all classes", exported("scores", "mrc"), ("no scores", "'cell'", "granule")),
    Bad("table of all classes", exported("labels", "csv"), ("no structures", "'cell'", "granule")),
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_one_line_says_what_and_nothing_changes(
    story: Story, tmp_path: Path, bad: Bad, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = bad.given(story, tmp_path)
    before = tree(story.folder)
    capsys.readouterr()
    status = tomodist(*arguments)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert status == bad.status, lines
    assert [word for word in bad.words if word not in lines[-1]] == [], lines
    assert tree(story.folder) == before

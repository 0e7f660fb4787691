"""``--boxes``: 2D boxes from other programs become the true 3D structures, or one clear line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from tests.cli.materials import (
    ANGLES,
    BEADS,
    HEIGHT,
    N_TILTS,
    PIXEL,
    THREADS,
    WIDTH,
    ingest,
    tomodist,
    tree,
    write_series,
)
from tests.cli.simulated import VOXEL, farthest, found_centers
from tests.cli.test_frames import Frame, raw_series
from tests.formats.test_annotations import imod_object, write_mod
from tomodist.store.tomogram import Tomogram
from tomodist.values.projection import project_points

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TRUE = np.array(BEADS) * PIXEL
SIZES = (6, 5)  # pixels; even and odd
NAMES = ("gold", "granule")


class Seen(NamedTuple):
    """Where a bead is seen: its section, centre in index coordinates, size and class."""

    section: int
    y: float
    x: float
    size: int
    name: str


def seen() -> list[Seen]:
    """The true places of the beads of `tests.cli.materials` in every tilt."""
    found = []
    for (z, y, x), size, name in zip(BEADS, SIZES, NAMES, strict=True):
        for t, angle in enumerate(np.deg2rad(ANGLES)):
            middle = (WIDTH - 1) / 2
            column = (x - middle) * np.cos(angle) + (z - 7.5) * np.sin(angle) + middle
            found.append(Seen(t, y, float(column), size, name))
    return found


def coco(folder: Path) -> Path:
    """A data set of which the order of ids is the order of the tilts."""
    images = [{"id": 3 * k + 1, "width": WIDTH, "height": HEIGHT} for k in range(N_TILTS)]
    boxes = [
        {"image_id": 3 * s.section + 1, "category_id": NAMES.index(s.name),
         "bbox": [s.x - s.size / 2 + 0.5, s.y - s.size / 2 + 0.5, s.size, s.size]}
        for s in seen()
    ]  # fmt: skip
    names = [{"id": k, "name": name} for k, name in enumerate(NAMES)]
    path = folder / "boxes.json"
    path.write_text(json.dumps({"images": images, "annotations": boxes, "categories": names}))
    return path


def table(folder: Path) -> Path:
    lines = [f"{ANGLES[s.section]:.1f};{s.y};{s.x:.4f};{s.size};{s.name}" for s in reversed(seen())]
    path = folder / "boxes.csv"
    path.write_text("\n".join(["tilt_angle;y;x;diameter;class", *lines]) + "\n")
    return path


def voc(folder: Path) -> Path:
    """Corners are whole pixels here, up to half a pixel off."""
    path = folder / "voc"
    path.mkdir()
    for k in range(N_TILTS):
        objects = ""
        for s in (s for s in seen() if s.section == k):
            top, left = (round(c - (s.size - 1) / 2) + 1 for c in (s.y, s.x))
            edges = {"xmin": left, "ymin": top, "xmax": left + s.size - 1, "ymax": top + s.size - 1}
            box = "".join(f"<{edge}>{value}</{edge}>" for edge, value in edges.items())
            objects += f"<object><name>{s.name}</name><bndbox>{box}</bndbox></object>"
        (path / f"TS_01_{k}.xml").write_text(f"<annotation>{objects}</annotation>")
    return path


def napari(folder: Path) -> Path:
    lines = [f"{k}.0,{s.section}.0,{s.y},{s.x},{s.name}" for k, s in enumerate(seen())]
    path = folder / "points.csv"
    path.write_text("\n".join(["index,axis-0,axis-1,axis-2,class", *lines]) + "\n")
    return path


def model2point(folder: Path) -> Path:
    lines = [
        f"{NAMES.index(s.name) + 1} 1 {s.x + 0.5:.2f} {s.y + 0.5:.2f} {s.section}" for s in seen()
    ]
    path = folder / "points.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def model(folder: Path) -> Path:
    points = {name: [(s.x + 0.5, s.y + 0.5, s.section) for s in seen() if s.name == name]
              for name in NAMES}  # fmt: skip
    content = write_mod(folder / "beads.mod").read_bytes()
    head = content[: content.index(b"OBJT")]
    head = head[: 8 + 128 + 12] + (2).to_bytes(4, "big") + head[8 + 128 + 16 :]  # two objects
    objects = b"".join(imod_object(name.encode(), p) for name, p in points.items())  # type: ignore[arg-type]
    path = folder / "beads.mod"
    path.write_bytes(head + objects + b"IEOF")
    return path


def star(folder: Path) -> Path:
    labels = ("rlnCoordinateX", "rlnCoordinateY", "rlnMicrographName", "rlnClassNumber")
    head = "".join(f"_{label} #{k}\n" for k, label in enumerate(labels, 1))
    lines = [f"{s.x} {s.y} {s.section + 1:06d}@TS_01.mrc {s.size}\n" for s in seen()]
    path = folder / "beads.star"
    path.write_text(f"data_particles\n\nloop_\n{head}{''.join(lines)}")
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("boxes")
    path = folder / "TS_01.zarr"
    assert ingest(write_series(folder), path) == 0
    return path


def nearest(found: np.ndarray[tuple[int, ...], np.dtype[np.float64]], bead: int) -> float:
    """How far the only structure is from a bead, in voxels."""
    assert len(found) == 1
    return float(np.linalg.norm(found[0] - TRUE[bead])) / PIXEL


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize(
    ("write", "points", "labels", "worst"),
    [
        (coco, False, NAMES, 0.05),
        (table, False, NAMES, 0.05),
        (voc, False, NAMES, 0.75),
        (napari, True, NAMES, 0.05),
        (model2point, True, ("object1", "object2"), 0.05),
        (model, True, NAMES, 0.05),
        (star, True, ("class6", "class5"), 0.05),
    ],
)
def test_every_class_is_located_where_it_is(
    store: Path,
    tmp_path: Path,
    write: Callable[[Path], Path],
    *,
    points: bool,
    labels: tuple[str, str],
    worst: float,
) -> None:
    size = ("--diameter", 6 * PIXEL) if points else ()
    command = ("locate", store, "--boxes", write(tmp_path), *size, "--overwrite", *THREADS)
    assert tomodist(*command) == 0
    for bead, label in enumerate(labels):
        assert nearest(found_centers(store, label), bead) < worst
        table = Tomogram.open(store).label(label).structures.dataset().load()
        assert table["n_tilts"].values.tolist() == [N_TILTS]
        assert float(table["residual"].max()) < worst


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("method", ["tracks", "votes"])
def test_classes_that_overlap_stay_apart(store: Path, tmp_path: Path, method: str) -> None:
    """A small bead inside of a large vesicle: both are there, each under its own name."""
    lines = [f"{s.section},{s.y},{s.x},{size},{name}"
             for s in seen() if s.name == "gold" for size, name in ((4, "bead"), (14, "vesicle"))]  # fmt: skip
    path = tmp_path / "nested.csv"
    path.write_text("\n".join(["section,y,x,diameter,class", *lines]) + "\n")
    command = ("locate", store, "--boxes", path, "--method", method, "--overwrite", *THREADS)
    assert tomodist(*command) == 0
    for label, size in (("bead", 4), ("vesicle", 14)):
        assert nearest(found_centers(store, label), 0) < 0.05
        table = Tomogram.open(store).label(label).structures.dataset().load()
        np.testing.assert_allclose(table["size_y"] / PIXEL, size, atol=0.01)
        np.testing.assert_allclose(table["size_x"] / PIXEL, size, atol=2)


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("binning", [1, 2])
def test_points_on_raw_images_of_a_lying_axis(tmp_path: Path, binning: int) -> None:
    """Where the geometry of the raw images projects the true centres: nothing is resampled here."""
    frame = Frame((88, 101), 84.0, shifted=True)
    stack, truth = raw_series(tmp_path, frame)
    raw = tmp_path / "raw.zarr"
    alignment = ("--alignment", stack.with_suffix(".xf"))
    assert ingest(stack, raw, 40, *alignment, "--no-resample") == 0
    geometry, grid = Tomogram.open(raw).geometry, Tomogram.open(raw).grid
    places = project_points(geometry.matrices(grid), truth / VOXEL)
    lines = [f"1 {x + 0.5:.3f} {y + 0.5:.3f} {t}" for t, p in enumerate(places) for y, x in p]
    points = tmp_path / "points.txt"
    points.write_text("\n".join(lines) + "\n")
    store = tmp_path / "aligned.zarr"
    assert ingest(stack, store, 40 // binning, *alignment, "--bin", binning) == 0
    size = ("--boxes-frame", "raw", "--diameter", 4 * VOXEL, "--label", "gold")
    assert tomodist("locate", store, "--boxes", points, *size, *THREADS) == 0
    found = found_centers(store)
    assert len(found) == len(truth)
    middles = [
        np.array(Tomogram.open(s).grid.center) * VOXEL * b for s, b in ((raw, 1), (store, binning))
    ]
    assert farthest(truth - middles[0], found - middles[1]) < 0.05
    mirrored = (truth - middles[0]) * (1, 1, -1)
    assert farthest(mirrored, found - middles[1]) > 2


@pytest.mark.usefixtures("without_pictures")
def test_a_label_picks_one_class_and_a_rerun_does_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "TS_01.zarr"
    assert ingest(write_series(tmp_path), store) == 0
    command = ("locate", store, "--boxes", coco(tmp_path), *THREADS)
    assert tomodist(*command, "--label", "granule") == 0
    assert "granule: 9 boxes on 9 tilts" in capsys.readouterr().out
    assert Tomogram.open(store).names("structures") == ["granule"]
    before = tree(store, skip="\n")
    assert tomodist(*command, "--label", "granule") == 0
    assert tree(store, skip="\n") == before
    assert tomodist(*command) == 0  # and the other one beside it
    assert Tomogram.open(store).names("structures") == sorted(NAMES)
    kept = {k: v for k, v in tree(store, skip="\n").items() if "granule" in k}
    assert kept == {k: v for k, v in before.items() if "granule" in k}
    assert tomodist(*command, "--flip-y", "--label", "granule") == 1
    assert "flip_y was false, now true" in capsys.readouterr().err


@pytest.mark.usefixtures("without_pictures")
def test_segment_fills_the_ellipses_inside(store: Path, tmp_path: Path) -> None:
    command = ("segment", store, "--boxes", coco(tmp_path), "--label", "gold", *THREADS)
    assert tomodist(*command, "--overwrite") == 0
    maps = Tomogram.open(store).label("gold").maps.array("maps").read() == 1
    rows, columns = np.indices((HEIGHT, WIDTH))
    for s in (s for s in seen() if s.name == "gold"):
        expected = (rows - s.y) ** 2 + (columns - s.x) ** 2 <= (s.size / 2) ** 2
        np.testing.assert_array_equal(maps[s.section], expected)
    labels = Tomogram.open(store).label("gold").labels.volume.read()
    assert np.linalg.norm(np.argwhere(labels).mean(axis=0) - BEADS[0]) < 0.6


@pytest.mark.usefixtures("without_pictures")
def test_boxes_drawn_upside_down(store: Path, tmp_path: Path) -> None:
    flipped = tmp_path / "flipped.csv"
    lines = [f"{s.section},{HEIGHT - 1 - s.y},{s.x},{s.size}" for s in seen() if s.name == "gold"]
    flipped.write_text("\n".join(["tilt,y,x,diameter", *lines]) + "\n")
    command = ("locate", store, "--boxes", flipped, "--label", "f", "--overwrite", *THREADS)
    assert tomodist(*command, "--flip-y") == 0
    assert nearest(found_centers(store, "f"), 0) < 0.05
    assert tomodist(*command) == 0
    assert nearest(found_centers(store, "f"), 0) > 10


def test_a_dry_run_reads_the_boxes_and_writes_nothing(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(store, skip="\n")
    assert tomodist("locate", store, "--boxes", table(tmp_path), "--dry-run", *THREADS) == 0
    said = capsys.readouterr().out
    assert ("gold: 9 boxes on 9 tilts" in said, "plan" in said) == (True, True)
    assert tree(store, skip="\n") == before


# ----------------------------------------------------------------------------------- bad inputs


class Place(NamedTuple):
    here: Path
    store: Path

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.here / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path


class Bad(NamedTuple):
    """A file that cannot be used, options beside it, and what must be said."""

    name: str
    path: Callable[[Place], Path]
    words: tuple[str, ...]
    more: tuple[object, ...] = ("--label", "new")
    status: int = 1


def of(name: str, content: str | bytes) -> Callable[[Place], Path]:
    return lambda p: p.write(name, content)


def of_json(content: object) -> Callable[[Place], Path]:
    return of("bad.json", json.dumps(content))


def detection(**changed: object) -> Callable[[Place], Path]:
    good = {"image_id": "TS.mrc#1", "category_id": 1, "bbox": [1, 1, 4, 4], "score": 0.5}
    return of_json([{**good, **changed}])


def data_set(**changed: object) -> Callable[[Place], Path]:
    good = {
        "images": [{"id": 1, "section": 2}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4]}],
        "categories": [{"id": 1, "name": "gold"}],
    }
    return of_json({**good, **changed})


def part_of(write: Callable[[Path], Path], part: float) -> Callable[[Place], Path]:
    def cut(place: Place) -> Path:
        path = write(place.here)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * part)])
        return path

    return cut


def voc_of(*contents: str) -> Callable[[Place], Path]:
    def folder(place: Place) -> Path:
        path = place.here / "voc"
        path.mkdir()
        for k, content in enumerate(contents):
            (path / f"{k}.xml").write_text(content)
        return path

    return folder


def star_of(labels: str, row: str) -> Callable[[Place], Path]:
    head = "".join(f"_rln{label}\n" for label in labels.split())
    return of("bad.star", f"data_\n\nloop_\n{head}{row}\n{row}\n")


HTML = "<!DOCTYPE html><html><body>404</body></html>"
HEAD = "index,shape-type,vertex-index,axis-0,axis-1,axis-2\n"
NO_LABEL: tuple[object, ...] = ()
DIAMETER = ("--label", "new", "--diameter", 60)

# ruff: noqa: E501 -- one row of a table is one line
BAD = [
    Bad("missing file", lambda p: p.here / "no.json", ("no.json", "file not found", "check the path")),
    Bad("empty file", of("bad.json", ""), ("bad.json is empty (0 bytes)", "copy it again")),
    Bad("blank file", of("bad.csv", "\n \n"), ("bad.csv holds no box", "blank", "another file")),
    Bad("HTML page", of("bad.json", HTML), ("bad.json", "HTML", "repeat")),
    Bad("binary", of("bad.csv", bytes(range(256))), ("bad.csv", "binary")),
    Bad("prose", of("bad.txt", "Boxes of Tuesday\n"), ("bad.txt is not a file of boxes ('Boxes of Tuesday')", "use COCO JSON, CSV")),
    Bad("holds no XML", lambda p: p.here, ("no XML files", "Pascal VOC")),
    Bad("one XML file", of("bad.xml", "<annotation/>"), ("bad.xml is one XML file", "use the folder")),
    Bad("JSON cut short", part_of(coco, 0.7), ("boxes.json is not complete JSON", "copy it again")),
    Bad("JSON of something else", of_json({"a": 1}), ("is not a COCO file", "'images' and 'annotations'", "export it as COCO")),
    Bad("annotations of a wrong type", data_set(annotations={"1": 2}), ("is not a COCO file", "'annotations'")),
    Bad("annotation of a wrong type", data_set(annotations=[7]), ("annotation 0: is 7; expected an object",)),
    Bad("image of a wrong type", data_set(images=["a.png"]), ("image 0: is a.png; expected an object", "annotation 0: image_id 1 is not among")),
    Bad("image named twice", data_set(images=[{"id": 1}, {"id": 1}]), ("image 1: id 1 is used by an earlier image",)),
    Bad("image without a section", data_set(images=[{"id": 1, "section": 0}, {"id": 2}]), ("image 2 does not name a section, but others do",)),
    Bad("images of other tilts", data_set(images=[{"id": 1}]), ("holds 1 images without a section", "9 tilts", "stack.mrc#12")),
    Bad("category of a wrong type", data_set(categories=[{"id": 1.5}]), ("category 0: id is 1.5; expected an integer or a name",)),
    Bad("unknown category", data_set(categories=[{"id": 2, "name": "gold"}]), ("annotation 0: category_id 1 is not among the categories (2: gold)",)),
    Bad("no annotation", data_set(annotations=[]), ("holds no box (COCO)", "use another file")),
    Bad("bbox of words", detection(bbox=["a", 1, 1, 1]), ("detection 0: x of bbox is 'a', which is not a finite number",)),
    Bad("bbox of three", detection(bbox=[1, 2, 3]), ("bbox is [1, 2, 3]; expected [x, y, width, height]",)),
    Bad("bbox of no width", detection(bbox=[1, 2, 0, 3]), ("width of bbox is 0; it must be above 0",)),
    Bad("bbox of NaN", detection(bbox=[1, float("nan"), 2, 3]), ("y of bbox is nan, which is not a finite number",)),
    Bad("bbox of true", detection(bbox=[True, 1, 2, 3]), ("x of bbox is True, which is not a finite number",)),
    Bad("score of words", detection(score="high"), ("score is 'high', which is not a finite number",)),
    Bad("image of no name", detection(image_id=7.5), ("image_id is 7.5; expected an integer or a name",)),
    Bad("image of no section", detection(image_id="TS.mrc"), ("image_id 'TS.mrc' does not name a section", "'stack.mrc#12'")),
    Bad("section beyond", detection(image_id="TS.mrc#9"), ("detection 0: section is 9; it must be 0 to 8", "correct the file")),
    Bad("boxes beyond", detection(bbox=[100, 1, 4, 4]), ("1 of 1 boxes", "outside of the aligned images of 40 x 48", "detection 0: y = 2.5, x = 101.5")),
    Bad("size of other images", data_set(images=[{"id": 1, "section": 0, "height": 80, "width": 96}]), ("its images have 80 x 96 pixels (rows x columns), the aligned ones 40 x 48", "scale the boxes")),
    Bad("no class", detection(), ("bad.json names no classes", "--label"), NO_LABEL),
    Bad("unknown class", lambda p: coco(p.here), ("boxes.json has no class 'new' (available: gold, granule)",)),
    Bad("table cut short", part_of(table, 0.97), ("boxes.csv: line 19: has", "the header 5")),
    Bad("XML cut short", voc_of("<annotation>" * 2), ("voc: 0.xml: is not complete XML",)),
    Bad("object without a box", voc_of(*["<annotation><object><name>a</name></object></annotation>"] * 9), ("0.xml, object 0: has no <bndbox>", "and 6 more (9 in all)")),
    Bad("box without a corner", voc_of(*["<annotation><object><bndbox><xmin>1</xmin></bndbox></object></annotation>"] * 9), ("0.xml, object 0: ymin is ''", "not a finite number")),
    Bad("VOC of other tilts", voc_of(*["<annotation><object><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>3</ymax></bndbox></object></annotation>"] * 4), ("holds 4 images without a section", "9 tilts")),
    Bad("napari of one image", of("n.csv", "index,axis-0,axis-1\n0,1,2\n"), ("the axes axis-0, axis-1", "draw them on the stack")),
    Bad("shape across sections", of("n.csv", f"{HEAD}0,path,0,1,2,3\n0,path,1,2,9,9\n"), ("shape 0: reaches from section 1 to 2",)),
    Bad("unknown shape", of("n.csv", f"{HEAD}0,star,0,1,2,3\n"), ("shape 0: shape-type is 'star'", "rectangle, ellipse")),
    Bad("shape of no height", of("n.csv", f"{HEAD}0,line,0,1,2,3\n0,line,1,1,2,9\n"), ("shape 0: height is 0",)),
    Bad("points without a size", lambda p: napari(p.here), ("points.csv: holds points without sizes (napari points)", "set their --diameter"), NO_LABEL),
    Bad("model cut in its head", part_of(model, 0.1), ("beads.mod is not a complete IMOD model", "copy it again"), DIAMETER),
    Bad("model cut in its points", part_of(model, 0.9), ("beads.mod is not a complete IMOD model", "copy it again"), DIAMETER),
    Bad("point list of words", of("p.txt", "1 2 3\n1 2 x\n"), ("p.txt: line 2: a coordinate is 'x'",), DIAMETER),
    Bad("point list of odd lines", of("p.txt", "1 2 3\n1 2\n"), ("line 2: has 2 numbers; earlier lines have 3",), DIAMETER),
    Bad("STAR of a tomogram", star_of("CoordinateX CoordinateY CoordinateZ", "1 2 3"), ("bad.star has rlnCoordinateZ", "lie in a tomogram"), DIAMETER),
    Bad("STAR without coordinates", star_of("MicrographName", "1@a.mrc"), ("bad.star has no table with rlnCoordinateX and rlnCoordinateY",), DIAMETER),
    Bad("STAR without sections", star_of("CoordinateX CoordinateY MicrographName", "1 2 a.mrc"), ("row 1: rlnMicrographName 'a.mrc' does not name an image, such as 000012@stack.mrc",), DIAMETER),
    Bad("STAR from 0", star_of("CoordinateX CoordinateY MicrographName", "1 2 0@a.mrc"), ("row 1: section is -1; it must be 0 to 8",), DIAMETER),
    Bad("negative diameter", detection(), ("--diameter is -6.0 Å", "positive"), ("--label", "new", "--diameter", -6)),
    Bad("diameter of boxes", detection(), ("has boxes with sizes (COCO)", "remove --diameter"), DIAMETER),
    Bad("score of NaN", detection(), ("--min-score is nan", "number"), ("--label", "new", "--min-score", "nan")),
    Bad("score of none", detection(), ("no box reaches the --min-score 0.75", "the highest score is 0.5"), ("--label", "new", "--min-score", 0.75)),
    Bad("boxes and maps", detection(), ("exactly one of --maps, --boxes and --detector", "--detector"), ("--label", "new", "--maps", "m.mrc")),
    Bad("label of a path", detection(), ("'a/b'", "letters, digits"), ("--label", "a/b")),
]  # fmt: skip


@pytest.mark.parametrize("task", ["locate", "segment"])
@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_one_line_says_what_is_wrong_with_boxes(
    bad: Bad, task: str, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Place(tmp_path, store)
    path = bad.path(place)
    before = tree(store, skip="\n")
    assert tomodist(task, store, "--boxes", path, *bad.more, *THREADS) == bad.status
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("tomodist: ")
    assert [word for word in bad.words if word not in said] == [], said
    assert tree(store, skip="\n") == before


def test_options_of_boxes_need_boxes(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blobs = ("--detector", "blobs", "--diameter", 60)
    for option in (("--flip-y",), ("--min-score", 1)):
        assert tomodist("locate", store, "--label", "new", *blobs, *option) == 1
        assert (
            "--flip-y and --min-score apply only to --boxes; remove them" in capsys.readouterr().err
        )
    assert tomodist("locate", store, *blobs) == 2
    assert "Missing option '--label'" in capsys.readouterr().err

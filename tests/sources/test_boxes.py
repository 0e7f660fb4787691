"""Boxes made elsewhere lie where the pixels went, on the tilts that were meant, or are refused."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.cli.materials import ANGLES, HEIGHT, N_TILTS, WIDTH, bead_images, write_series
from tomodist.algorithms.resample import aligned_points, aligned_shape, aligned_sizes, resample
from tomodist.errors import InputError
from tomodist.planning.plan import Resources
from tomodist.runtime.runner import Session
from tomodist.sources.boxes import import_boxes
from tomodist.sources.placement import PointOptions
from tomodist.steps.ingest import describe_series
from tomodist.tasks.base import run
from tomodist.tasks.ingest import IngestTask

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.store.tomogram import Tomogram
    from tomodist.values.arrays import FloatArray


def transform(angle: float, shift: tuple[float, float], magnification: float = 1) -> FloatArray:
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    return np.column_stack([magnification * np.array([[c, s], [-s, c]]), shift])


TRANSFORMS = {
    "identity": transform(0, (0, 0)),
    "shifted": transform(0, (3.25, -5.5)),
    "turned": transform(12, (0, 0)),
    "lying": transform(84.3, (-4.75, 2.5)),
    "mirrored axis": transform(-96, (1.5, 6.25)),
    "magnified": transform(-12, (2.5, 3.5), 1.03),
}


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("raw_shape", [(90, 101), (97, 84)], ids=str)
@pytest.mark.parametrize("binning", [1, 2, 3])
def test_boxes_go_where_the_pixels_go(name: str, raw_shape: tuple[int, int], binning: int) -> None:
    """The centre of mass of a painted box, resampled as images are, is its transformed centre."""
    a = TRANSFORMS[name]
    shape = aligned_shape(raw_shape, a[None], binning)
    for top, bottom, left, right in ((30, 41, 52, 60), (55, 60, 26, 43)):
        painted = np.zeros(raw_shape, np.float32)
        painted[top : bottom + 1, left : right + 1] = 1
        values = np.nan_to_num(resample(painted, a, shape, binning))
        rows, columns = np.indices(shape)
        found = [(values * rows).sum() / values.sum(), (values * columns).sum() / values.sum()]
        center = np.array([[(top + bottom) / 2, (left + right) / 2]])
        moved = aligned_points(center, a, raw_shape, shape, binning)[0]
        np.testing.assert_allclose(moved, found, atol=0.1)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_sizes_are_those_of_the_turned_ellipse(name: str) -> None:
    """Of an ellipse in a box of size s, the variance along an axis is s² / 16."""
    a, raw_shape = TRANSFORMS[name], (120, 131)
    shape = aligned_shape(raw_shape, a[None])
    rows, columns = np.indices(raw_shape)
    size = np.array([44.0, 24.0])
    y, x = (rows - 60) / (size[0] / 2), (columns - 66) / (size[1] / 2)
    painted = (y**2 + x**2 <= 1).astype(np.float32)
    values = np.nan_to_num(resample(painted, a, shape))
    points = np.argwhere(values > 0.5)
    expected = 4 * points.std(axis=0)
    np.testing.assert_allclose(aligned_sizes(size[None], a)[0], expected, atol=0.5)


# --------------------------------------------------------------------------- the tilts of a store


def ingested(folder: Path, **options: Any) -> Tomogram:
    stack = write_series(folder)
    series = describe_series(stack, tilt_angles=stack.with_suffix(".tlt"), thickness=16, **options)
    return run(Session(Resources(1, 1, 2**30)), IngestTask(folder / "s.zarr", series))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Tomogram:
    return ingested(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def thinned(tmp_path_factory: pytest.TempPathFactory) -> Tomogram:
    """Without sections 0 and 4; binned by 2."""
    return ingested(tmp_path_factory.mktemp("thinned"), exclude=(0, 4), binning=2)


def csv_of(folder: Path, head: str, *lines: str) -> Path:
    path = folder / "boxes.csv"
    path.write_text("\n".join([head, *lines]) + "\n")
    return path


def tilts_of(tomogram: Tomogram, path: Path, **options: Any) -> dict[int, list[tuple[float, ...]]]:
    """Centre and size of the boxes of every tilt that has some."""
    (source,) = import_boxes(tomogram, path, **options).values()
    return {
        tilt: [(*c, *s) for c, s in zip(b.center.tolist(), b.size.tolist(), strict=True)]
        for tilt, b in enumerate(source.boxes)
        if len(b)
    }


def test_sections_that_were_left_out_are_dropped(thinned: Tomogram, tmp_path: Path) -> None:
    path = csv_of(tmp_path, "section,y,x,height,width", *(f"{k},9,{k + 1},4,6" for k in range(9)))
    found = tilts_of(thinned, path)
    assert {tilt: boxes[0][1] for tilt, boxes in found.items()} == {
        0: 2, 1: 3, 2: 4, 3: 6, 4: 7, 5: 8, 6: 9,
    }  # fmt: skip
    (source,) = import_boxes(thinned, path).values()
    assert (source.n_boxes, source.n_left_out) == (7, 2)


def test_raw_boxes_are_binned_with_the_images(thinned: Tomogram, tmp_path: Path) -> None:
    """Raw rows 8 to 11 are rows 4 and 5 after binning by 2: centre 4.5, size 2."""
    path = csv_of(tmp_path, "section,y,x,height,width", "1,9.5,20.5,4,8")
    assert tilts_of(thinned, path, frame="raw") == {0: [(4.5, 10.0, 2.0, 4.0)]}
    points = csv_of(tmp_path, "section,y,x", "1,9.5,20.5")
    options = PointOptions(diameter=60)  # Å: 6 raw pixels of 10 Å
    assert tilts_of(thinned, points, frame="raw", options=options) == {0: [(4.5, 10.0, 3.0, 3.0)]}
    assert tilts_of(thinned, points, options=options) == {0: [(9.5, 20.5, 3.0, 3.0)]}


def test_tilts_and_angles_count_what_is_stored(thinned: Tomogram, tmp_path: Path) -> None:
    assert list(tilts_of(thinned, csv_of(tmp_path, "tilt,y,x,diameter", "5,9,9,4"))) == [5]
    angle = csv_of(tmp_path, "tilt_angle,y,x,diameter", f"{ANGLES[7] + 0.2},9,9,4", "0,9,9,4")
    assert list(tilts_of(thinned, angle)) == [5]  # section 7 is tilt 5; 0° was left out


@pytest.mark.parametrize("n", [7, 9])
def test_images_without_a_section_are_tilts_or_sections(
    thinned: Tomogram, tmp_path: Path, n: int
) -> None:
    images = [{"id": k} for k in range(n)]
    boxes = [{"image_id": 6, "bbox": [1, 2, 3, 4], "category_id": 1}]
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps({"images": images, "annotations": boxes}))
    assert list(tilts_of(thinned, path)) == [{7: 6, 9: 4}[n]]


def test_rows_from_the_last_one(whole: Tomogram, tmp_path: Path) -> None:
    path = csv_of(tmp_path, "section,y,x,height,width", "2,9.5,20,4,7")
    found = tilts_of(whole, path, options=PointOptions(flip_y=True))
    assert found == {2: [(HEIGHT - 1 - 9.5, 20, 4, 7)]}


def test_small_and_unsure_boxes_are_dropped(whole: Tomogram, tmp_path: Path) -> None:
    head = "section,y,x,height,width,score"
    lines = ("0,9,9,4,5,0.5", "1,9,9,4,3.9,0.5", "2,9,9,4,5,0.49", "3,9,9,9,9,0.9")
    path = csv_of(tmp_path, head, *lines)
    assert list(tilts_of(whole, path, min_size=40.0, options=PointOptions(min_score=0.5))) == [0, 3]


def test_a_task_gets_the_boxes_of_its_tilt_only(whole: Tomogram, tmp_path: Path) -> None:
    lines = [f"{k % N_TILTS},9,9,4,5" for k in range(N_TILTS * 1000)]
    (source,) = import_boxes(whole, csv_of(tmp_path, "section,y,x,height,width", *lines)).values()
    one, all_of_them = len(pickle.dumps(source.of_tilt(0))), len(pickle.dumps(source))
    assert 1000 * 5 * 8 <= one < 1000 * 5 * 8 + 2000
    assert all_of_them > N_TILTS * 1000 * 5 * 8
    again = pickle.loads(pickle.dumps(source.of_tilt(0)))
    np.testing.assert_array_equal(again.boxes.size, source.boxes[0].size)


def test_the_fingerprint_is_of_the_numbers_not_of_the_file(whole: Tomogram, tmp_path: Path) -> None:
    head, lines = "section,y,x,height,width,class", ["2,9,9,4,5,a", "3,8,9,4,5,b"]
    first = import_boxes(whole, csv_of(tmp_path, head, *lines))
    again = import_boxes(whole, csv_of(tmp_path, head, lines[1] + " ", lines[0]))
    other = import_boxes(whole, csv_of(tmp_path, head, lines[0], "3,8.25,9,4,5,b"))
    prints = [{k: s.fingerprint() for k, s in found.items()} for found in (first, again, other)]
    assert prints[0] == prints[1]
    assert prints[0]["a"] == prints[2]["a"]
    assert prints[0]["b"] != prints[2]["b"]
    assert prints[0]["a"]["boxes"] != prints[0]["b"]["boxes"]


def test_maps_show_boxes_or_the_ellipses_inside(whole: Tomogram, tmp_path: Path) -> None:
    path = csv_of(tmp_path, "section,y,x,height,width", "2,9.5,20,4,7")
    image = bead_images()[2]
    for form, n_pixels in (("box", 4 * 7), ("mask", 2 * 7 + 2 * 5)):
        (source,) = import_boxes(whole, path, form=form).values()  # type: ignore[arg-type]
        mask, boxes, _ = source.of_tilt(2).detect(image, 10.0)
        assert (int(mask.sum()), boxes.center.tolist()) == (n_pixels, [[9.5, 20.0]])
        assert source.of_tilt(3).detect(image, 10.0)[0].sum() == 0


def test_boxes_beyond_what_the_stored_images_show_are_dropped(tmp_path: Path) -> None:
    """Shifted by 30 pixels, what was at the right is not in the image any more."""
    stack = write_series(tmp_path)
    rows = np.tile(np.array([[1.0, 0, 30], [0, 1, 0]]), (N_TILTS, 1, 1))
    stack.with_suffix(".xf").write_text(
        "".join(" ".join(map(str, [*r[:, :2].ravel(), *r[:, 2]])) + "\n" for r in rows)
    )
    series = describe_series(
        stack, tilt_angles=stack.with_suffix(".tlt"), alignment=stack.with_suffix(".xf")
    )
    tomogram = run(Session(Resources(1, 1, 2**30)), IngestTask(tmp_path / "s.zarr", series))
    path = csv_of(tmp_path, "section,y,x,height,width", "2,9,10,4,5", f"2,9,{WIDTH - 9},4,5")
    assert tilts_of(tomogram, path, frame="raw") == {2: [(9.0, 40.0, 4.0, 5.0)]}


# ----------------------------------------------------------------------------------- bad inputs

HEAD = "section,y,x,height,width"
BAD: dict[str, tuple[list[str], dict[str, Any], list[str]]] = {
    "no section": (["9,1,1,2,2"], {}, ["line 2: section is 9; it must be 0 to 8"]),
    "negative section": (["-1,1,1,2,2"], {}, ["section is -1; it must be 0 to 8"]),
    "half a section": (["1.5,1,1,2,2"], {}, ["section is 1.5, between two sections"]),
    "no height": (["1,1,1,0,2"], {}, ["height is 0; it must be above 0"]),
    "negative width": (["1,1,1,2,-3"], {}, ["width is -3; it must be above 0"]),
    "NaN": (["1,nan,1,2,2"], {}, ["y is 'nan', which is not a finite number"]),
    "words": (["1,1,one,2,2"], {}, ["x is 'one', which is not a finite number"]),
    "cut short": (["1,1,1,2,2", "1,1,1"], {}, ["line 3: has 3 fields, the header 5"]),
    "outside": (
        ["1,1,1,2,2", "1,1,60,2,2"],
        {},
        ["1 of 2 boxes", "outside of the aligned images of 40 x 48", "line 3: y = 1, x = 60"],
    ),
    "many problems": (
        ["1,1,x,2,2", "1,y,1,2,2", "77,1,1,2,2", "1,1,1,0,0", "1,1,99,2,2"],
        {},
        ["line 2: x is 'x'", "line 3: y is 'y'", "line 5: height is 0", "and 2 more (5 in all)"],
    ),
    "nothing": ([], {}, ["holds no box (CSV)", "use another file"]),
    "score of none": (
        ["1,1,1,2,2"],
        {"options": PointOptions(min_score=2)},
        ["no box reaches the `min_score` 2", "the highest score is 1"],
    ),
    "size of none": (["1,1,1,2,2"], {"min_size": 500.0}, ["no box is left", "`min_size` is 500"]),
    "diameter of boxes": (
        ["1,1,1,2,2"],
        {"options": PointOptions(diameter=60)},
        ["has boxes with sizes (CSV)", "remove `diameter`"],
    ),
    "too many": (
        ["4,1,1,2,2"] * 4097,
        {},
        ["section 4 has 4097 boxes, more than 4096", "`min_score`"],
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_boxes_that_cannot_be_used(name: str, whole: Tomogram, tmp_path: Path) -> None:
    lines, options, words = BAD[name]
    path = csv_of(tmp_path, HEAD, *lines)
    with pytest.raises(InputError) as caught:
        import_boxes(whole, path, **options)
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    assert [word for word in words if word not in said] == [], said


def test_4096_boxes_are_not_too_many(whole: Tomogram, tmp_path: Path) -> None:
    (boxes,) = tilts_of(whole, csv_of(tmp_path, HEAD, *["4,1,1,2,2"] * 4096)).values()
    assert len(boxes) == 4096


def test_centres_at_the_border_are_no_other_frame(whole: Tomogram, tmp_path: Path) -> None:
    """Up to a twentieth of the centres may lie outside, if their boxes reach into the image."""
    lines = ["1,1,1,2,2"] * 19
    assert tilts_of(whole, csv_of(tmp_path, HEAD, *lines, "1,-1,20,6,6"))
    with pytest.raises(InputError, match="2 of 21 boxes"):
        import_boxes(whole, csv_of(tmp_path, HEAD, *lines, *["1,-1,20,6,6"] * 2))


@pytest.mark.parametrize(
    ("head", "line", "words"),
    [
        ("y,x,height,width", "1,1,2,2", "one of section, tilt or tilt_angle"),
        ("section,x,height,width", "1,1,2,2", "boxes need y, x"),
        ("section,y,x,height", "1,1,1,2", "only one of height and width"),
        ("section,y,x", "1,1,1", "holds points without sizes"),
        ("tilt_angle,y,x,diameter", "7,1,1,2", "no tilt is at 7° (the nearest at 12°)"),
        ("tilt,y,x,diameter", "9,1,1,2", "tilt is 9; it must be 0 to 8"),
        ("section,y,x,diameter,class", "1,1,1,2,\n2,2,2,2,gold", "some boxes have no class"),
        ("section,y,x,diameter,class", "1,1,1,2,a b\n2,2,2,2,a-b", "would become one label"),
        ("section,y,x,diameter,class", "1,1,1,2,$", "has no letters or digits"),
    ],
)
def test_tables_that_cannot_be_used(
    whole: Tomogram, tmp_path: Path, head: str, line: str, words: str
) -> None:
    with pytest.raises(InputError) as caught:
        import_boxes(whole, csv_of(tmp_path, head, line))
    assert words in str(caught.value)


def test_boxes_of_the_other_frame_are_told_so(thinned: Tomogram, tmp_path: Path) -> None:
    path = csv_of(tmp_path, HEAD, *(f"{k},30,40,4,4" for k in range(1, 4)))
    with pytest.raises(InputError) as caught:
        import_boxes(thinned, path)
    said = str(caught.value)
    assert "3 of 3 boxes have their centre outside of the aligned images of 20 x 24" in said
    assert said.endswith("; if the boxes lie on the raw images, set `frame` to raw")
    assert list(tilts_of(thinned, path, frame="raw")) == [0, 1, 2]
    image = {"id": 1, "section": 1, "height": HEIGHT, "width": WIDTH}
    coco = tmp_path / "b.json"
    box = {"image_id": 1, "bbox": [1, 1, 2, 2], "category_id": 1}  # it would fit
    coco.write_text(json.dumps({"images": [image], "annotations": [box]}))
    with pytest.raises(
        InputError, match=r"40 x 48 pixels.*the aligned ones 20 x 24.*`frame` to raw"
    ):
        import_boxes(thinned, coco)

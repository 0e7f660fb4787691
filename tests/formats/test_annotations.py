"""Every format of boxes, written here by hand, comes back as the pixels that were meant."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from imodmodel import ImodModel

from tomodist.errors import InputError
from tomodist.formats.annotations import read_annotations
from tomodist.formats.rows import Annotations, Problems, Row
from tomodist.values.boxes import Boxes, fill

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Pixels(NamedTuple):
    """What a box covers: the first and the last row and column of an image, both inside."""

    section: int
    top: int
    bottom: int
    left: int
    right: int
    score: float
    name: str

    @property
    def size(self) -> tuple[int, int]:
        return self.bottom - self.top + 1, self.right - self.left + 1

    @property
    def center(self) -> tuple[float, float]:
        return (self.top + self.bottom) / 2, (self.left + self.right) / 2


# Odd and even sizes; no two numbers alike, so that nothing can be swapped or turned unseen.
MEANT = (
    Pixels(3, 8, 11, 17, 23, 0.5, "gold"),
    Pixels(0, 2, 14, 30, 39, 0.25, "gold"),
    Pixels(3, 20, 20, 5, 6, 0.75, "granule"),
)
SHAPE = (25, 47)


def read(path: Path) -> Annotations:
    problems = Problems()
    content = read_annotations(path, problems)
    assert problems.entries == []
    return content


def expected(*, size: bool = True, score: bool = True, name: bool = True) -> list[tuple[Any, ...]]:
    return [
        (
            "section",
            m.section,
            *m.center,
            *(m.size if size else (None, None)),
            m.score if score else 1.0,
            m.name if name else "",
        )
        for m in MEANT
    ]


def plain(rows: list[Row]) -> list[tuple[Any, ...]]:
    """Rows without their places in the file; NaN as None, which equals itself."""
    return [tuple(None if v != v else v for v in row[1:]) for row in rows]


def write_coco(path: Path, *, keys: bool = False) -> Path:
    ids = {0: 70, 3: 20}
    images = [
        {"id": i, **({"section": s} if keys else {"file_name": f"tilts.mrc#{s}"})}
        for s, i in ids.items()
    ]
    categories = {"gold": 5, "granule": 2}
    annotations = [
        {
            "id": k,
            "image_id": ids[m.section],
            "category_id": categories[m.name],
            "bbox": [m.left, m.top, m.size[1], m.size[0]],
            "score": m.score,
        }
        for k, m in enumerate(MEANT)
    ]
    named = [{"id": i, "name": name} for name, i in categories.items()]
    content = {"images": images, "annotations": annotations, "categories": named}
    path.write_text(json.dumps(content))
    return path


def write_csv(path: Path, separator: str = ",") -> Path:
    lines = [["Class", "x", "y", "width", "height", "section", "score"]]
    lines += [
        [m.name, str(m.center[1]), str(m.center[0]), str(m.size[1]), str(m.size[0]),
         f"{m.section}.0", str(m.score)]
        for m in MEANT
    ]  # fmt: skip
    path.write_text("\n".join(separator.join(line) for line in lines) + "\n")
    return path


def voc_object(m: Pixels) -> str:
    edges = {"xmin": m.left, "ymin": m.top, "xmax": m.right, "ymax": m.bottom}
    box = "".join(f"<{edge}>{value + 1}</{edge}>" for edge, value in edges.items())
    score = f"<score>{m.score}</score>"
    return f"<object><name>{m.name}</name>{score}<bndbox>{box}</bndbox></object>"


def write_voc(folder: Path, *, named: bool = True) -> Path:
    folder.mkdir()
    for section in range(4):
        objects = "".join(voc_object(m) for m in MEANT if m.section == section)
        name = f"<filename>tilts.mrc#{section}</filename>" if named else ""
        size = f"<size><width>{SHAPE[1]}</width><height>{SHAPE[0]}</height></size>"
        path = folder / f"tilt_{8 + section}.xml"  # 8, 9, 10, 11: not the order of their letters
        path.write_text(f"<annotation>{name}{size}{objects}</annotation>")
    return folder


def write_napari_shapes(path: Path) -> Path:
    """A rectangle, an ellipse (the corners of its box) and a polygon, edges at half pixels."""
    lines = ["index,shape-type,vertex-index,axis-0,axis-1,axis-2"]
    for k, (m, kind) in enumerate(zip(MEANT, ("rectangle", "ellipse", "polygon"), strict=True)):
        y0, y1, x0, x1 = m.top - 0.5, m.bottom + 0.5, m.left - 0.5, m.right + 0.5
        corners = [(y0, x0), (y0, x1), (y1, x1), (y1, x0)]
        if kind == "polygon":
            corners = [(y0, x0), (m.center[0], x1), (y1, m.center[1])]
        lines += [f"{k},{kind},{v},{m.section}.0,{y},{x}" for v, (y, x) in enumerate(corners)]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_napari_points(path: Path) -> Path:
    lines = ["index,axis-0,axis-1,axis-2,label"]
    lines += [f"{k}.0,{m.section}.0,{m.center[0]},{m.center[1]},{m.name}"
              for k, m in enumerate(MEANT)]  # fmt: skip
    path.write_text("\n".join(lines) + "\n")
    return path


def write_model2point(path: Path) -> Path:
    objects = {"gold": 1, "granule": 4}
    lines = [
        f"{objects[m.name]:6d}{1:6d}"
        + "".join(f"{v:12.2f}" for v in (m.center[1] + 0.5, m.center[0] + 0.5, m.section))
        for m in MEANT
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_star(path: Path) -> Path:
    labels = ("rlnMicrographName", "rlnCoordinateX", "rlnCoordinateY", "rlnAutopickFigureOfMerit")
    head = ["", "data_particles", "", "loop_"]
    head += [f"_{label} #{k}" for k, label in enumerate(labels, 1)]
    lines = [f"{m.section + 1:06d}@Tilts/TS_01.mrc {m.center[1]} {m.center[0]} {m.score}"
             for m in MEANT]  # fmt: skip
    path.write_text("\n".join([*head, *lines]) + "\n")
    return path


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack(">i", len(content)) + content


def imod_object(name: bytes, points: list[tuple[float, float, float]]) -> bytes:
    """An object of one contour; see https://bio3d.colorado.edu/imod/doc/binspec.html."""
    head = struct.pack(">64s16I", name, *[0] * 16) + struct.pack(">iIii", 1, 0, 0, 1)
    head += struct.pack(">fff", 0, 1, 0) + struct.pack(">i", 3) + bytes(8)
    head += struct.pack(">ii", 0, 0)
    contour = b"CONT" + struct.pack(">iIii", len(points), 0, 0, 0)
    return b"OBJT" + head + contour + b"".join(struct.pack(">fff", *p) for p in points)


def write_mod(path: Path, shift: tuple[float, float, float] = (0, 0, 0)) -> Path:
    """A model with the origin of the part of the image that was loaded: model + shift is whole."""
    by_name: dict[str, list[tuple[float, float, float]]] = {"empty": [], "gold": [], "granule": []}
    for m in MEANT:
        point = (m.center[1] + 0.5, m.center[0] + 0.5, m.section)
        by_name[m.name].append(tuple(p - s for p, s in zip(point, shift, strict=True)))  # type: ignore[arg-type]
    flags = 1 << 14 | 1 << 15
    head = struct.pack(">128siiiiI", b"IMOD-NewModel", 47, 25, 4, len(by_name), flags)
    head += struct.pack(">4i", 1, 1, 0, 255) + struct.pack(">6f", 0, 0, 0, 1, 1, 1)
    head += struct.pack(">5i", 0, 0, 0, 3, 128) + struct.pack(">fiifff", 1, 0, 0, 0, 0, 0)
    scale = 4.0
    otrans, ctrans = [s * scale + 7 for s in shift], [7.0] * 3
    minx = struct.pack(">18f", *[0] * 3, *otrans, *[0] * 3, *[scale] * 3, *ctrans, *[0] * 3)
    objects = b"".join(imod_object(name.encode(), points) for name, points in by_name.items())
    path.write_bytes(b"IMODV1.2" + head + objects + chunk(b"MINX", minx) + b"IEOF")
    return path


NO_SIZE_NOR_SCORE = {"size": False, "score": False}
ROUND_TRIPS: dict[str, tuple[Callable[[Path], Path], dict[str, bool]]] = {
    "COCO, sections in file names": (lambda p: write_coco(p / "b.json"), {}),
    "COCO, sections as keys": (lambda p: write_coco(p / "b.json", keys=True), {}),
    "CSV": (lambda p: write_csv(p / "b.csv"), {}),
    "CSV with semicolons": (lambda p: write_csv(p / "b.csv", ";"), {}),
    "CSV with tabs": (lambda p: write_csv(p / "b.tsv", "\t"), {}),
    "VOC": (lambda p: write_voc(p / "voc"), {}),
    "napari shapes": (lambda p: write_napari_shapes(p / "s.csv"), {"score": False, "name": False}),
    "napari points": (lambda p: write_napari_points(p / "p.csv"), NO_SIZE_NOR_SCORE),
    "IMOD model": (lambda p: write_mod(p / "b.mod"), NO_SIZE_NOR_SCORE),
    "IMOD model of a part": (lambda p: write_mod(p / "b.mod", (30, 8, 2)), NO_SIZE_NOR_SCORE),
    "STAR": (lambda p: write_star(p / "b.star"), {"size": False, "name": False}),
}  # fmt: skip


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_boxes_come_back_exactly(name: str, tmp_path: Path) -> None:
    write, has = ROUND_TRIPS[name]
    rows = read(write(tmp_path)).rows
    assert sorted(plain(rows), key=str) == sorted(expected(**has), key=str)


def test_a_box_marks_the_pixels_that_its_file_means(tmp_path: Path) -> None:
    for path in (write_coco(tmp_path / "b.json"), write_voc(tmp_path / "voc")):
        for row in read(path).rows:
            box = Boxes([(row.y, row.x)], [(row.height, row.width)], [1])
            (m,) = (m for m in MEANT if m.score == row.score)
            mask = np.zeros(SHAPE, np.uint8)
            mask[m.top : m.bottom + 1, m.left : m.right + 1] = 1
            np.testing.assert_array_equal(fill(box, SHAPE), mask)


def test_objects_of_model2point_are_classes(tmp_path: Path) -> None:
    rows = read(write_model2point(tmp_path / "points.txt")).rows
    names = {"gold": "object1", "granule": "object4"}
    assert plain(rows) == [
        ("section", m.section, *m.center, None, None, 1.0, names[m.name]) for m in MEANT
    ]


@pytest.mark.parametrize("columns", [3, 4])
def test_model2point_without_objects_has_no_classes(tmp_path: Path, columns: int) -> None:
    path = tmp_path / "points.txt"
    path.write_text("     7"[: 6 * (columns - 3)] + "   12.25   30.50   4.00\n")
    assert plain(read(path).rows) == [("section", 4, 30.0, 11.75, None, None, 1.0, "")]


def test_voc_without_sections_is_in_the_order_of_the_numbers(tmp_path: Path) -> None:
    content = read(write_voc(tmp_path / "voc", named=False))
    assert content.n_images == 4
    assert content.image_shapes == {SHAPE}
    found = [(row.counted, row.which, row.name) for row in content.rows]
    assert found == [("order", 0, "gold"), ("order", 3, "gold"), ("order", 3, "granule")]


def test_coco_images_without_sections_are_in_the_order_of_their_ids(tmp_path: Path) -> None:
    images = [{"id": i, "file_name": f"{i}.png"} for i in (30, 4, 11)]
    boxes = [{"image_id": i, "bbox": [i, 1, 2, 3], "category_id": 1} for i in (30, 4, 11)]
    path = tmp_path / "b.json"
    path.write_text(json.dumps({"images": images, "annotations": boxes, "categories": []}))
    content = read(path)
    assert content.n_images == 3
    assert [(row.which, row.x, row.name) for row in content.rows] == [
        (2, 30.5, ""), (0, 4.5, ""), (1, 11.5, ""),
    ]  # fmt: skip


def test_coco_detections_carry_their_sections_themselves(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    detections = [
        {"image_id": "TS_01.mrc#6", "category_id": 1, "bbox": [1.5, 2, 3, 4.5], "score": 0.125},
        {"image_id": 9, "tilt_angle": -12.5, "category_id": 7, "bbox": [0, 0, 1, 1], "score": 1},
    ]
    path.write_text(json.dumps(detections))
    assert plain(read(path).rows) == [
        ("section", 6, 3.75, 2.5, 4.5, 3.0, 0.125, "1"),
        ("tilt_angle", -12.5, 0.0, 0.0, 1.0, 1.0, 1.0, "7"),
    ]


@pytest.mark.parametrize("head", ["tilt", "tilt_angle"])
def test_csv_by_tilt_or_angle_with_a_diameter(tmp_path: Path, head: str) -> None:
    path = tmp_path / "b.csv"
    path.write_text(f"{head},y,x,diameter\n6,1.5,20,7\n")
    assert plain(read(path).rows) == [(head, 6, 1.5, 20.0, 7.0, 7.0, 1.0, "")]


def test_star_classes_and_frame_numbers(tmp_path: Path) -> None:
    path = tmp_path / "b.star"
    labels = ("rlnCoordinateX", "rlnCoordinateY", "rlnMicrographFrameNumber", "rlnClassNumber")
    head = "".join(f"_{label} #{k}\n" for k, label in enumerate(labels, 1))
    path.write_text(f"data_\n\nloop_\n{head}3.0 4.5 1 2\n8.0 9.5 12 5\n")
    found = [(row.which, row.y, row.x, row.name) for row in read(path).rows]
    assert found == [(0, 4.5, 3.0, "class2"), (11, 9.5, 8.0, "class5")]


# ------------------------------------------------------------------------------ real models


def test_points_of_a_real_imod_model(data_dir: Path) -> None:
    rows = read(data_dir / "metadata" / "imodmodel" / "two_contour_example.mod").rows
    assert len(rows) == 17 + 8
    assert {row.name for row in rows} == {""}
    assert [row.which for row in rows] == [80] * 17 + [59] * 8
    # 3dmod shows x = 64.33, y = 64.67 for the first: from the corner of the first pixel
    np.testing.assert_allclose((rows[0].y, rows[0].x), (64.1666667, 63.8333333), atol=1e-6)
    np.testing.assert_allclose((rows[17].y, rows[17].x), (63.5, 63.8333333), atol=1e-6)


def test_objects_of_one_name_are_one_class(data_dir: Path) -> None:
    rows = read(data_dir / "metadata" / "imodmodel" / "multiple_objects_example.mod").rows
    assert {row.name for row in rows} == {"chemo-array"}
    assert {row.which for row in rows} == {134, 141}
    assert rows[0].where == "object 2, contour 1, point 1"
    np.testing.assert_allclose((rows[0].y, rows[0].x), (661.333435, 366.500061), atol=1e-4)


def test_a_model_of_a_tomogram_is_refused(data_dir: Path) -> None:
    path = data_dir / "metadata" / "imodmodel" / "meshed_contour_example.mod"
    problems = Problems()
    rows = read_annotations(path, problems).rows
    assert len(problems.entries) + len(rows) == sum(
        len(c.points) for c in ImodModel.from_file(path).objects[0].contours
    )
    with pytest.raises(InputError, match=r"point 1: z is 32\.8754, between two sections"):
        problems.check(path)


def test_a_model_cut_anywhere_is_refused(tmp_path: Path) -> None:
    """imodmodel looks for the end for ever if a file ends between two chunks."""
    content = write_mod(tmp_path / "whole.mod").read_bytes()
    path = tmp_path / "cut.mod"
    for n in range(4, len(content)):
        path.write_bytes(content[:n])
        with pytest.raises(InputError, match=r"cut\.mod is not a complete IMOD model"):
            read_annotations(path, Problems())

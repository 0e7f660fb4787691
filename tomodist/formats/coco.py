"""Boxes from COCO JSON: a data set (images, annotations, categories) or a list of detections.

One rule: ``bbox`` is [x, y, width, height] in pixel *edges*: pixel i covers [i, i + 1), so that a
box of x = 8, width = 4 covers the pixels 8 to 11, and its centre in index coordinates is
x + width/2 - 1/2 = 9.5.

An image is a tilt, named in one of these ways, looked for in this order: an extra key ``section``
(of the stack, 0-based), ``tilt`` (of the store, 0-based) or ``tilt_angle`` (degrees); the file name
``stack.mrc#12`` (section 12, 0-based); else the order of the ids, if there are as many images as
tilts. In a list of detections these keys may stand in each detection, or ``image_id`` may be
``"stack.mrc#12"``.

References
----------
https://cocodataset.org/#format-data
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from tomodist.errors import InputError
from tomodist.formats.rows import Annotations, BadRow, Counted, Problems, Row, length, number, whole
from tomodist.formats.text import read_lines

if TYPE_CHECKING:
    from pathlib import Path

Entry = dict[str, Any]
ImageKey = tuple[Counted, float]
_KEYS: tuple[Counted, ...] = ("section", "tilt", "tilt_angle")
_SECTION = re.compile(r"#(\d+)$")


def read_coco(path: Path, problems: Problems) -> Annotations:
    """Read boxes.

    Parameters
    ----------
    path : Path
        The file.
    problems : Problems
        Collects every entry that cannot be used.

    Returns
    -------
    Annotations

    Raises
    ------
    InputError
        If it is no JSON, or not of this form.
    """
    try:
        data = json.loads("\n".join(read_lines(path)))
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(
            f"{path} is not complete JSON ({error}); write or copy it again"
        ) from error
    if isinstance(data, list):
        return _detections(data, problems)
    if not isinstance(data, dict) or not all(
        isinstance(data.get(key), list) for key in ("images", "annotations")
    ):
        raise InputError(
            f"{path} is not a COCO file: expected the lists 'images' and 'annotations', or one "
            "list of detections; export it as COCO"
        )
    return _data_set(data, problems)


def _data_set(data: Entry, problems: Problems) -> Annotations:
    keys, shapes = _images(data["images"], problems)
    categories = _categories(data.get("categories", []), problems)
    rows: list[Row] = []
    for k, entry in enumerate(data["annotations"]):
        where = f"annotation {k}"
        with problems.row(where):
            _check_entry(entry)
            image = _id(entry, "image_id")
            if image not in keys:
                raise BadRow(f"image_id {image!r} is not among the images")
            rows.append(_row(where, keys[image], entry, categories))
    return Annotations("COCO", _only_class_unnamed(rows, categories), len(keys), shapes)


def _detections(data: list[Any], problems: Problems) -> Annotations:
    ids = {e["image_id"] for e in data if isinstance(e, dict) and _is_int(e.get("image_id"))}
    order: dict[Any, ImageKey] = {image: ("order", k) for k, image in enumerate(sorted(ids))}
    rows: list[Row] = []
    for k, entry in enumerate(data):
        where = f"detection {k}"
        with problems.row(where):
            _check_entry(entry)
            image = _id(entry, "image_id") if "image_id" in entry else None
            key = _named_key({"file_name": str(image), **entry}) or order.get(image)
            if key is None:
                raise BadRow(
                    f"image_id {image!r} does not name a section; write it as 'stack.mrc#12'"
                )
            rows.append(_row(where, key, entry, {}))
    return Annotations("COCO", _only_class_unnamed(rows, {}), len(ids))


def _images(
    entries: list[Any], problems: Problems
) -> tuple[dict[Any, ImageKey], frozenset[tuple[int, int]]]:
    """ImageKey of every image id, and their sizes."""
    named: dict[Any, ImageKey | None] = {}
    shapes = set()
    for k, entry in enumerate(entries):
        with problems.row(f"image {k}"):
            _check_entry(entry)
            image = _id(entry, "id")
            if image in named:
                raise BadRow(f"id {image!r} is used by an earlier image")
            named[image] = _named_key(entry)
            if "height" in entry and "width" in entry:
                shapes.add((whole(entry["height"], "height"), whole(entry["width"], "width")))
    # No image names its section: images are counted in the order of their ids.
    if not any(named.values()):
        ids = sorted(named, key=lambda i: (isinstance(i, str), i))
        return {image: ("order", k) for k, image in enumerate(ids)}, frozenset(shapes)
    for image, key in named.items():
        if key is None:
            problems.add(f"image {image!r} does not name a section, but others do")
    return {image: key for image, key in named.items() if key}, frozenset(shapes)


def _named_key(entry: Entry) -> ImageKey | None:
    for key in _KEYS:
        if key in entry:
            read = number if key == "tilt_angle" else whole
            return key, read(entry[key], key)
    match = _SECTION.search(str(entry.get("file_name", "")))
    return ("section", int(match[1])) if match else None


def _categories(entries: Any, problems: Problems) -> dict[Any, str]:  # noqa: ANN401 -- any JSON
    names = {}
    for k, entry in enumerate(entries if isinstance(entries, list) else [entries]):
        with problems.row(f"category {k}"):
            _check_entry(entry)
            names[_id(entry, "id")] = str(entry.get("name") or entry["id"])
    return names


def _row(where: str, key: ImageKey, entry: Entry, categories: dict[Any, str]) -> Row:
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        raise BadRow(f"bbox is {str(box)[:40]}; expected [x, y, width, height]")
    left, top = number(box[0], "x of bbox"), number(box[1], "y of bbox")
    width, height = length(box[2], "width of bbox"), length(box[3], "height of bbox")
    category = _id(entry, "category_id") if "category_id" in entry else ""
    if categories and category not in categories:
        known = ", ".join(f"{key}: {name}" for key, name in categories.items())
        raise BadRow(f"category_id {category!r} is not among the categories ({known})")
    score = number(entry.get("score", 1.0), "score")
    # Edges to index coordinates: pixel i covers [i, i + 1), its index is i.
    y, x = top + height / 2 - 0.5, left + width / 2 - 0.5
    name = categories.get(category, str(category))
    return Row(where, *key, y, x, height, width, score, name)


def _only_class_unnamed(rows: list[Row], categories: dict[Any, str]) -> list[Row]:
    """Numbers of categories are names only where they tell several classes apart."""
    if categories or len({row.name for row in rows}) > 1:
        return rows
    return [row._replace(name="") for row in rows]


def _check_entry(entry: object) -> None:
    if not isinstance(entry, dict):
        raise BadRow(f"is {str(entry)[:40]}; expected an object in braces")


def _id(entry: Entry, key: str) -> Any:  # noqa: ANN401 -- an int or a str
    value = entry.get(key)
    if not _is_int(value) and not isinstance(value, str):
        raise BadRow(f"{key} is {str(value)[:40]}; expected an integer or a name")
    return value


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)

"""Boxes from the CSV that napari writes of a Shapes or a Points layer.

One rule: axis-0 is the section of the stack, axis-1 the row and axis-2 the column of the array, in
napari's coordinates, which are index coordinates. A rectangle, ellipse, polygon, path or line
becomes the box around its vertices; napari keeps an ellipse as the corners of the box around it.

    index,shape-type,vertex-index,axis-0,axis-1,axis-2
    0,rectangle,0,12.0,7.5,20.5

Points have a size if there is a column ``diameter`` (pixels); columns ``score`` and ``class`` (or
``label``), which napari writes if the layer has such properties, are read as well.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tomodist.errors import InputError
from tomodist.formats.csv_boxes import Record, header_of, name_and_score, records
from tomodist.formats.rows import Annotations, BadRow, Problems, Row, length, number, whole

if TYPE_CHECKING:
    from pathlib import Path

_AXES = ("axis-0", "axis-1", "axis-2")
_TYPES = ("rectangle", "ellipse", "polygon", "path", "line")


def read_napari(path: Path, problems: Problems) -> Annotations:
    """Read shapes or points.

    Parameters
    ----------
    path : Path
        The file.
    problems : Problems
        Collects every shape or point that cannot be used.

    Returns
    -------
    Annotations

    Raises
    ------
    InputError
        If the layer has not three dimensions.
    """
    columns = header_of(path)
    axes = [name for name in columns if name.startswith("axis-")]
    if sorted(axes) != list(_AXES):
        raise InputError(
            f"{path} is a napari layer with the axes {', '.join(axes)}; boxes need axis-0 "
            "(section), axis-1 (y) and axis-2 (x): draw them on the stack"
        )
    if "shape-type" in columns:
        return Annotations("napari shapes", _shapes(path, problems))
    return Annotations("napari points", _points(path, problems))


def _points(path: Path, problems: Problems) -> list[Row]:
    rows = []
    for where, record in records(path, problems):
        with problems.row(where):
            section, y, x = _position(record)
            size = length(record["diameter"], "diameter") if "diameter" in record else math.nan
            score, name = name_and_score(record)
            index = whole(section, "axis-0")
            rows.append(Row(where, "section", index, y, x, size, size, score, name))
    return rows


def _shapes(path: Path, problems: Problems) -> list[Row]:
    shapes: dict[str, list[Record]] = {}
    for where, record in records(path, problems):
        with problems.row(where):
            index = whole(record.get("index", ""), "index")
            # One line per vertex: lines of the same index are one shape.
            shapes.setdefault(f"shape {index}", []).append(record)
    rows = []
    for where, vertices in shapes.items():
        with problems.row(where):
            rows.append(_shape(where, vertices))
    return rows


def _shape(where: str, vertices: list[Record]) -> Row:
    kind = vertices[0]["shape-type"]
    if kind not in _TYPES:
        raise BadRow(f"shape-type is {kind!r}; it must be one of {', '.join(_TYPES)}")
    sections, ys, xs = zip(*map(_position, vertices), strict=True)
    if max(sections) - min(sections) > 0.01:
        raise BadRow(
            f"reaches from section {min(sections):g} to {max(sections):g}; boxes lie on one section"
        )
    section = whole(sections[0], "axis-0")
    height, width = length(max(ys) - min(ys), "height"), length(max(xs) - min(xs), "width")
    score, name = name_and_score(vertices[0])
    y, x = (max(ys) + min(ys)) / 2, (max(xs) + min(xs)) / 2
    return Row(where, "section", section, y, x, height, width, score, name)


def _position(record: Record) -> tuple[float, float, float]:
    section, y, x = (number(record[axis], axis) for axis in _AXES)
    return section, y, x

"""Boxes from Pascal VOC: a folder of XML files, one per tilt.

One rule: xmin, ymin, xmax and ymax are the first and the last pixel of the box, both of them
inside, counted from 1, as the development kit of the challenge defines them. So xmin = 9, xmax = 12
covers the pixels 8 to 11 of an array, and its centre is (9 + 12)/2 - 1 = 9.5. (Programs that write
0-based corners into such files are off by one.)

The section is that of ``<filename>stack.mrc#12</filename>`` (0-based); else files are tilts in the
order of the last number in their names, and there must be one for every tilt.

References
----------
Everingham et al., The PASCAL Visual Object Classes Challenge, doi:10.1007/s11263-009-0275-4
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from tomodist.errors import InputError
from tomodist.formats.rows import Annotations, BadRow, Counted, Problems, Row, length, number

if TYPE_CHECKING:
    from pathlib import Path
    from xml.etree.ElementTree import Element

_SECTION = re.compile(r"#(\d+)$")
_EDGES = ("xmin", "ymin", "xmax", "ymax")


def read_voc(folder: Path, problems: Problems) -> Annotations:
    """Read boxes.

    Parameters
    ----------
    folder : Path
        Its ``*.xml`` are read.
    problems : Problems
        Collects every file and object that cannot be used.

    Returns
    -------
    Annotations

    Raises
    ------
    InputError
        If there is no XML file in it.
    """
    paths = sorted(folder.glob("*.xml"), key=lambda p: (_last_number(p.stem), p.name))
    if not paths:
        raise InputError(f"{folder} holds no XML files; a folder of boxes must be Pascal VOC")
    trees = [(path, tree) for path in paths if (tree := _tree(path, problems)) is not None]
    named = [_SECTION.search(tree.findtext("filename", "").strip()) for _, tree in trees]
    rows: list[Row] = []
    shapes = set()
    for k, ((path, tree), section) in enumerate(zip(trees, named, strict=True)):
        if any(named) and section is None:
            problems.add(f"{path.name}: its <filename> does not name a #section, but others do")
            continue
        key: tuple[Counted, float] = ("section", int(section[1])) if section else ("order", k)
        with problems.row(path.name):
            shapes |= _shape(tree)
        for n, element in enumerate(tree.iter("object")):
            where = f"{path.name}, object {n}"
            with problems.row(where):
                rows.append(_row(where, key, element))
    return Annotations("Pascal VOC", rows, len(paths), frozenset(shapes))


def _tree(path: Path, problems: Problems) -> Element | None:
    try:
        return ET.parse(path).getroot()
    except (ET.ParseError, OSError, ValueError) as error:
        problems.add(f"{path.name}: is not complete XML ({error})")
        return None


def _shape(tree: Element) -> set[tuple[int, int]]:
    size = tree.find("size")
    if size is None:
        return set()
    height, width = (length(size.findtext(key, ""), f"<{key}>") for key in ("height", "width"))
    return {(int(height), int(width))}


def _row(where: str, key: tuple[Counted, float], element: Element) -> Row:
    box = element.find("bndbox")
    if box is None:
        raise BadRow("has no <bndbox>")
    left, top, right, bottom = (number(box.findtext(edge, "").strip(), edge) for edge in _EDGES)
    # First and last pixel both belong to the box.
    height, width = length(bottom - top + 1, "height"), length(right - left + 1, "width")
    score = number(element.findtext("score", "1"), "score")
    name = element.findtext("name", "").strip()
    # Counted from 1 in the file, from 0 here.
    y, x = (top + bottom) / 2 - 1, (left + right) / 2 - 1
    return Row(where, *key, y, x, height, width, score, name)


def _last_number(stem: str) -> int:
    numbers = re.findall(r"\d+", stem)
    return int(numbers[-1]) if numbers else -1

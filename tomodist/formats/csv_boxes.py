"""Boxes from a CSV with a header, separated by commas, semicolons or tabs.

One rule: columns are found by their names, whatever their order and case:

    section, tilt or tilt_angle   section of the stack or tilt of the store (0-based), or degrees
    y, x                          centre in index coordinates, in pixels: 0 is the middle of row 0
    height, width or diameter     in pixels; without them every row is a point
    score, class (or label)       optional
"""

from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING

from tomodist.errors import InputError
from tomodist.formats.rows import Annotations, BadRow, Counted, Problems, Row, length, number, whole
from tomodist.formats.text import read_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Record = dict[str, str]
_KEYS: tuple[Counted, ...] = ("section", "tilt", "tilt_angle")


def read_table(path: Path, problems: Problems) -> Annotations:
    """Read boxes.

    Parameters
    ----------
    path : Path
        The file.
    problems : Problems
        Collects every line that cannot be used.

    Returns
    -------
    Annotations

    Raises
    ------
    InputError
        If a column is missing.
    """
    columns = header_of(path)
    key = next((name for name in _KEYS if name in columns), None)
    missing = [name for name in ("y", "x") if name not in columns]
    if key is None or missing:
        raise InputError(
            f"{path} has the columns {', '.join(columns)[:100]}; boxes need y, x, one of section, "
            "tilt or tilt_angle, and a size (height and width, or diameter): name them in the "
            "first line"
        )
    rows: list[Row] = []
    for where, record in records(path, problems):
        with problems.row(where):
            rows.append(_row(where, key, record))
    return Annotations("CSV", rows)


def header_of(path: Path) -> list[str]:
    """Names of the columns, in small letters."""
    first = next((line for line in read_lines(path) if line.strip()), "")
    return [name.strip().lower() for name in next(csv.reader([first], delimiter=_separator(first)))]


def records(path: Path, problems: Problems) -> Iterator[tuple[str, Record]]:
    """Lines after the header as dictionaries by column, with their places in the file.

    Parameters
    ----------
    path : Path
        The file.
    problems : Problems
        Collects lines with too few or too many fields.

    Yields
    ------
    tuple of str and dict
    """
    columns, lines = header_of(path), read_lines(path)
    numbered = [(k, line) for k, line in enumerate(lines, 1) if line.strip()]
    separator = _separator(numbered[0][1])
    fields = csv.reader([line for _, line in numbered[1:]], delimiter=separator)
    # Not strict: a quoted line break joins two lines into one record.
    for (k, _), values in zip(numbered[1:], fields, strict=False):
        where = f"line {k}"
        if len(values) != len(columns):
            problems.add(f"{where}: has {len(values)} fields, the header {len(columns)}")
        else:
            yield where, dict(zip(columns, (v.strip() for v in values), strict=True))


def name_and_score(record: Record) -> tuple[float, str]:
    """Score and class of a record, if it has them."""
    score = number(record["score"], "score") if "score" in record else 1.0
    return score, record.get("class", record.get("label", ""))


def _row(where: str, key: Counted, record: Record) -> Row:
    read = number if key == "tilt_angle" else whole
    which = read(record[key], key)
    y, x = number(record["y"], "y"), number(record["x"], "x")
    score, name = name_and_score(record)
    return Row(where, key, which, y, x, *_size(record), score, name)


def _size(record: Record) -> tuple[float, float]:
    if "height" in record and "width" in record:
        return length(record["height"], "height"), length(record["width"], "width")
    if "diameter" in record:
        diameter = length(record["diameter"], "diameter")
        return diameter, diameter
    if "height" in record or "width" in record:
        raise BadRow("has only one of height and width")
    return math.nan, math.nan


def _separator(header: str) -> str:
    return max(",;\t", key=header.count)

"""2D boxes and points that were made elsewhere: one file per format, recognised by its content."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tomodist.errors import InputError
from tomodist.formats.coco import read_coco
from tomodist.formats.csv_boxes import header_of, read_table
from tomodist.formats.imod.points import read_mod, read_model2point
from tomodist.formats.napari import read_napari
from tomodist.formats.star_points import read_star
from tomodist.formats.text import read_lines
from tomodist.formats.voc import read_voc

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tomodist.formats.rows import Annotations, Problems

    Reader = Callable[[Path, Problems], Annotations]

FORMATS = "COCO JSON, CSV, Pascal VOC (a folder), napari CSV, IMOD .mod or model2point, or STAR"


def read_annotations(path: Path, problems: Problems) -> Annotations:
    """Read a file or folder of boxes, of whatever format.

    Parameters
    ----------
    path : Path
        The file; for Pascal VOC the folder.
    problems : Problems
        Collects every entry that cannot be used.

    Returns
    -------
    Annotations
        In the coordinates of `tomodist.formats.rows`.

    Raises
    ------
    InputError
        If it cannot be read, or is of no known format.
    """
    return _reader(path)(path, problems)


def _reader(path: Path) -> Reader:
    if path.is_dir():
        return read_voc
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError:
        start = b""  # read_lines says what it is
    # Binary models first; every other format is text.
    if start == b"IMOD":
        return read_mod
    lines = [line.strip() for line in read_lines(path) if line.strip()]
    first = lines[0] if lines else ""
    if not first:
        raise InputError(f"{path} holds no boxes: all its lines are blank; use another file")
    if first[0] in "{[":
        return read_coco
    if any(line.startswith(("data_", "loop_", "_rln")) for line in lines[:20]):
        return read_star
    if _is_numbers(first):
        return read_model2point
    # No known start: a table with a header, if anything.
    columns = header_of(path)
    if any(name.startswith("axis-") for name in columns):
        return read_napari
    if first[0] == "<":
        raise InputError(f"{path} is one XML file; use the folder with the files of all tilts")
    if len(columns) < 3:
        raise InputError(f"{path} is not a file of boxes ({first[:40]!r}); use {FORMATS}")
    return read_table


def _is_numbers(line: str) -> bool:
    try:
        return 3 <= len([float(word) for word in line.split()]) <= 5
    except ValueError:
        return False

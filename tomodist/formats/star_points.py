"""Points from STAR files of RELION with 2D coordinates on the images of a stack.

One rule: rlnCoordinateX and rlnCoordinateY are index coordinates (0-based pixels of the array), and
images of a stack are counted from 1. The section is that of ``rlnMicrographName``, written
``000012@stack.mrc`` (the twelfth image, section 11), or ``rlnMicrographFrameNumber`` (from 1, too).
RELION has no other label for it: its tilt series are one file per image.

References
----------
https://relion.readthedocs.io/en/latest/Reference/Conventions.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tomodist.errors import InputError
from tomodist.formats.rows import Annotations, BadRow, Problems, Row, number, whole
from tomodist.formats.text import read_lines

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

_X, _Y, _Z = (f"rlnCoordinate{axis}" for axis in "XYZ")
_IMAGE = re.compile(r"^\s*(\d+)@")


def read_star(path: Path, problems: Problems) -> Annotations:
    """Read points.

    Parameters
    ----------
    path : Path
        The file.
    problems : Problems
        Collects every row that cannot be used.

    Returns
    -------
    Annotations
        Several values of rlnClassNumber are classes; scores are rlnAutopickFigureOfMerit.

    Raises
    ------
    InputError
        If there is no table of 2D coordinates.
    """
    table = _table(path)
    records = table.to_dict("records")
    # One class number for all points says nothing: then there are no classes.
    several = "rlnClassNumber" in table and table["rlnClassNumber"].nunique() > 1
    rows: list[Row] = []
    for k, record in enumerate(records, 1):
        with problems.row(f"row {k}"):
            name = f"class{record['rlnClassNumber']}" if several else ""
            score = number(record.get("rlnAutopickFigureOfMerit", 1.0), "rlnAutopickFigureOfMerit")
            y, x = number(record[_Y], _Y), number(record[_X], _X)
            rows.append(Row(f"row {k}", "section", _section(record), y, x, score=score, name=name))
    return Annotations("STAR", rows)


def _table(path: Path) -> pd.DataFrame:
    import pandas as pd
    import starfile

    read_lines(path)  # says what the file is, if it is no text
    try:
        blocks = starfile.read(path, always_dict=True)
    except Exception as error:  # starfile lets through whatever pandas raises
        raise InputError(f"{path} is not a complete STAR file ({error}); write it again") from error
    tables = [block for block in blocks.values() if _X in block and _Y in block]
    if not tables:
        raise InputError(f"{path} has no table with {_X} and {_Y}; use a file of 2D coordinates")
    if _Z in tables[0]:
        raise InputError(
            f"{path} has {_Z}: its positions lie in a tomogram; use 2D coordinates on the tilts"
        )
    points = tables[0]  # a block of one row may be a mapping
    return pd.DataFrame([points]) if isinstance(points, dict) else pd.DataFrame(points)


def _section(record: dict[Any, Any]) -> int:
    name = str(record.get("rlnMicrographName", ""))
    match = _IMAGE.match(name)
    if match:
        return int(match[1]) - 1
    if "rlnMicrographFrameNumber" in record:
        return whole(record["rlnMicrographFrameNumber"], "rlnMicrographFrameNumber") - 1
    raise BadRow(f"rlnMicrographName {name!r} does not name an image, such as 000012@stack.mrc")

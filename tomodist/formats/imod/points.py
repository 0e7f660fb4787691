"""Points from IMOD: models (``.mod``), and the text that ``model2point`` writes of them.

One rule: model coordinates x and y are measured from the lower left *corner* of the image, and z
from the *centre* of the first section, so that index coordinates are (x - 1/2, y - 1/2), and z is
the section. (Row 0 of the array is the bottom row in 3dmod.) Points have no size here: the sizes of
the spheres in a model are for drawing.

A model that was drawn on a part of an image has its origin there; where it keeps the image's origin
(bit 14 of its flags), (otrans - ctrans) / cscale leads back to the whole image.

References
----------
https://bio3d.colorado.edu/imod/doc/binspec.html, asciispec.html, man/model2point.html
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.errors import InputError
from tomodist.formats.rows import Annotations, BadRow, Problems, Row, number, whole
from tomodist.formats.text import read_lines

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.values.arrays import FloatArray

_HAS_ORIGIN = 1 << 14
_CORNER = 0.5


class _Strict(io.BytesIO):
    """File that raises at its end: imodmodel would search for the last chunk for ever."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read exactly `size` bytes."""
        content = super().read(size)
        if size is not None and len(content) < size:
            raise EOFError(f"it ends after {self.tell()} bytes")
        return content


def read_mod(path: Path, problems: Problems) -> Annotations:
    """Read the points of a model; objects are classes.

    Parameters
    ----------
    path : Path
        The file.
    problems : Problems
        Collects every point that cannot be used.

    Returns
    -------
    Annotations
        An object without a name is ``object1``, ``object2``, ...; a single one is no class.

    Raises
    ------
    InputError
        If it is no such model, or cut short.
    """
    from imodmodel.parsers import parse_model  # 0.2 s, and most runs do without

    try:
        model = parse_model(_Strict(path.read_bytes()))
    except (EOFError, struct.error, ValueError, LookupError, OSError, MemoryError) as error:
        raise InputError(
            f"{path} is not a complete IMOD model ({error}); copy it again, or convert it with "
            "model2point -object"
        ) from error
    offset = _origin(model)
    # Empty objects are common in models and are no classes.
    used = [k for k, item in enumerate(model.objects) if any(len(c.points) for c in item.contours)]
    rows: list[Row] = []
    for k in used:
        item = model.objects[k]
        name = item.header.name
        name = (name.decode("latin-1") if isinstance(name, bytes) else str(name)).strip()
        for c, contour in enumerate(item.contours, 1):
            for p, point in enumerate(contour.points + offset, 1):
                where = f"object {k + 1}, contour {c}, point {p}"
                with problems.row(where):
                    rows.append(_row(where, point, name or (f"object{k + 1}" if used[1:] else "")))
    return Annotations("IMOD model", rows)


def read_model2point(path: Path, problems: Problems) -> Annotations:
    """Read lines of x y z, or contour x y z, or object contour x y z.

    Parameters
    ----------
    path : Path
        The file.
    problems : Problems
        Collects every line that cannot be used.

    Returns
    -------
    Annotations
        Several objects are the classes ``object1``, ``object2``, ...
    """
    rows: list[Row] = []
    n_columns = 0
    for k, line in enumerate(read_lines(path), 1):
        words = line.split()
        if not words:
            continue
        # 3 numbers: x y z; 4: contour x y z; 5: object contour x y z.
        n_columns = n_columns or len(words)
        with problems.row(f"line {k}"):
            if len(words) != n_columns:
                raise BadRow(f"has {len(words)} numbers; earlier lines have {n_columns}")
            values = [number(word, "a coordinate") for word in words]
            name = f"object{values[0]:g}" if n_columns == 5 else ""
            rows.append(_row(f"line {k}", np.array(values[-3:]), name))
    if len({row.name for row in rows}) == 1:
        rows = [row._replace(name="") for row in rows]
    return Annotations("IMOD point list", rows)


def _row(where: str, point: FloatArray, name: str) -> Row:
    x, y, z = (number(float(value), axis) for value, axis in zip(point, "xyz", strict=True))
    return Row(where, "section", whole(z, "z"), y - _CORNER, x - _CORNER, name=name)


def _origin(model: Any) -> FloatArray:  # noqa: ANN401 -- imodmodel's model
    """Offset from the loaded part of the image to the whole image: x, y, z in pixels."""
    reference = model.minx
    if reference is None or not int(model.header.flags) & _HAS_ORIGIN:
        return np.zeros(3)
    scale = np.array(reference.cscale, np.float64)
    shift = np.array(reference.otrans, np.float64) - np.array(reference.ctrans, np.float64)
    return np.divide(shift, scale, out=np.zeros(3), where=scale != 0)

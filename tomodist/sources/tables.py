"""Tables of structures to compare: a store's own, CSV and STAR, each in its own frame.

    CSV and stores   Å from the centre of voxel 0 of the volume
    STAR, centred    Å from the volume centre (rlnCenteredCoordinateXAngst, RELION 5)
    STAR, in pixels  rlnCoordinateX x pixel size: from the centre of pixel 0 of a volume that covers
                     the same field, however it is binned; so half a pixel from the field's corner

One rule: every row has a finite position, and either all rows have positive sizes or none has any;
what is wrong is said with its line. Origins that RELION refined (rlnOriginXAngst) are not applied.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import starfile

from tomodist.errors import InputError
from tomodist.formats.text import read_lines
from tomodist.values.geometry import AXES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tomodist.store.tomogram import Label
    from tomodist.values.arrays import FloatArray
    from tomodist.values.geometry import VolumeGrid

Frame = Literal["voxel 0", "centre", "corner"]
_NAMES = ("rlnTomoName", "rlnMicrographName")
_PIXEL_SIZES = (
    "rlnTomoTiltSeriesPixelSize",  # RELION 4 and 5: of the pixels that coordinates are in
    "rlnPixelSize",
    "rlnMicrographPixelSize",
    "rlnDetectorPixelSize",
    "rlnImagePixelSize",  # of the particles' own images, so it comes last
)


@dataclass(frozen=True, eq=False)
class Table:
    """Structures by position and, where known, size.

    Parameters
    ----------
    path : str
        Where they are from, for messages.
    centers : ndarray, shape (n, 3), float64
        z, y, x in Å from the frame's origin.
    sizes : ndarray, shape (n, 3), float64, optional
        In Å.
    frame : {"voxel 0", "centre", "corner"}
        From where positions are measured: the centre of the first voxel, the centre of the volume,
        or the outer corner of the first voxel.
    """

    path: str
    centers: FloatArray
    sizes: FloatArray | None
    frame: Frame

    def __len__(self) -> int:
        return len(self.centers)

    def on(self, grid: VolumeGrid) -> FloatArray:
        """Positions in Å from the centre of voxel 0 of a volume: shape (n, 3), float64."""
        if self.frame == "centre":
            return self.centers + np.array(grid.center) * grid.voxel_size
        return self.centers - (grid.voxel_size / 2 if self.frame == "corner" else 0.0)


def stored_table(label: Label) -> Table:
    """Structures of a label of a store.

    Raises
    ------
    StoreError
        If there is no such label; the message lists what is.
    """
    table = label.structures.dataset().load()
    centers, sizes = (
        np.stack([np.asarray(table[f"{what}{axis}"].values, np.float64) for axis in AXES], axis=1)
        for what in ("", "size_")
    )
    return Table(f"{label.tomogram}: {label.structures}", centers, sizes, "voxel 0")


def read_csv(path: Path) -> Table:
    """Read a table such as `tomodist export` and `tomodist simulate` write.

    Parameters
    ----------
    path : Path
        With columns ``z_angstrom``, ``y_angstrom``, ``x_angstrom`` and, for boxes,
        ``size_z_angstrom``, ...; others are not looked at.

    Returns
    -------
    Table

    Raises
    ------
    InputError
        If the file cannot be read, or a column, a unit or a number is missing or wrong.
    """
    rows = list(csv.reader(read_lines(path)))
    head, body = [name.strip() for name in rows[0]], rows[1:]
    for k, row in enumerate(body):
        if row and len(row) != len(head):
            raise InputError(
                f"{path}, line {k + 2} has {len(row)} of {len(head)} columns; the file is "
                "truncated or damaged: write it again"
            )
    lines = [k + 2 for k, row in enumerate(body) if row]
    cells = pd.DataFrame([row for row in body if row], columns=head, dtype=str)
    centers = _columns(path, cells, [f"{axis}_angstrom" for axis in AXES], lines)
    names = [f"size_{axis}_angstrom" for axis in AXES]
    has_sizes = any(name.startswith("size_") for name in head)
    sizes = _columns(path, cells, names, lines, positive=True) if has_sizes else None
    return Table(str(path), centers, sizes, "voxel 0")


def read_star(path: Path, tomogram: str | None = None, pixel_size: float | None = None) -> Table:
    """Read particles of RELION, or of programs that write like it.

    Parameters
    ----------
    path : Path
        A STAR file with ``rlnCenteredCoordinate?Angst``, or ``rlnCoordinate?`` and a pixel size.
    tomogram : str, optional
        Which rows are taken if there are several tomograms (``rlnTomoName``).
    pixel_size : float, optional
        In Å, of coordinates in pixels; by default what the file says.

    Returns
    -------
    Table

    Raises
    ------
    InputError
        If the file cannot be read, or a column, the pixel size or a number is missing or wrong.
    """
    blocks = _blocks(path)
    centred = [f"rlnCenteredCoordinate{axis.upper()}Angst" for axis in AXES]
    in_pixels = [f"rlnCoordinate{axis.upper()}" for axis in AXES]
    for names in (centred, in_pixels):
        for cells in blocks:
            if any(name in cells for name in names):
                rows = _of_tomogram(path, cells, tomogram)
                lines = [k + 1 for k in rows]
                positions = _columns(path, cells.iloc[rows], names, lines, counted="row")
                if names is centred:
                    return Table(str(path), positions, None, "centre")
                sizes = _pixel_sizes(path, cells, blocks, pixel_size)[rows]
                return Table(str(path), (positions + 0.5) * sizes[:, None], None, "corner")
    raise InputError(
        f"{path} has neither rlnCenteredCoordinateXAngst nor rlnCoordinateX; use the STAR file of "
        "the particles"
    )


def _blocks(path: Path) -> list[pd.DataFrame]:
    """Tables of a STAR file, all cells as text."""
    read_lines(path)  # says what is wrong with a file that is no text
    try:
        blocks = starfile.read(path, always_dict=True, parse_as_string=_everything(path))
    except Exception as error:  # starfile and pandas raise whatever comes
        raise InputError(f"{path} is not a readable STAR file ({error}); write it again") from error
    return [
        block if isinstance(block, pd.DataFrame) else pd.DataFrame([block])
        for block in blocks.values()
    ]


def _everything(path: Path) -> list[str]:
    """Names of all columns."""
    return [s.split()[0][1:] for s in read_lines(path) if s.lstrip().startswith("_")]


def _of_tomogram(path: Path, cells: pd.DataFrame, tomogram: str | None) -> list[int]:
    """Rows of one tomogram: the only one of the file, or the one of this name."""
    name = next((n for n in _NAMES if n in cells), None)
    every = list(range(len(cells)))
    if name is None or cells[name].nunique() <= 1:
        return every
    tomograms = sorted(map(str, cells[name].unique()))
    rows = [k for k in every if str(cells[name].iloc[k]) == tomogram]
    if not rows:
        shown = ", ".join(tomograms[:5]) + (", ..." if len(tomograms) > 5 else "")
        raise InputError(
            f"{path} has particles of {len(tomograms)} tomograms ({shown}), none of them named "
            f"{tomogram!r} like the store; use a file of this tomogram only"
        )
    return rows


def _pixel_sizes(
    path: Path, cells: pd.DataFrame, blocks: Sequence[pd.DataFrame], pixel_size: float | None
) -> FloatArray:
    """Å per pixel of every row: as given, from the table itself, or from its optics group."""
    if pixel_size is not None:
        return np.full(len(cells), float(pixel_size))
    for name in _PIXEL_SIZES:
        for block in blocks:
            if name not in block or not len(block):
                continue
            numbers = _columns(
                path, block, [name], range(1, len(block) + 1), counted="row", positive=True
            )[:, 0]
            # One optics group, or all alike: no need to match groups.
            if len(np.unique(numbers)) == 1:
                return np.full(len(cells), numbers[0])
            if block is cells:
                return numbers
            if "rlnOpticsGroup" in block and "rlnOpticsGroup" in cells:
                of_group = dict(zip(block["rlnOpticsGroup"], numbers, strict=True))
                sizes = [of_group.get(group, math.nan) for group in cells["rlnOpticsGroup"]]
                if np.isfinite(sizes).all():
                    return np.array(sizes)
    raise InputError(
        f"{path} has coordinates in pixels (rlnCoordinateX) but no pixel size, such as "
        "rlnTomoTiltSeriesPixelSize; set `pixel_size`"
    )


def _columns(
    path: Path,
    cells: pd.DataFrame,
    names: Sequence[str],
    lines: Sequence[int],
    *,
    counted: str = "line",
    positive: bool = False,
) -> FloatArray:
    """Numbers of some columns, shape (n, n_names); each must be finite."""
    # A column without its unit is the usual mistake: the hint names it.
    missing = [name for name in names if name not in cells]
    if missing:
        bare = missing[0].removesuffix("_angstrom")
        hint = f" ({bare} has no unit: name it {missing[0]} if it is in Å)" * (bare in cells)
        raise InputError(
            f"{path} has no column {', '.join(missing)}{hint}; its columns are "
            f"{', '.join(map(str, cells.columns[:12]))}"
        )
    table = np.empty((len(cells), len(names)))
    for k, name in enumerate(names):
        column = cells[name]
        table[:, k] = pd.to_numeric(column, errors="coerce")
        bad = ~np.isfinite(table[:, k]) | (positive & ~(table[:, k] > 0))
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            what = "positive " * positive
            raise InputError(
                f"{path}, {counted} {lines[row]}: {name} is {str(column.iloc[row])!r}, which is "
                f"not a finite {what}number; correct or remove it"
            )
    return table

"""Tables of a tomogram store: one Zarr array per column, so that xarray opens them too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy.typing as npt

from tomodist.formats.zarr import write_column

if TYPE_CHECKING:
    from pathlib import Path

Column = tuple[Sequence[str], npt.ArrayLike, str]  # dimensions, values, unit


def write_table(folder: Path, columns: Mapping[str, Column]) -> None:
    """Write the columns of a table.

    Parameters
    ----------
    folder : Path
        Zarr group to put them in.
    columns : mapping
        Name to (dimension names, values, unit); a unit of ``""`` is left out.
    """
    for name, (dims, values, unit) in columns.items():
        write_column(folder / name, values, dims, {"units": unit} if unit else {})

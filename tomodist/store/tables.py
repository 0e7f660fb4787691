"""Tables of a tomogram store: one Zarr array per column, so that xarray opens them too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import xarray as xr

if TYPE_CHECKING:
    from tomodist.formats.zarr import Group

Column = tuple[Sequence[str], npt.ArrayLike, str]  # dimensions, values, unit


def write_table(group: Group, columns: Mapping[str, Column]) -> None:
    """Write the columns of a table.

    Parameters
    ----------
    group : Group
        To put them in.
    columns : mapping
        Name to (dimension names, values, unit); a unit of ``""`` is left out.
    """
    for name, (dims, values, unit) in columns.items():
        group.write_column(name, values, dims, {"units": unit} if unit else {})


def dataset_of(columns: Mapping[str, Column]) -> xr.Dataset:
    """The columns of a table as they would be read from a store.

    Parameters
    ----------
    columns : mapping
        As for `write_table`.

    Returns
    -------
    Dataset
    """
    return xr.Dataset(
        {
            name: (tuple(dims), np.asarray(values), {"units": unit} if unit else {})
            for name, (dims, values, unit) in columns.items()
        }
    )

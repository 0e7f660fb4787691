"""Measures of tables of structures, independent of how the structures were found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

    from tomodist.values.arrays import AnyArray


def merit(table: xr.Dataset) -> AnyArray:
    """Figure of merit per structure: mean score, or number of tilts."""
    return np.asarray(table["mean_score" if "mean_score" in table else "n_tilts"].values)

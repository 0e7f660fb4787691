"""Measures of tables of structures, independent of how the structures were found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import xarray as xr


def merit(table: xr.Dataset) -> npt.NDArray[Any]:
    """Figure of merit per structure: mean score, or number of tilts."""
    return np.asarray(table["mean_score" if "mean_score" in table else "n_tilts"].values)

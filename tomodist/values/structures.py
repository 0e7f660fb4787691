"""What a table of structures tells, whatever found them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

    from tomodist.values.arrays import AnyArray


def merit(table: xr.Dataset) -> AnyArray:
    """How well structures are supported, for programs that ask: mean score, or number of tilts."""
    return np.asarray(table["mean_score" if "mean_score" in table else "n_tilts"].values)

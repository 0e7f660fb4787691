"""Tables of structures for other programs: RELION 5 STAR, CSV, points of the CryoET Data Portal.

STAR holds centred coordinates, Å from the volume centre, which do not depend on binning. (RELION
puts its own centre at pixel n // 2 of image and volume alike, half a raw pixel off for even sizes.)
CSV measures from the centre of voxel 0, as OME-Zarr and MRC files of this package do; the portal
measures from there, too, but in voxels.
"""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import pandas as pd
import starfile

from tomodist.values.geometry import AXES
from tomodist.values.structures import merit

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr

    from tomodist.values.geometry import VolumeGrid


COLUMNS = (
    *("id", "z", "y", "x", "size_z", "size_y", "size_x", "low_z", "low_y", "low_x"),
    *("sigma_z", "sigma_y", "sigma_x", "n_tilts", "residual"),
    *("n_voxels", "mean_score", "highest_score", "threshold", "stability"),
)  # of a CSV; low_* is the lower corner of the box


def write_star(path: Path, table: xr.Dataset, grid: VolumeGrid, tomogram_name: str) -> None:
    """Write structures as RELION 5 particles.

    Parameters
    ----------
    path : Path
        The file.
    table : Dataset
        Structures, with z, y, x in Å from the centre of voxel 0.
    grid : VolumeGrid
        Of the tomogram.
    tomogram_name : str
        Value of ``rlnTomoName``.
    """
    columns: dict[str, object] = {"rlnTomoName": [tomogram_name] * table.sizes["structure"]}
    for axis in reversed(AXES):
        # From the centre of voxel 0 to the volume centre.
        middle = grid.center[AXES.index(axis)] * grid.voxel_size
        columns[f"rlnCenteredCoordinate{axis.upper()}Angst"] = table[axis].values - middle
    columns["rlnAutopickFigureOfMerit"] = merit(table)
    starfile.write({"particles": pd.DataFrame(columns)}, path, overwrite=True)


def write_csv(path: Path, table: xr.Dataset) -> None:
    """Write the columns of a table of structures.

    Parameters
    ----------
    path : Path
        The file to write.
    table : Dataset
        Structures; columns without a value per structure are not written.
    """
    names = [name for name in COLUMNS if name in table.variables]
    units = {name: table[name].attrs.get("units", "") for name in names}
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([f"{name}_{units[name]}" if units[name] else name for name in names])
        writer.writerows(zip(*(_text(table[name].values) for name in names), strict=True))


def write_points(path: Path, table: xr.Dataset, grid: VolumeGrid) -> None:
    """Write centres as the portal's points: one JSON object per line, in voxels.

    Parameters
    ----------
    path : Path
        The file.
    table : Dataset
        Structures, with z, y, x in Å from the centre of voxel 0.
    grid : VolumeGrid
        Of the tomogram.
    """
    voxels = {axis: table[axis].values / grid.voxel_size for axis in reversed(AXES)}
    with path.open("w") as file:
        for position in zip(*(values.tolist() for values in voxels.values()), strict=True):
            location = dict(zip(voxels, position, strict=True))
            file.write(json.dumps({"type": "point", "location": location}) + "\n")


def _text(values: object) -> list[str]:
    return [f"{v:.3f}" if isinstance(v, float) else str(v) for v in values.tolist()]  # type: ignore[attr-defined]

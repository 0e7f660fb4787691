"""The columns of `structures/<label>`, whatever found the structures.

Lengths are in Å; positions are measured from the centre of voxel 0. ``low_*`` is the lower corner
of the box: the centre of its first voxel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tomodist.values.geometry import AXES

if TYPE_CHECKING:
    from tomodist.algorithms.objects.components import Measures
    from tomodist.algorithms.objects.tracks import Tracks
    from tomodist.store.tables import Column
    from tomodist.values.arrays import FloatArray
    from tomodist.values.geometry import TiltGeometry, VolumeGrid

_EACH = ["structure"]


def place_columns(
    center: FloatArray, low: FloatArray, size: FloatArray, voxel_size: float
) -> dict[str, Column]:
    """Number, centre, size and lower corner of every structure.

    Parameters
    ----------
    center, low, size : ndarray, shape (n, 3), float64
        z, y, x in voxels.
    voxel_size : float
        In Å.

    Returns
    -------
    dict
        Columns for `tomodist.store.tables.write_table`.
    """
    number = np.arange(1, len(center) + 1, dtype=np.uint32)
    columns: dict[str, Column] = {"id": (_EACH, number, "")}
    for prefix, values in (("", center), ("size_", size), ("low_", low)):
        for k, axis in enumerate(AXES):
            columns[f"{prefix}{axis}"] = (_EACH, values[:, k] * voxel_size, "angstrom")
    return columns


def support_columns(residual: FloatArray, geometry: TiltGeometry) -> dict[str, Column]:
    """How many tilts support each structure, and how far its 2D boxes are.

    Parameters
    ----------
    residual : ndarray, shape (n_tilts, n), float64
        In pixels; NaN where a tilt does not support a structure.
    geometry : TiltGeometry
        Of the tilts.

    Returns
    -------
    dict
        Columns; ``residual`` is the median over the tilts.
    """
    seen = np.isfinite(residual)
    middle = np.full(residual.shape[1], np.nan)
    for row in np.flatnonzero(seen.any(axis=0)):
        middle[row] = np.median(residual[seen[:, row], row])
    return {
        "n_tilts": (_EACH, seen.sum(axis=0), ""),
        "residual": (_EACH, middle, "pixel"),
        "residual_per_tilt": ([*_EACH, "tilt"], residual.T.astype(np.float32), "pixel"),
        "tilt_angle": (["tilt"], np.array(geometry.tilt_angles), "degree"),
    }


def track_columns(tracks: Tracks, geometry: TiltGeometry, grid: VolumeGrid) -> dict[str, Column]:
    """Columns of tracks: as of other located structures, and how sure their centres are.

    Parameters
    ----------
    tracks : Tracks
        Objects.
    geometry, grid
        Of the tilts and of the volume.

    Returns
    -------
    dict
        Columns; ``box`` is the index of the 2D box on every tilt, -1 where there is none.
    """
    low = tracks.center - (tracks.size - 1) / 2
    columns = place_columns(tracks.center, low, tracks.size, grid.voxel_size)
    for k, axis in enumerate(AXES):
        columns[f"sigma_{axis}"] = (_EACH, tracks.sigma[:, k] * grid.voxel_size, "angstrom")
    columns |= support_columns(tracks.residual, geometry)
    return columns | {"box": ([*_EACH, "tilt"], tracks.box.T.astype(np.int32), "")}


def voted_columns(
    rows: Measures, center: FloatArray, cut: FloatArray, grid: VolumeGrid, scale: float
) -> dict[str, Column]:
    """Columns of structures that are components of a score volume.

    Parameters
    ----------
    rows : Measures
        Of every structure.
    center : ndarray, shape (n, 3), float64
        z, y, x in voxels.
    cut : ndarray, shape (n,), float64
        The threshold of each, in stored scores.
    grid : VolumeGrid
        Of the volume.
    scale : float
        From stored scores to what tables tell.

    Returns
    -------
    dict
        Columns; ``stability`` is the part of the voxels that stays at a higher threshold.
    """
    size = (rows.high - rows.low + 1).astype(np.float64)
    n_voxels = np.maximum(rows.n_voxels, 1)
    return place_columns(center, rows.low.astype(np.float64), size, grid.voxel_size) | {
        "n_voxels": (_EACH, rows.n_voxels, ""),
        "mean_score": (_EACH, rows.weight / n_voxels * scale, ""),
        "highest_score": (_EACH, rows.highest * scale, ""),
        "threshold": (_EACH, cut * scale, ""),
        "stability": (_EACH, rows.n_sure / n_voxels, ""),
    }

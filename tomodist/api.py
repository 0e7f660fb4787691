"""The same from Python: a series opened lazily, objects located in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from tomodist.algorithms.lift.backproject import Votes
from tomodist.algorithms.objects.box_index import LinkRule
from tomodist.errors import InputError
from tomodist.runtime.cluster import open_session
from tomodist.steps.adopt import adopt_maps
from tomodist.steps.backproject import backproject_maps
from tomodist.steps.ingest import describe_series, lazy_images
from tomodist.steps.lazy import as_dask
from tomodist.steps.structures import Selection, select_structures
from tomodist.steps.threshold import choose_threshold_of
from tomodist.steps.tracks import link_structures
from tomodist.store.tomogram import Tomogram
from tomodist.values.boxes import Boxes, fill

if TYPE_CHECKING:
    from tomodist.runtime.runner import Session
    from tomodist.tasks.lifting import LocateMethod
    from tomodist.values.geometry import TiltGeometry, VolumeGrid


def open_tilt_series(path: str | Path, **options: Any) -> xr.DataArray:  # noqa: ANN401
    """Open a tilt series lazily: a stack with its alignment, or a tomogram store.

    Parameters
    ----------
    path : str or Path
        MRC stack, or a store made by ``tomodist ingest``.
    **options
        For a stack, those of `tomodist.steps.ingest.describe_series`: ``tilt_angles``,
        ``alignment``, ``binning``, ...

    Returns
    -------
    DataArray, shape (n_tilts, height, width), float32
        NaN where nothing is measured. ``attrs["geometry"]`` and ``attrs["grid"]`` are the plain
        forms of its `TiltGeometry` and `VolumeGrid`.

    Raises
    ------
    InputError, StoreError
    """
    if Path(path).is_dir():
        tomogram = Tomogram.open(path)
        images = tomogram.dataset("tilt_series")["images"]
        geometry, grid = tomogram.geometry, tomogram.grid
    else:
        series = describe_series(path, **options)
        geometry, grid = series.geometry, series.grid
        coordinates = {"tilt_angle": ("tilt", list(geometry.tilt_angles))}
        images = xr.DataArray(lazy_images(series), dims=("tilt", "y", "x"), coords=coordinates)
    return images.assign_attrs(geometry=geometry.to_dict(), grid=grid.to_dict())


def locate(
    maps: Any,  # noqa: ANN401 -- NumPy, Dask, xarray, or a sequence of Boxes
    geometry: TiltGeometry,
    grid: VolumeGrid,
    method: LocateMethod = "tracks",
    *,
    threshold: float | None = None,
    min_voxels: int = 1,
    min_tilts: int = 3,
    session: Session | None = None,
) -> xr.Dataset:
    """3D boxes from 2D boxes (Algorithm 3).

    Parameters
    ----------
    maps : array, shape (n_tilts, height, width), or sequence of Boxes
        Filled boxes as binary maps, or the boxes of every tilt.
    geometry, grid
        Of the maps and of the volume.
    method : {"tracks", "votes"}
        Link boxes across tilts, or find the components of the votes of filled boxes.
    threshold : float, optional
        On the votes; by default the one whose reprojection agrees best. Of ``"votes"``.
    min_voxels : int
        Smaller structures are dropped. Of ``"votes"``.
    min_tilts : int
        Less supported structures are dropped.
    session : Session, optional
        Where tasks run; by default threads of this process.

    Returns
    -------
    Dataset
        One row per structure: id, centre z, y, x and sizes in Å (from the first voxel), number of
        supporting tilts, and residual in pixels; of tracks the standard errors of the centre, of
        votes their mean and maximum.

    Raises
    ------
    InputError, GeometryError, PlanError
    """
    if session is None:
        with open_session("threads") as threads:
            return locate(
                maps,
                geometry,
                grid,
                method,
                threshold=threshold,
                min_voxels=min_voxels,
                min_tilts=min_tilts,
                session=threads,
            )
    if method not in ("tracks", "votes"):
        raise InputError(f"method is {method!r}; it must be 'tracks' or 'votes'")
    if method == "tracks" and (threshold is not None or min_voxels > 1):
        raise InputError("threshold and min_voxels are of method 'votes'; tracks have no voxels")
    boxes = None
    if isinstance(maps, Sequence) and all(isinstance(b, Boxes) for b in maps):
        if len(maps) != geometry.n_tilts:
            raise InputError(f"boxes of {len(maps)} tilts, but the geometry has {geometry.n_tilts}")
        boxes, maps = maps, np.stack([fill(b, geometry.image_shape) for b in maps])
    data = as_dask(maps, (geometry.n_tilts, *geometry.image_shape), "maps")
    with tempfile.TemporaryDirectory(prefix="tomodist-") as folder:
        tomogram = Tomogram.create(Path(folder) / "located.zarr")
        adopt_maps(tomogram, "located", data, geometry, grid, boxes)
        if method == "tracks":
            link_structures(session, tomogram, "located", LinkRule(min_tilts))
            return tomogram.dataset("structures/located").load()
        backproject_maps(session, tomogram, "located", Votes(geometry, grid), {})
        if threshold is None:
            scores = tomogram.array("scores/located", "scale0/scores")
            stored = tomogram.array("maps/located", "maps")
            levels = geometry.n_tilts
            threshold = choose_threshold_of(session, scores, stored, geometry, grid, levels).best
        selection = Selection(threshold, min_voxels, min_tilts, triangulate=True)
        select_structures(session, tomogram, "located", selection)
        return tomogram.dataset("structures/located").load()

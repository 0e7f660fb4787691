"""Step: results as files of other programs, written brick by brick under a temporary name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tomodist.errors import ExistsError, InputError, StoreError
from tomodist.formats.copick import CONFIG, Picks, config_json, picks_json
from tomodist.formats.files import whole_file, whole_folder
from tomodist.formats.mrc.write import create_mrc
from tomodist.formats.particles import write_csv, write_points, write_star
from tomodist.formats.zarr import Group
from tomodist.store.maps import stored_classes
from tomodist.store.tomogram import check_label, is_store
from tomodist.values.arrays import AnyArray

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.formats.zarr import ArrayHandle
    from tomodist.runtime.runner import Progress
    from tomodist.store.tomogram import Tomogram, Unit

Format = Literal["star", "csv", "mrc", "zarr", "copick", "ndjson"]
VolumeName = Literal["mask", "labels", "scores", "shares", "reconstruction"]
Convert = Callable[[AnyArray], AnyArray]


def export_result(
    progress: Progress,
    tomogram: Tomogram,
    label: str,
    path: Path,
    file_format: Format,
    *,
    volume: VolumeName = "mask",
    user: str = "tomodist",
    pick_session: str = "0",
    overwrite: bool = False,
) -> Path:
    """Write the structures or a volume of a label to one file.

    Parameters
    ----------
    progress : Progress
        Shows how far it is.
    tomogram : Tomogram
        The store.
    label : str
        Which result; the name of a reconstruction.
    path : Path
        The file, for ``"zarr"`` the folder, or for ``"copick"`` the root of the project.
    file_format : {"star", "csv", "mrc", "zarr", "copick", "ndjson"}
        Table of structures for RELION 5, or as text; a volume, as MRC or OME-Zarr; or points, in a
        copick project, or as the CryoET Data Portal has them.
    volume : {"mask", "labels", "scores", "shares", "reconstruction"}
        0 and 1; the number of the structure, or of the class where classes were put together; the
        scores, as they are or as shares of the tilts (0 to 1: how sure a voxel is); or grey
        values. As OME-Zarr the latter two only.
    user, pick_session : str
        Whose picks they are in copick.
    overwrite : bool
        Replace the file.

    Returns
    -------
    Path
        The file or folder that was written.

    Raises
    ------
    ExistsError, InputError, StoreError
    """
    check_label(label)
    if volume == "reconstruction" and file_format not in ("mrc", "zarr"):
        raise InputError(f"a reconstruction cannot be written as {file_format}; use mrc or zarr")
    _check_current(tomogram, label, volume, is_volume=file_format in ("mrc", "zarr"))
    if not path.parent.is_dir():
        raise InputError(f"{path}: folder {path.parent} not found; create it first")
    if file_format == "zarr":
        _export_zarr(tomogram, label, path, volume, overwrite=overwrite)
        return path
    if file_format == "copick":
        picks = Picks(tomogram.name, label, user, pick_session)
        return _export_picks(progress, tomogram, label, path, picks, overwrite=overwrite)
    if path.is_dir():
        raise InputError(f"{path} is a folder; use the name of the file to write")
    if path.exists() and not overwrite:
        raise ExistsError(f"{path} exists; use `overwrite` to replace it")
    if file_format == "mrc":
        _export_volume(progress, tomogram, label, path, volume, overwrite=overwrite)
        return path
    table = tomogram.label(label).structures.dataset().load()
    with whole_file(path) as draft:
        if file_format == "star":
            write_star(draft, table, tomogram.grid, tomogram.name)
        elif file_format == "ndjson":
            write_points(draft, table, tomogram.grid)
        else:
            write_csv(draft, table)
    return path


def _export_picks(
    progress: Progress,
    tomogram: Tomogram,
    label: str,
    root: Path,
    picks: Picks,
    *,
    overwrite: bool,
) -> Path:
    _check_outside_stores(root)
    path = root / picks.path
    if path.exists() and not overwrite:
        raise ExistsError(
            f"{path} exists; use `overwrite` to replace it, or another `user` or `session`"
        )
    table = tomogram.label(label).structures.dataset().load()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{path.parent} cannot be created: {error.strerror or error}; use another `output`"
        ) from error
    with whole_file(path) as draft:
        draft.write_text(picks_json(picks, table, tomogram.grid.voxel_size))
    config = config_json(root, picks, table)
    if config is not None:
        with whole_file(root / CONFIG) as draft:
            draft.write_text(config)
    progress.message(f"configuration: {root / CONFIG}")
    return path


def _unit_of(tomogram: Tomogram, label: str, volume: VolumeName) -> Unit:
    """The unit of a volume."""
    if volume == "reconstruction":
        return tomogram.reconstruction(label)
    of = tomogram.label(label)
    return of.scores if volume in ("scores", "shares") else of.labels


def _check_current(tomogram: Tomogram, label: str, volume: VolumeName, *, is_volume: bool) -> None:
    """Refuse what is not there, or was made from something that has changed since."""
    if volume == "reconstruction":
        tomogram.reconstruction(label).check_current()
        return
    of = tomogram.label(label)
    if not is_volume:
        of.structures.check_current()
        return
    if of.structures.exists() and not of.labels.exists():
        raise StoreError(
            f"{tomogram}: {label} was located by tracks, or picked, and so has no volume; "
            "export it as star, csv, copick or ndjson (the `locate` method 'votes' makes a volume)"
        )
    of.labels.check_current()


def _export_volume(
    progress: Progress,
    tomogram: Tomogram,
    label: str,
    path: Path,
    volume: VolumeName,
    *,
    overwrite: bool,
) -> None:
    unit = _unit_of(tomogram, label, volume)
    source, n_structures, max_score = unit.volume, 0, 0
    classes = stored_classes(unit)
    if classes:
        n_structures = max(classes)
    elif volume != "reconstruction":
        n_structures = tomogram.label(label).structures.dataset().sizes["structure"]
    if volume in ("scores", "shares"):
        record = unit.attributes
        max_score = record.get("levels", record["n_tilts"])
    dtype, convert = _stored_as(source, volume, n_structures, max_score)
    bricks = source.bricks()
    bar = progress.start(f"export {volume}", len(bricks))
    size = tomogram.grid.voxel_size
    with create_mrc(path, source.shape, dtype, size, overwrite=overwrite) as mrc:
        for brick in bricks:
            window = source.window(brick)
            mrc.write(tuple(slice(*w) for w in window), convert(source.read(*window)).astype(dtype))
            progress.advance(bar)


def _export_zarr(
    tomogram: Tomogram, label: str, path: Path, volume: VolumeName, *, overwrite: bool
) -> None:
    """Copy a volume's group, which is OME-Zarr as it is, under a temporary name first."""
    if volume not in ("scores", "reconstruction"):
        raise InputError(
            f"`volume` {volume!r} cannot be written as zarr; use mrc, or the volume scores"
        )
    unit = _unit_of(tomogram, label, volume)
    _ = unit.attributes  # says what is there, if it is not
    _check_replaceable(path)
    if path.exists() and not overwrite:
        raise ExistsError(f"{path} exists; use `overwrite` to replace it")
    with whole_folder(path) as draft:
        tomogram.place.copy(unit.name, draft)


def _check_replaceable(path: Path) -> None:
    """Refuse a folder that is not an exported volume: a store, a place in one, or anything else."""
    _check_outside_stores(path)
    if path.exists() and "ome" not in Group(str(path)).attributes:
        raise InputError(f"{path} exists and is not an exported volume; use another `output`")


def _check_outside_stores(path: Path) -> None:
    for folder in (path.absolute(), *path.absolute().parents):
        if is_store(folder):
            where = "is" if folder == path.absolute() else "lies in"
            raise InputError(f"{path} {where} a tomogram store; use another `output`")


def _stored_as(
    source: ArrayHandle, volume: VolumeName, n_structures: int, max_score: int
) -> tuple[np.dtype[Any], Convert]:
    """Smallest MRC type that holds the values: signed bytes, 16-bit integers or float32."""
    if volume == "mask":
        return np.dtype(np.int8), lambda values: values > 0
    if source.dtype.kind == "f":
        return np.dtype(np.float32), np.nan_to_num
    if volume == "shares":
        return np.dtype(np.float32), lambda values: values / np.float32(max_score)
    largest = n_structures if volume == "labels" else max_score
    sizes = ((127, np.int8), (32767, np.int16), (2**24, np.float32))
    for limit, dtype in sizes:
        if largest <= limit:
            return np.dtype(dtype), lambda values: values
    raise InputError(
        f"{n_structures} structures are more than an MRC file can number (2^24); export the mask"
    )

"""Step: results as files of other programs, written brick by brick under a temporary name."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from tomodist.errors import ExistsError, InputError, StoreError
from tomodist.io.copick import CONFIG, Picks, config_json, picks_json
from tomodist.io.maps import stored_classes
from tomodist.io.mrc_write import create_mrc
from tomodist.io.particles import write_csv, write_points, write_star
from tomodist.io.store import check_label, group_attributes, is_store

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.io.arrays import ArrayHandle
    from tomodist.io.store import Tomogram
    from tomodist.stages.execute import Session

Format = Literal["star", "csv", "mrc", "zarr", "copick", "ndjson"]
VolumeName = Literal["mask", "labels", "scores", "shares", "reconstruction"]
Convert = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]


def export_result(
    session: Session,
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
    session : Session
        Told of the progress.
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
        raise InputError(f"{path}: there is no folder {path.parent}; make it first")
    if file_format == "zarr":
        _export_zarr(tomogram, label, path, volume, overwrite=overwrite)
        return path
    if file_format == "copick":
        picks = Picks(tomogram.path.stem, label, user, pick_session)
        return _export_picks(session, tomogram, label, path, picks, overwrite=overwrite)
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of the file to write")
    if path.exists() and not overwrite:
        raise ExistsError(f"{path} exists; use --overwrite to replace it")
    if file_format == "mrc":
        _export_volume(session, tomogram, label, path, volume, overwrite=overwrite)
        return path
    table = tomogram.dataset(f"structures/{label}").load()
    with _draft_of(path) as draft:
        if file_format == "star":
            write_star(draft, table, tomogram.grid, tomogram.path.stem)
        elif file_format == "ndjson":
            write_points(draft, table, tomogram.grid)
        else:
            write_csv(draft, table)
    return path


@contextmanager
def _draft_of(path: Path) -> Iterator[Path]:
    """Write a file under a temporary name beside its own, and rename it when it is complete."""
    draft = path.with_name(f".{path.name}.draft{path.suffix}")
    try:
        yield draft
        draft.replace(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror or error}; give another --output"
        ) from error
    finally:
        draft.unlink(missing_ok=True)


def _export_picks(
    session: Session,
    tomogram: Tomogram,
    label: str,
    root: Path,
    picks: Picks,
    *,
    overwrite: bool,
) -> Path:
    _check_outside_stores(root)
    path = root / picks.place
    if path.exists() and not overwrite:
        raise ExistsError(
            f"{path} exists; use --overwrite to replace it, or another --user or --session"
        )
    table = tomogram.dataset(f"structures/{label}").load()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{path.parent} cannot be made: {error.strerror or error}; give another --output"
        ) from error
    with _draft_of(path) as draft:
        draft.write_text(picks_json(picks, table, tomogram.grid.voxel_size))
    config = config_json(root, picks, table)
    if config is not None:
        with _draft_of(root / CONFIG) as draft:
            draft.write_text(config)
    session.progress.message(f"configuration: {root / CONFIG}")
    return path


def _check_current(tomogram: Tomogram, label: str, volume: VolumeName, *, is_volume: bool) -> None:
    """Refuse what is not there, or was made from something that has changed since."""
    units = [f"structures/{label}"]
    if is_volume:
        units = [f"reconstructions/{label}"] if volume == "reconstruction" else [f"labels/{label}"]
    tracks = tomogram.has(f"structures/{label}") and not tomogram.has(f"labels/{label}")
    if tracks and units == [f"labels/{label}"]:
        raise StoreError(
            f"{tomogram.path}: {label} was located by tracks, or picked, and so has no volume; "
            "export it as star, csv, copick or ndjson (locate --method votes makes a volume)"
        )
    for unit in units:
        outdated = tomogram.outdated(unit)
        if outdated:
            raise StoreError(
                f"{tomogram.path}: {unit} was made from another {outdated} than is there now; "
                "make it again (the same command with --overwrite), then export"
            )


def _export_volume(
    session: Session,
    tomogram: Tomogram,
    label: str,
    path: Path,
    volume: VolumeName,
    *,
    overwrite: bool,
) -> None:
    unit, name = _stored(label, volume)
    source = tomogram.array(unit, f"scale0/{name}")
    n_structures = 0
    classes = stored_classes(tomogram, unit)
    if classes:
        n_structures = max(classes)
    elif volume != "reconstruction":
        n_structures = tomogram.dataset(f"structures/{label}").sizes["structure"]
    levels = 0
    if volume in ("scores", "shares"):
        made = tomogram.attributes(unit)
        levels = made.get("levels", made["n_tilts"])
    dtype, convert = _stored_as(source, volume, n_structures, levels)
    bricks = source.bricks()
    session.progress.start(f"export {volume}", len(bricks))
    size = tomogram.grid.voxel_size
    with create_mrc(path, source.shape, dtype, size, overwrite=overwrite) as mrc:
        for brick in bricks:
            window = source.window(brick)
            place = tuple(slice(*w) for w in window)
            mrc.write(place, convert(source.read(*window)).astype(dtype))
            session.progress.advance()


def _export_zarr(
    tomogram: Tomogram, label: str, path: Path, volume: VolumeName, *, overwrite: bool
) -> None:
    """Copy a volume's group, which is OME-Zarr as it is, under a temporary name first."""
    if volume not in ("scores", "reconstruction"):
        raise InputError(f"--volume {volume} is not written as zarr; use mrc, or --volume scores")
    unit, _ = _stored(label, volume)
    tomogram.attributes(unit)
    _check_replaceable(path)
    if path.exists() and not overwrite:
        raise ExistsError(f"{path} exists; use --overwrite to replace it")
    draft, old = (path.with_name(f".{path.name}.{word}") for word in ("draft", "replaced"))
    for leftover in (draft, old):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        shutil.copytree(tomogram.path / unit, draft)
        if path.exists():
            path.rename(old)
        draft.rename(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _check_replaceable(path: Path) -> None:
    """Refuse a folder that is not an exported volume: a store, a place in one, or anything else."""
    _check_outside_stores(path)
    if path.exists() and "ome" not in group_attributes(path):
        raise InputError(f"{path} exists and is no exported volume; give another --output")


def _check_outside_stores(path: Path) -> None:
    for folder in (path.absolute(), *path.absolute().parents):
        if is_store(folder):
            where = "is" if folder == path.absolute() else "lies in"
            raise InputError(f"{path} {where} a tomogram store; give another --output")


def _stored(label: str, volume: VolumeName) -> tuple[str, str]:
    """Unit of a volume, and name of its arrays."""
    if volume == "reconstruction":
        return f"reconstructions/{label}", volume
    name = "scores" if volume in ("scores", "shares") else "labels"
    return f"{name}/{label}", name


def _stored_as(
    source: ArrayHandle, volume: VolumeName, n_structures: int, levels: int
) -> tuple[np.dtype[Any], Convert]:
    """Smallest MRC type that holds the values: signed bytes, 16-bit integers or float32."""
    if volume == "mask":
        return np.dtype(np.int8), lambda values: values > 0
    if source.dtype.kind == "f":
        return np.dtype(np.float32), np.nan_to_num
    if volume == "shares":
        return np.dtype(np.float32), lambda values: values / np.float32(levels)
    largest = n_structures if volume == "labels" else levels
    sizes = ((127, np.int8), (32767, np.int16), (2**24, np.float32))
    for limit, dtype in sizes:
        if largest <= limit:
            return np.dtype(dtype), lambda values: values
    raise InputError(
        f"{n_structures} structures are more than an MRC file can number (2^24); export the mask"
    )

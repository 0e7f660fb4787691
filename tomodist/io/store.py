"""The tomogram store: one Zarr v3 group per tomogram, and the only place that knows its layout.

    TS_01.zarr/
        tilt_series/                images (tilt, y, x), tilt_angle (tilt), ...
        maps/<label>/               maps (tilt, y, x), boxes (tilt, box, field); of a class of
                                    label maps boxes only, see tomodist.io.maps
        curves/<label>/             iou (tilt, threshold)
        scores/<label>/scale0/      scores (z, y, x)        OME-Zarr 0.5 multiscale
        labels/<label>/scale0/      labels (z, y, x)        OME-Zarr 0.5 label image
        structures/<label>/         one array per column of the table
        reconstructions/<name>/scale0/  reconstruction (z, y, x)   OME-Zarr 0.5 multiscale
        .staging/                   what is being made

One rule: a *unit* (``tilt_series``, ``scores/gold``, ...) is made under ``.staging``, carries the
fingerprint of everything that determines its content, and appears at its place by one rename,
complete. A rerun with the same fingerprint goes on where the last one stopped.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import xarray as xr
import zarr

from tomodist.errors import ExistsError, InputError, StoreError
from tomodist.geometry import TiltGeometry, VolumeGrid
from tomodist.io.arrays import ArrayHandle
from tomodist.io.fingerprints import Fingerprint, differences, digest, plain
from tomodist.io.locks import locked

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMAT = 1
_VOLUMES = ("scores/", "labels/", "reconstructions/")
_LONGEST_LABEL = 100  # characters; it becomes part of file names


@dataclass(frozen=True)
class Tomogram:
    """A tomogram store, by its path.

    Parameters
    ----------
    path : Path
        Folder, usually named ``*.zarr``. `open` and `create` check it.
    """

    path: Path

    @classmethod
    def create(cls, path: str | Path) -> Self:
        """Make an empty store, or open the one that is there.

        Raises
        ------
        StoreError
            If something that is not a tomogram store is in the way, or the folder cannot be made.
        """
        path = Path(path).absolute()
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            return cls.open(path)
        try:
            zarr.create_group(
                str(path), attributes={"tomodist": {"format": FORMAT}}, overwrite=True
            )
        except OSError as error:
            raise StoreError(
                f"{path} cannot be made: {error.strerror or error}; give another --output"
            ) from error
        return cls(path)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a store.

        Raises
        ------
        StoreError
            If there is no tomogram store at `path`, or of a newer format.
        """
        path = Path(path).absolute()
        if not path.exists():
            raise StoreError(f"{path}: no such tomogram store; make one with `tomodist ingest`")
        found = group_attributes(path).get("tomodist", {}).get("format")
        if found is None:
            raise StoreError(
                f"{path} exists but is not a tomogram store (its zarr.json has no `tomodist` "
                "attribute); give another path, or make one with `tomodist ingest`"
            )
        if found != FORMAT:
            raise StoreError(
                f"{path} is of store format {found}; this version of tomodist reads {FORMAT}"
            )
        return cls(path)

    def remove_if_empty(self) -> None:
        """Remove the store if it holds no unit, finished or not."""
        units = [p.parent for p in self.path.rglob("zarr.json") if p.parent != self.path]
        if not units:
            shutil.rmtree(self.path)

    def labels(self, kind: str) -> list[str]:
        """Labels for which there is a finished unit of a kind (``"maps"``, ``"scores"``, ...)."""
        folder = self.path / kind
        names = folder.iterdir() if folder.is_dir() else []
        return sorted(p.name for p in names if (p / "zarr.json").is_file())

    def has(self, unit: str) -> bool:
        """Whether a finished unit is there."""
        return (self.path / unit / "zarr.json").is_file()

    def attributes(self, unit: str) -> dict[str, Any]:
        """The ``tomodist`` attributes of a finished unit.

        Raises
        ------
        StoreError
            If it is not there; the message lists what is.
        """
        if not self.has(unit):
            kind, _, label = unit.partition("/")
            there = ", ".join(self.labels(kind)) or "none"
            what = f"no {kind} labelled {label!r} (there: {there})" if label else f"no {kind}"
            raise StoreError(f"{self.path} has {what}")
        return dict(group_attributes(self.path / unit)["tomodist"])

    def array(self, unit: str, name: str) -> ArrayHandle:
        """Handle of an array of a finished unit."""
        self.attributes(unit)
        return ArrayHandle(str(self.path / unit / name))

    def digest(self, unit: str) -> str:
        """Short hash of a finished unit's fingerprint, for the fingerprints of what uses it."""
        return digest(self.attributes(unit)["fingerprint"])

    def outdated(self, unit: str) -> str | None:
        """What a finished unit was made from that is not there any more, or is another now.

        Returns
        -------
        str or None
            Name of the unit further up; None if everything is as it was.
        """
        label = unit.partition("/")[2]
        fingerprint = self.attributes(unit)["fingerprint"]
        sources: dict[str, str] = {
            kind if kind == "tilt_series" else f"{kind}/{label}": fingerprint[kind]
            for kind in ("tilt_series", "maps", "scores")
            if kind in fingerprint
        }
        sources |= fingerprint.get("made_from", {})
        for above, made in sources.items():
            if not self.has(above) or self.digest(above) != made:
                return above
            found = self.outdated(above)
            if found:
                return found
        return None

    def check_current(self, unit: str) -> None:
        """Refuse a unit that is not there, or was made from something that is another now.

        Raises
        ------
        StoreError
        """
        above = self.outdated(unit)
        if above:
            raise StoreError(
                f"{self.path}: {unit} was made from {above}, which is another now, or gone; make "
                "it again, with --overwrite"
            )

    @property
    def geometry(self) -> TiltGeometry:
        """Geometry of the tilt series."""
        return TiltGeometry.from_dict(self.attributes("tilt_series")["geometry"])

    @property
    def grid(self) -> VolumeGrid:
        """Grid of the volumes."""
        return VolumeGrid.from_dict(self.attributes("tilt_series")["grid"])

    def dataset(self, unit: str) -> xr.Dataset:
        """A unit as a lazy xarray dataset; of a volume, the full-size level.

        Raises
        ------
        StoreError
            If the unit is not there.
        """
        made = self.attributes(unit)
        level = "/scale0" if unit.startswith(_VOLUMES) else ""
        data: xr.Dataset = xr.open_zarr(
            self.path, group=unit + level, consolidated=False, chunks={}
        )
        if "class_of" in made:  # see tomodist.io.maps
            labels = self.dataset(f"maps/{made['class_of']}")["maps"]
            data["maps"] = (labels == made["value"]).where(labels != 255, 2).astype("u1")
        return data

    def is_current(self, unit: str, fingerprint: Fingerprint, *, overwrite: bool) -> bool:
        """Whether a finished unit was made from just this.

        Raises
        ------
        ExistsError
            If it was made from something else and `overwrite` is false; says what differs.
        """
        if not self.has(unit):
            return False
        changes = differences(self.attributes(unit)["fingerprint"], plain(fingerprint))
        if changes and not overwrite:
            kind = unit.partition("/")[0]
            other = {"tilt_series": "--output", "reconstructions": "--name"}.get(kind, "--label")
            raise ExistsError(
                f"{self.path}: {unit} exists and was made differently ({'; '.join(changes)}); "
                f"use --overwrite to replace it, or another {other}"
            )
        return not changes

    @contextmanager
    def stage(self, unit: str, fingerprint: Fingerprint) -> Iterator[Staging]:
        """Make a unit: resume or start its staging group, and publish it at the end.

        Parameters
        ----------
        unit : str
            Such as ``"scores/gold"``.
        fingerprint : mapping
            Everything that determines the content, as plain values.

        Yields
        ------
        Staging
            Where to write. If the block raises, what is written stays for the next run, unless it
            raises an InputError: such a unit can never be finished, so nothing of it stays.

        Raises
        ------
        StoreError
            If another process is making the same unit.
        """
        _check_unit(unit)
        folder = self.path / ".staging" / unit.replace("/", "--")
        folder.parent.mkdir(exist_ok=True)
        with locked(folder.with_name(f"{folder.name}.lock"), f"{self.path}: {unit}"):
            staging = Staging(folder, *_resume(folder, plain(fingerprint)))
            try:
                yield staging
            except InputError:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            self._publish(folder, unit)

    def remove(self, unit: str) -> None:
        """Remove a finished unit, if it is there."""
        _check_unit(unit)
        folder = self.path / ".staging" / f"{unit.replace('/', '--')}.removed"
        folder.parent.mkdir(exist_ok=True)
        with locked(folder.with_name("publish.lock")):
            if not self.has(unit):
                return
            shutil.rmtree(folder, ignore_errors=True)
            (self.path / unit).rename(folder)
            shutil.rmtree(folder, ignore_errors=True)
            self._list_labels(unit)

    def _list_labels(self, unit: str) -> None:
        """Keep OME-Zarr's list of label images as it is on disk."""
        if unit.startswith("labels/"):
            group = zarr.open_group(str((self.path / unit).parent), mode="a")
            group.attrs["ome"] = {"version": "0.5", "labels": self.labels("labels")}

    def _publish(self, folder: Path, unit: str) -> None:
        target = self.path / unit
        with locked(self.path / ".staging" / "publish.lock"):
            if "/" in unit:
                zarr.open_group(str(target.parent), mode="a")
            replaced = folder.with_name(f"{folder.name}.replaced")
            shutil.rmtree(replaced, ignore_errors=True)
            if target.exists():
                target.rename(replaced)
            folder.rename(target)
            shutil.rmtree(replaced, ignore_errors=True)
            self._list_labels(unit)


@dataclass(frozen=True)
class Staging:
    """A unit that is being made.

    Parameters
    ----------
    path : Path
        Its group.
    resumed : bool
        Whether an earlier run with the same fingerprint left it unfinished.
    changes : tuple of str
        Why an earlier unfinished run could not be continued; empty if there was none.
    """

    path: Path
    resumed: bool
    changes: tuple[str, ...]

    def describe(self, **attributes: Any) -> None:  # noqa: ANN401 -- any JSON value
        """Add ``tomodist`` attributes; ``ome`` becomes an attribute of its own."""
        group = zarr.open_group(str(self.path), mode="r+")
        if "ome" in attributes:
            group.attrs["ome"] = attributes.pop("ome")
        group.attrs["tomodist"] = {**group.attrs["tomodist"], **plain(attributes)}  # type: ignore[dict-item]

    def has(self, name: str) -> bool:
        """Whether an array or group of this name is there."""
        return (self.path / name / "zarr.json").is_file()

    def remove(self, name: str) -> None:
        """Remove an array or group."""
        shutil.rmtree(self.path / name, ignore_errors=True)

    def clear(self) -> None:
        """Remove everything but the fingerprint."""
        for path in self.path.iterdir():
            if path.is_dir():
                shutil.rmtree(path)


def _check_unit(unit: str) -> None:
    """Refuse a unit that would lie elsewhere: labels may come from a model that came by mail."""
    _, there, label = unit.partition("/")
    if there:
        check_label(label)


def is_store(path: Path) -> bool:
    """Whether a folder is a tomogram store."""
    return "format" in group_attributes(path).get("tomodist", {})


def group_attributes(path: Path) -> dict[str, Any]:
    """Attributes of a Zarr group, or nothing if there is no readable group."""
    try:
        return dict(zarr.open_group(str(path), mode="r").attrs)
    except (FileNotFoundError, ValueError, KeyError, NotADirectoryError):
        return {}


def check_label(label: str) -> str:
    """Return a label that can name a group, or say why it cannot.

    Raises
    ------
    InputError
        If it holds anything but letters, digits, ``-``, ``_`` and ``.``, starts with a dot, or is
        too long for the name of a file.

    Examples
    --------
    >>> check_label("gold")
    'gold'
    """
    if len(label) > _LONGEST_LABEL:
        raise InputError(
            f"label {label[:20]!r}... has {len(label)} characters; use at most {_LONGEST_LABEL}"
        )
    allowed = label.replace("-", "").replace(".", "").replace("_", "")
    if not (allowed.isascii() and allowed.isalnum()) or label.startswith("."):
        raise InputError(
            f"label {label!r} cannot name a folder; use letters, digits, '-', '_' and '.'"
        )
    return label


def _resume(folder: Path, fingerprint: dict[str, Any]) -> tuple[bool, tuple[str, ...]]:
    """Keep a staging group of the same fingerprint; else start a new one. (resumed, changes)."""
    old = group_attributes(folder).get("tomodist", {}).get("fingerprint")
    if old == fingerprint:
        return True, ()
    shutil.rmtree(folder, ignore_errors=True)
    zarr.create_group(str(folder), attributes={"tomodist": {"fingerprint": fingerprint}})
    return False, tuple(differences(old, fingerprint)) if old else ()

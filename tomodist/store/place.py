"""Where a store lives, and how a unit gets there: whole, or not at all.

One rule: only this module knows how a unit is *committed*. In a local folder a unit is made under
``.staging`` and gets its name by one rename. A store without renames (an object store) would write
the unit at its place and its group's metadata last; nothing else would have to change, as nothing
else takes a store for a folder.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import zarr

from tomodist.errors import InputError, StoreError
from tomodist.formats.zarr import Group
from tomodist.store.locks import locked
from tomodist.values.fingerprints import differences, plain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tomodist.values.fingerprints import Fingerprint

ATTRIBUTE = "tomodist"
"""Attribute of every group under which its record stands."""


@dataclass(frozen=True)
class Staging(Group):
    """A unit that is being made.

    Parameters
    ----------
    path : str
        Its group.
    resumed : bool
        Whether an earlier run with the same fingerprint left it unfinished.
    changes : tuple of str
        Why an earlier unfinished run could not be continued; empty if there was none.
    """

    resumed: bool = False
    changes: tuple[str, ...] = ()

    def describe(self, **record: Any) -> None:  # noqa: ANN401 -- any JSON value
        """Add to the unit's record; ``ome`` becomes an attribute of its own."""
        if "ome" in record:
            self.set_attributes(ome=record.pop("ome"))
        self.set_attributes(**{ATTRIBUTE: {**self.attributes[ATTRIBUTE], **plain(record)}})


class Place(Protocol):
    """Where a store lives."""

    @property
    def name(self) -> str:
        """Name of the store without its suffix, such as ``TS_01``."""

    @property
    def identity(self) -> str:
        """The same for all ways to write the place."""

    @property
    def root(self) -> Group:
        """The store's group; units are groups in it."""

    def exists(self) -> bool:
        """Whether anything is there; asked on workers, too."""

    def units(self, kind: str) -> list[str]:
        """Labels of the finished units of a kind, sorted."""

    def stage(self, unit: str, fingerprint: Fingerprint) -> AbstractContextManager[Staging]:
        """Make a unit: resume or start it, and commit it at the end.

        Parameters
        ----------
        unit : str
            Path of the unit in the store.
        fingerprint : dict
            What determines its content.

        Returns
        -------
        context manager of Staging
            Leaving it without an error commits the unit.
        """

    def remove(self, unit: str) -> None:
        """Remove a finished unit, if it is there."""

    def beside(self, name: str) -> Path:
        """Path of a picture or a file that belongs to the store and lies beside it."""


@dataclass(frozen=True)
class LocalFolder:
    """A folder of a file system that all workers see.

    Parameters
    ----------
    path : Path
        Usually named ``*.zarr``; absolute.
    """

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """Name of the folder without its suffix."""
        return self.path.stem

    @property
    def identity(self) -> str:
        """The path without links."""
        return str(self.path.resolve())

    @property
    def root(self) -> Group:
        """The store's group."""
        return Group(str(self.path))

    def exists(self) -> bool:
        """Whether the folder is there."""
        return self.path.exists()

    def create(self, record: dict[str, Any]) -> None:
        """Make an empty store.

        Raises
        ------
        StoreError
            If the folder cannot be made.
        """
        try:
            zarr.create_group(str(self.path), attributes={ATTRIBUTE: record}, overwrite=True)
        except OSError as error:
            raise StoreError(
                f"{self.path} cannot be created: {error.strerror or error}; use another `output`"
            ) from error

    def is_empty(self) -> bool:
        """Whether the folder holds nothing, or is not there."""
        return not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir()))

    def remove_if_without_units(self) -> None:
        """Remove the store if it holds no unit, finished or not."""
        units = [p.parent for p in self.path.rglob("zarr.json") if p.parent != self.path]
        if not units:
            shutil.rmtree(self.path)

    def units(self, kind: str) -> list[str]:
        """Labels of the finished units of a kind, sorted."""
        folder = self.path / kind
        names = folder.iterdir() if folder.is_dir() else []
        return sorted(p.name for p in names if (p / "zarr.json").is_file())

    @contextmanager
    def stage(self, unit: str, fingerprint: Fingerprint) -> Iterator[Staging]:
        """Make a unit: resume or start its staging group, and commit it at the end.

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
        folder = self.path / ".staging" / unit.replace("/", "--")
        folder.parent.mkdir(exist_ok=True)
        with locked(folder.with_name(f"{folder.name}.lock"), f"{self.path}: {unit}"):
            staging = _resumed(folder, plain(fingerprint))
            try:
                yield staging
            except InputError:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            self._commit(folder, unit)

    def remove(self, unit: str) -> None:
        """Remove a finished unit, if it is there."""
        folder = self.path / ".staging" / f"{unit.replace('/', '--')}.removed"
        folder.parent.mkdir(exist_ok=True)
        with locked(folder.with_name("publish.lock")):
            if not self.root.has(unit):
                return
            shutil.rmtree(folder, ignore_errors=True)
            (self.path / unit).rename(folder)
            shutil.rmtree(folder, ignore_errors=True)
            self._list_labels(unit)

    def beside(self, name: str) -> Path:
        """Path of a file beside the folder, named after it: ``TS_01_<name>``."""
        return self.path.with_name(f"{self.name}_{name}")

    def copy(self, unit: str, target: Path) -> None:
        """Copy the files of a finished unit to a folder that is not there yet.

        Parameters
        ----------
        unit : str
            Path of the unit in the store.
        target : Path
            New folder.
        """
        shutil.copytree(self.path / unit, target)

    def _commit(self, folder: Path, unit: str) -> None:
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

    def _list_labels(self, unit: str) -> None:
        """Keep OME-Zarr's list of label images as it is on disk."""
        if unit.startswith("labels/"):
            group = zarr.open_group(str((self.path / unit).parent), mode="a")
            group.attrs["ome"] = {"version": "0.5", "labels": self.units("labels")}


def _resumed(folder: Path, fingerprint: dict[str, Any]) -> Staging:
    """Keep a staging group of the same fingerprint; else start a new one."""
    before = Group(str(folder)).attributes.get(ATTRIBUTE, {}).get("fingerprint")
    if before == fingerprint:
        return Staging(str(folder), resumed=True)
    shutil.rmtree(folder, ignore_errors=True)
    zarr.create_group(str(folder), attributes={ATTRIBUTE: {"fingerprint": fingerprint}})
    return Staging(str(folder), changes=tuple(differences(before, fingerprint)) if before else ())

"""The tomogram store: one Zarr v3 group per tomogram, and the only place that knows its layout.

    TS_01.zarr/
        tilt_series/                images (tilt, y, x), tilt_angle (tilt), ...
        maps/<label>/               maps (tilt, y, x), boxes (tilt, box, field); of a class of
                                    label maps boxes only, see tomodist.store.maps
        curves/<label>/             iou (tilt, threshold)
        edge_curves/<label>/        kappa (threshold)
        scores/<label>/scale0/      scores (z, y, x)        OME-Zarr 0.5 multiscale
        labels/<label>/scale0/      labels (z, y, x)        OME-Zarr 0.5 label image
        structures/<label>/         one array per column of the table
        reconstructions/<name>/scale0/  reconstruction (z, y, x)   OME-Zarr 0.5 multiscale
        .staging/                   what is being made

One rule: a *unit* (``tilt_series``, ``scores/gold``, ...) carries the fingerprint of everything
that determines its content, and appears complete or not at all (see `tomodist.store.place`). A
rerun with the same fingerprint goes on where the last one stopped. Nobody spells a unit's name:

    tomogram.series, tomogram.reconstruction("wbp")
    label = tomogram.label("gold")
    label.maps, label.scores, label.curves, label.labels, label.structures
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import xarray as xr

from tomodist.errors import ExistsError, InputError, StoreError
from tomodist.store.place import ATTRIBUTE, LocalFolder
from tomodist.values.fingerprints import differences, digest, plain
from tomodist.values.geometry import TiltGeometry, VolumeGrid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from tomodist.formats.zarr import ArrayHandle
    from tomodist.store.place import Staging
    from tomodist.values.fingerprints import Fingerprint

FORMAT = 1
SERIES = "tilt_series"
Kind = Literal["maps", "scores", "curves", "edge_curves", "labels", "structures", "reconstructions"]
_VARIABLES = {"scores": "scores", "labels": "labels", "reconstructions": "reconstruction"}
_SOURCES = (SERIES, "maps", "scores")  # keys of a fingerprint that hold the digest of a source
_LONGEST_LABEL = 100  # characters; it becomes part of file names


@dataclass(frozen=True)
class Tomogram:
    """A tomogram store, by its place.

    Parameters
    ----------
    place : LocalFolder
        Where it is. `open` and `create` check it.
    """

    place: LocalFolder

    @classmethod
    def create(cls, path: str | Path) -> Self:
        """Create an empty store, or open the one that is there.

        Raises
        ------
        StoreError
            If something that is not a tomogram store is in the way, or the folder cannot be made.
        """
        place = LocalFolder(Path(path).absolute())
        if not place.is_empty():
            return cls.open(path)
        place.create({"format": FORMAT})
        return cls(place)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a store.

        Raises
        ------
        StoreError
            If there is no tomogram store at `path`, or of a newer format.
        """
        place = LocalFolder(Path(path).absolute())
        if not place.exists():
            raise StoreError(f"{place}: no such tomogram store; create one with `tomodist ingest`")
        version = place.root.attributes.get(ATTRIBUTE, {}).get("format")
        if version is None:
            raise StoreError(
                f"{place} exists but is not a tomogram store (its zarr.json has no `tomodist` "
                "attribute); use another path, or create a store with `tomodist ingest`"
            )
        if version != FORMAT:
            raise StoreError(
                f"{place} has store format {version}; this version of tomodist reads {FORMAT}"
            )
        return cls(place)

    def __str__(self) -> str:
        return str(self.place)

    @property
    def name(self) -> str:
        """Name of the tomogram, such as ``TS_01``."""
        return self.place.name

    @property
    def series(self) -> Unit:
        """The tilt series."""
        return Unit(self, SERIES)

    def label(self, name: str) -> Label:
        """Everything that belongs to a label.

        Raises
        ------
        InputError
            If the label cannot name a group.
        """
        return Label(self, check_label(name))

    def reconstruction(self, name: str) -> Unit:
        """A reconstruction.

        Raises
        ------
        InputError
            If the name cannot name a group.
        """
        return Unit(self, f"reconstructions/{check_label(name)}")

    def names(self, kind: Kind) -> list[str]:
        """Labels (or names) for which there is a finished unit of a kind."""
        return self.place.units(kind)

    def units(self, *kinds: Kind) -> Iterator[Unit]:
        """The finished units of some kinds."""
        for kind in kinds:
            for name in self.names(kind):
                yield Unit(self, f"{kind}/{name}")

    @property
    def geometry(self) -> TiltGeometry:
        """Geometry of the tilt series."""
        return TiltGeometry.from_dict(self.series.attributes["geometry"])

    @property
    def grid(self) -> VolumeGrid:
        """Grid of the volumes."""
        return VolumeGrid.from_dict(self.series.attributes["grid"])


@dataclass(frozen=True)
class Unit:
    """One unit of a store, finished or not.

    Parameters
    ----------
    tomogram : Tomogram
        The store.
    name : str
        Such as ``"scores/gold"``; given by `Tomogram` and `Label`.
    """

    tomogram: Tomogram
    name: str

    def __str__(self) -> str:
        return self.name

    @property
    def kind(self) -> str:
        """Such as ``"scores"``."""
        return self.name.partition("/")[0]

    @property
    def label(self) -> str:
        """Such as ``"gold"``; empty for the tilt series."""
        return self.name.partition("/")[2]

    def exists(self) -> bool:
        """Whether the unit is there, finished."""
        return self.tomogram.place.root.has(self.name)

    @property
    def attributes(self) -> dict[str, Any]:
        """The record of a finished unit: its fingerprint, and how it was made.

        Raises
        ------
        StoreError
            If it is not there; the message lists what is.
        """
        if not self.exists():
            available = ", ".join(self.tomogram.place.units(self.kind)) or "none"
            what = f"{self.kind}"
            if self.label:
                what = f"{self.kind} labelled {self.label!r} (available: {available})"
            raise StoreError(f"{self.tomogram} has no {what}")
        return dict(self.tomogram.place.root.group(self.name).attributes[ATTRIBUTE])

    @property
    def digest(self) -> str:
        """Short hash of the fingerprint, for the fingerprints of what is made from the unit."""
        return digest(self.attributes["fingerprint"])

    def array(self, name: str) -> ArrayHandle:
        """Handle of an array of a finished unit.

        Raises
        ------
        StoreError
            If the unit is not there.
        """
        _ = self.attributes
        return self.tomogram.place.root.group(self.name).array(name)

    @property
    def variable(self) -> str:
        """Name of the arrays of a volume: scores, labels or reconstruction."""
        return _VARIABLES[self.kind]

    @property
    def volume(self) -> ArrayHandle:
        """Handle of the full-size level of a volume (z, y, x).

        Raises
        ------
        StoreError
            If the unit is not there.
        """
        return self.array(f"scale0/{self.variable}")

    def level(self, k: int) -> ArrayHandle:
        """Handle of a level of a volume's pyramid; 0 is the full size.

        Raises
        ------
        StoreError
            If the unit is not there.
        """
        return self.array(f"scale{k}/{self.variable}")

    def dataset(self) -> xr.Dataset:
        """The unit as a lazy xarray dataset; of a volume, the full-size level.

        Raises
        ------
        StoreError
            If the unit is not there.
        """
        record = self.attributes
        level = "/scale0" if self.kind in _VARIABLES else ""
        root = self.tomogram.place.root.path
        data: xr.Dataset = xr.open_zarr(
            root, group=self.name + level, consolidated=False, chunks={}
        )
        if "class_of" in record:  # see tomodist.store.maps
            labels = self.tomogram.label(record["class_of"]).maps.dataset()["maps"]
            data["maps"] = (labels == record["value"]).where(labels != 255, 2).astype("u1")
        return data

    def is_current(self, fingerprint: Fingerprint, *, overwrite: bool) -> bool:
        """Whether the unit is there, finished, and was made from just this.

        Parameters
        ----------
        fingerprint : dict
            What determines the content that is wanted.
        overwrite : bool
            Whether another content may be replaced.

        Returns
        -------
        bool

        Raises
        ------
        ExistsError
            If it was made from something else and `overwrite` is false; says what differs.
        """
        if not self.exists():
            return False
        changes = differences(self.attributes["fingerprint"], plain(fingerprint))
        if changes and not overwrite:
            other = {SERIES: "`output`", "reconstructions": "`name`"}.get(self.kind, "`label`")
            raise ExistsError(
                f"{self.tomogram}: {self} exists and was made differently ({'; '.join(changes)}); "
                f"use `overwrite` to replace it, or another {other}"
            )
        return not changes

    def stage(self, fingerprint: Fingerprint) -> AbstractContextManager[Staging]:
        """Make the unit: resume or start it, and commit it at the end.

        Parameters
        ----------
        fingerprint : mapping
            Everything that determines the content, as plain values.

        Returns
        -------
        context manager
            Gives a `Staging`; see `tomodist.store.place.LocalFolder.stage`.

        Raises
        ------
        StoreError
            If another process is making the same unit.
        """
        return self.tomogram.place.stage(self.name, fingerprint)

    def remove(self) -> None:
        """Remove the unit, if it is there."""
        self.tomogram.place.remove(self.name)

    def outdated(self) -> Unit | None:
        """The source of a finished unit that was changed or removed since.

        Returns
        -------
        Unit or None
            The nearest one; None if everything is as it was.
        """
        for source, made in self._sources():
            if not source.exists() or source.digest != made:
                return source
            further = source.outdated()
            if further:
                return further
        return None

    def check_current(self) -> None:
        """Refuse a unit that is not there, or is out of date.

        Raises
        ------
        StoreError
        """
        source = self.outdated()
        if source:
            raise StoreError(f"{self.tomogram}: {self.out_of_date(source)}")

    def out_of_date(self, source: Unit) -> str:
        """In words, that a source of the unit was changed or removed."""
        return (
            f"{self} is out of date: its source {source} was changed or removed; re-create {self} "
            "with `overwrite`"
        )

    def _sources(self) -> Iterator[tuple[Unit, str]]:
        """What the unit was made from, with the digests of then."""
        fingerprint = self.attributes["fingerprint"]
        for kind in _SOURCES:
            if kind in fingerprint:
                name = kind if kind == SERIES else f"{kind}/{self.label}"
                yield Unit(self.tomogram, name), fingerprint[kind]
        for name, made in fingerprint.get("made_from", {}).items():
            yield Unit(self.tomogram, name), made


@dataclass(frozen=True)
class Label:
    """The units of one label.

    Parameters
    ----------
    tomogram : Tomogram
        The store.
    name : str
        Checked by `Tomogram.label`.
    """

    tomogram: Tomogram
    name: str

    def __str__(self) -> str:
        return self.name

    @property
    def maps(self) -> Unit:
        """2D maps and boxes."""
        return self._unit("maps")

    @property
    def scores(self) -> Unit:
        """The score volume."""
        return self._unit("scores")

    @property
    def curves(self) -> Unit:
        """Agreement of the reprojection with the maps at every threshold."""
        return self._unit("curves")

    @property
    def edge_curves(self) -> Unit:
        """Agreement of long rays with 2D edges at thresholds around the best."""
        return self._unit("edge_curves")

    @property
    def labels(self) -> Unit:
        """The volume of structure numbers."""
        return self._unit("labels")

    @property
    def structures(self) -> Unit:
        """The table of structures."""
        return self._unit("structures")

    def _unit(self, kind: Kind) -> Unit:
        return Unit(self.tomogram, f"{kind}/{self.name}")


def is_store(path: Path) -> bool:
    """Whether a folder is a tomogram store."""
    return "format" in LocalFolder(path).root.attributes.get(ATTRIBUTE, {})


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

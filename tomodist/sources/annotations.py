"""Annotations as a source of maps: true masks to learn from, whole or sparse, drawn in 2D or in 3D.

One rule: what nobody looked at says nothing. Tilts that were not annotated, and pixels of the
value for unknown, are 2 in the maps, as what was not measured; training ignores them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.algorithms.lift.project import READ, project_tile
from tomodist.errors import InputError
from tomodist.sources.base import Detection, Needs, formed
from tomodist.sources.truth import MaskVolume, check_grid, open_truth
from tomodist.store.boxes import boxes_of_maps
from tomodist.store.maps import stored_maps
from tomodist.values.boxes import Boxes
from tomodist.values.maps import UNMEASURED
from tomodist.values.windows import brick_windows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tomodist.formats.zarr import Stack
    from tomodist.sources.base import MapSource, TiltSource
    from tomodist.store.tomogram import Label, Tomogram
    from tomodist.values.arrays import BoolArray, Float32Array
    from tomodist.values.geometry import TiltGeometry, VolumeGrid


@dataclass(frozen=True)
class Sparse:
    """Annotations of some tilts only.

    Parameters
    ----------
    source : MapSource
        Of all tilts.
    tilts : tuple of int
        That were annotated.
    """

    source: MapSource
    tilts: tuple[int, ...]

    def fingerprint(self) -> dict[str, Any]:
        """Values that determine the maps."""
        return {**self.source.fingerprint(), "annotated": list(self.tilts)}

    def needs(self) -> Needs:
        """Needs of the source."""
        return self.source.needs()

    def of_tilt(self, tilt: int) -> TiltSource:
        """Map of the source, or a map of unknown pixels."""
        return self.source.of_tilt(tilt) if tilt in self.tilts else _NotAnnotated()


class _NotAnnotated:
    """Map of a tilt that was not annotated."""

    def detect(self, image: Float32Array, _: float) -> Detection:
        """All pixels are unknown."""
        return Detection(np.full(image.shape, UNMEASURED, np.uint8), Boxes.empty())


@dataclass(frozen=True)
class StoredMaps:
    """Detections of a store, used as an annotation after a person has checked them.

    Parameters
    ----------
    label : str
        Of the detection.
    made : str
        Digest of its maps.
    maps : Stack
        Its maps.
    boxes : tuple of Boxes
        Of every tilt.
    """

    label: str
    made: str
    maps: Stack
    boxes: tuple[Boxes, ...]

    def fingerprint(self) -> dict[str, Any]:
        """Values that determine the maps."""
        return {"form": "mask", "taken_from": self.label, "taken_maps": self.made}

    def needs(self) -> Needs:
        """No needs."""
        return Needs()

    def of_tilt(self, tilt: int) -> TiltSource:
        """One tilt."""
        return _StoredTilt(self.maps, self.boxes[tilt], tilt)


@dataclass(frozen=True)
class _StoredTilt:
    """One tilt of `StoredMaps`."""

    maps: Stack
    boxes: Boxes
    tilt: int

    def detect(self, image: Float32Array, _: float) -> Detection:  # noqa: ARG002
        """The stored map and boxes."""
        return Detection(self.maps.read((self.tilt, self.tilt + 1))[0], self.boxes)


def taken_from(label: Label) -> StoredMaps:
    """The maps and boxes of a label of a store.

    Raises
    ------
    StoreError
        If there are none.
    """
    maps, boxes = stored_maps(label.maps), tuple(boxes_of_maps(label.maps))
    return StoredMaps(label.name, label.maps.digest, maps, boxes)


@dataclass(frozen=True)
class ProjectedMask:
    """Binary forward projections of a 3D mask.

    Parameters
    ----------
    volume : MaskVolume
        The mask, on the grid of the store.
    geometry, grid
        Of the images and of the volume.
    content : str
        Hash of the mask.
    """

    volume: MaskVolume
    geometry: TiltGeometry
    grid: VolumeGrid
    content: str

    def fingerprint(self) -> dict[str, Any]:
        """Values that determine the maps."""
        return {"form": "mask", "projected": self.content, "value": self.volume.value}

    def needs(self) -> Needs:
        """Memory for a window of the volume: stored values, mask, and transposed mask."""
        window = READ[0] * READ[1] * READ[2]
        return Needs(lambda *_: window * (self.volume.itemsize + 3) + self.volume.unpacked)

    def of_tilt(self, tilt: int) -> TiltSource:
        """One tilt; its task reads the whole volume once, window by window."""
        return _ProjectedTilt(self, tilt)


@dataclass(frozen=True)
class _ProjectedTilt:
    """One tilt of `ProjectedMask`."""

    mask: ProjectedMask
    tilt: int

    def detect(self, image: Float32Array, _: float) -> Detection:
        """Pixels in the footprint of any voxel of the mask."""
        grid, volume = self.mask.grid, self.mask.volume

        def read(*window: tuple[int, int]) -> BoolArray:
            return volume.read(window)

        windows = brick_windows(grid.shape, READ)
        rows = (0, image.shape[0])
        projected = project_tile(
            "binary", self.mask.geometry, grid, read, windows, [self.tilt], rows
        )
        return formed(projected[0] > 0, "mask", 0.0)


def projected_mask(
    tomogram: Tomogram, path: str | Path, value: float | None = None
) -> ProjectedMask:
    """Check that a 3D annotation fits a store.

    Parameters
    ----------
    tomogram : Tomogram
        The store with the tilt series.
    path : str or Path
        MRC, Zarr or OME-Zarr (z, y, x); such as ``TS_01.zarr/labels/granule``.
    value : float, optional
        Which value is structure; by default any but 0.

    Returns
    -------
    ProjectedMask

    Raises
    ------
    InputError
        If it is no volume, or of other voxels than the store's.
    """
    volume = open_truth(path, value=value)
    grid = tomogram.grid
    if not isinstance(volume, MaskVolume):
        raise InputError(
            f"{path} is a table; use a volume (MRC, Zarr or OME-Zarr) as 3D annotation"
        )
    check_grid(volume, f"the volume of {tomogram}", grid.shape, grid.voxel_size)
    volume.check_content()
    return ProjectedMask(volume, tomogram.geometry, grid, _hash_of(volume))


def _hash_of(volume: MaskVolume) -> str:
    """Hash of the bits of a mask, read window by window."""
    total = hashlib.sha256()
    for window in brick_windows(volume.shape, READ):
        total.update(np.packbits(volume.read(window)).tobytes())
    return total.hexdigest()[:16]


def sparse(source: MapSource, tilts: Sequence[int] | None, n_tilts: int) -> MapSource:
    """Restrict a source to the annotated tilts.

    Parameters
    ----------
    source : MapSource
        Maps of all tilts.
    tilts : sequence of int, optional
        The annotated tilts; by default all.
    n_tilts : int
        Tilts of the series.

    Returns
    -------
    MapSource

    Raises
    ------
    InputError
        If there is no such tilt.
    """
    if tilts is None:
        return source
    beyond = [t for t in tilts if not 0 <= t < n_tilts]
    if beyond or not tilts:
        raise InputError(
            f"`tilts` names {beyond[0] if beyond else 'no tilt'}; tilts are 0 to {n_tilts - 1}"
        )
    return Sparse(source, tuple(sorted(set(tilts))))

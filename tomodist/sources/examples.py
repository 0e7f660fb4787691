"""Examples from tomogram stores: tilts with their maps and boxes, blocks of reconstructions.

One rule: what is learnt from is what is stored: images as they were ingested, `maps/<label>` with
its 2 = "says nothing", `labels/<label>` of a volume. Nothing is prepared on disk.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.errors import InputError, StoreError
from tomodist.learned.detectors.normalise import prepared, rescaled, scaled_shape
from tomodist.learned.training.examples import IGNORED, Example
from tomodist.learned.training.split import block_of
from tomodist.sources.statistics import brick_sums, combined
from tomodist.store.boxes import boxes_of_maps
from tomodist.store.maps import stored_classes, stored_maps
from tomodist.values.boxes import Boxes
from tomodist.values.windows import brick_windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.formats.zarr import ArrayHandle, Stack
    from tomodist.learned.detectors.normalise import Statistics
    from tomodist.store.tomogram import Tomogram
    from tomodist.values.arrays import AnyArray, BoolArray, UInt8Array
    from tomodist.values.windows import Window

BLOCK = 160  # voxels: side of the blocks in which a volume is learnt from
_APART = 16  # rows of a volume between those to learn from and those to judge by


@dataclass(frozen=True)
class Source:
    """Store, labels and pixel size for training.

    Parameters
    ----------
    tomogram : Tomogram
        The store.
    labels : tuple of str
        Of the maps (or of the label volumes), in the order of the model's classes.
    pixel_size : float
        Of the model, in Å.
    """

    tomogram: Tomogram
    labels: tuple[str, ...]
    pixel_size: float

    @property
    def name(self) -> str:
        """Name of the store."""
        return self.tomogram.name


@dataclass(frozen=True)
class TiltLoader:
    """One tilt of a store.

    Parameters
    ----------
    images : ArrayHandle
        Of the series.
    maps : tuple of Stack
        Of every class: 0, 1, 2.
    boxes : tuple of Boxes
        Of this tilt, of every class, in pixels of the stored images; empty for segmentation.
    tilt : int
        Which.
    size, model_size : float
        Å per pixel of the stored images, and of the example.
    store : str
        Name of the store.
    marked : int
        Pixels of the class that has fewest of them, or of any.
    """

    images: ArrayHandle
    maps: tuple[Stack, ...]
    boxes: tuple[Boxes, ...]
    tilt: int
    size: float
    model_size: float
    store: str
    marked: int = 1

    @property
    def name(self) -> str:
        """Store and tilt."""
        return f"{self.store}, tilt {self.tilt}"

    @property
    def n_bytes(self) -> int:
        """Size of the example in bytes."""
        shape = scaled_shape(self.images.shape[1:], self.size, self.model_size)
        return math.prod(shape) * (4 + len(self.maps))

    def load(self) -> Example:
        """Read, resample, normalise."""
        window = (self.tilt, self.tilt + 1)
        stored = self.images.read(window)[0]
        image = prepared(stored, self.size, self.model_size)
        measured = np.isfinite(stored)
        targets = [self._target(maps.read(window)[0], measured, image.shape) for maps in self.maps]
        # Stored pixels to pixels of the example, per axis; outer edges stay where they are.
        factor = np.divide(image.shape, stored.shape)
        boxes = [
            Boxes((b.center + 0.5) * factor - 0.5, b.size * factor, b.score) for b in self.boxes
        ]
        return Example.of(image, np.stack(targets), boxes)

    def _target(self, stored: AnyArray, measured: BoolArray, shape: tuple[int, ...]) -> UInt8Array:
        """Map at the pixel size of the example; partly unknown pixels are ignored."""
        unknown = ~measured | (stored > 1)
        if stored.shape == shape:
            return np.where(unknown, IGNORED, stored).astype(np.uint8)
        mask = rescaled((stored == 1).astype(np.float32), shape) > 0.5
        dark = rescaled(unknown.astype(np.float32), shape) > 0
        return np.where(dark, IGNORED, mask).astype(np.uint8)


@dataclass(frozen=True)
class BlockLoader:
    """One block of a reconstruction with its labels.

    Parameters
    ----------
    volume : ArrayHandle
        Grey values (z, y, x).
    labels : tuple of ArrayHandle
        Numbered structures of every class; anything but 0 is one.
    window : tuple of tuple of int
        (start, stop) along z, y and x.
    statistics : Statistics
        Mean and deviation of the whole volume.
    store : str
        Name of the store.
    """

    volume: ArrayHandle
    labels: tuple[ArrayHandle, ...]
    window: Window
    statistics: Statistics
    store: str

    @property
    def name(self) -> str:
        """Store and window."""
        return f"{self.store}, {' '.join(f'{a}-{b}' for a, b in self.window)}"

    @property
    def n_bytes(self) -> int:
        """Size of the example in bytes."""
        return math.prod(b - a for a, b in self.window) * (4 + len(self.labels))

    def load(self) -> Example:
        """Read and normalise; voxels that no tilt sees are ignored."""
        values = self.volume.read(*self.window)
        known = np.isfinite(values)
        targets = [
            np.where(known, labels.read(*self.window) > 0, IGNORED).astype(np.uint8)
            for labels in self.labels
        ]
        return Example.of(self.statistics.normalised(values), np.stack(targets))


@dataclass(frozen=True)
class ExampleSplit:
    """Loaders for training and for validation."""

    training: list[Any]
    validation: list[Any]


def tilt_loaders(source: Source, *, with_boxes: bool = False) -> list[TiltLoader]:
    """Annotated tilts of a store, in order of tilt angle.

    Parameters
    ----------
    source : Source
        What is taken.
    with_boxes : bool
        Boxes to learn from; of masks they are those of their connected parts.

    Returns
    -------
    list of TiltLoader
        Tilts of which no map says anything are left out.

    Raises
    ------
    InputError
        If no tilt is annotated, or no structure is marked anywhere.
    StoreError
        If a label has no maps.
    """
    tomogram, geometry = source.tomogram, source.tomogram.geometry
    images = tomogram.series.array("images")
    for label in source.labels:
        tomogram.label(label).maps.check_current()
        if stored_classes(tomogram.label(label).maps):
            raise InputError(
                f"{tomogram}: maps/{label} holds several classes; use each of them as a `label`"
            )
    maps = tuple(stored_maps(tomogram.label(label).maps) for label in source.labels)
    boxes = (
        [boxes_of_maps(tomogram.label(label).maps) for label in source.labels] if with_boxes else []
    )
    loaders, marked_of = [], np.zeros(len(maps), np.int64)
    for tilt in np.argsort(geometry.tilt_angles, kind="stable").tolist():
        # Pixels of value 0, 1 and 2 per map; a tilt of 2 only was not annotated.
        seen = [np.bincount(m.read((tilt, tilt + 1)).ravel(), minlength=3) for m in maps]
        if not any(counts[:2].any() for counts in seen):
            continue
        of_tilt = tuple(b[tilt] for b in boxes)
        size = (geometry.pixel_size, source.pixel_size)
        counts = np.array([count[1] for count in seen])
        marked_of += counts
        marked = int(counts.min() or counts.max())
        loaders.append(TiltLoader(images, maps, of_tilt, tilt, *size, source.name, marked))
    nowhere = [label for label, n in zip(source.labels, marked_of, strict=True) if not n]
    if nowhere:
        raise InputError(
            f"{tomogram}: label {nowhere[0]} has nothing marked on any tilt; add annotations with "
            "`tomodist annotate`"
        )
    return loaders


def split_examples(
    per_store: Sequence[Sequence[Any]], held_out: Sequence[Sequence[Any]] = ()
) -> ExampleSplit:
    """Split loaders: validation on other stores, or on a block of every store.

    Parameters
    ----------
    per_store : sequence of sequence of Loader
        To learn from, in the order of tilts.
    held_out : sequence of sequence of Loader
        Of stores that are only judged by.

    Returns
    -------
    ExampleSplit

    Raises
    ------
    InputError
        If there are too few tilts for both parts.
    """
    if held_out:
        return ExampleSplit(list(chain(*per_store)), list(chain(*held_out)))
    if len(per_store) > 2:  # enough to hold out a whole one
        return ExampleSplit(list(chain(*per_store[:-1])), list(per_store[-1]))
    training: list[Any] = []
    validation: list[Any] = []
    for loaders in per_store:
        split = block_of(len(loaders), [loader.marked for loader in loaders])
        training += [loaders[k] for k in split.training]
        validation += [loaders[k] for k in split.validation]
    return ExampleSplit(training, validation)


def block_loaders(source: Source, reconstruction: str) -> ExampleSplit:
    """Blocks of a reconstruction: a slab of rows is held out for validation.

    Parameters
    ----------
    source : Source
        Store, labels and pixel size.
    reconstruction : str
        Name of the reconstruction.

    Returns
    -------
    ExampleSplit

    Raises
    ------
    InputError
        If nothing is labelled, or there are too few rows.
    StoreError
        If there is no such reconstruction, or a label has no volume.
    """
    solid = _Solid.of(source, reconstruction)
    split = block_of(solid.volume.shape[1], _marked_rows(solid.labels), gap=_APART)
    parts: list[list[BlockLoader]] = []
    for rows in (split.training, split.validation):
        # Training rows lie on both sides of the held-out slab: one run of rows on each side.
        ends = np.flatnonzero(np.diff(rows) > 1)
        runs = np.split(np.array(rows), ends + 1)
        parts.append([x for run in runs for x in solid.blocks(int(run[0]), int(run[-1]) + 1)])
    return ExampleSplit(parts[0], parts[1])


def whole_loaders(source: Source, reconstruction: str) -> list[BlockLoader]:
    """All blocks of a reconstruction; raises as `block_loaders`.

    Parameters
    ----------
    source : Source
        Store, labels and pixel size.
    reconstruction : str
        Name of the reconstruction.

    Returns
    -------
    list of BlockLoader
    """
    solid = _Solid.of(source, reconstruction)
    return solid.blocks(0, solid.volume.shape[1])


@dataclass(frozen=True)
class _Solid:
    """A reconstruction with its labels."""

    volume: ArrayHandle
    labels: tuple[ArrayHandle, ...]
    statistics: Statistics
    store: str

    @classmethod
    def of(cls, source: Source, reconstruction: str) -> _Solid:
        tomogram = source.tomogram
        check_reconstruction(tomogram, reconstruction)
        unit = tomogram.reconstruction(reconstruction)
        unit.check_current()
        volume = unit.volume
        labels = tuple(_labels_of(tomogram, label, volume) for label in source.labels)
        statistics = combined(brick_sums(volume, brick) for brick in volume.bricks())
        return cls(volume, labels, statistics, source.name)

    def blocks(self, first: int, end: int) -> list[BlockLoader]:
        """Blocks of some rows."""
        shape = (self.volume.shape[0], end - first, self.volume.shape[2])
        return [
            BlockLoader(
                self.volume,
                self.labels,
                (z, (first + y[0], first + y[1]), x),
                self.statistics,
                self.store,
            )
            for z, y, x in brick_windows(shape, (BLOCK, BLOCK, BLOCK))
        ]


def check_reconstruction(tomogram: Tomogram, name: str) -> None:
    """Refuse a store without a reconstruction of this name.

    Parameters
    ----------
    tomogram : Tomogram
        The store.
    name : str
        Name of the reconstruction.

    Raises
    ------
    StoreError
    """
    if not tomogram.reconstruction(name).exists():
        existing = ", ".join(tomogram.names("reconstructions")) or "none"
        raise StoreError(
            f"{tomogram}: reconstruction {name!r} not found (available: {existing}); make one with "
            "`tomodist reconstruct`"
        )


def _marked_rows(labels: Sequence[ArrayHandle]) -> list[int]:
    """Labelled voxels in every row, of the class that has fewest of them there."""
    counts = np.zeros((len(labels), labels[0].shape[1]), np.int64)
    for k, volume in enumerate(labels):
        for brick in volume.bricks():
            window = volume.window(brick)
            rows = slice(*window[1])
            counts[k, rows] += (volume.read(*window) > 0).sum(axis=(0, 2))
    least: list[int] = counts.min(axis=0).tolist()
    return least if any(least) else counts.max(axis=0).tolist()


def _labels_of(tomogram: Tomogram, label: str, volume: ArrayHandle) -> ArrayHandle:
    if not tomogram.label(label).labels.exists():
        existing = ", ".join(tomogram.names("labels")) or "none"
        raise StoreError(
            f"{tomogram}: label volume {label!r} not found (available: {existing}); add one with "
            "`tomodist annotate` and its `volume`"
        )
    tomogram.label(label).labels.check_current()
    labels = tomogram.label(label).labels.volume
    if labels.shape != volume.shape:
        raise StoreError(
            f"{tomogram}: labels/{label} has shape {labels.shape}, but the reconstruction has "
            f"{volume.shape}; both must have the shape of the store's volume"
        )
    return labels

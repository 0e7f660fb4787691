"""Step: `tilt_series` (or maps made elsewhere) become `maps/<label>`: 2D maps and boxes.

Per tilt the boxes are written first and the map last: the map's shard is the commit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tomodist.detect.base import UNMEASURED
from tomodist.errors import InputError
from tomodist.io.arrays import ArrayHandle, Index
from tomodist.io.boxes import create_boxes, write_boxes
from tomodist.io.resample import resample, resample_labels
from tomodist.io.sections import FrameName, fitting_sections
from tomodist.io.volumes import create_stack
from tomodist.plan import check_image_memory
from tomodist.stages.execute import Session, Task, task_of
from tomodist.stages.sources import Found, Needs, formed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tomodist.detect.boxes import Form
    from tomodist.io.stacks import ImageStack
    from tomodist.io.store import Tomogram
    from tomodist.stages.sources import MapSource, ProbabilityType, TiltSource

VERSION = 1


@dataclass(frozen=True)
class ImportedMaps:
    """Maps made elsewhere: a stack of which any value but 0 (and NaN) is structure.

    Parameters
    ----------
    stack : ImageStack
        The maps.
    sections : tuple of int
        The section of the stack for every tilt.
    transforms : tuple, optional
        If the maps are in the frame of the raw images: per tilt, how those were resampled.
    binning : int
        Likewise.
    form, min_size
        As for `DetectorMaps`.
    value : float, optional
        Which value is structure; by default any but 0 (and NaN).
    ignored : float, optional
        Which value says nothing: such pixels are 2 in the map.
    """

    stack: ImageStack
    sections: tuple[int, ...]
    transforms: tuple[Any, ...] | None = None
    binning: int = 1
    form: Form = "mask"
    min_size: float = 0.0
    value: float | None = None
    ignored: float | None = None

    def fingerprint(self) -> dict[str, Any]:
        """What determines the maps."""
        frame = "raw" if self.transforms else "aligned"
        stack = {"imported": self.stack.fingerprint(), "frame": frame, "sections": self.sections}
        given = {"value": self.value, "ignored": self.ignored}
        only = {name: number for name, number in given.items() if number is not None}
        return {"form": self.form, "min_size": self.min_size, **only, **stack}

    def needs(self) -> Needs:
        """Nothing."""
        return Needs()

    def of_tilt(self, tilt: int) -> TiltSource:
        """One section, and how it is resampled."""
        return _ImportedMap(self, tilt)


@dataclass(frozen=True)
class _ImportedMap:
    """One tilt of `ImportedMaps`."""

    maps: ImportedMaps
    tilt: int

    def detect(self, image: npt.NDArray[np.float32], pixel_size: float) -> Found:
        """Map and boxes of this tilt."""
        maps = self.maps
        values = np.asarray(maps.stack.read(maps.sections[self.tilt]))
        ignored = np.zeros(values.shape, np.bool_)
        if maps.ignored is not None:
            ignored = values == maps.ignored
        there = (values != 0) & (values == values) if maps.value is None else values == maps.value
        mask = self._aligned(there & ~ignored, image.shape) > 0.5
        found = formed(mask, maps.form, maps.min_size / pixel_size)
        if ignored.any():
            found.map[self._nearest(ignored, image.shape)] = UNMEASURED
        return found

    def _nearest(
        self, mask: npt.NDArray[np.bool_], shape: tuple[int, ...]
    ) -> npt.NDArray[np.bool_]:
        """By nearest neighbours: splines ring, and would mark far more than was marked."""
        if self.maps.transforms is None:
            return mask
        way = (np.asarray(self.maps.transforms[self.tilt]), (shape[0], shape[1]), self.maps.binning)
        return np.asarray(resample_labels(mask.astype(np.uint8), *way, unmeasured=0) > 0)

    def _aligned(
        self, mask: npt.NDArray[np.bool_], shape: tuple[int, ...]
    ) -> npt.NDArray[np.float32]:
        values = mask.astype(np.float32)
        if self.maps.transforms is None:
            return values
        transform = np.asarray(self.maps.transforms[self.tilt])
        return resample(values, transform, (shape[0], shape[1]), self.maps.binning)


def import_maps(
    tomogram: Tomogram,
    path: str | Path,
    frame: FrameName = "aligned",
    *,
    form: Form = "mask",
    min_size: float = 0.0,
    value: float | None = None,
    ignored: float | None = None,
) -> ImportedMaps:
    """Check that a stack of maps fits a tilt series.

    Parameters
    ----------
    tomogram : Tomogram
        The store with the tilt series.
    path : str or Path
        MRC, TIFF, NPY or Zarr (tilt, y, x).
    frame : {"aligned", "raw"}
        Whether the maps lie on the stored images, or on the raw ones as they were ingested.
    form, min_size
        As for `DetectorMaps`.
    value, ignored
        As for `ImportedMaps`.

    Returns
    -------
    ImportedMaps

    Raises
    ------
    InputError
        If shapes or numbers of tilts differ.
    """
    sections = fitting_sections(tomogram, path, frame)
    return ImportedMaps(*sections, form, min_size, value, ignored)


def detect_maps(
    session: Session,
    tomogram: Tomogram,
    label: str,
    source: MapSource,
    *,
    unmeasured: int = UNMEASURED,
    overwrite: bool = False,
) -> bool:
    """Make `maps/<label>`.

    Parameters
    ----------
    session : Session
        Where tasks run.
    tomogram : Tomogram
        The store.
    label : str
        What the structures are called.
    source : DetectorMaps, ImportedMaps or ImportedBoxes
        Where maps come from.
    unmeasured : int
        Value of the maps where the image was not measured.
    overwrite : bool
        Replace maps that were made differently.

    Returns
    -------
    bool
        False if the maps were there already.

    Raises
    ------
    ExistsError, InputError, PlanError, StoreError
    """
    unit, geometry = f"maps/{label}", tomogram.geometry
    fingerprint: Mapping[str, Any] = {
        "step": "detect",
        "version": VERSION,
        "tilt_series": tomogram.digest("tilt_series"),
        **source.fingerprint(),
    }
    if tomogram.is_current(unit, fingerprint, overwrite=overwrite):
        return False
    needs = source.needs()
    for folder in needs.folders:
        session.check_sees(folder)
    more = needs.memory(geometry.image_shape, geometry.pixel_size)
    check_image_memory(geometry.image_shape, session.resources, "detect", more)
    images = tomogram.array("tilt_series", "images")
    with tomogram.stage(unit, fingerprint) as staging:
        maps, boxes = (ArrayHandle(str(staging.path / name)) for name in ("maps", "boxes"))
        kept = tuple(ArrayHandle(str(staging.path / name)) for name in needs.probabilities)
        if not staging.has("maps"):
            staging.clear()
            create_boxes(staging.path / "boxes", geometry.n_tilts)
            for name, kind in needs.probabilities.items():
                create_stack(staging.path / name, geometry, kind, _scale_of(kind))
            create_stack(staging.path / "maps", geometry, np.uint8)

        def task(brick: Index) -> Task:
            tilt, size = brick[0], geometry.pixel_size
            of_tilt = source.of_tilt(tilt)
            to = (maps, boxes, kept)
            return task_of(_detect_tilt, images, to, of_tilt, size, tilt, unmeasured)

        session.fill(f"detect {label}", maps, task)
        staging.describe(**source.fingerprint())
    return True


def _detect_tilt(
    images: ArrayHandle,
    to: tuple[ArrayHandle, ArrayHandle, tuple[ArrayHandle, ...]],
    source: TiltSource,
    pixel_size: float,
    tilt: int,
    unmeasured: int,
) -> None:
    image, (maps, boxes, kept) = images.read((tilt, tilt + 1))[0], to
    try:
        found = source.detect(image, pixel_size)
    except InputError as error:
        raise InputError(f"tilt {tilt}: {error}") from error
    places = found.boxes
    write_boxes(boxes, tilt, places.center, places.size, places.score)
    if found.probabilities is not None:
        for array, values in zip(kept, found.probabilities, strict=True):
            array.write((tilt, 0, 0), _stored(values, array.dtype)[None])
    mask = np.where(np.isfinite(image), found.map, unmeasured).astype(np.uint8)
    maps.write((tilt, 0, 0), mask[None])


def _scale_of(kind: ProbabilityType) -> dict[str, Any]:
    """CF's attribute by which xarray gives back probabilities."""
    return {"scale_factor": 1 / 255} if kind == "uint8" else {}


def _stored(probabilities: npt.NDArray[np.float32], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    if dtype.kind == "f":
        return probabilities.astype(dtype)
    return np.asarray(np.rint(probabilities * 255), dtype)

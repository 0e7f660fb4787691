"""Maps made elsewhere as a source: a stack of masks (MRC, TIFF, NPY or Zarr)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.algorithms.resample import resample, resample_labels
from tomodist.sources.base import Detection, Needs, formed
from tomodist.sources.sections import FrameName, fitting_sections
from tomodist.values.maps import UNMEASURED

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.formats.stacks import ImageStack
    from tomodist.sources.base import TiltSource
    from tomodist.store.tomogram import Tomogram
    from tomodist.values.arrays import BoolArray, Float32Array
    from tomodist.values.boxes import Form


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
        """Values that determine the maps."""
        frame = "raw" if self.transforms else "aligned"
        stack = {"imported": self.stack.fingerprint(), "frame": frame, "sections": self.sections}
        values = {"value": self.value, "ignored": self.ignored}
        only = {name: number for name, number in values.items() if number is not None}
        return {"form": self.form, "min_size": self.min_size, **only, **stack}

    def needs(self) -> Needs:
        """No needs."""
        return Needs()

    def of_tilt(self, tilt: int) -> TiltSource:
        """One section, and how it is resampled."""
        return _ImportedMap(self, tilt)


@dataclass(frozen=True)
class _ImportedMap:
    """One tilt of `ImportedMaps`."""

    maps: ImportedMaps
    tilt: int

    def detect(self, image: Float32Array, pixel_size: float) -> Detection:
        """Map and boxes of this tilt."""
        maps = self.maps
        values = np.asarray(maps.stack.read(maps.sections[self.tilt]))
        ignored = np.zeros(values.shape, np.bool_)
        if maps.ignored is not None:
            ignored = values == maps.ignored
        marked = (values != 0) & (values == values) if maps.value is None else values == maps.value
        mask = self._aligned(marked & ~ignored, image.shape) > 0.5
        detection = formed(mask, maps.form, maps.min_size / pixel_size)
        if ignored.any():
            detection.map[self._nearest(ignored, image.shape)] = UNMEASURED
        return detection

    def _nearest(self, mask: BoolArray, shape: tuple[int, ...]) -> BoolArray:
        """Resample a mask by nearest neighbours: splines ring and would mark too much."""
        if self.maps.transforms is None:
            return mask
        way = (np.asarray(self.maps.transforms[self.tilt]), (shape[0], shape[1]), self.maps.binning)
        return np.asarray(resample_labels(mask.astype(np.uint8), *way, unmeasured=0) > 0)

    def _aligned(self, mask: BoolArray, shape: tuple[int, ...]) -> Float32Array:
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

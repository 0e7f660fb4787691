"""Step: the tilt series (or maps made elsewhere) becomes the `maps` of a label: 2D maps and boxes.

Per tilt the boxes are written first and the map last: the map's shard is the commit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.errors import InputError
from tomodist.planning.tiles import plan_of_images
from tomodist.runtime.runner import task_of
from tomodist.steps.parts.filling import fill
from tomodist.store.boxes import BOXES, create_boxes, write_boxes
from tomodist.store.maps import MAPS
from tomodist.store.volumes import create_stack
from tomodist.values.maps import UNMEASURED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.formats.zarr import ArrayHandle
    from tomodist.planning.plan import Plan, Resources
    from tomodist.runtime.runner import Session, Task, Work
    from tomodist.sources.base import MapSource, ProbabilityType, TiltSource
    from tomodist.store.tomogram import Label
    from tomodist.values.arrays import AnyArray, Float32Array
    from tomodist.values.windows import Index

VERSION = 1


@dataclass(frozen=True)
class DetectMaps:
    """Step: the `maps` of a label.

    Parameters
    ----------
    label : Label
        What the structures are called.
    source : MapSource
        Where the maps come from.
    unmeasured : int
        Value of the maps where the image was not measured.
    """

    label: Label
    source: MapSource
    unmeasured: int = UNMEASURED

    def plans(self, resources: Resources) -> tuple[Plan, ...]:
        """One task per tilt."""
        geometry, needs = self.label.tomogram.geometry, self.source.needs()
        more = needs.memory(geometry.image_shape, geometry.pixel_size)
        stack = (geometry.n_tilts, *geometry.image_shape)
        return (plan_of_images("detect", stack, resources, more, itemsize=1),)

    def is_current(self, *, overwrite: bool) -> bool:
        """Whether the maps are there, made just so."""
        return self.label.maps.is_current(self._fingerprint(), overwrite=overwrite)

    def work(self, session: Session, plans: Sequence[Plan]) -> Work[None]:  # noqa: ARG002
        """Detect in every tilt that is missing."""
        tomogram, source, needs = self.label.tomogram, self.source, self.source.needs()
        geometry = tomogram.geometry
        for folder in needs.folders:
            session.check_sees(str(folder), folder.exists)
        images = tomogram.series.array("images")
        with self.label.maps.stage(self._fingerprint()) as staging:
            maps, boxes = staging.array(MAPS), staging.array(BOXES)
            kept = tuple(staging.array(name) for name in needs.probabilities)
            if not staging.has(MAPS):
                staging.clear()
                create_boxes(staging, geometry.n_tilts)
                for name, kind in needs.probabilities.items():
                    create_stack(staging, name, geometry, kind, _scale_of(kind))
                create_stack(staging, MAPS, geometry, np.uint8)

            def task(brick: Index) -> Task:
                tilt, size = brick[0], geometry.pixel_size
                target = (maps, boxes, kept)
                of_tilt = source.of_tilt(tilt)
                return task_of(_detect_tilt, images, target, of_tilt, size, tilt, self.unmeasured)

            yield from fill(f"detect {self.label}", maps, task)
            staging.describe(**source.fingerprint())

    def _fingerprint(self) -> dict[str, Any]:
        """What determines the maps."""
        return {
            "step": "detect",
            "version": VERSION,
            "tilt_series": self.label.tomogram.series.digest,
            **self.source.fingerprint(),
        }


def _detect_tilt(
    images: ArrayHandle,
    target: tuple[ArrayHandle, ArrayHandle, tuple[ArrayHandle, ...]],
    source: TiltSource,
    pixel_size: float,
    tilt: int,
    unmeasured: int,
) -> None:
    image, (maps, boxes, kept) = images.read((tilt, tilt + 1))[0], target
    try:
        detection = source.detect(image, pixel_size)
    except InputError as error:
        raise InputError(f"tilt {tilt}: {error}") from error
    of_tilt = detection.boxes
    write_boxes(boxes, tilt, of_tilt.center, of_tilt.size, of_tilt.score)
    if detection.probabilities is not None:
        for array, values in zip(kept, detection.probabilities, strict=True):
            array.write((tilt, 0, 0), _stored(values, array.dtype)[None])
    mask = np.where(np.isfinite(image), detection.map, unmeasured).astype(np.uint8)
    maps.write((tilt, 0, 0), mask[None])


def _scale_of(kind: ProbabilityType) -> dict[str, Any]:
    """CF's attribute by which xarray gives back probabilities."""
    return {"scale_factor": 1 / 255} if kind == "uint8" else {}


def _stored(probabilities: Float32Array, dtype: np.dtype[Any]) -> AnyArray:
    if dtype.kind == "f":
        return probabilities.astype(dtype)
    return np.asarray(np.rint(probabilities * 255), dtype)

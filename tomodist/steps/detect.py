"""Step: `tilt_series` (or maps made elsewhere) become `maps/<label>`: 2D maps and boxes.

Per tilt the boxes are written first and the map last: the map's shard is the commit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tomodist.errors import InputError
from tomodist.formats.zarr import ArrayHandle
from tomodist.planning.plan import check_image_memory
from tomodist.runtime.runner import Session, Task, task_of
from tomodist.store.boxes import create_boxes, write_boxes
from tomodist.store.volumes import create_stack
from tomodist.values.maps import UNMEASURED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tomodist.sources.base import MapSource, ProbabilityType, TiltSource
    from tomodist.store.tomogram import Tomogram
    from tomodist.values.windows import Index

VERSION = 1


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

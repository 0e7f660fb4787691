"""Stores without images, and single steps on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.algorithms.lift.windows import checked_map
from tomodist.store.boxes import create_boxes, write_boxes
from tomodist.store.maps import MAPS
from tomodist.store.volumes import create_stack
from tomodist.values.boxes import boxes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.runtime.runner import Session
    from tomodist.steps.base import Step
    from tomodist.store.tomogram import Tomogram
    from tomodist.values.boxes import Boxes
    from tomodist.values.geometry import TiltGeometry, VolumeGrid


def adopt_maps(
    tomogram: Tomogram,
    label: str,
    maps: Any,
    geometry: TiltGeometry,
    grid: VolumeGrid,
    boxes: Sequence[Boxes] | None = None,
) -> None:
    """Store maps (tilt, y, x) and their boxes, as if they had been detected."""
    with tomogram.series.stage({"step": "adopt"}) as series:
        series.describe(geometry=geometry.to_dict(), grid=grid.to_dict())
    with tomogram.label(label).maps.stage({"step": "adopt"}) as staging:
        stored = create_stack(staging, MAPS, geometry, np.uint8)
        rows = create_boxes(staging, geometry.n_tilts)
        for tilt in range(geometry.n_tilts):
            values = checked_map(np.asarray(maps[tilt]), tilt)
            of_tilt = boxes[tilt] if boxes else boxes_of(values == 1)
            write_boxes(rows, tilt, of_tilt.center, of_tilt.size, of_tilt.score)
            stored.write((tilt, 0, 0), values[None])


def run_step(session: Session, step: Step, *, overwrite: bool = False) -> bool:
    """Plan and run one step; whether there was anything to do."""
    plans = step.plans(session.resources)
    if step.is_current(overwrite=overwrite):
        return False
    session.run(step.work(session, plans))
    return True

"""Step: maps that are in memory (or lazy) become `maps/<label>` of a store without images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.algorithms.lift.windows import checked_map
from tomodist.store.boxes import create_boxes, write_boxes
from tomodist.store.volumes import create_stack
from tomodist.values.boxes import boxes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.store.tomogram import Tomogram
    from tomodist.values.boxes import Boxes
    from tomodist.values.geometry import TiltGeometry, VolumeGrid


def adopt_maps(
    tomogram: Tomogram,
    label: str,
    maps: Any,  # noqa: ANN401 -- a dask array
    geometry: TiltGeometry,
    grid: VolumeGrid,
    boxes: Sequence[Boxes] | None = None,
) -> None:
    """Store maps, one tilt at a time.

    Parameters
    ----------
    tomogram : Tomogram
        An empty store.
    label : str
        What the structures are called.
    maps : dask.array.Array, shape (n_tilts, height, width)
        Binary maps.
    geometry, grid
        Of the maps and of the volume.
    boxes : sequence of Boxes, optional
        Of the structures in every map; by default of its connected parts, which cannot tell
        apart what overlaps, and know whole pixels only.

    Raises
    ------
    InputError
        If a map holds another value than 0, 1 or 2.
    """
    with tomogram.stage("tilt_series", {"step": "adopt"}) as series:
        series.describe(geometry=geometry.to_dict(), grid=grid.to_dict())
    with tomogram.stage(f"maps/{label}", {"step": "adopt"}) as staging:
        stored = create_stack(staging.path / "maps", geometry, np.uint8)
        places = create_boxes(staging.path / "boxes", geometry.n_tilts)
        for tilt in range(geometry.n_tilts):
            values = checked_map(np.asarray(maps[tilt]), tilt)
            found = boxes[tilt] if boxes else boxes_of(values == 1)
            write_boxes(places, tilt, found.center, found.size, found.score)
            stored.write((tilt, 0, 0), values[None])

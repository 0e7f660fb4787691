"""2D boxes of a tomogram store: an array (tilt, box, field), rows that are not used are NaN."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tomodist.errors import InputError
from tomodist.values.boxes import Boxes

if TYPE_CHECKING:
    from tomodist.formats.zarr import ArrayHandle, Group
    from tomodist.store.tomogram import Unit
    from tomodist.values.arrays import FloatArray

MAX_BOXES = 4096  # per tilt
FIELDS = ("y", "x", "height", "width", "score")
BOXES = "boxes"
"""Name of the array."""


def create_boxes(group: Group, n_tilts: int) -> ArrayHandle:
    """Create the array ``boxes`` of maps; one tilt is one brick.

    Parameters
    ----------
    group : Group
        Of the maps.
    n_tilts : int
        Number of tilts.

    Returns
    -------
    ArrayHandle
    """
    brick = (1, MAX_BOXES, len(FIELDS))
    return group.create(
        BOXES,
        (n_tilts, *brick[1:]),
        np.float32,
        dims=("tilt", "box", "field"),
        brick=brick,
        chunk=brick,
        attributes={"fields": FIELDS, "units": "pixel"},
    )


def write_boxes(
    boxes: ArrayHandle,
    tilt: int,
    center: FloatArray,
    size: FloatArray,
    score: FloatArray,
) -> None:
    """Write the boxes of one tilt.

    Parameters
    ----------
    boxes : ArrayHandle
        From `create_boxes`.
    tilt : int
        Which tilt.
    center, size : ndarray, shape (n, 2), float64
        y, x and height, width, in pixels.
    score : ndarray, shape (n,), float64
        Of each box.

    Raises
    ------
    InputError
        If there are more than 4096.
    """
    if len(score) > MAX_BOXES:
        raise InputError(
            f"tilt {tilt}: {len(score)} detections, more than {MAX_BOXES}; use a higher threshold"
        )
    rows = np.full((MAX_BOXES, len(FIELDS)), np.nan, np.float32)
    rows[: len(score)] = np.column_stack([center, size, score])
    boxes.write((tilt, 0, 0), rows[None])


def boxes_of_maps(maps: Unit) -> list[Boxes]:
    """The boxes of a label's maps, of every tilt; of score 1.

    Raises
    ------
    StoreError
        If there are no such maps.
    """
    rows = box_rows(maps)
    return [Boxes(r[:, :2], r[:, 2:4], np.ones(len(r))) for r in rows]


def box_rows(maps: Unit) -> list[FloatArray]:
    """Boxes of every tilt of a label's maps.

    Returns
    -------
    list of ndarray, shape (n_boxes, 4), float64
        y, x, height, width in pixels.

    Raises
    ------
    StoreError
        If there are no such maps.
    """
    rows = maps.array(BOXES).read().astype(np.float64)
    return [tilt[np.isfinite(tilt[:, 0]), :4] for tilt in rows]

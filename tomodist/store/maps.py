"""Maps of a label in a store: binary ones, or one class of label maps.

A unit ``maps/<label>`` holds its maps (0, 1, 2 = not measured), or it *refers* to the label maps of
another unit, which hold a class number per pixel:

    maps/cell/maps           0 nothing, 1 .. 254 a class, 255 not measured
    maps/granule             attributes: class_of = cell, value = 1; boxes of its own

One rule: whoever wants the binary maps of a label asks `stored_maps`, so that thresholds, tables,
pictures and exports treat a class as they treat any other label.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.errors import StoreError
from tomodist.formats.zarr import ArrayHandle, SomeTilts
from tomodist.values.maps import class_map, numbered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.formats.zarr import Stack
    from tomodist.store.tomogram import Unit
    from tomodist.values.arrays import UInt8Array


MAPS = "maps"
"""Name of the array of maps."""


@dataclass(frozen=True)
class OneClass:
    """One class of stored label maps, as binary maps.

    Parameters
    ----------
    stack : ArrayHandle or SomeTilts
        Label maps (tilt, y, x), uint8.
    value : int
        Number of the class.
    """

    stack: ArrayHandle | SomeTilts
    value: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what is read: uint8."""
        return np.dtype(np.uint8)

    def read(self, *window: tuple[int, int]) -> UInt8Array:
        """Read a window, as `ArrayHandle.read` does: 0, 1 = the class, 2 = not measured."""
        return class_map(self.stack.read(*window), self.value)


def stored_maps(maps: Unit, tilts: Sequence[int] | None = None) -> Stack:
    """The binary maps of a label.

    Parameters
    ----------
    maps : Unit
        The maps of a label.
    tilts : sequence of int, optional
        Some of them, renumbered from 0; by default all.

    Returns
    -------
    ArrayHandle, SomeTilts or OneClass

    Raises
    ------
    StoreError
        If there are no such maps, or they are a class of label maps that were changed or removed.
    """
    record, value = maps.attributes, None
    if "class_of" in record:
        whole, value = maps.tomogram.label(record["class_of"]).maps, int(record["value"])
        if maps.outdated() == whole:
            raise StoreError(f"{maps.tomogram}: {maps.out_of_date(whole)}")
        maps = whole
    stack = maps.array(MAPS)
    some = stack if tilts is None else SomeTilts(stack, tuple(tilts))
    return some if value is None else OneClass(some, value)


def stored_classes(unit: Unit) -> dict[int, str]:
    """Names of the classes of a unit by number: of label maps, or of a semantic volume.

    Returns
    -------
    dict of int to str
        Empty where the unit has no classes.

    Raises
    ------
    StoreError
        If there is no such unit.
    """
    return numbered(unit.attributes.get("classes", {}))

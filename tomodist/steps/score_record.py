"""What steps after backprojection share: what stored scores were made from, to compare with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from tomodist.errors import StoreError
from tomodist.store.maps import stored_maps

if TYPE_CHECKING:
    from tomodist.formats.zarr import Stack
    from tomodist.store.tomogram import Tomogram
    from tomodist.values.geometry import TiltGeometry


@dataclass(frozen=True)
class Evidence:
    """What structures are compared with.

    Parameters
    ----------
    geometry : TiltGeometry
        Of the tilts that took part.
    maps : Stack, optional
        Their maps; scores of a 3D network have none.
    tilts : tuple of int
        Which tilts of the series they are.
    levels : int
        The highest possible score, which stands for all of them.
    scale : float
        From stored scores to what tables tell: 1 for votes, 1 / levels for shares.
    """

    geometry: TiltGeometry
    maps: Stack | None
    tilts: tuple[int, ...]
    levels: int
    scale: float = 1.0

    @classmethod
    def of(cls, tomogram: Tomogram, label: str) -> Self:
        """What the stored scores of a label were made from.

        Raises
        ------
        StoreError
            If there are no scores, or no maps that they were made from.
        """
        made, geometry = tomogram.attributes(f"scores/{label}"), tomogram.geometry
        excluded = set(made.get("excluded", ()))
        tilts = tuple(t for t in range(geometry.n_tilts) if t not in excluded)
        some = None
        if "reconstruction" not in made:
            some = stored_maps(tomogram, label, tilts if excluded else None)
        levels, scale = made.get("levels", len(tilts)), made.get("score_scale", 1.0)
        return cls(geometry.select(tilts), some, tilts, levels, scale)

    @property
    def compared(self) -> Stack:
        """The maps, where something is to be compared with them.

        Raises
        ------
        StoreError
            If there are none, as the scores are of a 3D network.
        """
        if self.maps is None:
            raise StoreError("scores of a 3D network come from no maps: nothing is compared")
        return self.maps

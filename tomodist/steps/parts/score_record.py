"""What stored scores were made from, as later steps need it to compare with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from tomodist.errors import StoreError
from tomodist.store.maps import stored_maps

if TYPE_CHECKING:
    from tomodist.formats.zarr import Stack
    from tomodist.store.tomogram import Label
    from tomodist.values.geometry import TiltGeometry


@dataclass(frozen=True)
class ScoreRecord:
    """What the scores of a label were made from.

    Parameters
    ----------
    geometry : TiltGeometry
        Of the tilts that took part.
    maps : Stack, optional
        Their maps; scores of a 3D network have none.
    tilts : tuple of int
        Which tilts of the series they are.
    max_score : int
        The highest possible score, which stands for all of them.
    scale : float
        From stored scores to what tables tell: 1 for votes, 1 / max_score for shares.
    """

    geometry: TiltGeometry
    maps: Stack | None
    tilts: tuple[int, ...]
    max_score: int
    scale: float = 1.0

    @classmethod
    def of(cls, label: Label) -> Self:
        """What the stored scores of a label were made from.

        Raises
        ------
        StoreError
            If there are no scores, or no maps that they were made from.
        """
        record, geometry = label.scores.attributes, label.tomogram.geometry
        excluded = set(record.get("excluded", ()))
        tilts = tuple(t for t in range(geometry.n_tilts) if t not in excluded)
        maps = None
        if "reconstruction" not in record:
            maps = stored_maps(label.maps, tilts if excluded else None)
        max_score, scale = record.get("levels", len(tilts)), record.get("score_scale", 1.0)
        return cls(geometry.select(tilts), maps, tilts, max_score, scale)

    @property
    def compared(self) -> Stack:
        """The maps, where something is to be compared with them.

        Raises
        ------
        StoreError
            If there are none, as the scores come from a 3D network.
        """
        if self.maps is None:
            raise StoreError("scores of a 3D network come from no maps: nothing can be compared")
        return self.maps


def curve_fingerprint(step: str, version: int, label: Label) -> dict[str, Any]:
    """What determines a curve of a label's scores.

    Parameters
    ----------
    step : str
        Name of the step that computes the curve.
    version : int
        Of its algorithm.
    label : Label
        Label whose scores and maps are compared.

    Returns
    -------
    dict
    """
    return {
        "step": step,
        "version": version,
        "scores": label.scores.digest,
        "maps": label.maps.digest,
    }

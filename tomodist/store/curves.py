"""How well every tilt of a stored result agrees with the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tomodist.algorithms.threshold.consistency import Consistency, consistency_of

if TYPE_CHECKING:
    from tomodist.store.tomogram import Unit


@dataclass(frozen=True, eq=False)
class TiltAgreement:
    """Agreement of every tilt at the chosen threshold.

    Parameters
    ----------
    tilts : tuple of int
        The tilts that took part.
    angles : tuple of float
        Their angles, in degrees.
    consistency : Consistency
        Of them.
    """

    tilts: tuple[int, ...]
    angles: tuple[float, ...]
    consistency: Consistency


def tilt_agreement(curves: Unit) -> TiltAgreement | None:
    """Agreement of every tilt of a label at the chosen threshold.

    Parameters
    ----------
    curves : Unit
        The threshold curve of the label.

    Returns
    -------
    TiltAgreement or None
        None where no threshold was chosen.
    """
    if not curves.exists():
        return None
    curve = curves.dataset().load()
    at = int(np.argmax(curve["iou"].values.mean(axis=0)))
    angles = curve["tilt_angle"].values.tolist()
    columns = (curve[name].values[:, at] for name in ("iou", "precision", "recall"))
    tilts = tuple(curve["tilt"].values.tolist())
    return TiltAgreement(tilts, tuple(angles), consistency_of(angles, *columns))

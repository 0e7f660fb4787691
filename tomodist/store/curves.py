"""How well every tilt of a stored result agrees with the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tomodist.algorithms.threshold.consistency import Consistency, consistency_of

if TYPE_CHECKING:
    from tomodist.store.tomogram import Tomogram


def stored_consistency(
    tomogram: Tomogram, label: str
) -> tuple[list[int], list[float], Consistency] | None:
    """Agreement of every tilt at the chosen threshold.

    Parameters
    ----------
    tomogram : Tomogram
        The store.
    label : str
        Whose threshold curve.

    Returns
    -------
    list of int
        The tilts that took part.
    list of float
        Their angles, in degrees.
    Consistency
        Of them. None in all where no threshold was chosen.
    """
    unit = f"curves/{label}"
    if not tomogram.has(unit):
        return None
    curve = tomogram.dataset(unit).load()
    at = int(np.argmax(curve["iou"].values.mean(axis=0)))
    angles = curve["tilt_angle"].values.tolist()
    columns = (curve[name].values[:, at] for name in ("iou", "precision", "recall"))
    return curve["tilt"].values.tolist(), angles, consistency_of(angles, *columns)

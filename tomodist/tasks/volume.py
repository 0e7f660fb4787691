"""Segmenting a reconstruction by a 3D network: the order of the steps.

reconstructions/<name> --network--> scores/<label> --select--> labels/<label>, structures/<label>
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tomodist.algorithms.lift.balanced import LEVELS
from tomodist.errors import InputError
from tomodist.steps.detect_volume import detect_volume, plan_volume
from tomodist.steps.structures import Selection, plan_labels, select_structures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.planning.plan import Plan, Resources
    from tomodist.runtime.runner import Session
    from tomodist.steps.detect_volume import VolumeDetection
    from tomodist.store.tomogram import Tomogram
    from tomodist.values.geometry import VolumeGrid


@dataclass(frozen=True)
class VolumeTask:
    """What a 3D network finds in one tomogram.

    Parameters
    ----------
    detection : VolumeDetection
        The network, and what it looks at.
    grid : VolumeGrid
        Of the reconstruction.
    threshold : float, optional
        On probability; by default the model's, per class.
    min_voxels : int
        Smaller structures are dropped.
    brick : sequence of int, optional
        Fixed instead of planned.

    Raises
    ------
    InputError
        If the threshold is no probability.
    """

    detection: VolumeDetection
    grid: VolumeGrid
    threshold: float | None = None
    min_voxels: int = 1
    brick: Sequence[int] | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 <= self.threshold < 1:
            raise InputError(
                f"--threshold is {self.threshold:g}, but a network tells probabilities: 0 to 1"
            )

    def threshold_of(self, name: str) -> float:
        """Of a class."""
        if self.threshold is not None:
            return self.threshold
        card = self.detection.model.card
        return card.thresholds[card.classes.index(name)]

    def plans(self, resources: Resources) -> list[Plan]:
        """What the steps would cost.

        Raises
        ------
        PlanError
            If one of them cannot fit.
        """
        return [
            plan_volume(self.detection, self.grid, resources, self.brick),
            plan_labels(self.grid, resources, self.brick),
        ]


def run_volume(
    session: Session, tomogram: Tomogram, task: VolumeTask, *, overwrite: bool = False
) -> dict[str, float]:
    """Do everything that is not done yet.

    Parameters
    ----------
    session : Session
        Where tasks run.
    tomogram : Tomogram
        The store.
    task : VolumeTask
        What to do.
    overwrite : bool
        Replace results that were made differently.

    Returns
    -------
    dict of str to float
        Label to the threshold on its probabilities.

    Raises
    ------
    ExistsError, InputError, PlanError, StoreError
    """
    task.plans(session.resources)
    session.check_sees(tomogram.path)
    detect_volume(session, tomogram, task.detection, brick=task.brick, overwrite=overwrite)
    thresholds = {}
    for name, label in task.detection.labels.items():
        thresholds[label] = task.threshold_of(name)
        selection = Selection(math.floor(thresholds[label] * LEVELS), task.min_voxels)
        select_structures(
            session, tomogram, label, selection, brick=task.brick, overwrite=overwrite
        )
    return thresholds

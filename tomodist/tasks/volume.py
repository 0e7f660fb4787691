"""Task: segmenting a reconstruction by a 3D network.

reconstruction --network--> scores --find structures--> labels, structures
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tomodist.algorithms.lift.balanced import MAX_SCORE
from tomodist.errors import InputError
from tomodist.steps.detect_volume import DetectVolume
from tomodist.steps.structures import FindStructures, Selection
from tomodist.tasks.results import LabelResult, LabelsResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.runtime.runner import Session
    from tomodist.steps.base import Step
    from tomodist.steps.detect_volume import VolumeDetection
    from tomodist.store.tomogram import Tomogram


@dataclass(frozen=True)
class VolumeTask:
    """What a 3D network finds in one tomogram.

    Parameters
    ----------
    tomogram : Tomogram
        The store.
    detection : VolumeDetection
        The network, and what it looks at.
    threshold : float, optional
        On probability; by default the model's, per class.
    min_voxels : int
        Smaller structures are dropped.
    brick : tuple of int, optional
        Fixed instead of planned.

    Raises
    ------
    InputError
        If the threshold is no probability.
    """

    tomogram: Tomogram
    detection: VolumeDetection
    threshold: float | None = None
    min_voxels: int = 1
    brick: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 <= self.threshold < 1:
            raise InputError(
                f"`threshold` is {self.threshold:g}, but a network gives probabilities: 0 to 1"
            )

    def steps(self) -> tuple[Step, ...]:
        """Scores of all classes in one pass, then the structures of each."""
        selection = Selection(self.min_voxels)
        return (
            DetectVolume(self.tomogram, self.detection, self.brick),
            *(
                FindStructures(
                    self.tomogram.label(label), self._stored_threshold(name), selection, self.brick
                )
                for name, label in self.detection.labels.items()
            ),
        )

    def check(self, *, overwrite: bool) -> None:
        """Nothing that the steps do not see."""

    def check_seen(self, session: Session) -> None:
        """Workers must see the store."""
        session.check_sees(str(self.tomogram), self.tomogram.place.exists)

    def result(self, _: Sequence[Any]) -> LabelsResult:
        """The structures of every class."""
        return LabelsResult(
            tuple(
                LabelResult(self.tomogram.label(label), self._threshold_of(name))
                for name, label in self.detection.labels.items()
            )
        )

    def _threshold_of(self, name: str) -> float:
        """Of a class, on probability."""
        if self.threshold is not None:
            return self.threshold
        card = self.detection.model.card
        return card.thresholds[card.classes.index(name)]

    def _stored_threshold(self, name: str) -> _ProbabilityThreshold:
        return _ProbabilityThreshold(self._threshold_of(name))


@dataclass(frozen=True)
class _ProbabilityThreshold:
    """A threshold on probability, as stored scores want it."""

    value: float

    def __call__(self) -> float:
        return math.floor(self.value * MAX_SCORE)

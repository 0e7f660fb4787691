"""Step: a reconstruction becomes `scores/<label>` of every class by a 3D network.

    reconstructions/<name> --statistics--> mean and deviation of the whole volume
                           --network, windows that overlap--> probabilities, 0 .. 254

One rule: windows lie on one grid of the volume, and every brick computes all windows that touch it:
those at its border are computed twice, and bricks, workers and reruns give the same bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.errors import InputError
from tomodist.learned.detectors.normalise import SAME_SIZE
from tomodist.learned.detectors.segmentation import TORCH_MEMORY
from tomodist.learned.detectors.tiles import Blending
from tomodist.learned.detectors.volume import (
    MAX_SCORE,
    OVERLAP,
    SIDE,
    as_scores,
    blended_probabilities,
)
from tomodist.learned.networks.spec import bytes_per_pixel
from tomodist.planning.costs import TaskCosts
from tomodist.planning.plan import Plan, Resources, Shape3, Terms, plan_step
from tomodist.runtime.runner import task_of
from tomodist.steps.parts.base import NewVolume, make_volumes
from tomodist.steps.parts.filling import fill_all
from tomodist.steps.parts.pyramid import plan_levels
from tomodist.steps.parts.statistics import statistics_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tomodist.formats.zarr import ArrayHandle
    from tomodist.learned.detectors.normalise import Statistics
    from tomodist.learned.detectors.tiles import Window
    from tomodist.learned.model.opened import Model
    from tomodist.runtime.runner import Session, Task, Work
    from tomodist.store.place import Staging
    from tomodist.store.tomogram import Label, Tomogram, Unit
    from tomodist.values.arrays import Float32Array
    from tomodist.values.geometry import VolumeGrid
    from tomodist.values.windows import Index

VERSION = 1
_SECONDS = 3e-7  # per voxel of a window


@dataclass(frozen=True)
class VolumeDetection:
    """What a 3D network does to a reconstruction.

    Parameters
    ----------
    model : Model
        For segmentation, of three dimensions.
    reconstruction : str
        Which one of the store.
    labels : dict of str to str
        Class of the model to label of the store.
    side, overlap : int
        Of the windows, in voxels.

    Raises
    ------
    InputError
        If the model is for something else, or lacks a class.
    """

    model: Model
    reconstruction: str
    labels: dict[str, str]
    side: int = SIDE
    overlap: int = OVERLAP

    def __post_init__(self) -> None:
        card = self.model.card
        if (card.task, card.dims) != ("segment", 3):
            raise InputError(f"{self.model.path} is not a model for segmenting volumes")
        unknown = sorted(set(self.labels) - set(card.classes))
        if unknown or not self.labels:
            there = ", ".join(card.classes)
            wanted = unknown[0] if unknown else "none"
            raise InputError(f"{self.model.path} has no class {wanted!r} (available: {there})")
        if not 0 <= 2 * self.overlap < self.side:
            raise InputError(f"windows of {self.side} voxels cannot share {self.overlap}")

    def check(self, tomogram: Tomogram) -> None:
        """Refuse a reconstruction that is not there, or of other voxels than the model's.

        Raises
        ------
        InputError, StoreError
        """
        tomogram.reconstruction(self.reconstruction).check_current()
        size, wanted = tomogram.grid.voxel_size, self.model.card.pixel_size
        if abs(size - wanted) > SAME_SIZE * wanted:
            raise InputError(
                f"{self.model.path} was trained on voxels of {wanted:g} Å, but {tomogram} has "
                f"voxels of {size:g} Å; ingest it with another binning, or train on such voxels"
            )

    def parameters(self) -> dict[str, Any]:
        """What determines the probabilities beside the reconstruction, as plain values."""
        return {**self.model.parameters(), "side": self.side, "overlap": self.overlap}


def plan_volume(
    detection: VolumeDetection,
    grid: VolumeGrid,
    resources: Resources,
    brick: Sequence[int] | None = None,
) -> Plan:
    """Plan the detection: a task holds a window in the network, and its brick's probabilities.

    Parameters
    ----------
    detection : VolumeDetection
        Model and reconstruction.
    grid : VolumeGrid
        Of the reconstruction.
    resources : Resources
        Workers and their memory.
    brick : sequence of int, optional
        Brick (z, y, x); None: the planner chooses.

    Returns
    -------
    Plan
    """
    card, window = detection.model.card, detection.side**3
    n, per_voxel = len(card.classes), bytes_per_pixel(card.architecture, 3, card.options)
    step = detection.side - detection.overlap

    def terms(size: Shape3, _: int) -> Terms:
        voxels = math.prod(size)
        return {
            "network": TORCH_MEMORY + per_voxel * window,
            "outputs": 16 * n * window,
            "probabilities": 4 * n * voxels,
            "writing": 3 * voxels,
        }

    def costs(size: Shape3, _: int) -> TaskCosts:
        windows = math.prod(-(-(s + detection.overlap) // step) for s in size)
        return TaskCosts(leaf=windows * window * _SECONDS, join=0.0)

    return plan_step("detect in 3D", grid.shape, resources, terms, costs, brick=brick)


@dataclass(frozen=True)
class DetectVolume:
    """Step: the `scores` of every class from a reconstruction.

    Parameters
    ----------
    tomogram : Tomogram
        The store.
    detection : VolumeDetection
        What is done.
    brick : tuple of int, optional
        Fixed instead of planned.
    """

    tomogram: Tomogram
    detection: VolumeDetection
    brick: tuple[int, ...] | None = None

    def plans(self, resources: Resources) -> tuple[Plan, ...]:
        """Of the detection, and of the smaller levels."""
        grid = self.tomogram.grid
        plan = plan_volume(self.detection, grid, resources, self.brick)
        return plan, plan_levels(grid, plan.brick, 1, resources)

    def is_current(self, *, overwrite: bool) -> bool:
        """Whether the scores of all classes are there, made just so."""
        self.detection.check(self.tomogram)
        return not self._missing(overwrite=overwrite)

    def work(self, session: Session, plans: Sequence[Plan]) -> Work[None]:
        """Look at the whole volume for its statistics, then detect brick by brick."""
        detection, path = self.detection, Path(self.detection.model.path)
        session.check_sees(str(path), path.exists)
        missing = self._missing(overwrite=True)
        volume = self._source.volume
        statistics = yield from statistics_of(volume)
        record = {
            "levels": MAX_SCORE,
            "score_scale": 1 / MAX_SCORE,
            "reconstruction": detection.reconstruction,
            **detection.parameters(),
        }
        volumes = [
            NewVolume(label.scores, self._fingerprint(name), record)
            for name, label in missing.items()
        ]

        def fill_them(scores: list[ArrayHandle], _: list[Staging]) -> Work[None]:
            names = list(missing)

            def task(brick: Index, lacking: list[int]) -> Task:
                targets = {names[k]: scores[k] for k in lacking}
                return task_of(_detect_brick, volume, targets, brick, detection, statistics)

            yield from fill_all("detect in 3D", scores, task)

        grid = self.tomogram.grid
        yield from make_volumes(session, volumes, grid, np.uint8, plans[0].brick, "mean", fill_them)

    @property
    def _source(self) -> Unit:
        return self.tomogram.reconstruction(self.detection.reconstruction)

    def _missing(self, *, overwrite: bool) -> dict[str, Label]:
        """Classes whose scores are not there, with their labels."""
        labels = {name: self.tomogram.label(label) for name, label in self.detection.labels.items()}
        return {
            name: label
            for name, label in labels.items()
            if not label.scores.is_current(self._fingerprint(name), overwrite=overwrite)
        }

    def _fingerprint(self, name: str) -> dict[str, Any]:
        """What determines the scores of a class."""
        return {
            "step": "detect in 3D",
            "version": VERSION,
            "class": name,
            "made_from": {self._source.name: self._source.digest},
            **self.detection.parameters(),
        }


def _detect_brick(
    volume: ArrayHandle,
    targets: Mapping[str, ArrayHandle],
    brick: Index,
    detection: VolumeDetection,
    statistics: Statistics,
) -> None:
    card = detection.model.card

    def read(window: Window) -> Float32Array:
        return statistics.normalised(volume.read(*window), card.normalisation["clip"])

    nz, ny, nx = volume.shape
    blending = Blending((nz, ny, nx), detection.side, detection.overlap)
    part = next(iter(targets.values())).window(brick)
    network = detection.model.network()
    probabilities = blended_probabilities(network, read, blending, part, card.activation)
    for name, target in targets.items():
        of_class = probabilities[card.classes.index(name)]
        target.write(brick, as_scores(of_class))

"""Step: a reconstruction becomes `scores/<label>` of every class by a 3D network.

    reconstructions/<name> --levels--> mean and deviation of the whole volume
                           --network, windows that overlap--> probabilities, 0 .. 254

One rule: windows lie on one grid of the volume, and every brick computes all windows that touch it:
those at its border are computed twice, and bricks, workers and reruns give the same bits.
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.algorithms.lift.balanced import LEVELS
from tomodist.errors import InputError
from tomodist.learned.detectors.normalise import SAME_SIZE
from tomodist.learned.detectors.segmentation import TORCH_MEMORY
from tomodist.learned.detectors.tiles import Blending
from tomodist.learned.detectors.volume import OVERLAP, SIDE, blended_probabilities
from tomodist.learned.networks.spec import bytes_per_pixel
from tomodist.planning.costs import TaskCosts
from tomodist.planning.plan import Plan, Resources, Shape3, Terms, plan_step
from tomodist.runtime.runner import Session, Task, task_of
from tomodist.steps.pyramid import fill_levels
from tomodist.steps.statistics import levels_of
from tomodist.store.ome import multiscales
from tomodist.store.volumes import create_levels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from tomodist.formats.zarr import ArrayHandle
    from tomodist.learned.detectors.normalise import Levels
    from tomodist.learned.detectors.tiles import Window
    from tomodist.learned.model.opened import Model
    from tomodist.store.tomogram import Tomogram
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
            raise InputError(f"{self.model.path} has no class {wanted!r} (there: {there})")
        if not 0 <= 2 * self.overlap < self.side:
            raise InputError(f"windows of {self.side} voxels cannot share {self.overlap}")

    @property
    def unit(self) -> str:
        """Of the reconstruction."""
        return f"reconstructions/{self.reconstruction}"

    def check(self, tomogram: Tomogram) -> None:
        """Refuse a reconstruction that is not there, or of other voxels than the model's.

        Raises
        ------
        InputError, StoreError
        """
        tomogram.check_current(self.unit)
        size, wanted = tomogram.grid.voxel_size, self.model.card.pixel_size
        if abs(size - wanted) > SAME_SIZE * wanted:
            raise InputError(
                f"{self.model.path} was trained on voxels of {wanted:g} Å, but {tomogram.path} has "
                f"{size:g} Å; ingest it with another --bin, or train on such voxels"
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
    """Plan the detection: a task holds a window in the network, and its brick's probabilities."""
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


def detect_volume(
    session: Session,
    tomogram: Tomogram,
    detection: VolumeDetection,
    *,
    brick: Sequence[int] | None = None,
    overwrite: bool = False,
) -> bool:
    """Make `scores/<label>` of every class from a reconstruction.

    Parameters
    ----------
    session : Session
        Where tasks run.
    tomogram : Tomogram
        The store.
    detection : VolumeDetection
        What is done.
    brick : sequence of int, optional
        Fix the brick instead of planning.
    overwrite : bool
        Replace scores that were made differently.

    Returns
    -------
    bool
        False if all were there already.

    Raises
    ------
    ExistsError, InputError, PlanError, StoreError
    """
    detection.check(tomogram)
    made = {
        label: {
            "step": "detect in 3D",
            "version": VERSION,
            "class": name,
            "made_from": {detection.unit: tomogram.digest(detection.unit)},
            **detection.parameters(),
        }
        for name, label in detection.labels.items()
    }
    wanted = {
        name: label
        for name, label in detection.labels.items()
        if not tomogram.is_current(f"scores/{label}", made[label], overwrite=overwrite)
    }
    if not wanted:
        return False
    plan = plan_volume(detection, tomogram.grid, session.resources, brick)
    session.check_sees(Path(detection.model.path))
    volume = tomogram.array(detection.unit, "scale0/reconstruction")
    levels = levels_of(session, volume)
    with ExitStack() as stack:
        pyramids: dict[str, list[ArrayHandle]] = {}
        for name, label in wanted.items():
            staging = stack.enter_context(tomogram.stage(f"scores/{label}", made[label]))
            alike = next((p[0].brick for p in pyramids.values()), plan.brick)
            pyramids[name] = create_levels(staging.path, "scores", tomogram.grid, np.uint8, alike)
            if pyramids[name][0].brick != next(iter(pyramids.values()))[0].brick:
                staging.clear()  # an earlier run left it in other bricks than its neighbours have
                pyramids[name] = create_levels(
                    staging.path, "scores", tomogram.grid, np.uint8, alike
                )
            n_levels, size = len(pyramids[name]), tomogram.grid.voxel_size
            staging.describe(
                ome=multiscales(label, "scores", n_levels, size),
                levels=LEVELS,
                score_scale=1 / LEVELS,
                reconstruction=detection.reconstruction,
                **detection.parameters(),
            )
        _fill(session, volume, {k: v[0] for k, v in pyramids.items()}, detection, levels)
        for pyramid in pyramids.values():
            fill_levels(session, pyramid, "mean")
    return True


def _fill(
    session: Session,
    volume: ArrayHandle,
    scores: Mapping[str, ArrayHandle],
    detection: VolumeDetection,
    levels: Levels,
) -> None:
    """The full-size levels, all classes of a brick in one task."""
    names = list(scores)

    def task(brick: Index, lacking: list[int]) -> Task:
        targets = {names[k]: scores[names[k]] for k in lacking}
        return task_of(_detect_brick, volume, targets, brick, detection, levels)

    session.fill_all("detect in 3D", list(scores.values()), task)


def _detect_brick(
    volume: ArrayHandle,
    targets: Mapping[str, ArrayHandle],
    brick: Index,
    detection: VolumeDetection,
    levels: Levels,
) -> None:
    card = detection.model.card

    def read(window: Window) -> npt.NDArray[np.float32]:
        return levels.normalised(volume.read(*window), card.normalisation["clip"])

    nz, ny, nx = volume.shape
    blending = Blending((nz, ny, nx), detection.side, detection.overlap)
    part = next(iter(targets.values())).window(brick)
    found = blended_probabilities(detection.model.network(), read, blending, part, card.activation)
    for name, target in targets.items():
        of_class = found[card.classes.index(name)]
        np.multiply(of_class, LEVELS, out=of_class)
        target.write(brick, np.rint(of_class, out=of_class).astype(np.uint8))

"""Step: the labels of several classes become one semantic volume, `labels/<label>`.

Detections of different classes may overlap in 3D, though label maps cannot: a voxel lies above or
below a structure of another class, or at the border of two. `labels/<class>` keep both. Here

    a voxel gets the class with the largest share of the tilts among those in whose labels it lies,
    of equals the one with the lower number, and 0 where it lies in none.

One rule: all scores come from the same lifting of the same tilts, so that they compare as stored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.planning.costs import TaskCosts, reading, writing
from tomodist.planning.plan import Plan, Resources, Shape3, Terms, plan_step
from tomodist.runtime.runner import task_of
from tomodist.steps.parts.base import NewVolume, make_volumes
from tomodist.steps.parts.filling import fill
from tomodist.steps.parts.pyramid import plan_levels
from tomodist.store.ome import image_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.formats.zarr import ArrayHandle
    from tomodist.runtime.runner import Session, Task, Work
    from tomodist.store.place import Staging
    from tomodist.store.tomogram import Label
    from tomodist.values.geometry import VolumeGrid
    from tomodist.values.windows import Index

VERSION = 1
_PER_VOXEL = 3e-9  # seconds of one class: labels and scores unpacked and compared; measured
Sources = tuple[tuple[int, "ArrayHandle", "ArrayHandle"], ...]  # value, labels, scores


def plan_decision(
    grid: VolumeGrid, n_classes: int, resources: Resources, brick: Sequence[int] | None = None
) -> Plan:
    """Plan the semantic volume; one class is held at a time.

    Parameters
    ----------
    grid : VolumeGrid
        Of the volumes.
    n_classes : int
        How many classes are compared.
    resources : Resources
        What the run may use.
    brick : sequence of int, optional
        Fix the brick instead of planning.

    Returns
    -------
    Plan

    Raises
    ------
    InputError, PlanError
    """

    def terms(size: Shape3, _: int) -> Terms:
        voxels = math.prod(size)
        # labels and scores being read are unpacked once beside the result
        return {"labels": 5 * voxels, "scores": 4 * voxels, "decided": 5 * voxels}

    def costs(size: Shape3, _: int) -> TaskCosts:
        voxels = math.prod(size)
        leaf = n_classes * (reading(2, 0) + _PER_VOXEL * voxels)
        return TaskCosts(leaf + writing(voxels, whole_numbers=True), join=0.0)

    def bytes_read(size: Shape3) -> int:
        return n_classes * 5 * math.prod(size)

    return plan_step("decide", grid.shape, resources, terms, costs, brick=brick,
                     bytes_read=bytes_read)  # fmt: skip


@dataclass(frozen=True)
class DecideClasses:
    """Step: the semantic volume, `labels` of the label of all classes.

    Parameters
    ----------
    label : Label
        Of the semantic volume.
    classes : dict of int to Label
        Labels of the classes by value.
    brick : tuple of int, optional
        Fixed instead of planned.
    """

    label: Label
    classes: dict[int, Label]
    brick: tuple[int, ...] | None = None

    def plans(self, resources: Resources) -> tuple[Plan, ...]:
        """Of the decision, and of the smaller levels."""
        grid = self.label.tomogram.grid
        plan = plan_decision(grid, len(self.classes), resources, self.brick)
        return plan, plan_levels(grid, plan.brick, 1, resources)

    def is_current(self, *, overwrite: bool) -> bool:
        """Whether the volume is there, made just so."""
        return self.label.labels.is_current(self._fingerprint(), overwrite=overwrite)

    def work(self, session: Session, plans: Sequence[Plan]) -> Work[None]:
        """Decide brick by brick."""
        classes = self._sorted
        sources = tuple((v, name.labels.volume, name.scores.volume) for v, name in classes.items())

        def fill_them(volumes: list[ArrayHandle], _: list[Staging]) -> Work[None]:
            def task(brick: Index) -> Task:
                return task_of(_decide_brick, sources, volumes[0], brick)

            name = f"decide {self.label}"
            yield from fill(name, volumes[0], task, in_flight=plans[0].in_flight)

        names = {value: name.name for value, name in classes.items()}
        image = image_label(f"../../{classes[min(classes)].scores}", names)
        volume = NewVolume(self.label.labels, self._fingerprint(), {"classes": names}, image)
        grid = self.label.tomogram.grid
        yield from make_volumes(session, [volume], grid, np.uint8, plans[0].brick, "max", fill_them)

    @property
    def _sorted(self) -> dict[int, Label]:
        return dict(sorted(self.classes.items()))

    def _fingerprint(self) -> dict[str, Any]:
        """What determines the volume."""
        return {
            "step": "decide",
            "version": VERSION,
            "classes": {value: name.name for value, name in self._sorted.items()},
            "made_from": {name.labels.name: name.labels.digest for name in self._sorted.values()},
        }


def _decide_brick(sources: Sources, decided: ArrayHandle, brick: Index) -> None:
    window = decided.window(brick)
    shape = tuple(end - start for start, end in window)
    result = np.zeros(shape, np.uint8)
    largest = np.zeros(shape, np.uint16)
    for value, labels, scores in sources:  # rising, so that of equals the lower one stays
        inside = labels.read(*window) > 0
        share = scores.read(*window)
        inside &= share > largest
        result[inside] = value
        np.copyto(largest, share, where=inside)
    decided.write(brick, result)

"""Step: a 3D annotation becomes the `labels` of a label."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.planning.costs import TaskCosts, labelling
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
    from tomodist.sources.annotations import ProjectedMask
    from tomodist.sources.truth import MaskVolume
    from tomodist.store.place import Staging
    from tomodist.store.tomogram import Label
    from tomodist.values.windows import Index


@dataclass(frozen=True)
class LabelVolume:
    """Step: the `labels` of a label from a 3D annotation: what 3D networks learn from.

    Parameters
    ----------
    label : Label
        What is annotated.
    mask : ProjectedMask
        The annotation.
    """

    label: Label
    mask: ProjectedMask

    def plans(self, resources: Resources) -> tuple[Plan, ...]:
        """Of the copy, and of the smaller levels."""
        plan = plan_copy(self.mask, resources)
        return plan, plan_levels(self.mask.grid, plan.brick, 4, resources)

    def is_current(self, *, overwrite: bool) -> bool:
        """Whether the volume is there, made just so."""
        return self.label.labels.is_current(self._fingerprint(), overwrite=overwrite)

    def work(self, session: Session, plans: Sequence[Plan]) -> Work[None]:
        """Copy brick by brick."""

        def fill_them(volumes: list[ArrayHandle], _: list[Staging]) -> Work[None]:
            def task(brick: Index) -> Task:
                return task_of(_copy_brick, self.mask.volume, volumes[0], brick)

            yield from fill(f"annotate {self.label}", volumes[0], task)

        volume = NewVolume(self.label.labels, self._fingerprint(), {}, image_label(None))
        grid = self.label.tomogram.grid
        yield from make_volumes(
            session, [volume], grid, np.uint32, plans[0].brick, "max", fill_them
        )

    def _fingerprint(self) -> dict[str, Any]:
        """What determines the volume."""
        return {"step": "annotate", "version": 1, **self.mask.fingerprint()}


def plan_copy(mask: ProjectedMask, resources: Resources) -> Plan:
    """Bricks whose mask and labels, with the shard that is written, fit a task.

    Parameters
    ----------
    mask : ProjectedMask
        What is copied.
    resources : Resources
        What the run may use.

    Returns
    -------
    Plan

    Raises
    ------
    PlanError
        If nothing fits.
    """
    each = mask.volume.itemsize + 13

    def terms(size: Shape3, _: int) -> Terms:
        return {"labels": each * math.prod(size), "reading": mask.volume.unpacked}

    def costs(size: Shape3, _: int) -> TaskCosts:
        return TaskCosts(leaf=labelling(math.prod(size)), join=0.0)

    return plan_step("annotate", mask.grid.shape, resources, terms, costs, itemsize=4)


def _copy_brick(volume: MaskVolume, labels: ArrayHandle, brick: Index) -> None:
    labels.write(brick, volume.read(labels.window(brick)).astype(np.uint32))

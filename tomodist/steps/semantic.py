"""Step: the labels of several classes become one semantic volume, `labels/<label>`.

Detections of different classes may overlap in 3D, though label maps cannot: a voxel lies above or
below a structure of another class, or at the border of two. `labels/<class>` keep both. Here

    a voxel gets the class with the largest share of the tilts among those in whose labels it lies,
    of equals the one with the lower number, and 0 where it lies in none.

One rule: all scores come from the same lifting of the same tilts, so that they compare as stored.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tomodist.planning.costs import TaskCosts, reading, writing
from tomodist.planning.plan import Plan, Resources, Shape3, Terms, plan_step
from tomodist.runtime.runner import Session, Task, task_of
from tomodist.steps.pyramid import fill_levels
from tomodist.store.ome import image_label, multiscales
from tomodist.store.volumes import create_levels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tomodist.formats.zarr import ArrayHandle
    from tomodist.store.tomogram import Tomogram
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


def decide_classes(
    session: Session,
    tomogram: Tomogram,
    label: str,
    classes: Mapping[int, str],
    *,
    brick: Sequence[int] | None = None,
    overwrite: bool = False,
) -> bool:
    """Make `labels/<label>` from `labels/<class>` and `scores/<class>` of every class.

    Parameters
    ----------
    session : Session
        Where tasks run.
    tomogram : Tomogram
        The store.
    label : str
        Of the semantic volume.
    classes : mapping of int to str
        Names by value.
    brick : sequence of int, optional
        Fix the brick instead of planning.
    overwrite : bool
        Replace a volume that was made differently.

    Returns
    -------
    bool
        False if the volume was there already.

    Raises
    ------
    ExistsError, PlanError, StoreError
    """
    classes = dict(sorted(classes.items()))
    unit = f"labels/{label}"
    fingerprint = {
        "step": "decide",
        "version": VERSION,
        "classes": classes,
        "made_from": {f"labels/{name}": tomogram.digest(f"labels/{name}")
                      for name in classes.values()},
    }  # fmt: skip
    if tomogram.is_current(unit, fingerprint, overwrite=overwrite):
        return False
    plan = plan_decision(tomogram.grid, len(classes), session.resources, brick)
    sources = tuple(
        (
            value,
            tomogram.array(f"labels/{name}", "scale0/labels"),
            tomogram.array(f"scores/{name}", "scale0/scores"),
        )
        for value, name in classes.items()
    )
    with tomogram.stage(unit, fingerprint) as staging:
        levels = create_levels(staging.path, "labels", tomogram.grid, np.uint8, plan.brick)

        def task(brick: Index) -> Task:
            return task_of(_decide_brick, sources, levels[0], brick)

        session.fill(f"decide {label}", levels[0], task, in_flight=plan.in_flight)
        fill_levels(session, levels, "max")
        ome = multiscales(label, "labels", len(levels), tomogram.grid.voxel_size)
        ome["image-label"] = image_label(f"../../scores/{classes[min(classes)]}", classes)
        staging.describe(ome=ome, classes=classes)
    return True


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

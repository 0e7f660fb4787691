"""Annotations: true masks to learn from, whole or sparse, drawn in 2D or in 3D.

One rule: what nobody looked at says nothing. Tilts that were not annotated, and pixels of the
value for "unknown", are 2 in the maps, as what was not measured; training ignores them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tomodist.planning.costs import TaskCosts, labelling
from tomodist.planning.plan import Shape3, Terms, plan_step
from tomodist.runtime.runner import Session, task_of
from tomodist.steps.pyramid import fill_levels
from tomodist.store.ome import image_label, multiscales
from tomodist.store.volumes import create_levels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.formats.zarr import ArrayHandle
    from tomodist.planning.plan import Resources
    from tomodist.sources.annotations import ProjectedMask
    from tomodist.sources.truth import MaskVolume
    from tomodist.store.tomogram import Tomogram
    from tomodist.values.windows import Index


def label_volume(
    session: Session,
    tomogram: Tomogram,
    label: str,
    mask: ProjectedMask,
    *,
    overwrite: bool = False,
) -> bool:
    """Make `labels/<label>` from a 3D annotation: what 3D networks learn from.

    Parameters
    ----------
    session : Session
        Where tasks run.
    tomogram : Tomogram
        The store.
    label : str
        What is annotated.
    mask : ProjectedMask
        The annotation.
    overwrite : bool
        Replace labels that were made differently.

    Returns
    -------
    bool
        False if they were there already.

    Raises
    ------
    ExistsError, PlanError, StoreError
    """
    unit, grid = f"labels/{label}", tomogram.grid
    fingerprint = {"step": "annotate", "version": 1, **mask.fingerprint()}
    if tomogram.is_current(unit, fingerprint, overwrite=overwrite):
        return False
    brick = _brick(mask, session.resources)
    with tomogram.stage(unit, fingerprint) as staging:
        levels = create_levels(staging.path, "labels", grid, np.uint32, brick)
        session.fill(
            f"annotate {label}",
            levels[0],
            lambda b: task_of(_copy_brick, mask.volume, levels[0], b),
        )
        fill_levels(session, levels, "max")
        ome = multiscales(label, "labels", len(levels), grid.voxel_size)
        staging.describe(ome={**ome, "image-label": image_label(None)})
    return True


def _brick(mask: ProjectedMask, resources: Resources) -> Sequence[int]:
    """Bricks whose mask and labels, with the shard that is written, fit a task."""
    each = mask.volume.itemsize + 13

    def terms(size: Shape3, _: int) -> Terms:
        return {"labels": each * math.prod(size), "reading": mask.volume.unpacked}

    def costs(size: Shape3, _: int) -> TaskCosts:
        return TaskCosts(leaf=labelling(math.prod(size)), join=0.0)

    return plan_step("annotate", mask.grid.shape, resources, terms, costs, itemsize=4).brick


def _copy_brick(volume: MaskVolume, labels: ArrayHandle, brick: Index) -> None:
    labels.write(brick, volume.read(labels.window(brick)).astype(np.uint32))

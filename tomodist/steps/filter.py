"""Step of weighted backprojection: images to filtered images.

One rule: where the tilt axis is vertical, rows are filtered block by block and no task holds an
image; else an image is filtered as a whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tomodist.algorithms.reconstruct.ramp import padded_length
from tomodist.planning.plan import Plan, Resources, check_fit, rounded
from tomodist.runtime.runner import Session, Task, task_of

if TYPE_CHECKING:
    from tomodist.algorithms.reconstruct.wbp import WeightedBackprojection
    from tomodist.formats.zarr import ArrayHandle
    from tomodist.values.windows import Index

_ROWS = 512  # of a block: a few MiB per write


def plan_filter(method: WeightedBackprojection, resources: Resources) -> Plan:
    """Plan the filtering: one task is a block of rows of one image, or one image.

    Parameters
    ----------
    method : WeightedBackprojection
        How images are filtered.
    resources : Resources
        What the run may use.

    Returns
    -------
    Plan

    Raises
    ------
    PlanError
        If not even 64 rows, or one image, fit the memory of a task.
    """
    n_tilts, (height, width) = method.geometry.n_tilts, method.geometry.image_shape
    rows = rounded(height) if not method.row_wise else min(rounded(height), _ROWS)
    while method.row_wise and rows > 64 and _memory(method, rows) > resources.task_budget:
        rows = rounded(rows // 2)
    n_bytes = 4 * n_tilts * height * width
    plan = Plan(
        step="filter",
        shape=(n_tilts, height, width),
        brick=(1, rows, rounded(width)),
        n_tilts=1,
        tilts_per_task=1,
        terms={"images": _memory(method, rows)},
        resources=resources,
        bytes_read=n_bytes,
        bytes_written=n_bytes,
    )
    check_fit(plan)
    return plan


def filter_images(
    session: Session, images: ArrayHandle, filtered: ArrayHandle, method: WeightedBackprojection
) -> None:
    """Filter what is missing of a stack.

    Parameters
    ----------
    session : Session
        Where tasks run.
    images, filtered : ArrayHandle
        Stacks (tilt, y, x); the bricks of `filtered` are those of `plan_filter`.
    method : WeightedBackprojection
        How.
    """

    def task(brick: Index) -> Task:
        return task_of(_filter_brick, images, filtered, brick, method)

    session.fill("filter", filtered, task)


def _memory(method: WeightedBackprojection, rows: int) -> int:
    """Bytes for a block in and out with its copy, padded, and its transform."""
    height, width = method.geometry.image_shape
    wide = padded_length(width)
    if method.row_wise:
        return rows * (24 * width + 16 * wide)
    return 24 * height * width + 20 * padded_length(height) * wide


def _filter_brick(
    images: ArrayHandle, filtered: ArrayHandle, brick: Index, method: WeightedBackprojection
) -> None:
    window = filtered.window(brick)
    tilt = window[0][0]
    filtered.write(brick, method.filtered(tilt, images.read(*window)[0])[None])

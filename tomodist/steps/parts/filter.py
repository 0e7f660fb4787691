"""Step of weighted backprojection: images to filtered images.

One rule: where the tilt axis is vertical, rows are filtered block by block and no task holds an
image; else an image is filtered as a whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tomodist.algorithms.reconstruct.ramp import padded_length
from tomodist.planning.plan import Plan, Resources, rounded
from tomodist.planning.tiles import Tile, fitting_tile, plan_of_tiles
from tomodist.runtime.runner import Task, Work, task_of
from tomodist.steps.parts.filling import fill

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

    def memory(tile: Tile) -> int:
        return _memory(method, tile.rows)

    tile = Tile(rows, 1)
    if method.row_wise:
        tile = fitting_tile(tile, lambda tile: memory(tile) <= resources.task_budget)
    n_bytes = 4 * n_tilts * height * width
    return plan_of_tiles(
        "filter",
        (n_tilts, height, width),
        tile,
        {"images": memory(tile)},
        resources,
        bytes_read=n_bytes,
        bytes_written=n_bytes,
    )


def filter_images(
    images: ArrayHandle, filtered: ArrayHandle, method: WeightedBackprojection
) -> Work[None]:
    """Filter what is missing of a stack.

    Parameters
    ----------
    images, filtered : ArrayHandle
        Stacks (tilt, y, x); the bricks of `filtered` are those of `plan_filter`.
    method : WeightedBackprojection
        How.

    Yields
    ------
    Batch
    """

    def task(brick: Index) -> Task:
        return task_of(_filter_brick, images, filtered, brick, method)

    yield from fill("filter", filtered, task)


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

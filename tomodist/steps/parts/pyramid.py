"""The smaller levels of a volume: means of blocks of 2 x 2 x 2 for scores, maxima for labels.

The largest label of a block never invents a number, and a small structure never vanishes.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import TYPE_CHECKING, Literal

import numpy as np

from tomodist.planning.plan import Plan, Resources, check_fit, rounded
from tomodist.runtime.runner import task_of
from tomodist.steps.parts.filling import fill

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.formats.zarr import ArrayHandle
    from tomodist.runtime.runner import Work
    from tomodist.values.arrays import AnyArray
    from tomodist.values.geometry import VolumeGrid
    from tomodist.values.windows import Index

Reduce = Literal["mean", "max"]
_LAYERS = 16  # of the smaller level that are made at a time: half a layer of inner chunks


def fill_levels(levels: Sequence[ArrayHandle], reduce: Reduce) -> Work[None]:
    """Make every missing brick of the smaller levels, level by level.

    Parameters
    ----------
    levels : sequence of ArrayHandle
        Full size first; that one is complete.
    reduce : {"mean", "max"}
        What becomes of a block of 2 x 2 x 2 voxels.

    Yields
    ------
    Batch
    """
    for level, (larger, smaller) in enumerate(itertools.pairwise(levels), start=1):
        task = functools.partial(task_of, shrink_brick, larger, smaller, reduce)
        yield from fill(f"pyramid level {level}", smaller, task)


def plan_levels(
    grid: VolumeGrid, brick: Sequence[int], itemsize: int, resources: Resources
) -> Plan:
    """Plan of the first smaller level, which is the largest.

    Parameters
    ----------
    grid : VolumeGrid
        Of the full size.
    brick : sequence of int
        Of the full size.
    itemsize : int
        Bytes per voxel.
    resources : Resources
        What the run may use.

    Returns
    -------
    Plan

    Raises
    ------
    PlanError
        If a brick does not fit the memory of a task.
    """
    shape = tuple(-(-n // 2) for n in grid.shape)
    nz, ny, nx = (min(b, rounded(n)) for b, n in zip(brick, shape, strict=True))
    slab = min(_LAYERS, nz) * ny * nx
    plan = Plan(
        step="pyramid",
        shape=shape,
        brick=(nz, ny, nx),
        n_tilts=1,
        tilts_per_task=1,
        terms={
            "level and shard": 3 * itemsize * nz * ny * nx,
            "slab above": 2 * 8 * itemsize * slab,  # as stored, and chunks being unpacked
            "sums": 20 * slab,
        },
        resources=resources,
        bytes_read=grid.n_voxels * itemsize,
        bytes_written=math.prod(shape) * itemsize,
    )
    check_fit(plan)
    return plan


def shrink_brick(larger: ArrayHandle, smaller: ArrayHandle, reduce: Reduce, brick: Index) -> None:
    """Make one brick of a level from the level above it.

    Parameters
    ----------
    larger, smaller : ArrayHandle
        A level, and the next one.
    reduce : {"mean", "max"}
        What becomes of a block of 2 x 2 x 2 voxels.
    brick : tuple of int
        Index of the brick in `smaller`.
    """
    (z, z_end), y, x = smaller.window(brick)
    shape = larger.shape
    out = np.empty((z_end - z, y[1] - y[0], x[1] - x[0]), larger.dtype)
    for first in range(z, z_end, _LAYERS):
        end = min(first + _LAYERS, z_end)
        slab = ((first, end), y, x)
        window = [(2 * a, min(2 * b, n)) for (a, b), n in zip(slab, shape, strict=True)]
        out[first - z : end - z] = halve(larger.read(*window), reduce)
    smaller.write(brick, out)


def halve(values: AnyArray, reduce: Reduce) -> AnyArray:
    """Reduce blocks of 2 x 2 x 2; at an odd end, what is there.

    Parameters
    ----------
    values : ndarray, shape (z, y, x)
        Any real element type.
    reduce : {"mean", "max"}
        What becomes of a block.

    Returns
    -------
    ndarray, shape (ceil(z / 2), ceil(y / 2), ceil(x / 2))
        Element type of `values`.

    Examples
    --------
    >>> halve(np.array([[[1, 3, 5]]], np.uint8), "mean")
    array([[[2, 5]]], dtype=uint8)
    """
    odd = [(0, n % 2) for n in values.shape]
    if any(end for _, end in odd):
        values = np.pad(values, odd, mode="edge")
    corners = [values[i::2, j::2, k::2] for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    if reduce == "max":
        largest = corners[0].copy()
        for corner in corners[1:]:
            np.maximum(largest, corner, out=largest)
        return largest
    if values.dtype.kind == "f":
        return _mean_of_measured(corners)
    total = np.zeros(corners[0].shape, np.uint32)
    for corner in corners:
        total += corner
    return ((total + 4) // 8).astype(values.dtype)


def _mean_of_measured(corners: Sequence[AnyArray]) -> AnyArray:
    """Mean of the values that are not NaN; NaN where all are."""
    total = np.zeros(corners[0].shape, np.float32)
    n = np.zeros(corners[0].shape, np.float32)
    for corner in corners:
        measured = np.isfinite(corner)
        total += np.where(measured, corner, 0)
        n += measured
    mean = np.full(total.shape, np.nan, np.float32)
    return np.divide(total, n, out=mean, where=n > 0)

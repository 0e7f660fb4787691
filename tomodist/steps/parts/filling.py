"""Filling arrays: one task per brick that is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tomodist.runtime.runner import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tomodist.formats.zarr import ArrayHandle
    from tomodist.runtime.runner import Task, Work
    from tomodist.values.windows import Index


def fill(
    name: str,
    array: ArrayHandle,
    task: Callable[[Index], Task],
    *,
    in_flight: int | None = None,
    bar: object = None,
) -> Work[None]:
    """Write the bricks that an array still lacks.

    Parameters
    ----------
    name : str
        What the tasks do, for the progress bar.
    array : ArrayHandle
        Whose missing bricks are made.
    task : callable
        ``task(brick)`` gives the task that writes a brick; called as its turn comes.
    in_flight, bar
        As for `Batch`.

    Yields
    ------
    Batch
    """
    missing, total = array.missing(), len(array.bricks())
    tasks = (task(brick) for brick in missing)
    yield Batch(name, tasks, total, total - len(missing), in_flight, bar=bar)


def fill_all(
    name: str,
    arrays: Sequence[ArrayHandle],
    task: Callable[[Index, list[int]], Task],
    *,
    in_flight: int | None = None,
) -> Work[None]:
    """Write what several arrays, cut alike, still lack: one task per brick for all of them.

    Parameters
    ----------
    name : str
        What the tasks do, for the progress bar.
    arrays : sequence of ArrayHandle
        Of the same bricks.
    task : callable
        ``task(brick, lacking)`` gives the task that writes a brick of those arrays, by their
        index in `arrays`, that lack it.
    in_flight : int, optional
        As for `Batch`.

    Yields
    ------
    Batch
    """
    lacking: dict[Index, list[int]] = {}
    for k, array in enumerate(arrays):
        for brick in array.missing():
            lacking.setdefault(brick, []).append(k)
    total = len(arrays[0].bricks())
    tasks = (task(brick, lacking[brick]) for brick in sorted(lacking))
    yield Batch(name, tasks, total, total - len(lacking), in_flight)

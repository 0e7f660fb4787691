"""Mean and deviation of a volume: sums of its bricks, added in their order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tomodist.runtime.runner import Batch, task_of
from tomodist.sources.statistics import Sums, brick_sums, combined

if TYPE_CHECKING:
    from tomodist.formats.zarr import ArrayHandle
    from tomodist.learned.detectors.normalise import Statistics
    from tomodist.runtime.runner import Work
    from tomodist.values.windows import Index


def statistics_of(volume: ArrayHandle) -> Work[Statistics]:
    """Mean and deviation of the known voxels, the same for any number of workers.

    Parameters
    ----------
    volume : ArrayHandle
        Grey values (z, y, x), NaN where nothing is known.

    Yields
    ------
    Batch

    Returns
    -------
    Statistics
    """
    bricks = volume.bricks()
    sums: dict[int, Sums] = {}

    def keep(summed: tuple[int, Sums]) -> None:
        k, part = summed
        sums[k] = part

    tasks = (task_of(_numbered, volume, k, brick) for k, brick in enumerate(bricks))
    yield Batch("statistics", tasks, len(bricks), each=keep)
    return combined(sums[k] for k in range(len(bricks)))


def _numbered(volume: ArrayHandle, k: int, brick: Index) -> tuple[int, Sums]:
    return k, brick_sums(volume, brick)

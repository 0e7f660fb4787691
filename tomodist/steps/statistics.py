"""Mean and deviation of a volume: sums of its bricks, added in their order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tomodist.runtime.runner import Session, task_of
from tomodist.sources.statistics import Sums, brick_sums, combined

if TYPE_CHECKING:
    from tomodist.formats.zarr import ArrayHandle
    from tomodist.learned.detectors.normalise import Levels
    from tomodist.values.windows import Index


def levels_of(session: Session, volume: ArrayHandle) -> Levels:
    """Mean and deviation of the known voxels, the same for any number of workers."""
    bricks = volume.bricks()
    tasks = (task_of(_numbered, volume, k, brick) for k, brick in enumerate(bricks))
    found = dict(session.run("levels", tasks, len(bricks)))
    return combined(found[k] for k in range(len(bricks)))


def _numbered(volume: ArrayHandle, k: int, brick: Index) -> tuple[int, Sums]:
    return k, brick_sums(volume, brick)

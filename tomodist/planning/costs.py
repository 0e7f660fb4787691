"""What things cost in seconds, measured; the planner compares plans by them.

One rule: costs are linear in what is done, with a constant per call, because it is the constants
that decide: a row of 64 voxels takes nearly as long as one of 128, and a window of one tilt nearly
as long as one twice as wide. Measured on one core of a 2-core Zen 5 machine, numba 0.68, zarr 3.1.6
(tests/benchmarks); on others all of them scale, and only ratios matter for the choice.
"""

from __future__ import annotations

from dataclasses import dataclass

SCHEDULED = 2.5e-3  # per task: scheduler (1 to 2 ms) and client, measured with up to 512 workers


@dataclass(frozen=True)
class TaskCosts:
    """Seconds of the tasks of a brick.

    Parameters
    ----------
    leaf : float
        Of one task: reading, computing, and writing where it is alone.
    join : float
        Of adding up to `tomodist.planning.plan.FAN_IN` contributions, which travel between workers.
    scheduled : float
        Of the scheduler, per task.
    """

    leaf: float
    join: float
    scheduled: float = SCHEDULED


@dataclass(frozen=True)
class RowCost:
    """Seconds of a kernel per row of voxels and tilt.

    Parameters
    ----------
    row : float
        Whatever its length.
    voxel : float
        Per voxel of it.
    block : int
        Voxels that are handled together.
    """

    row: float
    voxel: float
    block: int = 1

    def of(self, n_rows: float, length: int) -> float:
        """Time for rows of one length.

        Parameters
        ----------
        n_rows : float
            Rows of voxels, times tilts.
        length : int
            Voxels per row.

        Returns
        -------
        float
            Seconds.
        """
        return n_rows * (self.row + self.voxel * -(-length // self.block) * self.block)


# GUPS at rows of 512 and 256 voxels: votes 80 and 77, linear 14.5 and 12.5; votes of any geometry
# 0.45, linear 1.2. A round of refinement takes half as long as the votes.
VOTES_ROWS = RowCost(0.3e-9, 0.012e-9, 256)
VOTES_ANY = RowCost(50e-9, 2.1e-9)
LINEAR_ROWS = RowCost(5.7e-9, 0.058e-9)
LINEAR_ANY = RowCost(60e-9, 0.72e-9)
PER_ROUND = 0.5


def reading(n_windows: int, n_bytes: float) -> float:
    """Time to read and unpack windows of a stack of images.

    Parameters
    ----------
    n_windows : int
        Windows that are read.
    n_bytes : float
        Bytes, uncompressed.

    Returns
    -------
    float
        Seconds.
    """
    return 0.6e-3 * n_windows + 0.6e-9 * n_bytes


def writing(n_bytes: float, *, whole_numbers: bool) -> float:
    """Time to compress and write a brick: 400 MB/s of votes, 900 MB/s of float32.

    Parameters
    ----------
    n_bytes : float
        Bytes, uncompressed.
    whole_numbers : bool
        Integers, which take longer to compress.

    Returns
    -------
    float
        Seconds.
    """
    return 3e-3 + n_bytes * (2.5e-9 if whole_numbers else 1.1e-9)


def moving(n_bytes: float) -> float:
    """Seconds to send a contribution to another worker and add it: 1 GB/s, and 3 GB/s."""
    return 2e-3 + 1.3e-9 * n_bytes


def labelling(n_voxels: float) -> float:
    """Seconds to label a brick, to measure its components and to write it."""
    return 10e-3 + 33e-9 * n_voxels


def comparing(n_voxels: float, reach: float) -> float:
    """Time to read two masks and to measure the distances between their surfaces.

    Of a result near the truth; one that is far from it takes up to three times as long.

    Parameters
    ----------
    n_voxels : float
        Voxels of a brick.
    reach : float
        Largest distance that is measured, in voxels.

    Returns
    -------
    float
        Seconds.
    """
    return 10e-3 + (15e-9 + 0.5e-9 * reach) * n_voxels

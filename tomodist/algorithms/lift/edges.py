"""Algorithm 2 on one brick: binary backprojections refined between adjacent tilts, then counted.

The paper fixes neither the reach w, the support k, the rounds m nor whether B_t itself must hold;
all are parameters here. `tomodist.kernels.edges` says how a round is computed.

Defaults are measured on hollow spheres of many kinds (docs/reports/edges.md; ten seeds, F1 within
two voxels of what the tilts can show, T chosen by `tomodist.algorithms.threshold.ray_lengths`). A
round makes the edges more precise at a fixed T, as the paper says. But it loses edges too, and the
more the noisier the images are: refinement by w, k, m = 2, 5, 2 gains 0.02 on images without noise
(0.840 -> 0.857) and loses 0.41 at a signal-to-noise ratio of 0.1 (0.831 -> 0.417). So there is none
by default; of the rules with w = 2 and one round that keep a tilt's own marks, k = 3 loses least.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tomodist.algorithms.lift.backproject import Contribution, as_index, kernel_shape, votes_dtype
from tomodist.algorithms.lift.windows import ReadImage, binary_windows
from tomodist.errors import InputError
from tomodist.kernels.bits import words_of
from tomodist.kernels.edges import TILE_WORDS, refinement
from tomodist.kernels.memory import aligned_zeros, swapped
from tomodist.kernels.votes import votes_any, votes_rows
from tomodist.planning.costs import PER_ROUND, VOTES_ANY, VOTES_ROWS, RowCost
from tomodist.values.projection import half_widths

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from tomodist.values.arrays import AnyArray
    from tomodist.values.geometry import TiltGeometry, VolumeGrid

_MOST_ROUNDS = 1000  # every round takes time, and a few settle everything


@dataclass(frozen=True)
class RefinedEdges:
    """Votes of 2D edge maps that survive refinement between adjacent tilts.

    Parameters
    ----------
    geometry : TiltGeometry
        Of the maps.
    grid : VolumeGrid
        Of the volume.
    reach : int
        w: how many tilts to either side support a mark.
    support : int
        k: how many of the 2 w + 1 tilts must mark the voxel.
    rounds : int
        m: how often refinement is repeated; 0 for none.
    keep_own : bool
        Whether a tilt keeps only marks of its own (B_t and S_t >= k), or support alone sets one.

    Raises
    ------
    InputError
        If the numbers contradict each other.
    """

    geometry: TiltGeometry
    grid: VolumeGrid
    reach: int = 2
    support: int = 3
    rounds: int = 0
    keep_own: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.reach < 32:
            raise InputError(f"`reach` is {self.reach} tilts; it must be 0 to 31")
        if not 1 <= self.support <= 2 * self.reach + 1:
            raise InputError(
                f"`support` is {self.support} tilts; with a `reach` of {self.reach} it must be "
                f"1 to {2 * self.reach + 1}"
            )
        if self.rounds < 0:
            raise InputError(f"`rounds` is {self.rounds}; it must be 0 or more")
        if self.rounds > _MOST_ROUNDS:
            raise InputError(f"`rounds` is {self.rounds}; it must be at most {_MOST_ROUNDS}")

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8 up to 255 tilts, else uint16."""
        return votes_dtype(self.geometry.n_tilts)

    @property
    def max_score(self) -> int:
        """The highest score: all tilts."""
        return self.geometry.n_tilts

    @property
    def scale(self) -> float:
        """Scores are reported unchanged."""
        return 1.0

    @property
    def binary(self) -> bool:
        """Maps are binary."""
        return True

    @property
    def parameters(self) -> dict[str, Any]:
        """w, k, m, and whether a tilt's own mark must hold."""
        return {
            "lifting": "refined edges",
            "reach": self.reach,
            "support": self.support,
            "rounds": self.rounds,
            "keep_own": self.keep_own,
        }

    @property
    def own_votes(self) -> int:
        """Votes of a voxel that the tilt itself surely gives where it marks it.

        1 for plain votes, 0 for refined ones; see `tomodist.algorithms.threshold.ray_lengths`.
        """
        return 0 if self.rounds else 1

    @property
    def sums_itemsize(self) -> int:
        """Bytes per voxel of a contribution."""
        return self.dtype.itemsize

    @property
    def may_group(self) -> bool:
        """Refinement needs the marks of all tilts at once."""
        return False

    @property
    def n_shared(self) -> int:
        """Classes share nothing."""
        return 0

    @property
    def per_class(self) -> RefinedEdges:
        """The lifting itself."""
        return self

    def row_cost(self, *, aligned: bool) -> RowCost:
        """See `tomodist.planning.costs`."""
        votes = VOTES_ROWS if aligned else VOTES_ANY
        # A round works on bits in the single-axis kernel too, so its cost is that of VOTES_ROWS.
        rounds = self.rounds * PER_ROUND * VOTES_ROWS.voxel
        return RowCost(votes.row, votes.voxel + rounds, votes.block)

    def contribution(
        self, read: ReadImage, tilts: Sequence[int], start: Sequence[int], stop: Sequence[int]
    ) -> Contribution:
        """Refined votes of all tilts.

        Parameters and result as for `Votes.contribution`.

        Raises
        ------
        InputError
            If `tilts` is not all tilts, or the brick has more than 32768 rows.
        """
        if len(tilts) != self.geometry.n_tilts:
            raise InputError(
                f"edge refinement got {len(tilts)} of {self.geometry.n_tilts} tilts; "
                "it needs all of them in one task: remove `tilts_per_task`"
            )
        if words_of(stop[1] - start[1]) > TILE_WORDS:
            raise InputError(
                f"edge refinement got a brick of {stop[1] - start[1]} rows; it "
                f"supports at most {64 * TILE_WORDS}: use a smaller `brick`"
            )
        # Refinement compares neighbours in angle, which need not be neighbours in the stack.
        order = sorted(tilts, key=lambda t: self.geometry.tilt_angles[t])
        matrices = self.geometry.select(order).matrices(self.grid)
        seen = binary_windows(read, order, matrices, start, stop, self.geometry.image_shape)
        votes = aligned_zeros(kernel_shape(start, stop), self.dtype)
        rule = refinement(len(order), self.reach, self.support, self.rounds, keep_own=self.keep_own)
        at = (seen.origin, matrices, half_widths(matrices), as_index(start))
        (votes_rows if seen.rows_only else votes_any)(seen.images, *at, votes, rule)
        return (votes,)

    def finish(self, total: Contribution) -> AnyArray:
        """Votes in z, y, x order."""
        return swapped(total[0])

"""What is held out to judge by: whole tomograms, or a block of tilts (or a slab of a volume).

One rule: nothing that is learnt from looks like what is judged by. Tilts 3° apart show the same
specimen, so single tilts are never held out: a block is, and the tilts beside it are left out of
both. Of a volume it is a slab along y, across which no ray runs in the single-axis case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tomodist.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

FRACTION = 0.2  # of the tilts, or of the rows, that is held out
_MIDDLE = (
    0.62  # of the held-out block within the range: neither the flattest tilts nor the steepest
)
GAP_TILTS = 1


class Split(NamedTuple):
    """Numbers to learn from, and to judge by."""

    training: tuple[int, ...]
    validation: tuple[int, ...]


def block_of(
    n: int,
    marked: Sequence[float] | None = None,
    *,
    fraction: float = FRACTION,
    gap: int = GAP_TILTS,
) -> Split:
    """Hold out one block.

    Parameters
    ----------
    n : int
        Tilts, or rows.
    marked : sequence of float, optional
        How much is marked in each of them: the block is the one that has nearest to its share, so
        that there is something to judge by and something to learn.
    fraction : float
        Part that is held out.
    gap : int
        On either side of the block, left out of both.

    Returns
    -------
    Split

    Raises
    ------
    InputError
        If there are too few for both parts, or all that is marked lies in one block.

    Examples
    --------
    >>> block_of(10)
    Split(training=(0, 1, 2, 3, 8, 9), validation=(5, 6))
    >>> block_of(10, [0, 0, 0, 0, 0, 0, 0, 3, 1, 8]).validation
    (6, 7)
    """
    held = max(1, round(fraction * n))
    # First tilt of the block, where nothing else decides.
    usual = min(max(round(_MIDDLE * n - held / 2), 0), n - held)
    amounts = np.ones(n) if marked is None else np.asarray(marked, np.float64)
    share = amounts / max(float(amounts.sum()), 1e-9)
    best, least = None, (np.inf, np.inf)
    for start in sorted(range(n - held + 1), key=lambda k: abs(k - usual)):
        split = Split(
            (*range(max(start - gap, 0)), *range(start + held + gap, n)),
            tuple(range(start, start + held)),
        )
        learnt, judged = (float(share[list(part)].sum()) for part in split)
        # Rounded, so that equal shares are ties and the usual position decides.
        off = round(abs(judged - fraction), 6)
        if split.training and learnt > 0 and judged > 0 and (off, abs(start - usual)) < least:
            best, least = split, (off, abs(start - usual))
    if best is None:
        raise InputError(
            f"{n} annotated tilts (or rows) cannot be split such that both training and validation "
            "contain structures; annotate more, or use another tomogram for `validation`"
        )
    return best

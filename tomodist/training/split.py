"""What is held out to judge by: whole tomograms, or a block of tilts (or a slab of a volume).

One rule: nothing that is learnt from looks like what is judged by. Tilts 3° apart show the same
specimen, so single tilts are never held out: a block is, and the tilts beside it are left out of
both. Of a volume it is a slab along y, across which no ray runs in the single-axis case.
"""

from __future__ import annotations

from typing import NamedTuple

from tomodist.errors import InputError

FRACTION = 0.2  # of the tilts, or of the rows, that is held out
_MIDDLE = (
    0.62  # of the held-out block within the range: neither the flattest tilts nor the steepest
)
GAP_TILTS = 1


class Split(NamedTuple):
    """Numbers to learn from, and to judge by."""

    training: tuple[int, ...]
    validation: tuple[int, ...]


def block_of(n: int, fraction: float = FRACTION, gap: int = GAP_TILTS) -> Split:
    """Hold out one block.

    Parameters
    ----------
    n : int
        Tilts, or rows.
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
        If there are too few for both parts.

    Examples
    --------
    >>> block_of(10)
    Split(training=(0, 1, 2, 3, 8, 9), validation=(5, 6))
    >>> [len(part) for part in block_of(41)]
    [31, 8]
    """
    held = max(1, round(fraction * n))
    start = min(max(round(_MIDDLE * n - held / 2), 0), n - held)
    before, after = range(max(start - gap, 0)), range(start + held + gap, n)
    training = (*before, *after)
    if not training:
        raise InputError(
            f"there are {n} annotated tilts (or rows); too few to learn from some and judge by "
            "others: annotate more, or give --validation another tomogram"
        )
    return Split(training, tuple(range(start, start + held)))

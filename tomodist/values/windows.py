"""Windows of arrays, and the bricks that cover them."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


Index = tuple[int, ...]


Window = tuple[tuple[int, int], ...]  # (start, stop) along every axis


def brick_indices(shape: Sequence[int], brick: Sequence[int]) -> Iterator[Index]:
    """Indices of the bricks that cover an array, in C order.

    Parameters
    ----------
    shape : sequence of int
        Shape of the array.
    brick : sequence of int
        Shape of a brick.

    Returns
    -------
    iterator of tuple of int

    Examples
    --------
    >>> list(brick_indices((3, 4), (2, 4)))
    [(0, 0), (1, 0)]
    """
    return itertools.product(*(range(math.ceil(n / b)) for n, b in zip(shape, brick, strict=True)))


def brick_window(index: Index, brick: Sequence[int], shape: Sequence[int]) -> Window:
    """Elements of a brick: (start, stop) along every axis.

    Parameters
    ----------
    index : tuple of int
        Index of the brick.
    brick : sequence of int
        Shape of a brick.
    shape : sequence of int
        Shape of the array.

    Returns
    -------
    tuple of tuple of int
        (start, stop) along every axis.

    Examples
    --------
    >>> brick_window((1, 0), (2, 4), (3, 4))
    ((2, 3), (0, 4))
    """
    return tuple((i * b, min((i + 1) * b, n)) for i, b, n in zip(index, brick, shape, strict=True))


def brick_windows(shape: Sequence[int], brick: Sequence[int]) -> Iterator[Window]:
    """Windows of the bricks that cover an array, in C order.

    Parameters
    ----------
    shape : sequence of int
        Shape of the array.
    brick : sequence of int
        Shape of a brick.

    Yields
    ------
    tuple of tuple of int
        (start, stop) along every axis.

    Examples
    --------
    >>> list(brick_windows((3,), (2,)))
    [((0, 2),), ((2, 3),)]
    """
    for index in brick_indices(shape, brick):
        yield brick_window(index, brick, shape)

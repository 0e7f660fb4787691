"""Plans of steps that go through images: whole ones, or tiles (some rows of some tilts).

One rule: one loop halves a tile until it fits the memory of a task.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tomodist.planning.plan import INNER, Plan, Resources, check_fit, rounded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LESS = ", or use fewer `workers`"


@dataclass(frozen=True)
class Tile:
    """Some rows of some tilts.

    Parameters
    ----------
    rows, tilts : int
        How many; rows are a multiple of 64.
    """

    rows: int
    tilts: int

    def count(self, n_tilts: int, height: int) -> int:
        """Number of tiles that cover a stack.

        Parameters
        ----------
        n_tilts, height : int
            Tilts of the stack, and rows of an image.

        Returns
        -------
        int
        """
        return -(-n_tilts // self.tilts) * -(-height // self.rows)


def fitting_tile(
    start: Tile, fits: Callable[[Tile], bool], first: Literal["rows", "tilts"] = "rows"
) -> Tile:
    """The largest tile that fits, by halving.

    Parameters
    ----------
    start : Tile
        The largest that would be useful.
    fits : callable
        Whether a tile may be taken.
    first : {"rows", "tilts"}
        What is halved first, rows to 64 or tilts to 1.

    Returns
    -------
    Tile
        The smallest one if none fits.

    Examples
    --------
    >>> fitting_tile(Tile(256, 8), lambda tile: tile.rows * tile.tilts <= 100)
    Tile(rows=64, tilts=1)
    >>> fitting_tile(Tile(256, 8), lambda tile: tile.rows * tile.tilts <= 300, "tilts")
    Tile(rows=256, tilts=1)
    """
    tile = start
    while not fits(tile):
        fewer_rows = Tile(rounded(tile.rows // 2), tile.tilts) if tile.rows > INNER else None
        fewer_tilts = Tile(tile.rows, -(-tile.tilts // 2)) if tile.tilts > 1 else None
        # The preferred way of halving first, the other one when it is exhausted.
        order = (fewer_rows, fewer_tilts) if first == "rows" else (fewer_tilts, fewer_rows)
        smaller = order[0] or order[1]
        if smaller is None:
            break
        tile = smaller
    return tile


def plan_of_tiles(
    step: str,
    stack: tuple[int, int, int],
    tile: Tile,
    terms: dict[str, int],
    resources: Resources,
    *,
    bytes_read: int = 0,
    bytes_written: int = 0,
) -> Plan:
    """Plan of a step whose tasks are tiles.

    Parameters
    ----------
    step : str
        Name, for messages.
    stack : tuple of int
        Tilts, height and width of the stack.
    tile : Tile
        How it is cut.
    terms : dict
        Bytes that a task holds, by name.
    resources : Resources
        What the run may use.
    bytes_read, bytes_written : int
        In total, uncompressed.

    Returns
    -------
    Plan

    Raises
    ------
    PlanError
        If the tile does not fit the memory of a task.
    """
    plan = Plan(
        step,
        stack,
        (tile.tilts, tile.rows, rounded(stack[2])),
        1,
        1,
        terms,
        resources,
        bytes_read,
        bytes_written,
    )
    check_fit(plan, cut="a tile of (tilts, rows, columns)", remedy=_LESS)
    return plan


def plan_of_images(
    step: str, stack: Sequence[int], resources: Resources, more: int = 0, *, itemsize: int = 4
) -> Plan:
    """Plan of a step whose tasks are whole images.

    Parameters
    ----------
    step : str
        Name, for messages.
    stack : sequence of int
        Images, height and width.
    resources : Resources
        What the run may use.
    more : int
        Bytes that a task holds beside its image.
    itemsize : int
        Bytes per pixel written.

    Returns
    -------
    Plan

    Raises
    ------
    PlanError
        If one image, and `more` bytes, do not fit the memory of a task.
    """
    n, height, width = stack
    pixels = n * height * width
    terms = {"image": 48 * height * width}  # float32 in and out, float64 on the way
    if more:
        terms["detector"] = more
    plan = Plan(
        step,
        (n, height, width),
        (1, height, width),
        1,
        1,
        terms,
        resources,
        4 * pixels,
        itemsize * pixels,
    )
    check_fit(plan, cut="an image of (images, rows, columns)", remedy=_LESS)
    return plan


def tiles_of(plan: Plan) -> list[tuple[range, tuple[int, int]]]:
    """Tilts and rows (first, end) of all tiles of a plan.

    Parameters
    ----------
    plan : Plan
        From `plan_of_tiles`.

    Returns
    -------
    list of (range, tuple of int)
    """
    (n_tilts, height, _), (size, rows, _) = plan.shape, plan.brick
    return [
        (range(tilt, min(tilt + size, n_tilts)), (row, min(row + rows, height)))
        for tilt in range(0, n_tilts, size)
        for row in range(0, height, rows)
    ]

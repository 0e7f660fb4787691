"""What every reader of boxes gives, and how it says what is wrong with a file.

One rule: a row is in index coordinates of the image it was drawn on (an integer is the middle of a
pixel, row 0 is the first row of the array), whatever the file's own convention; and a reader goes
on after a bad row, so that all problems of a file are reported at once.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tomodist.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Counted = Literal["section", "tilt", "tilt_angle", "order"]
_TOLD = 3  # problems that a message spells out
_WHOLE = 0.01  # a section that is farther from an integer lies between images


class Row(NamedTuple):
    """One box of a file.

    Parameters
    ----------
    where : str
        Its place in the file, for messages.
    counted : {"section", "tilt", "tilt_angle", "order"}
        What `which` is: a section of the stack (0-based), a tilt of the store (0-based), an angle
        in degrees, or the how manieth of the file's images.
    which : float
        Which image, counted as `counted` says.
    y, x : float
        Centre.
    height, width : float
        Size in pixels; NaN for a point, whose size the caller knows.
    score : float
        Larger is surer; 1 if the file says nothing.
    name : str
        Class; empty if the file has none.
    """

    where: str
    counted: Counted
    which: float
    y: float
    x: float
    height: float = math.nan
    width: float = math.nan
    score: float = 1.0
    name: str = ""


@dataclass(frozen=True)
class Annotations:
    """Content of a file of boxes.

    Parameters
    ----------
    form : str
        Name of the format.
    rows : list of Row
        The boxes, in the order of the file.
    n_images : int
        How many images the file knows, where rows are counted by their order.
    image_shapes : frozenset of (int, int)
        Height and width of the images, where the file says so.
    """

    form: str
    rows: list[Row]
    n_images: int = 0
    image_shapes: frozenset[tuple[int, int]] = frozenset()


class BadRow(ValueError):
    """Error of one row; its message continues a sentence that begins with the row's place."""


@dataclass
class Problems:
    """Problems of a file, collected row by row.

    Parameters
    ----------
    entries : list of (str, str)
        The problems so far, and the remedy of each (empty: correct the file).
    """

    entries: list[tuple[str, str]] = field(default_factory=list)

    def add(self, text: str, remedy: str = "") -> None:
        """Add a problem.

        Parameters
        ----------
        text : str
            The place in the file and what is wrong there.
        remedy : str
            What to do; empty: correct the file.
        """
        self.entries.append((text, remedy))

    @contextmanager
    def row(self, where: str) -> Iterator[None]:
        """Record a `BadRow` that the block raises, and continue."""
        try:
            yield
        except BadRow as error:
            self.add(f"{where}: {error}")

    def check(self, path: Path) -> None:
        """Raise an error that lists the first few problems and their number.

        Raises
        ------
        InputError
            If there is one.
        """
        if not self.entries:
            return
        more = len(self.entries) - _TOLD
        rest = f"; and {more} more ({len(self.entries)} in all)" if more > 0 else ""
        first = "; ".join(text for text, _ in self.entries[:_TOLD])
        # Each remedy once, in the order of the problems.
        remedies = dict.fromkeys(remedy or "correct the file" for _, remedy in self.entries)
        raise InputError(f"{path}: {first}{rest}; {', and '.join(remedies)}")


def number(value: Any, what: str) -> float:  # noqa: ANN401 -- whatever the file holds
    """Read a finite number from text or JSON.

    Parameters
    ----------
    value : object
        Value from the file: text or number.
    what : str
        Name of the value, for the message.

    Returns
    -------
    float

    Raises
    ------
    BadRow
        If it is none.

    Examples
    --------
    >>> number(" 2.5", "x")
    2.5
    """
    parsed = math.nan
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            parsed = float(value)
        except ValueError:
            parsed = math.nan
    if not math.isfinite(parsed):
        shown = repr(value) if isinstance(value, str) else str(value)
        raise BadRow(f"{what} is {shown[:40]}, which is not a finite number")
    return parsed


def length(value: Any, what: str) -> float:  # noqa: ANN401 -- whatever the file holds
    """Read a positive number.

    Parameters
    ----------
    value : object
        Value from the file: text or number.
    what : str
        Name of the value, for the message.

    Returns
    -------
    float
        Above 0.

    Raises
    ------
    BadRow
        If it is none.
    """
    parsed = number(value, what)
    if parsed <= 0:
        raise BadRow(f"{what} is {parsed:g}; it must be above 0")
    return parsed


def whole(value: Any, what: str) -> int:  # noqa: ANN401 -- whatever the file holds
    """Read a number that may be written with decimals, but is an integer.

    Parameters
    ----------
    value : object
        Value from the file: text or number.
    what : str
        Name of the value, for the message.

    Returns
    -------
    int

    Raises
    ------
    BadRow
        If it is none.

    Examples
    --------
    >>> whole("12.00", "section")
    12
    """
    parsed = number(value, what)
    if abs(parsed - round(parsed)) > _WHOLE:
        raise BadRow(f"{what} is {parsed:g}, between two sections; it must be a whole number")
    return round(parsed)

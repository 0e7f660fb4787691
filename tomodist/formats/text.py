"""Lines of the small text files that describe a tilt series.

One rule: a file that cannot be such a text is refused by what it is, before it is interpreted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tomodist.errors import InputError
from tomodist.formats.mrc.header import is_text

if TYPE_CHECKING:
    from pathlib import Path

_TOO_LARGE = 50_000_000  # bytes; a long mdoc has 100 kB


def read_lines(path: Path) -> list[str]:
    """Read all lines of a text file, without their ends.

    Parameters
    ----------
    path : Path
        The file; UTF-8 with or without byte order mark, any line ends.

    Returns
    -------
    list of str

    Raises
    ------
    InputError
        If the file is missing, unreadable, empty, far too large, binary or an HTML page.
    """
    content = _content(path)
    if not content:
        raise InputError(f"{path} is empty (0 bytes); copy it again")
    if not is_text(content):
        raise InputError(f"{path} is a binary file; use the text file that belongs to the stack")
    if content.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
        raise InputError(f"{path} is an HTML page; repeat the download")
    return content.decode("utf-8-sig", "replace").splitlines()


def _content(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise InputError(f"{path} is a directory; use the file itself")
        size = path.stat().st_size
        if size > _TOO_LARGE:
            raise InputError(f"{path} has {size} bytes, too many for a text file; is it the stack?")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path}: file not found; check the path") from error
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{path} cannot be read: {reason}; check its permissions") from error

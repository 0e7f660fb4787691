"""The main header of an MRC file, checked before anything is allocated.

One rule: every number of the header is held against the size of the file before it is used, so
that a damaged or foreign file costs a kilobyte and a millisecond. (`mrcfile.open` allocates
whatever the header asks for, so only its header layout is used here.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE

from tomodist.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HEADER_BYTES = 1024
MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_UNREADABLE = {3: "complex int16", 4: "complex float32", 101: "4-bit integers"}
_IMOD_STAMP = 1146047817
_LARGEST = 1_000_000  # pixels along one axis; detectors have 10^4
_FOREIGN = (
    (b"\x1f\x8b\x08", "a gzip file", "unpack it with gunzip"),
    (b"BZh", "a bzip2 file", "unpack it with bunzip2"),
    (b"\xfd7zXZ", "an xz file", "unpack it with unxz"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file", "unpack it with unzstd"),
    (b"PK\x03\x04", "a zip archive", "unpack it with unzip"),
    (b"II*\x00", "a TIFF image", "convert it with tif2mrc"),
    (b"MM\x00*", "a TIFF image", "convert it with tif2mrc"),
    (b"II+\x00", "a BigTIFF image", "convert it with tif2mrc"),
    (b"\x89PNG", "a PNG image", "use the MRC stack"),
    (b"\x89HDF", "an HDF5 file", "export it as MRC"),
    (b"%PDF", "a PDF document", "use the MRC stack"),
)


def read_head(path: Path) -> tuple[bytes, int]:
    """First bytes of a file, and its size.

    Parameters
    ----------
    path : Path
        A file that should be an MRC file.

    Returns
    -------
    tuple of bytes and int
        At most 1024 bytes; the size of the file in bytes.

    Raises
    ------
    InputError
        If the file is missing, unreadable, empty, not a file, or seems to be of another format.
    """
    try:
        if not path.exists():
            raise InputError(f"{path}: file not found; check the path")
        if not path.is_file():
            what = "a directory" if path.is_dir() else "not a regular file"
            raise InputError(f"{path} is {what}; use the MRC file itself")
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES)
        n_bytes = path.stat().st_size
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{path} cannot be read: {reason}; check its permissions") from error
    _check_format(path, head)
    return head, n_bytes


def parse_header(path: Path, head: bytes, n_bytes: int) -> np.void:
    """Interpret the main header in its own byte order, and check that the file can hold it.

    Parameters
    ----------
    path : Path
        For messages.
    head : bytes
        From `read_head`.
    n_bytes : int
        Size of the file.

    Returns
    -------
    numpy.void
        A record with the fields of `mrcfile.dtypes.HEADER_DTYPE`.

    Raises
    ------
    InputError
        If the header is cut short, or asks for what the file does not hold.
    """
    if len(head) < HEADER_BYTES:
        raise InputError(
            f"{path} has {len(head)} bytes but an MRC header alone has {HEADER_BYTES}; "
            "the file is cut short: copy it again"
        )
    header: np.void = np.frombuffer(head, HEADER_DTYPE.newbyteorder(_byte_order(head)))[0]
    _check_dimensions(path, header)
    _check_mode(path, header)
    _check_axes(path, header)
    _check_bytes(path, header, n_bytes)
    return header


def data_type(header: np.void) -> np.dtype[np.generic]:
    """Type of the stored values, with their byte order.

    Mode 0 is int8 as MRC2014 has it, unless IMOD's stamp is there with the flag for signed bytes
    clear: then it is uint8.
    """
    extra = bytes(header["extra2"])  # byte 112 of the header is the first
    order = header.dtype["nx"].str[0]
    stamp, flags = np.frombuffer(extra[40:48], f"{order}i4")
    if header["mode"] == 0 and stamp == _IMOD_STAMP and not flags & 1:
        return np.dtype("u1")
    return np.dtype(order + MODES[int(header["mode"])])


def shape_of(header: np.void) -> tuple[int, int, int]:
    """Sections, rows and columns."""
    return int(header["nz"]), int(header["ny"]), int(header["nx"])


def labels_of(header: np.void) -> list[str]:
    """Text labels, blank ones left out."""
    texts = [bytes(label).decode("latin-1").strip("\0 ") for label in header["label"]]
    return [text for text in texts if text]


def pixel_size_of(header: np.void) -> float | None:
    """Pixel size of the main header in Å, or None where the header does not say.

    Programs that know no pixel size leave 0 or exactly 1 Å there, so exactly 1 Å along both axes
    counts as not said: taking it at its word would make every length wrong without a trace,
    while a true 1 Å only has to be stated by the user. So do sizes that differ between x and y.
    The z spacing is not looked at: in stacks it means nothing.
    """
    sizes = [_ratio(header["cella"][a], header[f"m{a}"]) for a in "xy"]
    if not all(np.isfinite(sizes)) or min(sizes) <= 0 or sizes == [1.0, 1.0]:
        return None
    x, y = sizes
    return float(f"{x:.7g}") if abs(x - y) <= 0.01 * x else None  # float32 carries 7 digits


def _ratio(cell: np.float32, n: np.int32) -> float:
    return float(cell) / int(n) if n > 0 else 0.0


def _check_format(path: Path, head: bytes) -> None:
    if not head:
        raise InputError(f"{path} is empty (0 bytes); copy it again")
    for magic, what, remedy in _FOREIGN:
        if head.startswith(magic):
            raise InputError(f"{path} is {what}, not an MRC file; {remedy}")
    if head.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
        raise InputError(f"{path} is an HTML page, not an MRC file; repeat the download")
    if is_text(head):
        start = head[:40].decode("latin-1").splitlines()[0]
        raise InputError(f"{path} is a text file ({start!r}), not an MRC file; use the stack")


def is_text(head: bytes) -> bool:
    r"""Whether bytes are plain text: printable characters, tabs and line ends only.

    Examples
    --------
    >>> is_text(b"-60.0\n-57.0\n"), is_text(bytes(16))
    (True, False)
    """
    control = {*range(32), 127} - {9, 10, 12, 13}
    return not control.intersection(head)


def _byte_order(head: bytes) -> str:
    """Byte order of the machine stamp, unless only the other one makes sense."""
    # Byte 212 is the machine stamp: 0x44 little endian, 0x11 big endian.
    orders = "><" if head[212] == 0x11 else "<>"
    return next((order for order in orders if _plausible(head, order)), orders[0])


def _plausible(head: bytes, order: str) -> bool:
    nx, ny, nz, mode = np.frombuffer(head, f"{order}i4", 4)
    return mode in {*MODES, *_UNREADABLE} and all(1 <= n <= _LARGEST for n in (nx, ny, nz))


def _check_dimensions(path: Path, header: np.void) -> None:
    for name in ("nx", "ny", "nz"):
        n = int(header[name])
        if not 1 <= n <= _LARGEST:
            raise InputError(
                f"{path}: header field {name} is {n}; it must be 1 to {_LARGEST}: "
                f"the file is damaged or not an MRC file{_stamp_note(header)}"
            )


def _stamp_note(header: np.void) -> str:
    return "" if bytes(header["map"])[:3] == b"MAP" else " (it has no 'MAP ' stamp either)"


def _check_mode(path: Path, header: np.void) -> None:
    mode = int(header["mode"])
    if mode not in MODES:
        what = _UNREADABLE.get(mode, "unknown")
        raise InputError(
            f"{path}: header field mode is {mode} ({what}), which is not supported; "
            "convert it to mode 2, for instance with: newstack -mode 2"
        )


def _check_axes(path: Path, header: np.void) -> None:
    axes: Sequence[int] = [int(header[name]) for name in ("mapc", "mapr", "maps")]
    if axes not in ([1, 2, 3], [0, 0, 0]):
        raise InputError(
            f"{path}: header fields mapc, mapr, maps are {axes}, but only 1, 2, 3 (columns x, "
            "rows y, sections z) is supported; rewrite the file with its axes in that order"
        )


def _check_bytes(path: Path, header: np.void, n_bytes: int) -> None:
    extended = int(header["nsymbt"])
    # A negative nsymbt would place the data before the header.
    if not 0 <= extended <= n_bytes - HEADER_BYTES:
        raise InputError(
            f"{path}: header field nsymbt (extended header) is {extended} bytes, but the file has "
            f"{n_bytes - HEADER_BYTES} after its main header; it is damaged: copy it again"
        )
    nz, ny, nx = shape_of(header)
    section = ny * nx * data_type(header).itemsize
    expected = HEADER_BYTES + extended + nz * section
    if n_bytes < expected:
        whole = (n_bytes - HEADER_BYTES - extended) // section
        raise InputError(
            f"{path} is cut short: {nz} sections of {ny} x {nx} need {expected} bytes, the file "
            f"has {n_bytes} ({whole} whole sections); copy it again"
        )

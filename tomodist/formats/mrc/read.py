"""MRC files: stacks of images and volumes, read window by window.

One rule: a handle holds no open file. `open_mrc` checks the whole header against the file once;
every read maps the file, copies its window and lets go, so that a handle can be sent to any
worker and costs nothing. Rows are in file order: row 0 is at the bottom in IMOD's display.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tomodist.errors import InputError
from tomodist.formats.mrc.extended import axis_from_labels, read_extended
from tomodist.formats.mrc.header import (
    HEADER_BYTES,
    data_type,
    labels_of,
    parse_header,
    pixel_size_of,
    read_head,
    shape_of,
)

if TYPE_CHECKING:
    import os

    from tomodist.values.arrays import AnyArray, Float32Array

_ALL = slice(None)


@dataclass(frozen=True)
class MrcStack:
    """An MRC file whose header was found sound: a small value that reads windows of the data.

    Parameters
    ----------
    path : str
        The file.
    shape : tuple of int
        Sections, rows, columns.
    dtype : str
        NumPy type of the stored values, with byte order, such as ``"<i2"``.
    offset : int
        Bytes before the first value.
    pixel_size : float, optional
        In Å; None where no header says it, see `tomodist.formats.mrc.header.pixel_size_of`.
    tilt_angles : tuple of float, optional
        Of every section, in degrees, from the extended header.
    tilt_axis_angle : float, optional
        In degrees, as the acquisition program wrote it; its sign and zero differ between programs.
    """

    path: str
    shape: tuple[int, int, int]
    dtype: str
    offset: int
    pixel_size: float | None = None
    tilt_angles: tuple[float, ...] | None = None
    tilt_axis_angle: float | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, section: int, rows: slice = _ALL, columns: slice = _ALL) -> Float32Array:
        """Read a window of one section.

        Parameters
        ----------
        section : int
            From 0.
        rows, columns : slice
            The window; by default everything.

        Returns
        -------
        ndarray, shape (height, width), float32

        Raises
        ------
        InputError
            If there is no such section, or the file has changed since it was opened.
        """
        return self.read_native(section, rows, columns).astype(np.float32, copy=False)

    def read_native(self, section: int, rows: slice = _ALL, columns: slice = _ALL) -> AnyArray:
        """Read a window of one section in the type of the file, native byte order.

        Takes, returns and raises as `read`, but for the type.

        Parameters and result as for `MrcStack.read`, but the values have the type of the file.
        """
        if not 0 <= section < len(self):
            raise InputError(
                f"{self.path} has sections 0..{len(self) - 1}; section {section} was requested"
            )
        stored = np.dtype(self.dtype)
        # Byte of the first pixel: sections follow each other without gaps.
        start = self.offset + section * self.shape[1] * self.shape[2] * stored.itemsize
        try:
            image = np.memmap(self.path, stored, "r", start, self.shape[1:])
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self.path}: section {section} can no longer be read ({error}); the file "
                "was changed or removed after it was opened: run the command again"
            ) from error
        return np.array(image[rows, columns], dtype=stored.newbyteorder("="), subok=False)


def open_mrc(path: str | os.PathLike[str]) -> MrcStack:
    """Check an MRC file and describe it, without reading its data.

    The pixel size of the main header wins; where it says none, the extended header is asked.

    Parameters
    ----------
    path : path-like
        An MRC file (.mrc, .st, .ali, .rec, .map) of mode 0, 1, 2, 6 or 12, either byte order.

    Returns
    -------
    MrcStack

    Raises
    ------
    InputError
        If the file is missing, unreadable, of another format, damaged, or of an unsupported mode.
    """
    file = Path(path)
    head, n_bytes = read_head(file)
    header = parse_header(file, head, n_bytes)
    shape = shape_of(header)
    said = read_extended(header, _extended_bytes(file, int(header["nsymbt"])), shape[0])
    axis = axis_from_labels(labels_of(header))
    return MrcStack(
        path=str(file),
        shape=shape,
        dtype=data_type(header).str,
        offset=HEADER_BYTES + int(header["nsymbt"]),
        pixel_size=pixel_size_of(header) or said.pixel_size,
        tilt_angles=said.tilt_angles,
        tilt_axis_angle=said.tilt_axis_angle if axis is None else axis,
    )


def _extended_bytes(path: Path, n_bytes: int, limit: int = 2**24) -> bytes:
    """Read the extended header; of a very long one only what can matter."""
    with path.open("rb") as file:
        file.seek(HEADER_BYTES)
        return file.read(min(n_bytes, limit))

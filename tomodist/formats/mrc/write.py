"""Write an MRC file window by window; import it from `tomodist.formats.mrc.read`.

One rule: the file appears under its name only when it is complete, with voxel size and
statistics in its header; until then it grows under a temporary name in the same folder.
"""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE

from tomodist.errors import ExistsError, InputError
from tomodist.formats.files import whole_file
from tomodist.formats.mrc.header import HEADER_BYTES, MODES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from tomodist.values.arrays import AnyArray

# mrcfile would store uint8 as mode 6, twice as large; masks fit int8.
_STORED_AS = {"bool": "int8", "uint8": "int8"}
_MODE_OF = {np.dtype(code).name: mode for mode, code in MODES.items()}
_INT32_MAX = 2**31 - 1
Window = int | slice | tuple[int | slice, ...]


class MrcWriter:
    """Takes the data of a new MRC file in windows; made by `create_mrc`.

    Parameters
    ----------
    data : ndarray, shape (n_sections, ny, nx)
        Memory map of the data block.
    """

    def __init__(self, data: AnyArray) -> None:
        self._data = data
        self._statistics = _Statistics()

    def write(self, window: Window, values: npt.ArrayLike) -> None:
        """Store one window. Write every voxel once: what is never written stays 0.

        Parameters
        ----------
        window : int, slice or tuple of them
            As in indexing an array (z, y, x).
        values : array_like
            Of the shape of the window, or broadcast to it.

        Raises
        ------
        InputError
            If the values do not have the shape of the window, or do not fit the stored type.
        """
        target = self._data[window]
        array = np.asarray(values)
        _check_range(array, target.dtype)
        try:
            target[...] = array
        except ValueError as error:
            raise InputError(
                f"values of shape {array.shape} do not fit the window of shape {target.shape}"
            ) from error
        self._statistics.add(target)

    def finish(self) -> tuple[float, float, float, float]:
        """Flush the data; return minimum, maximum, mean and standard deviation of all of it."""
        self._statistics.add_zeros(self._data.size - self._statistics.count)
        if isinstance(self._data, np.memmap):
            self._data.flush()
        return self._statistics.result()


@contextlib.contextmanager
def create_mrc(
    path: str | os.PathLike[str],
    shape: Sequence[int],
    dtype: npt.DTypeLike,
    voxel_size: float,
    origin: Sequence[float] = (0.0, 0.0, 0.0),
    labels: Sequence[str] = ("Created by tomodist",),
    *,
    kind: Literal["volume", "stack"] = "volume",
    overwrite: bool = False,
) -> Iterator[MrcWriter]:
    """Create an MRC file; it appears, complete, only when the ``with`` block ends.

    Parameters
    ----------
    path : path-like
        The new file.
    shape : sequence of int
        (nz, ny, nx) of a volume, or (n_tilts, ny, nx) of a stack.
    dtype : dtype-like
        int8, int16, uint16, float16 or float32; bool and uint8 (masks) are stored as int8.
    voxel_size : float
        In Å.
    origin : sequence of float
        Of voxel 0 along z, y, x, in Å.
    labels : sequence of str
        At most ten, of 80 characters.
    kind : {"volume", "stack"}
        Space group 1 or 0.
    overwrite : bool
        Replace an existing file.

    Yields
    ------
    MrcWriter

    Raises
    ------
    ExistsError
        If `path` exists and is not to be overwritten.
    InputError
        If the shape, type or voxel size cannot be stored, or the folder is missing or full.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "mask.mrc"
    >>> with create_mrc(target, (2, 3, 4), np.int8, voxel_size=10.0) as file:
    ...     file.write(slice(0, 1), np.ones((1, 3, 4)))
    >>> target.stat().st_size
    1048
    """
    target = Path(path)
    if target.exists() and not overwrite:
        raise ExistsError(f"{target} exists; use another name, or set `overwrite`")
    header = _new_header(target, shape, dtype, voxel_size, origin, labels, kind)
    stored = np.dtype(MODES[int(header["mode"])])
    with whole_file(target) as draft:
        draft.unlink(missing_ok=True)  # of a killed writer
        _allocate(draft, HEADER_BYTES + math.prod(shape) * stored.itemsize)
        data = np.memmap(draft, stored, "r+", HEADER_BYTES, tuple(shape))
        writer = MrcWriter(data)
        yield writer
        for name, value in zip(("dmin", "dmax", "dmean", "rms"), writer.finish(), strict=True):
            header[name] = value
        with draft.open("r+b") as file:
            file.write(header.tobytes())


def _allocate(path: Path, n_bytes: int) -> None:
    """Make a file of zeros whose blocks exist: a memory map of a full disk kills the process."""
    try:
        with path.open("xb") as file:
            file.truncate(n_bytes)
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, n_bytes)
    except OSError as error:
        raise InputError(
            f"{path.parent}: cannot create a file of {n_bytes / 2**30:.2f} GiB there "
            f"({error.strerror}); check that the folder exists, is writable and has the space"
        ) from error


def _new_header(
    path: Path,
    shape: Sequence[int],
    dtype: npt.DTypeLike,
    voxel_size: float,
    origin: Sequence[float],
    labels: Sequence[str],
    kind: str,
) -> AnyArray:
    if not (math.isfinite(voxel_size) and voxel_size > 0):
        raise InputError(f"{path}: `voxel_size` is {voxel_size} Å; it must be a positive number")
    header = np.zeros((), HEADER_DTYPE.newbyteorder("<"))
    header["mode"] = _mode(path, dtype)
    header["ispg"] = 1 if kind == "volume" else 0
    header["map"], header["nversion"] = b"MAP ", 20141
    # Machine stamp of little endian.
    header["machst"] = 0x44, 0x44, 0, 0
    header["cellb"] = 90, 90, 90
    _set_sizes(path, header, shape, voxel_size, kind)
    # MRC stores x, y, z.
    header["origin"] = tuple(reversed(tuple(origin)))
    header["nlabl"] = len(labels[:10])
    for k, label in enumerate(labels[:10]):
        header["label"][k] = label.encode("ascii", "replace")[:80]
    return header


def _set_sizes(
    path: Path, header: AnyArray, shape: Sequence[int], voxel_size: float, kind: str
) -> None:
    if len(shape) != 3 or min(shape) < 1 or max(shape) > _INT32_MAX:
        raise InputError(
            f"{path}: `shape` is {tuple(shape)}; it must be (nz, ny, nx), all positive"
        )
    cell = (shape[0] if kind == "volume" else 1, *shape[1:])  # an image is a cell of a stack
    for axis, n, m in zip("zyx", shape, cell, strict=True):
        header[f"n{axis}"], header[f"m{axis}"] = n, m
        header["cella"][axis] = m * voxel_size
    header["mapc"], header["mapr"], header["maps"] = 1, 2, 3


def _mode(path: Path, dtype: npt.DTypeLike) -> int:
    name = np.dtype(dtype).name
    name = _STORED_AS.get(name, name)
    if name not in _MODE_OF:
        known = ", ".join(_MODE_OF)
        raise InputError(
            f"{path}: MRC files cannot hold {name}; convert the data to one of {known}"
        )
    return _MODE_OF[name]


def _check_range(array: AnyArray, stored: np.dtype[Any]) -> None:
    if stored.kind not in "iu" or not array.size:
        return
    limits = np.iinfo(stored)
    low, high = array.min(), array.max()
    if not (limits.min <= low and high <= limits.max):  # true for NaN too
        raise InputError(
            f"values {low}..{high} do not fit {stored.name} ({limits.min}..{limits.max}); "
            "create the file with a wider type"
        )


class _Statistics:
    """Count, extremes, mean and squared deviations, merged window by window (Chan's formula)."""

    def __init__(self) -> None:
        self.count = 0  # of voxels, those that are not finite too
        self._n, self._mean, self._squares = 0, 0.0, 0.0
        self._low, self._high = math.inf, -math.inf

    def add(self, values: AnyArray) -> None:
        for section in values.reshape(-1, *values.shape[-2:]):  # never a float64 copy of all
            self._add_section(section)

    def _add_section(self, values: AnyArray) -> None:
        self.count += values.size
        finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
        if finite.size:
            mean = float(finite.mean(dtype=np.float64))
            squares = float(finite.var(dtype=np.float64)) * finite.size
            self._merge(finite.size, mean, squares, (float(finite.min()), float(finite.max())))

    def add_zeros(self, n: int) -> None:
        if n > 0:
            self.count += n
            self._merge(n, 0.0, 0.0, (0.0, 0.0))

    def _merge(self, n: int, mean: float, squares: float, limits: tuple[float, float]) -> None:
        # Chan's formula: M2 = M2_a + M2_b + delta² n_a n_b / (n_a + n_b).
        total, delta = self._n + n, mean - self._mean
        self._squares += squares + delta**2 * self._n * n / total
        self._mean += delta * n / total
        self._n = total
        self._low, self._high = min(self._low, limits[0]), max(self._high, limits[1])

    def result(self) -> tuple[float, float, float, float]:
        """Minimum, maximum, mean, rms; MRC2014 marks unknown ones by maximum < minimum, rms < 0."""
        if not self._n:
            return 0.0, -1.0, -2.0, -1.0
        return self._low, self._high, self._mean, math.sqrt(self._squares / self._n)

"""Tilt angles, pixel size and tilt axis that acquisition programs leave in extended headers.

One rule: a value that cannot be true (an angle that is not finite or beyond 180 degrees, a pixel
of a metre) is not said. Nothing here raises: an extended header is a help, never a need.

Layouts (IMOD's ``mrc_format`` and the FEI documents):

======== ===================================================================================
SERI     SerialEM: ``nint`` bytes per section, ``nreal`` bit flags say which values; bit 0 is
         the tilt angle x 100, int16, and comes first
AGAR     UCSF and others: ``nint`` integers, then ``nreal`` floats per section; the first float
         is the tilt angle
old FEI  the same with 0 and 32: a_tilt, b_tilt, x, y, z stage, x, y shift, defocus, exposure,
         mean intensity, tilt axis, pixel size in metres, magnification, ...
FEI1/2   named 64-bit fields, see ``mrcfile.dtypes``
======== ===================================================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from mrcfile.dtypes import get_ext_header_dtype

if TYPE_CHECKING:
    import numpy.typing as npt

# Bytes of the value that each flag of a SerialEM header stands for, bit 0 first.
_SERI_BYTES = (2, 6, 4, 2, 2, 4, 2, 4, 2, 4, 2)
_FEI_TILT_AXIS, _FEI_PIXEL_SIZE, _FEI_REALS = 10, 11, 32
_METRE = 1e10  # Å


@dataclass(frozen=True)
class Extended:
    """Values of an extended header: pixel size in Å, angles in degrees; None where missing."""

    tilt_angles: tuple[float, ...] | None = None
    pixel_size: float | None = None
    tilt_axis_angle: float | None = None


def read_extended(header: np.void, extended: bytes, n_sections: int) -> Extended:
    """Interpret the extended header.

    Parameters
    ----------
    header : numpy.void
        Main header, in its own byte order.
    extended : bytes
        All of the extended header.
    n_sections : int
        Number of images.

    Returns
    -------
    Extended
    """
    kind = bytes(header["exttyp"])
    order = header.dtype["nx"].str[0]
    # nint and nreal: bytes 128 to 131 of the header.
    n_ints, n_reals = np.frombuffer(bytes(header["extra2"])[16:20], f"{order}i2").tolist()
    if kind in (b"FEI1", b"FEI2"):
        return _fei(extended, get_ext_header_dtype(kind, order), n_sections)
    if kind == b"SERI" or (kind != b"AGAR" and _are_flags(n_ints, n_reals)):
        return Extended(_serialem_angles(extended, n_ints, n_reals, order, n_sections))
    return _reals(extended, n_ints, n_reals, order, n_sections)


def axis_from_labels(labels: list[str]) -> float | None:
    """Tilt axis angle that SerialEM writes into a label.

    Examples
    --------
    >>> axis_from_labels(["Tilt axis angle = 84.8, binning = 1  spot = 8  camera = 0"])
    84.8
    """
    match = re.search(r"[Tt]ilt axis angle = (-?[\d.]+)", "\n".join(labels))
    return float(match[1]) if match else None


def _are_flags(n_bytes: int, flags: int) -> bool:
    """Whether the two numbers are SerialEM's: bytes per section that agree with the flags."""
    sizes = (size for bit, size in enumerate(_SERI_BYTES) if flags >> bit & 1)
    return flags > 0 and flags >> len(_SERI_BYTES) == 0 and sum(sizes) == n_bytes


def _serialem_angles(
    extended: bytes, n_bytes: int, flags: int, order: str, n: int
) -> tuple[float, ...] | None:
    if not flags & 1 or n_bytes < 2 or len(extended) < n * n_bytes:
        return None
    records = np.frombuffer(extended, np.uint8, n * n_bytes).reshape(n, n_bytes)
    hundredths = np.ascontiguousarray(records[:, :2]).view(f"{order}i2")[:, 0]
    return _angles(hundredths / 100)


def _reals(extended: bytes, n_ints: int, n_reals: int, order: str, n: int) -> Extended:
    size = n_ints + n_reals
    if n_ints < 0 or n_reals < 1 or len(extended) < 4 * n * size:
        return Extended()
    records = np.frombuffer(extended, f"{order}f4", n * size).reshape(n, size)[:, n_ints:]
    angles = _angles(records[:, 0]) if records[:, 0].any() else None
    # Only the old FEI layout (0 integers, 32 reals) has pixel size and axis at known places.
    if n_ints or n_reals != _FEI_REALS:
        return Extended(angles)
    pixel, axis = (float(records[0, k]) for k in (_FEI_PIXEL_SIZE, _FEI_TILT_AXIS))
    return Extended(angles, _from_metres(pixel), _axis(axis))


def _fei(extended: bytes, layout: np.dtype[np.void], n: int) -> Extended:
    stated = int(np.frombuffer(extended[:4].ljust(4, b"\0"), layout["Metadata size"])[0])
    # Each record states its own size; records of newer versions are longer.
    stride = max(stated, layout.itemsize)
    if len(extended) < (n - 1) * stride + layout.itemsize:
        return Extended()
    starts = range(0, n * stride, stride)
    records = np.array([np.frombuffer(extended, layout, 1, start)[0] for start in starts], layout)
    pixel, axis = (float(records[name][0]) for name in ("Pixel size X", "Tilt axis angle"))
    return Extended(_angles(records["Alpha tilt"]), _from_metres(pixel), _axis(axis))


def _angles(values: npt.NDArray[np.floating]) -> tuple[float, ...] | None:
    """Angles in degrees to the sixth decimal, None if one of them cannot be an angle."""
    if not np.all(np.abs(values) <= 180):  # false for NaN too
        return None
    return tuple(round(float(v), 6) for v in values)


def _from_metres(value: float) -> float | None:
    size = value * _METRE
    return float(f"{size:.6g}") if 0.01 < size < 10_000 else None


def _axis(value: float) -> float | None:
    """Angle of the tilt axis; exactly 0 is an unset field."""
    return round(value, 6) if value and abs(value) <= 360 else None

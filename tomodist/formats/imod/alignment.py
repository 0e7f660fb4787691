"""IMOD's text files: tilt angles (.tlt, .rawtlt, .xtilt) and alignment transforms (.xf).

One rule: a transform ``[A | D]`` takes the raw image to the aligned one,

    X' = A · (X - Xc) + D + Xc'

with X = (x, y), centres (n - 1)/2 in index coordinates for any parity, and D in raw pixels. Solved
for the raw image this is `tomodist.values.geometry`'s product: A⁻¹ = m · Rz(tilt_axis_angle) and
shift = -A⁻¹ · D.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tomodist.errors import InputError
from tomodist.formats.text import read_lines

if TYPE_CHECKING:
    import os

    from tomodist.values.arrays import FloatArray


_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")
_MDOC = re.compile(r"\[(ZValue|FrameSet|MontSection|T) *=|\w+ = ")
_STRETCH = 1e-3  # of A beyond rotation and magnification; 4 pixels at the edge of 8k images


def read_tilt_angles(path: str | os.PathLike[str]) -> tuple[float, ...]:
    r"""Read one angle per line; blank lines are passed over.

    Parameters
    ----------
    path : path-like
        A .tlt, .rawtlt or .xtilt file.

    Returns
    -------
    tuple of float
        In degrees, in the order of the stack.

    Raises
    ------
    InputError
        If the file is missing, of another format, or a line is not one angle of -180..180.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "TS_01.tlt"
    >>> _ = path.write_text("-60.0\n-57.0\n")
    >>> read_tilt_angles(path)
    (-60.0, -57.0)
    """
    file = Path(path)
    rows = _rows(file, 1, "tilt angle")
    for number, (angle,) in rows:
        if abs(angle) > 180:
            raise InputError(
                f"{file}, line {number}: tilt angle {angle:g} is outside -180..180 degrees; "
                "correct it, or use the file of tilt angles"
            )
    return tuple(angle for _, (angle,) in rows)


def read_xf(path: str | os.PathLike[str]) -> FloatArray:
    """Read alignment transforms, six numbers per line: A11 A12 A21 A22 DX DY.

    Parameters
    ----------
    path : path-like
        An .xf file.

    Returns
    -------
    ndarray, shape (n_tilts, 2, 3), float64
        ``[A | D]`` in (x, y) order, D in pixels of the raw stack.

    Raises
    ------
    InputError
        If the file is missing, of another format, a line does not hold six numbers, or a matrix
        cannot be inverted.
    """
    file = Path(path)
    rows = _rows(file, 6, "transform")
    for number, (a, b, c, d, _, _) in rows:
        if abs(a * d - b * c) < 1e-6:
            raise InputError(
                f"{file}, line {number}: matrix [{a:g} {b:g}; {c:g} {d:g}] is singular, so the "
                "image cannot be aligned; repeat the alignment, or exclude this tilt"
            )
    values = np.array([row for _, row in rows])
    matrices = values[:, :4].reshape(-1, 2, 2)
    return np.concatenate([matrices, values[:, 4:, None]], axis=2)


def write_xf(path: str | os.PathLike[str], transforms: FloatArray) -> None:
    """Write transforms as IMOD does: matrices to 7 decimals, shifts to 3.

    Parameters
    ----------
    path : path-like
        The .xf file; replaced if it exists.
    transforms : ndarray, shape (n_tilts, 2, 3), float64
        As from `read_xf`.
    """
    lines = [
        "".join(f"{v:12.7f}" for v in t[:, :2].flat) + "".join(f"{v:12.3f}" for v in t[:, 2])
        for t in np.asarray(transforms)
    ]
    Path(path).write_text("\n".join(lines) + "\n")


def alignment_geometry(transforms: FloatArray, pixel_size: float) -> dict[str, tuple[float, ...]]:
    """Alignment of the raw images in the terms of `tomodist.values.geometry.TiltGeometry`.

    Parameters
    ----------
    transforms : ndarray, shape (n_tilts, 2, 3), float64
        From `read_xf`.
    pixel_size : float
        Of the raw stack, in Å.

    Returns
    -------
    dict
        ``tilt_axis_angle`` (degrees), ``magnification``, ``shift_y`` and ``shift_x`` (Å): one
        value per tilt each, the keyword arguments of `TiltGeometry`.

    Raises
    ------
    InputError
        If a matrix holds skew, stretch or a mirror beside rotation and magnification: no
        viewing direction describes that image.

    Notes
    -----
    Aligned pixels are the x and y of Ry(tilt) p, so the raw pixel is A⁻¹ (Ry p - D).
    """
    inverse = np.linalg.inv(np.asarray(transforms)[:, :, :2])
    (a, b), (c, d) = np.moveaxis(inverse, 0, 2)
    # [a b; c d] = m [cos -sin; sin cos] + residual; the residual has (a - d)/2 and (b + c)/2.
    cosine, sine = (a + d) / 2, (c - b) / 2
    magnification = np.hypot(cosine, sine)
    _check_similarity(np.hypot(a - d, b + c) / 2, magnification)
    shift = -(inverse @ np.asarray(transforms)[:, :, 2:])[:, :, 0] * pixel_size
    values = {
        "tilt_axis_angle": np.degrees(np.arctan2(sine, cosine)),
        "magnification": magnification,
        "shift_y": shift[:, 1],
        "shift_x": shift[:, 0],
    }
    return {name: tuple(array.tolist()) for name, array in values.items()}


def _check_similarity(residual: FloatArray, magnification: FloatArray) -> None:
    """Refuse matrices that are not a rotation times a magnification."""
    # Relative to the whole matrix: 0 for a similarity, 1 for a pure mirror.
    excess = residual / (residual + magnification)
    worst = int(np.argmax(excess))
    if excess[worst] > _STRETCH:
        raise InputError(
            f"transform {worst + 1} of {len(excess)} stretches, skews or mirrors the image by "
            f"{excess[worst]:.2g} (at most {_STRETCH} is allowed); "
            "resample the series into its aligned frame instead"
        )


def _rows(path: Path, n_columns: int, what: str) -> list[tuple[int, tuple[float, ...]]]:
    """Line numbers and the numbers on each line, checked."""
    lines = read_lines(path)
    _check_program(path, lines, what)
    rows = [
        (number, _numbers(path, number, line, n_columns, what))
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not rows:
        raise InputError(f"{path} holds no {what}: all its lines are blank; use another file")
    return rows


def _check_program(path: Path, lines: list[str], what: str) -> None:
    """Refuse files of other programs that look like IMOD's."""
    first = next((line.strip() for line in lines if line.strip()), "")
    if first.lower().startswith("# aretomo"):
        instead = ".xf" if what == "transform" else ".tlt"
        raise InputError(f"{path} is an AreTomo .aln file; use its {instead} instead")
    if _MDOC.match(first):
        raise InputError(f"{path} is an mdoc file; extract its tilt angles first (extracttilts)")


def _numbers(path: Path, number: int, line: str, n: int, what: str) -> tuple[float, ...]:
    text = line.strip()
    where = f"{path}, line {number}: {text[:80]!r}"
    if _DECIMAL_COMMA.search(text):
        raise InputError(f"{where} has a decimal comma; write the numbers with a point")
    try:
        values = tuple(float(word) for word in text.split())
    except ValueError as error:
        raise InputError(f"{where} is not a {what} ({n} numbers); correct the line") from error
    if len(values) != n:
        raise InputError(f"{where} has {len(values)} numbers; a {what} has {n}: {_likely(values)}")
    if not all(map(math.isfinite, values)):
        raise InputError(f"{where} is not finite; correct the line, or repeat the alignment")
    return values


def _likely(values: tuple[float, ...]) -> str:
    kinds = {1: "is this a .tlt? Use the .xf", 6: "is this an .xf? Use the .tlt"}
    return kinds.get(len(values), "correct the line, or use another file")

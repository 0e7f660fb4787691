"""What a network from elsewhere does with an image, found by trying."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from tomodist.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tomodist.values.arrays import Float32Array


_PROBE = 64  # pixels: side, at least, of the image on which a network is tried


def stride_of(
    network: Callable[[Float32Array], Float32Array], path: Path, dims: int, multiple: int
) -> int:
    """Sides of an image divided by those of its output, the same along every axis.

    The image is not square: networks that were exported for one size are found out.

    Parameters
    ----------
    network : callable
        Outputs of images.
    path : Path
        Where it comes from, for messages.
    dims : {2, 3}
        Of the images.
    multiple : int
        Of which their sides are multiples.

    Returns
    -------
    int

    Raises
    ------
    InputError
        If it does not take the image, or what comes out has another shape.
    """
    sides = [-(-_PROBE // multiple) * multiple + k * multiple for k in range(dims)]
    words = " x ".join(str(n) for n in sides)
    try:
        shape = network(np.zeros((1, 1, *sides), np.float32)).shape
    except Exception as error:  # whatever the libraries raise
        raise InputError(
            f"{path} cannot be applied to one grey image of {words} pixels ({first_line(error)}); "
            "export it with variable image sizes, and set the multiple of their sides in the "
            "tiling of its document"
        ) from error
    # One ratio for all axes, and a whole one, is a stride.
    strides = {n / m for n, m in zip(sides, shape[2:], strict=False) if m}
    if len(shape) != 2 + dims or len(strides) != 1 or not min(strides).is_integer():
        raise InputError(
            f"{path} returned shape {tuple(shape)} for an image of {words} pixels; it must be "
            "(1, outputs, ...), with the sides of the image or all of them divided by the same "
            "whole number"
        )
    return int(min(strides))


def n_threads() -> int:
    """Threads that a network may use in this process."""
    return int(os.environ.get("OMP_NUM_THREADS", "1"))


def first_line(error: Exception) -> str:
    """First line of a library's exception."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__

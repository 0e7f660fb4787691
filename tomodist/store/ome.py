"""OME-Zarr 0.5 metadata of volumes and labels.

One rule: the origin of the physical frame is the *centre* of voxel (0, 0, 0) of the full-size
level, so level N, whose voxels are means or maxima of blocks, starts at (s_N - s_0)/2. Every
level is a group of its own (``scale0/scores``), beside its coordinates, so that xarray opens it.

Source: https://ngff.openmicroscopy.org/0.5/
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tomodist.values.geometry import AXES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SMALLEST = 64  # voxels: a level is added until the largest side is at most this


def level_shapes(shape: Sequence[int]) -> list[tuple[int, ...]]:
    """Shapes of the levels of a pyramid, each half of the one before (rounded up).

    Examples
    --------
    >>> level_shapes((200, 315, 326))
    [(200, 315, 326), (100, 158, 163), (50, 79, 82), (25, 40, 41)]
    """
    levels = [tuple(shape)]
    while max(levels[-1]) > _SMALLEST:
        levels.append(tuple(math.ceil(n / 2) for n in levels[-1]))
    return levels


def level_scale(level: int, voxel_size: float) -> tuple[float, float]:
    """Voxel size and position of voxel 0 of a level, in Å.

    Parameters
    ----------
    level : int
        Level of the pyramid; 0 = full size.
    voxel_size : float
        Of level 0, in Å.

    Returns
    -------
    voxel_size : float
        Of the level, in Å.
    position : float
        Of its voxel 0, in Å from the centre of voxel 0 of level 0.

    Examples
    --------
    >>> level_scale(2, 10.0)
    (40.0, 15.0)
    """
    scale = voxel_size * 2**level
    return scale, (scale - voxel_size) / 2


def multiscales(name: str, variable: str, n_levels: int, voxel_size: float) -> dict[str, Any]:
    """Value of the ``ome`` attribute of a volume's group.

    Parameters
    ----------
    name : str
        Name of the image.
    variable : str
        Name of the array inside each level's group.
    n_levels : int
        Number of levels.
    voxel_size : float
        Of the full-size level, in Å.

    Returns
    -------
    dict
        Plain values, ready for JSON.
    """
    return {
        "version": "0.5",
        "multiscales": [
            {
                "name": name,
                "axes": [{"name": a, "type": "space", "unit": "angstrom"} for a in AXES],
                "datasets": [_dataset(k, variable, voxel_size) for k in range(n_levels)],
            }
        ],
    }


def image_label(source: str | None, classes: Mapping[int, str] | None = None) -> dict[str, Any]:
    """Value of ``ome["image-label"]`` of a label image.

    Parameters
    ----------
    source : str, optional
        The image, relative to the label image's group.
    classes : mapping of int to str, optional
        What its values are called, where they are classes.

    Returns
    -------
    dict
        Plain values, ready for JSON.

    Examples
    --------
    >>> image_label("../../scores/gold", {1: "gold"})["properties"]
    [{'label-value': 1, 'class': 'gold'}]
    """
    described: dict[str, Any] = {"version": "0.5"}
    if source is not None:
        described["source"] = {"image": source}
    if classes:
        described["properties"] = [{"label-value": v, "class": n} for v, n in classes.items()]
    return described


def _dataset(level: int, variable: str, voxel_size: float) -> dict[str, Any]:
    scale, start = level_scale(level, voxel_size)
    transforms = [
        {"type": "scale", "scale": [scale] * 3},
        {"type": "translation", "translation": [start] * 3},
    ]
    return {"path": f"scale{level}/{variable}", "coordinateTransformations": transforms}

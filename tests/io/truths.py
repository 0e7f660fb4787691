"""Volumes in every format that a truth may have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import zarr

from tomodist.io.mrc_write import create_mrc

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

VOXEL = 13.5


def write_mrc(path: Path, volume: npt.NDArray[Any], voxel_size: float = VOXEL) -> Path:
    """Write a volume as MRC."""
    with create_mrc(path, volume.shape, volume.dtype, voxel_size) as file:
        file.write(tuple(slice(0, n) for n in volume.shape), volume)
    return path


def write_zarr(path: Path, volume: npt.NDArray[Any], zarr_format: Literal[2, 3] = 3) -> Path:
    """Write a volume as a plain Zarr array in chunks that fit nothing."""
    array = zarr.create_array(
        str(path),
        shape=volume.shape,
        chunks=tuple(min(n, 11) for n in volume.shape),
        dtype=volume.dtype,
        zarr_format=zarr_format,
    )
    array[...] = volume
    return path


def write_ome(
    path: Path,
    volume: npt.NDArray[Any],
    version: Literal["0.4", "0.5"] = "0.5",
    *,
    scale: Sequence[float] = (VOXEL / 10,) * 3,
    unit: str | None = "nanometer",
) -> Path:
    """Write a volume as an OME-Zarr image of one level; without a unit if that is None."""
    axes = [{"name": a, "type": "space"} | ({"unit": unit} if unit else {}) for a in "zyx"]
    transforms = [{"type": "scale", "scale": list(scale)}]
    multiscales = [
        {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": transforms}]}
    ]
    old = version == "0.4"
    found: dict[str, Any] = {"multiscales": multiscales}
    group = zarr.create_group(str(path), zarr_format=2 if old else 3)
    group.attrs.update(found if old else {"ome": {"version": version, **found}})
    write_zarr(path / "0", volume, 2 if old else 3)
    return path


def labels(shape: Sequence[int] = (13, 17, 12), seed: int = 0) -> npt.NDArray[np.int16]:
    """Numbers 0 to 3 at random, of which most are 0."""
    random = np.random.default_rng(seed)
    return np.maximum(random.integers(-6, 4, tuple(shape)), 0).astype(np.int16)

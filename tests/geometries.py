"""Random geometries and maps that several tests share, from a seed."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

from tomodist.values.geometry import TiltGeometry, VolumeGrid


def single_axis(seed: int, n_tilts: int = 3) -> tuple[TiltGeometry, VolumeGrid]:
    """An aligned series: the volume may be wider or narrower than the image, in x and in y."""
    random = np.random.default_rng(seed)
    nz, height, ny_cut, nx, width = random.integers((2, 4, -2, 3, 3), (7, 9, 3, 10, 11)).tolist()
    geometry = TiltGeometry(random.uniform(-70, 70, n_tilts).tolist(), (height, width), 10.0)
    return geometry, VolumeGrid((nz, max(height + 2 * ny_cut, 2 - height % 2), nx), 10.0)


def general(
    seed: int, n_tilts: int = 3, ratio: float | None = None, smallest: int = 3
) -> tuple[TiltGeometry, VolumeGrid]:
    """Every parameter differs from tilt to tilt; odd and even sizes; voxels of 1 to 2 pixels."""
    random = np.random.default_rng(seed)
    shape = random.integers(smallest, smallest + 5, 3).tolist()
    image_shape = random.integers(5, 11, 2).tolist()
    geometry = TiltGeometry(
        random.uniform(-75, 75, n_tilts).tolist(),
        image_shape,
        pixel_size=5.0,
        tilt_axis_angle=random.uniform(-180, 180, n_tilts).tolist(),
        x_tilt=random.uniform(-15, 15, n_tilts).tolist(),
        shift_y=random.uniform(-12, 12, n_tilts).tolist(),
        shift_x=random.uniform(-12, 12, n_tilts).tolist(),
        magnification=random.uniform(1.0, 1.1, n_tilts).tolist(),
        image_center=((np.array(image_shape) - 1) / 2 + random.uniform(-1, 1, 2)).tolist(),
    )
    size = 5.0 * (ratio or float(random.choice([1.0, 2.0])))
    return geometry, VolumeGrid(shape, size, (np.array(shape) / 2 + random.normal(size=3)).tolist())


def binary_maps(
    seed: int, geometry: TiltGeometry, density: float = 0.2, unmeasured: float = 0.0
) -> npt.NDArray[np.uint8]:
    """Random maps of 0 and 1, and 2 at some unmeasured pixels."""
    random = np.random.default_rng(seed + 1)
    shape = (geometry.n_tilts, *geometry.image_shape)
    maps = (random.random(shape) < density).astype(np.uint8)
    maps[random.random(shape) < unmeasured] = 2
    return maps


def grey_images(seed: int, geometry: TiltGeometry) -> npt.NDArray[np.float32]:
    """Random positive images."""
    random = np.random.default_rng(seed + 2)
    return random.random((geometry.n_tilts, *geometry.image_shape)).astype(np.float32)


def random_window(seed: int, shape: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """First and last + 1 voxel of a random brick in a volume."""
    random = np.random.default_rng(seed + 3)
    start = [int(random.integers(0, n)) for n in shape]
    return start, [int(random.integers(a + 1, n + 1)) for a, n in zip(start, shape, strict=True)]


def random_cuts(seed: int, shape: tuple[int, ...]) -> list[tuple[tuple[int, int], ...]]:
    """A volume cut into bricks of random sizes, which differ from slab to slab along z."""
    random = np.random.default_rng(seed + 4)

    def cut(n: int) -> list[tuple[int, int]]:
        edges = [0, *sorted(random.permutation(np.arange(1, n))[: random.integers(0, 3)]), n]
        return [(int(a), int(b)) for a, b in itertools.pairwise(edges)]

    along_y, along_x = cut(shape[1]), cut(shape[2])
    return [(z, y, x) for z in cut(shape[0]) for y in along_y for x in along_x]


def reader(images: npt.NDArray[Any]) -> Any:
    """A ``read(tilt, rows, columns)`` over images in memory."""

    def read(tilt: int, rows: tuple[int, int], columns: tuple[int, int]) -> npt.NDArray[Any]:
        return images[tilt, slice(*rows), slice(*columns)]

    return read

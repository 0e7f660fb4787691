"""A scene: the true specimen, as ellipsoids in Å.

One rule: everything that is asked of a scene is in closed form, so that a simulated series and its
truth are exact at any pixel or voxel size, and independent of the projector that they test.

Densities add where ellipsoids overlap, so a hollow shell is an ellipsoid of positive density and,
after it, a smaller one of the same density with a minus sign. Ellipsoids of one label and one
structure id make up one structure. Vectors are (z, y, x), from the volume centre.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tomodist.errors import InputError
from tomodist.simulate.lattice import slabs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tomodist.values.arrays import Float32Array, FloatArray
    from tomodist.values.geometry import VolumeGrid

Vector = tuple[float, float, float]
Matrix = tuple[Vector, Vector, Vector]

IDENTITY: Matrix = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@dataclass(frozen=True)
class Ellipsoid:
    """A solid ellipsoid of uniform density.

    Parameters
    ----------
    center : tuple of float
        (z, y, x), in Å from the volume centre.
    semi_axes : tuple of float
        Along the ellipsoid's own axes, in Å.
    rotation : tuple of 3 tuples of float
        ``rotation[i][j]`` is component i (z, y, x) of the direction of axis j; orthonormal.
    density : float
        Contrast per Å relative to the surroundings; negative carves a hole.
    label : str
        Class of the structure that this is part of.
    structure : int
        Id of that structure within its label, 1 or more.

    Raises
    ------
    InputError
        If a semi-axis is not positive, `rotation` not orthonormal, a number not finite, or
        `structure` not within 1..2³² - 1.

    Examples
    --------
    >>> ball = Ellipsoid((0, 0, 50), (20, 20, 20), density=1e-3)
    >>> ball.half_size
    array([20., 20., 20.])
    >>> round(ball.volume)
    33510
    """

    center: Vector
    semi_axes: Vector
    rotation: Matrix = IDENTITY
    density: float = 1.0
    label: str = "object"
    structure: int = 1

    def __post_init__(self) -> None:
        numbers = [*self.center, *self.semi_axes, self.density, *np.ravel(self.rotation)]
        if len(numbers) != 16 or not np.all(np.isfinite(numbers)):
            raise InputError(f"an ellipsoid needs three finite numbers per vector; found {self}")
        if min(self.semi_axes) <= 0:
            raise InputError(f"`semi_axes` must be positive (Å); found {self.semi_axes}")
        turn = np.asarray(self.rotation)
        if not np.allclose(turn @ turn.T, np.eye(3), atol=1e-6):
            raise InputError(f"`rotation` must be 3 x 3 and orthonormal; found {self.rotation}")
        if not 1 <= self.structure < 2**32:
            raise InputError(f"`structure` must be 1 to 2**32 - 1; found {self.structure}")

    @property
    def covariance(self) -> FloatArray:
        """R · diag(semi_axes²) · Rᵀ, shape (3, 3), in Å²."""
        scaled = np.asarray(self.rotation) * np.asarray(self.semi_axes)
        return np.asarray(scaled @ scaled.T, dtype=np.float64)

    @property
    def half_size(self) -> FloatArray:
        """Half the size of the bounding box, shape (3,), in Å."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def volume(self) -> float:
        """Volume in Å³."""
        return float(4 / 3 * np.pi * np.prod(self.semi_axes))


@dataclass(frozen=True)
class Structure:
    """Position and size of one structure of a scene.

    Parameters
    ----------
    label : str
        Its class.
    id : int
        Within the label.
    center, size : tuple of float
        Middle and lengths (z, y, x) of its bounding box, in Å; the middle is from the volume
        centre.
    """

    label: str
    id: int
    center: Vector
    size: Vector


@dataclass(frozen=True)
class Scene:
    """The true specimen.

    Parameters
    ----------
    ellipsoids : tuple of Ellipsoid
        In order: where labels are painted, later ones paint over earlier ones.

    Examples
    --------
    >>> from tomodist.values.geometry import VolumeGrid
    >>> scene = Scene((Ellipsoid((0, 0, 0), (15, 15, 15), label="bead"),))
    >>> scene.labels("bead", VolumeGrid((5, 5, 5), 10.0), (2, 0, 0), (3, 5, 5))
    array([[[0, 0, 0, 0, 0],
            [0, 1, 1, 1, 0],
            [0, 1, 1, 1, 0],
            [0, 1, 1, 1, 0],
            [0, 0, 0, 0, 0]]], dtype=uint32)
    """

    ellipsoids: tuple[Ellipsoid, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "ellipsoids", tuple(self.ellipsoids))

    @property
    def names(self) -> tuple[str, ...]:
        """The labels of the scene, in order of first appearance."""
        return tuple(dict.fromkeys(e.label for e in self.ellipsoids))

    def density(self, grid: VolumeGrid, start: Sequence[int], stop: Sequence[int]) -> Float32Array:
        """Density at the voxel centres of a window.

        Parameters
        ----------
        grid : VolumeGrid
            The volume.
        start, stop : sequence of int
            First voxel and last voxel + 1 of the window (z, y, x).

        Returns
        -------
        ndarray, shape (stop - start), float32
            Sum of the densities of the ellipsoids that hold the voxel's centre, in 1/Å.
        """
        brick = np.zeros(_window_shape(start, stop), dtype=np.float32)
        for ellipsoid in self.ellipsoids:
            for index, radius_sq in _voxels(ellipsoid, grid, start, stop):
                brick[index] += np.float32(ellipsoid.density) * (radius_sq < 1)
        return brick

    def labels(
        self, name: str, grid: VolumeGrid, start: Sequence[int], stop: Sequence[int]
    ) -> npt.NDArray[np.uint32]:
        """Structure ids at the voxel centres of a window.

        Parameters
        ----------
        name : str
            Label of the structures.
        grid : VolumeGrid
            The volume.
        start, stop : sequence of int
            First voxel and last voxel + 1 of the window (z, y, x).

        Returns
        -------
        ndarray, shape (stop - start), uint32
            0 outside. Ellipsoids are painted in the order of the scene; one of negative density
            takes its inside away from its own structure, so the void of a shell is 0.

        Raises
        ------
        InputError
            If the scene has no such label.
        """
        brick = np.zeros(_window_shape(start, stop), dtype=np.uint32)
        for ellipsoid in self.of(name):
            paint, erase = ellipsoid.structure, ellipsoid.density < 0
            for index, radius_sq in _voxels(ellipsoid, grid, start, stop):
                view, inside = brick[index], radius_sq < 1
                view[inside & (view == paint) if erase else inside] = 0 if erase else paint
        return brick

    def structures(self, name: str) -> tuple[Structure, ...]:
        """Exact place of every structure of a label.

        Parameters
        ----------
        name : str
            Label of the structures.

        Returns
        -------
        tuple of Structure
            In order of first appearance.

        Raises
        ------
        InputError
            If the scene has no such label.
        """
        return tuple(
            _structure(name, k, parts) for k, parts in self.solids_by_structure(name).items()
        )

    def of(self, name: str) -> tuple[Ellipsoid, ...]:
        """Ellipsoids of a label; `InputError` if there are none."""
        parts = tuple(e for e in self.ellipsoids if e.label == name)
        if not parts:
            raise InputError(f"the scene has no label {name!r}; use one of {list(self.names)}")
        return parts

    def solids_by_structure(self, name: str) -> dict[int, list[Ellipsoid]]:
        """Ellipsoids of a label that are not holes: they alone decide boxes and shadows."""
        groups: dict[int, list[Ellipsoid]] = {}
        for ellipsoid in self.of(name):
            if ellipsoid.density >= 0:
                groups.setdefault(ellipsoid.structure, []).append(ellipsoid)
        return groups


def bounding_boxes(
    centers: Sequence[FloatArray], half_sizes: Sequence[FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """Centre and size of the box around several boxes.

    Parameters
    ----------
    centers, half_sizes : sequence of ndarray, shape (ndim,), float64
        The boxes.

    Returns
    -------
    tuple of ndarray, shape (ndim,), float64
        Centre and size.
    """
    low = np.min(np.subtract(centers, half_sizes), axis=0)
    high = np.max(np.add(centers, half_sizes), axis=0)
    return (low + high) / 2, high - low


def _structure(name: str, structure: int, parts: Sequence[Ellipsoid]) -> Structure:
    center, size = bounding_boxes(
        [np.asarray(e.center) for e in parts], [e.half_size for e in parts]
    )
    (z, y, x), (depth, height, width) = center.tolist(), size.tolist()
    return Structure(name, structure, (z, y, x), (depth, height, width))


def _window_shape(start: Sequence[int], stop: Sequence[int]) -> tuple[int, ...]:
    shape = tuple(b - a for a, b in zip(start, stop, strict=True))
    if len(shape) != 3 or min(shape) < 0:
        raise InputError(f"invalid window (z, y, x): start {tuple(start)}, stop {tuple(stop)}")
    return shape


def _voxels(
    ellipsoid: Ellipsoid, grid: VolumeGrid, start: Sequence[int], stop: Sequence[int]
) -> Iterator[tuple[tuple[slice, ...], FloatArray]]:
    center = grid.indices(ellipsoid.center)
    return slabs(center, ellipsoid.covariance / grid.voxel_size**2, start, stop)

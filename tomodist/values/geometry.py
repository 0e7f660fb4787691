"""Where a voxel lands in each image of a tilt series.

One rule: a position ``p`` in the volume (Å, measured from the volume centre) lands in the image at

    q = m · [Rz(tilt_axis_angle) · Ry(tilt_angle) · Rx(x_tilt) · p]_xy + shift

(Å, measured from the image centre), with Ry: x' = x cos t + z sin t. This is the product that
IMOD's ``tilt`` (after ``clip rotx``), RELION 5 and AreTomo use; what differs between programs is
where they put the centres, so centres are stored explicitly, in 0-based index coordinates in
which an integer is the middle of a voxel; by default (n - 1)/2.

Angles are in degrees, lengths in Å, and arrays in the order z, y, x and (tilt, y, x).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import numpy.typing as npt

from tomodist.errors import GeometryError

if TYPE_CHECKING:
    from tomodist.values.arrays import FloatArray

PerTilt = float | Sequence[float]

AXES = ("z", "y", "x")
"""Order of the axes of every volume."""

_PER_TILT = ("tilt_axis_angle", "x_tilt", "shift_y", "shift_x", "magnification")


@dataclass(frozen=True)
class TiltGeometry:
    """Viewing directions and positions of the images of a tilt series: a value without pixels.

    Parameters
    ----------
    tilt_angles : sequence of float
        Refined tilt angle of each image, in degrees.
    image_shape : tuple of int
        Height and width of every image, in pixels.
    pixel_size : float
        In Å.
    tilt_axis_angle : float or sequence of float
        In-plane angle of the tilt axis from vertical, counter-clockwise positive, in degrees.
    x_tilt : float or sequence of float
        Pitch of the specimen about x, in degrees.
    shift_y, shift_x : float or sequence of float
        Where the volume centre lands, measured from the image centre, in Å.
    magnification : float or sequence of float
        Of the image relative to the volume.
    image_center : tuple of float, optional
        Row and column of q = 0; by default ``((height - 1) / 2, (width - 1) / 2)``.

    Raises
    ------
    GeometryError
        If a number is not finite, a sequence has another length than `tilt_angles`, or a size is
        not positive.

    Examples
    --------
    >>> geometry = TiltGeometry([-3, 0, 3], image_shape=(40, 51), pixel_size=10.0)
    >>> geometry.n_tilts, geometry.image_center
    (3, (19.5, 25.0))
    >>> geometry == eval(repr(geometry))
    True
    """

    tilt_angles: tuple[float, ...]
    image_shape: tuple[int, int]
    pixel_size: float
    tilt_axis_angle: PerTilt = 0.0
    x_tilt: PerTilt = 0.0
    shift_y: PerTilt = 0.0
    shift_x: PerTilt = 0.0
    magnification: PerTilt = 1.0
    image_center: tuple[float, float] | None = None

    def __init__(
        self,
        tilt_angles: Sequence[float],
        image_shape: Sequence[int],
        pixel_size: float,
        tilt_axis_angle: PerTilt = 0.0,
        x_tilt: PerTilt = 0.0,
        shift_y: PerTilt = 0.0,
        shift_x: PerTilt = 0.0,
        magnification: PerTilt = 1.0,
        image_center: Sequence[float] | None = None,
    ) -> None:
        angles = _finite(tilt_angles, "tilt_angles")
        if not angles or max(map(abs, angles)) > 180:
            raise GeometryError(
                f"`tilt_angles` must be 1 or more angles in -180..180 degrees; found {angles}"
            )
        shape = _sizes(image_shape, "image_shape", 2)
        if image_center is None:
            image_center = [(n - 1) / 2 for n in shape]
        if len(image_center) != 2:
            raise GeometryError(f"`image_center` must be (row, column); found {image_center}")
        values = (tilt_axis_angle, x_tilt, shift_y, shift_x, magnification)
        per_tilt = {
            name: _broadcast(value, len(angles), name)
            for name, value in zip(_PER_TILT, values, strict=True)
        }
        if min(per_tilt["magnification"]) <= 0:
            raise GeometryError(f"`magnification` must be positive; found {magnification}")
        fields = {
            "tilt_angles": angles,
            "image_shape": shape,
            "pixel_size": _length(pixel_size, "pixel_size"),
            **per_tilt,
            "image_center": _finite(image_center, "image_center"),
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    @property
    def n_tilts(self) -> int:
        """Number of images."""
        return len(self.tilt_angles)

    def matrices(self, grid: VolumeGrid) -> FloatArray:
        """Affine maps from voxel indices to pixel indices.

        Parameters
        ----------
        grid : VolumeGrid
            The volume.

        Returns
        -------
        ndarray, shape (n_tilts, 2, 4), float64
            ``matrix @ (z, y, x, 1)`` is (row, column) of the voxel in that image.

        Examples
        --------
        >>> geometry = TiltGeometry([90], image_shape=(11, 21), pixel_size=1)
        >>> geometry.matrices(VolumeGrid((7, 11, 21), 1)) @ [6, 0, 10, 1]
        array([[ 0., 13.]])
        """
        rz, ry, rx = (self._angles(name) for name in ("tilt_axis_angle", "tilt_angles", "x_tilt"))
        rotation = _rotation(rz, 2) @ _rotation(ry, 1) @ _rotation(rx, 0)
        scale = np.asarray(self.magnification) * (grid.voxel_size / self.pixel_size)
        linear = rotation[:, 1::-1, ::-1] * scale[:, None, None]  # xyz to zyx, rows y and x
        shift = np.stack([np.asarray(self.shift_y), np.asarray(self.shift_x)], axis=1)
        # q = 0 is the image centre and p = 0 the volume centre: pixel = centre + shift + L (index -
        # centre).
        offset = (
            np.asarray(self.image_center) + shift / self.pixel_size - linear @ np.array(grid.center)
        )
        return np.concatenate([linear, offset[:, :, None]], axis=2)

    def select(self, tilts: Sequence[int]) -> Self:
        """Geometry of some of the tilts, in the given order.

        Parameters
        ----------
        tilts : sequence of int
            Indices of the tilts to keep.

        Returns
        -------
        TiltGeometry

        Examples
        --------
        >>> TiltGeometry([-3, 0, 3], (4, 4), 10.0).select([2, 0]).tilt_angles
        (3.0, -3.0)
        """
        picked = {
            name: [getattr(self, name)[t] for t in tilts] for name in ("tilt_angles", *_PER_TILT)
        }
        return dataclasses.replace(self, **cast("dict[str, Any]", picked))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; `from_dict` gives the geometry back."""
        return _plain(dataclasses.asdict(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild a geometry from `to_dict`.

        Examples
        --------
        >>> geometry = TiltGeometry([-3, 3], (4, 5), 10.0, shift_x=[1.5, 0])
        >>> TiltGeometry.from_dict(geometry.to_dict()) == geometry
        True
        """
        return cls(**values)

    def _angles(self, name: str) -> FloatArray:
        return np.asarray(getattr(self, name), dtype=np.float64)


@dataclass(frozen=True)
class VolumeGrid:
    """The voxels of a volume, and where its centre (p = 0) lies: a value without voxels.

    Parameters
    ----------
    shape : tuple of int
        (nz, ny, nx).
    voxel_size : float
        In Å.
    center : tuple of float, optional
        Index (z, y, x) of p = 0; by default (n - 1)/2 along each axis.

    Raises
    ------
    GeometryError
        If a size is not positive or a number not finite.

    Examples
    --------
    >>> grid = VolumeGrid((20, 31, 40), voxel_size=10.0)
    >>> grid.center
    (9.5, 15.0, 19.5)
    >>> grid.positions([[0, 0, 0]])
    array([[ -95., -150., -195.]])
    """

    shape: tuple[int, int, int]
    voxel_size: float
    center: tuple[float, float, float]

    def __init__(
        self, shape: Sequence[int], voxel_size: float, center: Sequence[float] | None = None
    ) -> None:
        sizes = _sizes(shape, "shape", 3)
        if center is None:
            center = [(n - 1) / 2 for n in sizes]
        if len(center) != 3:
            raise GeometryError(f"`center` must be (z, y, x); found {center}")
        object.__setattr__(self, "shape", sizes)
        object.__setattr__(self, "voxel_size", _length(voxel_size, "voxel_size"))
        object.__setattr__(self, "center", _finite(center, "center"))

    @classmethod
    def from_imod(cls, shape: Sequence[int], voxel_size: float) -> Self:
        """Grid of a volume that IMOD's ``tilt`` wrote and ``clip rotx`` turned.

        IMOD divides WIDTH and THICKNESS as integers, so an odd size along x or z puts the centre
        half a voxel off the middle.

        Parameters
        ----------
        shape : sequence of int
            (nz, ny, nx) of the turned volume.
        voxel_size : float
            In Å.

        Returns
        -------
        VolumeGrid

        Examples
        --------
        >>> VolumeGrid.from_imod((301, 1440, 961), 10.0).center
        (150.5, 719.5, 479.5)
        """
        nz, ny, nx = shape
        return cls(shape, voxel_size, (nz - 1 - (nz // 2 - 0.5), (ny - 1) / 2, nx // 2 - 0.5))

    @property
    def n_voxels(self) -> int:
        """Number of voxels."""
        return math.prod(self.shape)

    def positions(self, index: npt.ArrayLike) -> FloatArray:
        """Positions in Å from the volume centre, of voxel indices.

        Parameters
        ----------
        index : array_like, shape (..., 3)
            z, y, x.

        Returns
        -------
        ndarray, shape (..., 3), float64
        """
        return (np.asarray(index, dtype=np.float64) - self.center) * self.voxel_size

    def indices(self, position: npt.ArrayLike) -> FloatArray:
        """Voxel indices (not rounded) of positions in Å: the inverse of `positions`."""
        return np.asarray(position, dtype=np.float64) / self.voxel_size + self.center

    def axis(self, dim: str) -> FloatArray:
        """Coordinates of the voxels along ``"z"``, ``"y"`` or ``"x"``, in Å from voxel 0's centre.

        Files and viewers measure from voxel 0, the geometry from the volume centre.
        """
        return np.arange(self.shape["zyx".index(dim)], dtype=np.float64) * self.voxel_size

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; `from_dict` gives the grid back."""
        return _plain(dataclasses.asdict(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild a grid from `to_dict`."""
        return cls(**values)


def _rotation(degrees: FloatArray, axis: int) -> FloatArray:
    """Right-handed rotations in x, y, z order: shape (n_tilts, 3, 3)."""
    radians = np.deg2rad(degrees)
    c, s = np.cos(radians), np.sin(radians)
    c[np.abs(c) < 1e-15] = 0.0  # cos 90 and sin 180 degrees are exactly 0
    s[np.abs(s) < 1e-15] = 0.0
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.zeros((len(degrees), 3, 3))
    matrix[:, axis, axis] = 1.0
    matrix[:, i, i], matrix[:, i, j] = c, -s
    matrix[:, j, i], matrix[:, j, j] = s, c
    return matrix


def _finite(values: Sequence[float], name: str) -> tuple[float, ...]:
    numbers = tuple(float(v) for v in values)
    for k, v in enumerate(numbers):
        if not math.isfinite(v):
            raise GeometryError(
                f"`{name}` has the value {v} at position {k}; every value must be a finite number"
            )
    return numbers


def _broadcast(value: PerTilt, n: int, name: str) -> tuple[float, ...]:
    array = np.asarray(value, dtype=np.float64)
    if array.ndim > 1:
        raise GeometryError(f"`{name}` must be 1 value or {n}; found shape {array.shape}")
    if array.ndim == 1 and array.size != n:
        raise GeometryError(f"`{name}` has {array.size} values, but there are {n} tilt angles")
    return _finite(np.broadcast_to(array, n).tolist(), name)


def _sizes(shape: Sequence[int], name: str, ndim: int) -> tuple[int, ...]:
    sizes = tuple(int(n) for n in shape)
    if len(sizes) != ndim or min(sizes) < 1:
        raise GeometryError(f"`{name}` must be {ndim} positive sizes; found {tuple(shape)}")
    return sizes


def _length(value: float, name: str) -> float:
    if not (math.isfinite(value) and value > 0):
        raise GeometryError(f"`{name}` is {value} Å; it must be a positive number")
    return float(value)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

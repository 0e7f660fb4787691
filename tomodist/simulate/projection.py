"""Exact projections, silhouettes and boxes of a scene.

One rule: nothing here is sampled in 3D. With L the 2 x 3 map and o the offset from Å to pixels of
a tilt, an ellipsoid of centre c and covariance C casts the shadow {q : r² < 1}, where
r² = (q - L c - o)ᵀ (L C Lᵀ)⁻¹ (q - L c - o), and the ray through q crosses it over the length
2 sqrt(1 - r²) / sqrt(dᵀ C⁻¹ d), where d is the unit vector along the ray: L d = 0. So these share
with tomodist the geometry, and nothing with the projection kernels that they serve to test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tomodist.errors import InputError
from tomodist.simulate.lattice import slabs
from tomodist.simulate.scene import Ellipsoid, Scene, bounding_boxes
from tomodist.values.geometry import TiltGeometry, VolumeGrid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tomodist.values.arrays import BoolArray, Float32Array, FloatArray, IntArray

_ANGSTROM = VolumeGrid((1, 1, 1), voxel_size=1.0)  # index = position in Å


class ShadowBoxes(NamedTuple):
    """Bounding boxes of shadows, in pixel index coordinates (row, column).

    A box spans center ± size / 2, and may lie partly or wholly outside the image.
    """

    centers: FloatArray
    sizes: FloatArray
    ids: IntArray


def project_scene(
    scene: Scene, geometry: TiltGeometry, tilt: int, *, supersample: int = 1
) -> Float32Array:
    """Line integrals of the density along the rays of one tilt.

    Parameters
    ----------
    scene : Scene
        The specimen.
    geometry : TiltGeometry
        Of the series.
    tilt : int
        Index of the tilt.
    supersample : int
        Rays per pixel along each axis, averaged; 1 is the ray through the pixel's centre.

    Returns
    -------
    ndarray, shape (height, width), float32
        Sum over ellipsoids of density · length inside: a number without unit.

    Raises
    ------
    InputError
        If there is no such tilt, or `supersample` is below 1.

    Examples
    --------
    >>> scene = Scene((Ellipsoid((0, 0, 0), (20, 20, 20), density=0.5),))
    >>> project_scene(scene, TiltGeometry([60], (3, 3), 10.0), 0)[1]
    array([17.320509, 20.      , 17.320509], dtype=float32)
    """
    if supersample < 1:
        raise InputError(f"`supersample` must be 1 or more; found {supersample}")
    matrix = _matrix(geometry, tilt)
    image = np.zeros(geometry.image_shape)
    # Rays at the centres of supersample x supersample parts of a pixel.
    steps = (np.arange(supersample) + 0.5) / supersample - 0.5
    for shift in np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2):
        for ellipsoid in scene.ellipsoids:
            _add_ray_lengths(image, ellipsoid, matrix, shift)
    return (image / supersample**2).astype(np.float32)


def silhouette(scene: Scene, name: str, geometry: TiltGeometry, tilt: int) -> BoolArray:
    """Truth mask of a label on one tilt: the union of the shadows of its structures.

    Parameters
    ----------
    scene : Scene
        The specimen.
    name : str
        Label of the structures.
    geometry : TiltGeometry
        Of the series.
    tilt : int
        Index of the tilt.

    Returns
    -------
    ndarray, shape (height, width), bool
        True where the ray through the pixel's centre meets an ellipsoid that is not a hole.

    Raises
    ------
    InputError
        If there is no such tilt or label.
    """
    matrix = _matrix(geometry, tilt)
    mask = np.zeros(geometry.image_shape, dtype=np.bool_)
    for ellipsoid in scene.of(name):
        if ellipsoid.density >= 0:
            for index, radius_sq in _shadow(ellipsoid, matrix).pixels(mask.shape):
                mask[index] |= radius_sq < 1
    return mask


def boxes(scene: Scene, name: str, geometry: TiltGeometry, tilt: int) -> ShadowBoxes:
    """Truth boxes of a label on one tilt.

    Parameters
    ----------
    scene : Scene
        The specimen.
    name : str
        Label of the structures.
    geometry : TiltGeometry
        Of the series.
    tilt : int
        Index of the tilt.

    Returns
    -------
    ShadowBoxes
        ``centers`` and ``sizes``, shape (n, 2), float64, of the exact box around each structure's
        shadow, in pixels, and ``ids``, shape (n,), int64; in the order of `Scene.structures`.

    Raises
    ------
    InputError
        If there is no such tilt or label.

    Examples
    --------
    >>> scene = Scene((Ellipsoid((0, 0, 30), (20, 20, 20)),))
    >>> boxes(scene, "object", TiltGeometry([0], (11, 11), 10.0), 0)
    ShadowBoxes(centers=array([[5., 8.]]), sizes=array([[4., 4.]]), ids=array([1]))
    """
    matrix = _matrix(geometry, tilt)
    groups = scene.solids_by_structure(name)
    shadows = [_box([_shadow(e, matrix) for e in parts]) for parts in groups.values()]
    centers, sizes = np.reshape(shadows, (len(shadows), 2, 2)).transpose(1, 0, 2)
    return ShadowBoxes(centers, sizes, np.fromiter(groups, dtype=np.int64))


@dataclass(frozen=True)
class _Shadow:
    """The ellipse that an ellipsoid's shadow is, in pixels."""

    center: FloatArray
    covariance: FloatArray

    def pixels(self, shape: Sequence[int]) -> Iterator[tuple[tuple[slice, ...], FloatArray]]:
        return slabs(self.center, self.covariance, (0, 0), shape)


def _shadow(ellipsoid: Ellipsoid, matrix: FloatArray) -> _Shadow:
    linear = matrix[:, :3]
    center = linear @ np.asarray(ellipsoid.center) + matrix[:, 3]
    return _Shadow(center, linear @ ellipsoid.covariance @ linear.T)


def _box(shadows: Sequence[_Shadow]) -> tuple[FloatArray, FloatArray]:
    half = [np.sqrt(np.diag(s.covariance)) for s in shadows]
    return bounding_boxes([s.center for s in shadows], half)


def _add_ray_lengths(
    image: FloatArray, ellipsoid: Ellipsoid, matrix: FloatArray, shift: FloatArray
) -> None:
    """Add density · length of every ray; rays start `shift` pixels from the pixel centres."""
    ray = np.cross(matrix[0, :3], matrix[1, :3])
    ray /= np.linalg.norm(ray)
    # The ray through the centre; others are shorter by sqrt(1 - r²).
    longest = 2 / np.sqrt(ray @ np.linalg.inv(ellipsoid.covariance) @ ray)
    shadow = _shadow(ellipsoid, matrix)
    moved = _Shadow(shadow.center - shift, shadow.covariance)
    for index, radius_sq in moved.pixels(image.shape):
        np.maximum(1 - radius_sq, 0, out=radius_sq)
        image[index] += ellipsoid.density * longest * np.sqrt(radius_sq)


def _matrix(geometry: TiltGeometry, tilt: int) -> FloatArray:
    """Map from (z, y, x, 1) in Å to (row, column), shape (2, 4)."""
    if not 0 <= tilt < geometry.n_tilts:
        raise InputError(f"`tilt` is {tilt}; it must be 0 to {geometry.n_tilts - 1}")
    return np.asarray(geometry.select([tilt]).matrices(_ANGSTROM)[0], dtype=np.float64)

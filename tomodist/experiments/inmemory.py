"""Small volumes lifted in memory, for experiments, by the functions that bricks go through."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from tomodist.algorithms.lift.backproject import Lifting, lift_brick
from tomodist.algorithms.lift.project import LARGEST, ProjectionKind, project_tile
from tomodist.algorithms.threshold.curve import ThresholdCurve, count_agreement, curve_of
from tomodist.algorithms.threshold.per_structure import structure_threshold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.algorithms.lift.windows import Range, ReadImage
    from tomodist.values.arrays import AnyArray, BoolArray
    from tomodist.values.geometry import TiltGeometry, VolumeGrid


def reader(images: AnyArray) -> ReadImage:
    """Function that reads windows of images in memory."""

    def read(tilt: int, rows: Range, columns: Range) -> AnyArray:
        return np.asarray(images[tilt, slice(*rows), slice(*columns)])

    return read


def lifted(lifting: Lifting, images: AnyArray) -> AnyArray:
    """The whole score volume.

    Parameters
    ----------
    lifting : Lifting
        How maps become scores.
    images : ndarray, shape (n_tilts, height, width)
        Maps, or grey values.

    Returns
    -------
    ndarray, shape (nz, ny, nx)
    """
    return lift_brick(lifting, reader(images), (0, 0, 0), lifting.grid.shape)


def projected(
    kind: ProjectionKind,
    volume: AnyArray,
    geometry: TiltGeometry,
    grid: VolumeGrid,
    largest: int = LARGEST,
    tilts: Sequence[int] = (),
) -> AnyArray:
    """Projections of a volume at all tilts, or at some of them.

    Parameters
    ----------
    kind : {"binary", "max", "sum"}
        As for `tomodist.algorithms.lift.project.project_tile`.
    volume : ndarray, shape (nz, ny, nx)
        The volume.
    geometry, grid
        Of the images and of the volume.
    largest : int
        For ``"max"``: no voxel is larger.
    tilts : sequence of int
        The tilts; by default all.

    Returns
    -------
    ndarray, shape (n_tilts, height, width)
    """

    def read(z: Range, y: Range, x: Range) -> AnyArray:
        return np.asarray(volume[slice(*z), slice(*y), slice(*x)])

    whole = [tuple((0, n) for n in grid.shape)]
    rows, chosen = (0, geometry.image_shape[0]), tilts or range(geometry.n_tilts)
    return project_tile(kind, geometry, grid, read, whole, chosen, rows, largest=largest)


def threshold_curve(
    scores: AnyArray, maps: AnyArray, geometry: TiltGeometry, grid: VolumeGrid, max_score: int
) -> ThresholdCurve:
    """Agreement of the reprojection at every threshold.

    Parameters
    ----------
    scores : ndarray, shape (nz, ny, nx), integer
        The score volume.
    maps : ndarray, shape (n_tilts, height, width), uint8
        Binary maps.
    geometry, grid
        Of the images and of the volume.
    max_score : int
        The highest possible score.

    Returns
    -------
    ThresholdCurve
    """
    largest = projected("max", scores, geometry, grid, max_score)
    return curve_of(count_agreement(largest, maps, max_score))


def cut_each(
    scores: AnyArray,
    threshold: int,
    maps: AnyArray,
    geometry: TiltGeometry,
    grid: VolumeGrid,
    max_score: int,
) -> BoolArray:
    """Mask of all components, each with its own threshold.

    Parameters
    ----------
    scores : ndarray, shape (nz, ny, nx), integer
        The score volume.
    threshold : int
        The common threshold; no structure has a lower one.
    maps : ndarray, shape (n_tilts, height, width), uint8
        Binary maps.
    geometry, grid
        Of the images and of the volume.
    max_score : int
        The highest possible score.

    Returns
    -------
    ndarray, shape (nz, ny, nx), bool
    """
    labels, _ = ndimage.label(scores > threshold)
    mask = np.zeros(scores.shape, np.bool_)
    for k, window in enumerate(ndimage.find_objects(labels), start=1):
        own = np.where(labels[window] == k, scores[window], 0)
        at = (geometry, grid, reader(maps), max_score)
        mask[window] |= own > structure_threshold(own, [s.start for s in window], threshold, *at)
    return mask

"""What is measured: sizes, seeded data, and kernels called in the package's own layout.

Every kernel gets its arrays as in a run: windows from `tomodist.algorithms.lift.windows`, all of
them on cache lines. Setting them up is not measured. Images are smooth, because the peers
interpolate in other ways, and only what is smooth is the same for all; the speed of the kernels
does not depend on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from tests.geometries import reader
from tomodist.algorithms.lift.windows import Windows, binary_windows, linear_windows
from tomodist.kernels.backproject import linear_any, linear_rows
from tomodist.kernels.memory import aligned_zeros
from tomodist.kernels.project import max_any, max_rows, sum_any, sum_rows
from tomodist.kernels.votes import votes_any, votes_rows
from tomodist.values.geometry import TiltGeometry, VolumeGrid
from tomodist.values.projection import half_widths, project_points

if TYPE_CHECKING:
    from tomodist.kernels.edges import Refinement

Array = npt.NDArray[Any]

START = np.zeros(3, np.int64)
SMOOTH = 3.0  # pixels: deviation of a ball, a Gaussian
PIXELS_PER_BALL = 200
SEED = 20
ROUNDS, FEW = 15, 5  # of what is fast and of what is slow, after one that is not counted


@dataclass(frozen=True)
class Size:
    """How much is measured; of what is slow, only as much as gives a figure.

    Parameters
    ----------
    shape : tuple of int
        Voxels (z, y, x); images have (y, x) pixels.
    n_tilts : int
        From -60 to 60 degrees.
    general_layers : int
        Layers in the general geometry.
    numpy_layers, few_layers : int
        Layers that the NumPy forms compute; few where they are slowest.
    rows, slices : int
        Rows (y) that ASTRA and the dask form compute, and those that scikit-image does.
    """

    shape: tuple[int, int, int]
    n_tilts: int
    general_layers: int
    numpy_layers: int
    few_layers: int
    rows: int
    slices: int


FULL = Size((64, 512, 512), 61, general_layers=16, numpy_layers=8, few_layers=2, rows=64, slices=4)
TINY = Size((8, 64, 20), 7, general_layers=4, numpy_layers=3, few_layers=2, rows=32, slices=2)


@dataclass(frozen=True)
class Problem:
    """A tilt series and a volume, and everything that is made of them, each once.

    Parameters
    ----------
    geometry, grid
        Of the images and of the volume.
    """

    geometry: TiltGeometry
    grid: VolumeGrid

    @cached_property
    def images(self) -> Array:
        """Balls at random places, with deviation 1: shape (n_tilts, height, width), float32."""
        random = np.random.default_rng(SEED)
        (height, width), shape = self.geometry.image_shape, np.array(self.grid.shape)
        n_balls = 4 + height * width // PIXELS_PER_BALL
        places = random.uniform(-0.5, shape - 0.5, (n_balls, 3))
        images = np.zeros((self.geometry.n_tilts, height, width), np.float32)
        for image, points in zip(images, project_points(self.matrices, places), strict=True):
            row, column = np.rint(points).astype(int).T
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            np.add.at(image, (row[inside], column[inside]), 1)
        smooth = ndimage.gaussian_filter(images, (0, SMOOTH, SMOOTH))
        return np.asarray(smooth / smooth.std(), np.float32)

    @cached_property
    def maps(self) -> Array:
        """The balls, about a sixth of the pixels: shape (n_tilts, height, width), bool."""
        return np.asarray(self.images > self.images.mean() + 1)

    @cached_property
    def matrices(self) -> Array:
        return self.geometry.matrices(self.grid)

    @cached_property
    def half(self) -> Array:
        return half_widths(self.matrices)

    @property
    def updates(self) -> int:
        """Voxels times tilts."""
        return self.grid.n_voxels * self.geometry.n_tilts

    def volume(self, dtype: npt.DTypeLike) -> Array:
        """A volume of zeros in kernel layout (z, x, y)."""
        nz, ny, nx = self.grid.shape
        return aligned_zeros((nz, nx, ny), dtype)

    def stack(self, dtype: npt.DTypeLike) -> Array:
        """Images of zeros in kernel layout (tilt, column, row)."""
        height, width = self.geometry.image_shape
        return aligned_zeros((self.geometry.n_tilts, width, height), dtype)

    # ------------------------------------------------------------------------------- inputs

    @cached_property
    def columns(self) -> Array:
        """Images as the NumPy forms read them: shape (tilt, column, row), float32."""
        return np.ascontiguousarray(self.images.transpose(0, 2, 1))

    @cached_property
    def map_columns(self) -> Array:
        """The same of the maps, uint8."""
        return np.ascontiguousarray(self.maps.transpose(0, 2, 1)).astype(np.uint8)

    @cached_property
    def grey(self) -> Windows:
        """What the linear kernels read."""
        return linear_windows(*self._view(self.images))[0]

    @cached_property
    def binary(self) -> Windows:
        """What the votes kernels read."""
        return binary_windows(*self._view(self.maps))

    def _view(self, images: Array) -> tuple[Any, ...]:
        """What the windows of a brick are made of; the brick is the whole volume."""
        tilts, shape = range(self.geometry.n_tilts), self.geometry.image_shape
        return reader(images), tilts, self.matrices, (0, 0, 0), self.grid.shape, shape

    # ----------------------------------------------------------------------------- the kernels

    def backproject(self, total: Array, first: int = 0) -> Array:
        """Linear backprojection, added to a volume that begins at layer `first`."""
        kernel = linear_rows if self.grey.rows_only else linear_any
        weights = np.ones(self.geometry.n_tilts, np.float32)
        kernel(self.grey.images, self.grey.origin, self.matrices, weights, _layer(first), total)
        return total

    def vote(self, votes: Array, rule: Refinement | None = None, first: int = 0) -> Array:
        """Votes, refined or not, of a volume that begins at layer `first`."""
        kernel = votes_rows if self.binary.rows_only else votes_any
        seen, at = self.binary, (self.matrices, self.half, _layer(first))
        kernel(seen.images, seen.origin, *at, votes, rule)
        return votes

    def project_max(self, brick: Array, images: Array) -> Array:
        """Maximum projection; of 0 and 1, the binary one."""
        kernel = max_rows if self.binary.rows_only else max_any
        kernel(brick, START, self.matrices, self.half, self._whole, images)
        return images

    def project_sum(self, brick: Array, images: Array) -> Array:
        """Sum projection."""
        kernel = sum_rows if self.binary.rows_only else sum_any
        weights = np.ones(self.geometry.n_tilts, np.float32)
        kernel(brick, START, self.matrices, weights, self._whole, images)
        return images

    @property
    def _whole(self) -> npt.NDArray[np.int64]:
        return np.zeros((self.geometry.n_tilts, 2), np.int64)

    # ---------------------------------------------------------------- results to compare with

    @cached_property
    def backprojected(self) -> Array:
        """Linear backprojection: shape (z, x, y), float32."""
        return self.backproject(self.volume(np.float32))

    @cached_property
    def votes(self) -> Array:
        """Votes: shape (z, x, y), uint8."""
        return self.vote(self.volume(np.uint8))


def _layer(z: int) -> npt.NDArray[np.int64]:
    return np.array([z, 0, 0], np.int64)


def _angles(size: Size) -> list[float]:
    return [float(angle) for angle in np.linspace(-60, 60, size.n_tilts)]


def aligned(size: Size) -> Problem:
    """Single-axis geometry."""
    return Problem(TiltGeometry(_angles(size), size.shape[1:], 10.0), VolumeGrid(size.shape, 10.0))


def turned(size: Size) -> Problem:
    """A tilt axis 3 degrees off, and a specimen pitched by 2: the general kernels."""
    geometry = TiltGeometry(_angles(size), size.shape[1:], 10.0, tilt_axis_angle=3, x_tilt=2)
    return Problem(geometry, VolumeGrid((size.general_layers, *size.shape[1:]), 10.0))


def square(size: Size) -> Problem:
    """Square slices that turn about pixel n // 2, as scikit-image has them."""
    n, ny = size.shape[2], size.slices
    geometry = TiltGeometry(_angles(size), (ny, n), 10.0, image_center=((ny - 1) / 2, n // 2))
    return Problem(geometry, VolumeGrid((n, ny, n), 10.0, (n // 2, (ny - 1) / 2, n // 2)))

"""Simulated tomograms of cells for the experiments on learned detectors, in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tomodist.learned.detectors.normalise import CLIP, prepared
from tomodist.learned.training.examples import Example, Loaded
from tomodist.simulate import Acquisition, TiltScheme, acquire, boxes, cell, silhouette
from tomodist.values.boxes import Boxes
from tomodist.values.geometry import TiltGeometry, VolumeGrid

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from tomodist.simulate import Scene
    from tomodist.values.arrays import Float32Array, UInt8Array

VOXEL = 20.0


@dataclass(frozen=True, eq=False)
class SimulatedTomogram:
    """Simulated tilt series with its ground truth.

    Parameters
    ----------
    scene : Scene
        The specimen.
    nominal, true : TiltGeometry
        The geometry that the user gets, and the one that the images have.
    grid : VolumeGrid
        Of the volume.
    images : ndarray, shape (n_tilts, height, width), float32
        As the camera sees them.
    """

    scene: Scene
    nominal: TiltGeometry
    true: TiltGeometry
    grid: VolumeGrid
    images: Float32Array

    @property
    def n_tilts(self) -> int:
        """Number of images."""
        return self.nominal.n_tilts

    def maps(self, label: str) -> UInt8Array:
        """True masks, shape of the images, 0 or 1."""
        masks = [silhouette(self.scene, label, self.true, t) for t in range(self.n_tilts)]
        return np.stack(masks).astype(np.uint8)

    def boxes(self, label: str) -> list[Boxes]:
        """True boxes of every tilt."""
        shadows = [boxes(self.scene, label, self.true, t) for t in range(self.n_tilts)]
        return [Boxes(b.centers, b.sizes, np.ones(len(b.ids))) for b in shadows]

    def truth(self, label: str) -> npt.NDArray[np.uint32]:
        """Structures by number, shape of the grid."""
        return self.scene.labels(label, self.grid, (0, 0, 0), self.grid.shape)

    def examples(
        self, label: str, tilts: Sequence[int] | None = None, *, with_boxes: bool = False
    ) -> list[Loaded]:
        """Images with their true masks or boxes, as training examples.

        Parameters
        ----------
        label : str
            Structures to learn.
        tilts : sequence of int, optional
            The tilts; by default all.
        with_boxes : bool
            Boxes as targets, instead of masks.

        Returns
        -------
        list of Loaded
            One per tilt.
        """
        maps = None if with_boxes else self.maps(label)
        of_tilts = self.boxes(label) if with_boxes else None
        examples = []
        for t in range(self.n_tilts) if tilts is None else tilts:
            image = prepared(self.images[t], VOXEL, VOXEL, CLIP)
            target = np.zeros((1, *image.shape), np.uint8) if maps is None else maps[t][None]
            example = Example.of(image, target, [of_tilts[t]] if of_tilts else [])
            examples.append(Loaded(f"tilt {t}", example))
        return examples


def simulate_tomogram(
    seed: int,
    *,
    shape: tuple[int, int, int] = (100, 256, 256),
    snr: float = 0.3,
    jitter: float = 0.0,
    step: float = 3.0,
    n_mitochondria: int = 2,
    n_granules: int = 4,
) -> SimulatedTomogram:
    """Simulate a piece of a cell and its tilt series from -60° to 60°.

    Parameters
    ----------
    seed : int
        Of the specimen and of all noise.
    shape : tuple of int
        Of the volume (z, y, x); images have its height and width.
    snr : float
        Variance of the signal over that of the noise, over all pixels; inf is free of noise.
    jitter : float
        Misalignment, rms in Å, that the nominal geometry does not contain.
    step : float
        Between tilts, in degrees.
    n_mitochondria, n_granules : int
        Of the cell, and in each of them.

    Returns
    -------
    SimulatedTomogram

    Notes
    -----
    With transmitted fractions p and N electrons per pixel, counts are Poisson with the mean N p:
    the signal's variance is N² var(p), the noise's N mean(p), so N = snr · mean(p) / var(p).
    """
    nominal = TiltGeometry(TiltScheme(-60, 60, step).angles, shape[1:], VOXEL)
    grid = VolumeGrid(shape, VOXEL)
    size = [n * VOXEL for n in shape]
    numbers = {"n_mitochondria": n_mitochondria, "n_granules": n_granules, "n_gold": 0}
    scene = cell(size, seed=seed, **numbers)
    camera = Acquisition(jitter=jitter, seed=seed)
    tilts = range(nominal.n_tilts)
    images = np.stack([acquire(scene, nominal, t, camera) for t in tilts])
    if np.isfinite(snr):
        electrons = snr * images.mean(dtype=np.float64) / images.var(dtype=np.float64)
        dose = float(electrons) * nominal.n_tilts / nominal.pixel_size**2
        camera = replace(camera, dose=dose)
        images = np.stack([acquire(scene, nominal, t, camera) for t in tilts])
    return SimulatedTomogram(scene, nominal, camera.true_geometry(nominal), grid, images)

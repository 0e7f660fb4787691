"""A model of what 2D detectors do wrong, so that lifting is judged apart from any detector.

One rule: errors are drawn per tilt from a stream of their own for every (seed, tilt), so any order
or subset of tilts gives the same detections. Errors of different tilts are independent.

True shadows (masks or boxes) go through it in this order:

    tilt lost? -> objects missed -> false objects added -> boundaries displaced -> patches flipped
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, map_coordinates

from tomodist.errors import InputError
from tomodist.simulate.projection import ShadowBoxes, boxes, silhouette
from tomodist.simulate.scene import Scene

if TYPE_CHECKING:
    from tomodist.values.arrays import FloatArray
    from tomodist.values.geometry import TiltGeometry

Mask = npt.NDArray[np.bool_]
_FALSE_ID = 0


@dataclass(frozen=True)
class DetectorErrors:
    """Rates of a detector's errors; by default it makes none.

    Parameters
    ----------
    missed : float
        Probability that an object is missed on a tilt, 0..1.
    steep : float
        By how much that probability is higher at a tilt of 60°, where rays are twice as long; in
        between and beyond it grows as 1 / cos t - 1 does, to 1 at most.
    false : float
        False objects per true object and tilt (mean of a Poisson distribution); each has the shape
        of a true one, at a place of its own.
    jitter : float
        Of masks, the rms displacement of boundaries, in pixels; of boxes, centres move by up to
        this much along each axis and sizes change by as much (uniformly).
    flipped : float
        Wrong pixels in patches, as a part of those that are marked, 0..0.5: so many false ones, and
        so many holes; masks only.
    patch : float
        Correlation length of displacements and patches, in pixels.
    lost_tilts : float
        Probability that a tilt shows nothing at all, 0..1.
    seed : int
        Of all random numbers, 0 or more.

    Raises
    ------
    InputError
        If a rate is out of range.

    Examples
    --------
    >>> DetectorErrors(missed=0.2, jitter=1.5).missed
    0.2
    """

    missed: float = 0.0
    steep: float = 0.0
    false: float = 0.0
    jitter: float = 0.0
    flipped: float = 0.0
    patch: float = 4.0
    lost_tilts: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        shares = {"missed": 1.0, "steep": 1.0, "lost_tilts": 1.0, "flipped": 0.5}
        for name, most in shares.items():
            if not 0 <= getattr(self, name) <= most:
                raise InputError(f"{name} is {getattr(self, name)}; it must be 0 to {most:g}")
        for name in ("false", "jitter", "seed"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} is {getattr(self, name)}; it must be 0 or more")
        if not 0 < self.patch < math.inf:
            raise InputError(f"patch is {self.patch} pixels; it must be positive")

    def missed_at(self, tilt_angle: float) -> float:
        """Probability that an object is missed at a tilt angle in degrees."""
        longer = 1 / max(math.cos(math.radians(tilt_angle)), 1e-3) - 1
        return min(self.missed + self.steep * longer, 1.0)

    def random(self, tilt: int) -> np.random.Generator:
        """The stream of random numbers of a tilt."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(tilt,)))


def detected_mask(
    scene: Scene, name: str, geometry: TiltGeometry, tilt: int, errors: DetectorErrors
) -> Mask:
    """What a detector with these errors marks on one tilt.

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
    errors : DetectorErrors
        Rates.

    Returns
    -------
    ndarray, shape (height, width), bool

    Raises
    ------
    InputError
        If there is no such tilt or label.
    """
    random = errors.random(tilt)
    shadows = _shadows(scene, name, geometry, tilt)
    if random.random() < errors.lost_tilts:
        return np.zeros(geometry.image_shape, np.bool_)
    missed = errors.missed_at(geometry.tilt_angles[tilt])
    seen = [s for s in shadows if random.random() >= missed]
    n_false = random.poisson(errors.false * len(shadows))
    seen += [_moved(shadows[random.integers(len(shadows))], random) for _ in range(n_false)]
    mask: Mask = np.logical_or.reduce([np.zeros(geometry.image_shape, np.bool_), *seen])
    if errors.jitter:
        mask = _displaced(mask, errors, random)
    if errors.flipped:
        mask = _patched(mask, errors, random)
    return mask


def detected_boxes(
    scene: Scene, name: str, geometry: TiltGeometry, tilt: int, errors: DetectorErrors
) -> ShadowBoxes:
    """The boxes that a detector with these errors draws on one tilt.

    Parameters
    ----------
    scene, name, geometry, tilt, errors
        As for `detected_mask`.

    Returns
    -------
    ShadowBoxes
        Only boxes whose centre is in the image; ``ids`` are those of the true structures, and 0 of
        false boxes.
    """
    random = errors.random(tilt)
    true = boxes(scene, name, geometry, tilt)
    n = len(true.ids)
    if random.random() < errors.lost_tilts:
        n = 0
    missed = errors.missed_at(geometry.tilt_angles[tilt])
    kept = np.flatnonzero(random.random(len(true.ids))[:n] >= missed)
    n_false = random.poisson(errors.false * n)
    shape = np.array(geometry.image_shape)
    elsewhere = random.uniform(-0.5, shape - 0.5, (n_false, 2))
    like = random.integers(0, max(n, 1), n_false)
    centers = np.concatenate([true.centers[kept], elsewhere])
    sizes = np.concatenate([true.sizes[kept], true.sizes[like]])
    ids = np.concatenate([true.ids[kept], np.full(n_false, _FALSE_ID)])
    centers = centers + random.uniform(-errors.jitter, errors.jitter, centers.shape)
    sizes = np.maximum(sizes + random.uniform(-errors.jitter, errors.jitter, sizes.shape), 1.0)
    seen = ((centers >= -0.5) & (centers < shape - 0.5)).all(axis=1)
    return ShadowBoxes(centers[seen], sizes[seen], ids[seen])


def softened(mask: Mask, width: float, noise: float, random: np.random.Generator) -> FloatArray:
    """Probabilities such as a network gives, whose values above 1/2 are about the mask.

    Parameters
    ----------
    mask : ndarray, shape (height, width), bool
        A detection.
    width : float
        Over how many pixels a boundary is spread (sigma).
    noise : float
        Standard deviation of correlated noise on the probabilities.
    random : numpy.random.Generator
        Of the noise.

    Returns
    -------
    ndarray, shape (height, width), float64
        0..1.
    """
    spread = gaussian_filter(mask.astype(np.float64), width) if width else mask.astype(np.float64)
    field = _field(mask.shape, max(width, 1.0), random)
    return np.clip(spread + noise * field / max(float(field.std()), 1e-12), 0.0, 1.0)


def _shadows(scene: Scene, name: str, geometry: TiltGeometry, tilt: int) -> list[Mask]:
    """The shadow of every structure of a label."""
    parts = scene.solids_by_structure(name).values()
    return [silhouette(Scene(tuple(p)), name, geometry, tilt) for p in parts]


def _moved(shadow: Mask, random: np.random.Generator) -> Mask:
    """A shadow at another place; what leaves the image on one side comes back on the other."""
    height, width = shadow.shape
    return np.roll(shadow, (random.integers(height), random.integers(width)), axis=(0, 1))


def _displaced(mask: Mask, errors: DetectorErrors, random: np.random.Generator) -> Mask:
    """A mask whose every pixel is taken from a place somewhat beside it."""
    pixels = np.indices(mask.shape, dtype=np.float64)
    for axis in range(2):
        field = _field(mask.shape, 2 * errors.patch, random)
        pixels[axis] += errors.jitter * field / max(float(field.std()), 1e-12)
    moved: Mask = map_coordinates(mask, pixels, order=0, mode="constant")
    return moved


def _patched(mask: Mask, errors: DetectorErrors, random: np.random.Generator) -> Mask:
    """A mask with holes and false patches, each of a part of its area."""
    wrong = errors.flipped * float(mask.mean())
    patches = _field(mask.shape, errors.patch, random)
    holes = _field(mask.shape, errors.patch, random)
    false = patches > np.quantile(patches, 1 - wrong)
    return (mask & (holes <= np.quantile(holes, 1 - errors.flipped))) | false


def _field(shape: tuple[int, ...], length: float, random: np.random.Generator) -> FloatArray:
    """Gaussian noise that is alike over a length in pixels."""
    field: FloatArray = gaussian_filter(random.normal(size=shape), length, mode="wrap")
    return field

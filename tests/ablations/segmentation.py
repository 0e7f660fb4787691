"""Algorithm 1 and what may improve it, judged apart from any detector.

True 2D masks of a cell's granules and mitochondria are degraded by the detector-error model; every
variant lifts the same masks, and the IoU with the true 3D mask is compared. One condition takes the
masks of a classical detector on noisy images instead, whose errors are alike from tilt to tilt, as
those of the model are not. "Best threshold" knows the truth: no choice of T can do better on plain
votes.

Variants that are no options of tomodist, because they do not win, are written out here.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tests.ablations.errors import DetectorErrors, detected_mask, softened
from tomodist.algorithms.lift.backproject import Votes, WeightedMean
from tomodist.algorithms.lift.balanced import MAX_SCORE, BalancedVotes
from tomodist.algorithms.threshold.consistency import consistency_of
from tomodist.detectors.classical import Blobs
from tomodist.experiments.cases import Case, Row
from tomodist.experiments.inmemory import cut_each, lifted, projected, threshold_curve
from tomodist.experiments.report import Experiment
from tomodist.metrics import Confusion
from tomodist.simulate import Acquisition, TiltScheme, acquire, cell
from tomodist.values.boxes import fill_disks
from tomodist.values.geometry import TiltGeometry, VolumeGrid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tomodist.simulate import Scene
    from tomodist.values.arrays import FloatArray

Maps = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Scores = npt.NDArray[Any]

VOXEL, SHAPE = 20.0, (80, 160, 160)
ERRORS: dict[str, dict[str, float]] = {
    "none": {},
    "few": {"missed": 0.1, "false": 0.1, "jitter": 1.0},
    "some": {"missed": 0.2, "false": 0.3, "jitter": 2.0, "flipped": 0.1},
    "more at steep": {"missed": 0.1, "steep": 0.8, "false": 0.3, "jitter": 1.5},
    "many": {"missed": 0.35, "false": 0.5, "jitter": 2.5, "flipped": 0.2, "lost_tilts": 0.1},
}
SCHEMES = {"±60° by 3°": (60, 3), "±45° by 3°": (45, 3), "±60° by 10°": (60, 10)}
STRUCTURES = ("granule", "mitochondrion")
BLOBS = "of a blob detector"
_SHIFT = 0.35  # of the width: how far images are off in the condition "shifted fields"


@dataclass(frozen=True)
class Specimen:
    """A degraded series and its truth."""

    geometry: TiltGeometry
    grid: VolumeGrid
    maps: Maps
    truth: Mask
    probabilities: npt.NDArray[np.float32]

    def curve_of(self, scores: Scores, max_score: int) -> tuple[int, float]:
        """The best threshold, and how well its reprojection agrees."""
        curve = threshold_curve(scores, self.maps, self.geometry, self.grid, max_score)
        return curve.best, float(curve.score.max())

    def cut(self, scores: Scores, max_score: int = MAX_SCORE) -> Mask:
        """Scores above the best threshold."""
        return np.asarray(scores > self.curve_of(scores, max_score)[0])

    def cut_each(self, scores: Scores, max_score: int = MAX_SCORE) -> Mask:
        """The same, and every component at a threshold of its own."""
        threshold = self.curve_of(scores, max_score)[0]
        return cut_each(scores, threshold, self.maps, self.geometry, self.grid, max_score)

    def iou_per_tilt(self, mask: Mask) -> FloatArray:
        """Agreement of a mask's reprojection with every map."""
        shadow = projected("binary", mask.astype(np.uint8), self.geometry, self.grid) > 0
        marked = self.maps == 1
        both, either = (shadow & marked).sum((1, 2)), (shadow | marked).sum((1, 2))
        return np.where(either > 0, both / np.maximum(either, 1), 1.0)


def experiment(n_seeds: int, structures: Sequence[str] = STRUCTURES) -> Experiment:
    """All conditions, for some seeds."""
    cases = [
        Case(f"{errors} errors", seed, {"structure": s, "scheme": scheme, "errors": errors})
        for s in structures
        for scheme in SCHEMES
        for errors in ERRORS
        for seed in range(n_seeds)
    ]
    few = {"scheme": next(iter(SCHEMES)), "errors": "few", "shift": _SHIFT}
    shifted = [
        Case("shifted fields", seed, {"structure": s, **few})
        for s in structures
        for seed in range(n_seeds)
    ]
    blobs = [
        Case("blob detector", k, {"structure": "granule", "scheme": few["scheme"], "errors": BLOBS})
        for k in range(n_seeds if "granule" in structures else 0)
    ]
    parameters = {"shape": list(SHAPE), "voxel": VOXEL, "errors": ERRORS}
    return Experiment(
        "segmentation", run_case, (*cases, *shifted, *blobs), parameters, lower=("time",), version=2
    )


def run_case(case: Case) -> list[Row]:
    """IoU with the truth, and time as a ratio to plain votes, of every variant."""
    settings = case.settings
    structure, scheme, errors = (settings[key] for key in ("structure", "scheme", "errors"))
    specimen = make(structure, scheme, errors, case.seed, settings.get("shift", 0.0))
    VARIANTS["plain"](specimen)  # compiled, or read from numba's cache, before anything is timed
    algorithm = f"{structure}, {scheme}"
    rows, plain_time = [], None
    for name, variant in VARIANTS.items():
        began = time.perf_counter()
        mask = variant(specimen)
        took = time.perf_counter() - began
        plain_time = plain_time or took
        value = Confusion.of(mask, specimen.truth).iou
        rows.append(Row(algorithm, name, case.condition, case.seed, "IoU", value))
        if case.condition == "few errors":
            rows.append(Row(algorithm, name, case.condition, case.seed, "time", took / plain_time))
    return rows


def make(structure: str, scheme: str, errors: str, seed: int, shift: float = 0.0) -> Specimen:
    """Simulate a series of maps.

    Parameters
    ----------
    structure : {"granule", "mitochondrion"}
        What is to be segmented.
    scheme, errors : str
        Keys of `SCHEMES` and `ERRORS`; or errors are those of a detector of granules (`BLOBS`).
    seed : int
        Of specimen and errors.
    shift : float
        Images are off by up to this part of their width, so fields cover the volume in part.

    Returns
    -------
    Specimen
    """
    steepest, step = SCHEMES[scheme]
    angles = TiltScheme(-steepest, steepest, step).angles
    random = np.random.default_rng(seed)
    width = SHAPE[2] * VOXEL
    shifts = random.uniform(-shift * width, shift * width, len(angles)).tolist()
    geometry = TiltGeometry(angles, SHAPE[1:], VOXEL, shift_x=shifts)
    grid = VolumeGrid(SHAPE, VOXEL)
    scene = cell([n * VOXEL for n in SHAPE], n_mitochondria=2, n_granules=4, n_gold=0, seed=seed)
    tilts = range(geometry.n_tilts)
    if errors == BLOBS:
        masks = [_blobs(scene, geometry, t, seed) for t in tilts]
    else:
        model = DetectorErrors(seed=seed, **ERRORS[errors])
        masks = [detected_mask(scene, structure, geometry, t, model) for t in tilts]
    soft = np.stack([softened(m, 1.0, 0.1, random) for m in masks])
    truth = scene.labels(structure, grid, (0, 0, 0), grid.shape) > 0
    maps = (soft > 0.5).astype(np.uint8)
    return Specimen(geometry, grid, maps, truth, soft.astype(np.float32))


def _blobs(scene: Scene, geometry: TiltGeometry, tilt: int, seed: int) -> Mask:
    """What a detector of dark disks finds in a noisy image."""
    image = acquire(scene, geometry, tilt, Acquisition(dose=120.0, read_noise=1.0, seed=seed))
    disks = Blobs(diameter=180.0, threshold=4.0)(image, geometry.pixel_size)
    return fill_disks(disks, image.shape) > 0


def _plain(s: Specimen) -> Mask:
    return s.cut(lifted(Votes(s.geometry, s.grid), s.maps), s.geometry.n_tilts)


def _best_threshold(s: Specimen) -> Mask:
    votes = lifted(Votes(s.geometry, s.grid), s.maps)
    n = s.geometry.n_tilts
    inside = np.bincount(votes[s.truth], minlength=n + 1)[::-1].cumsum()[::-1]
    outside = np.bincount(votes[~s.truth], minlength=n + 1)[::-1].cumsum()[::-1]
    iou = inside / (s.truth.sum() + outside)
    return np.asarray(votes >= 1 + int(np.argmax(iou[1:])))


def _plain_own(s: Specimen) -> Mask:
    votes = lifted(Votes(s.geometry, s.grid), s.maps)
    return s.cut_each(votes, s.geometry.n_tilts)


def _shares(
    sectors: int, *, coverage: bool = True, own: bool = False
) -> Callable[[Specimen], Mask]:
    def variant(s: Specimen) -> Mask:
        scores = lifted(BalancedVotes(s.geometry, s.grid, sectors, coverage), s.maps)
        return s.cut_each(scores) if own else s.cut(scores)

    return variant


def _weighted(weights_of: Callable[[Specimen], FloatArray]) -> Callable[[Specimen], Mask]:
    """Shares of votes that count for more or less by tilt."""

    def variant(s: Specimen) -> Mask:
        weights = weights_of(s)
        total = np.zeros(s.grid.shape, np.float32)
        for t, weight in enumerate(weights / weights.sum()):
            one = Votes(s.geometry.select([t]), s.grid)
            total += np.float32(weight) * lifted(one, s.maps[t : t + 1])
        return s.cut(np.rint(MAX_SCORE * np.clip(total, 0, 1)).astype(np.uint8))

    return variant


def _cosines(s: Specimen) -> FloatArray:
    return np.cos(np.deg2rad(s.geometry.tilt_angles))


def _residual_weights(s: Specimen) -> FloatArray:
    """The squared IoU of each tilt with the plain result."""
    return s.iou_per_tilt(_plain(s)) ** 2 + 1e-6


def _soft(s: Specimen) -> Mask:
    """The mean of probabilities, linearly interpolated."""
    mean = np.nan_to_num(lifted(WeightedMean(s.geometry, s.grid), s.probabilities))
    return s.cut(np.rint(MAX_SCORE * np.clip(mean, 0, 1)).astype(np.uint8))


def _unexplained(s: Specimen) -> Mask:
    """Votes of the marks that the plain result does not reproject to, added where they help."""
    mask = _plain(s)
    shadow = projected("binary", mask.astype(np.uint8), s.geometry, s.grid) > 0
    rest = ((s.maps == 1) & ~shadow).astype(np.uint8)
    votes = lifted(Votes(s.geometry, s.grid), rest)
    best, agreement = mask, float(s.iou_per_tilt(mask).mean())
    for threshold in range(s.geometry.n_tilts // 4, int(votes.max())):
        more = mask | (votes > threshold)
        value = float(s.iou_per_tilt(more).mean())
        if value > agreement:
            best, agreement = more, value
    return best


def _fitted(s: Specimen, n_iterations: int = 15) -> Mask:
    """A bounded volume fitted to the masks, as SIRT would: gradient steps on a likelihood.

    A ray of path sum A through the volume is marked with the probability p = e1 + (1 - e0 - e1)
    (1 - exp(-A)); the rates e0 and e1 of missed and false pixels come from the plain result, which
    is also the start. Densities stay within 0 and 1.5, and 0 where less than 40 % of tilts vote.
    """
    votes = lifted(Votes(s.geometry, s.grid), s.maps)
    start = s.cut(votes, s.geometry.n_tilts)
    shadow = projected("binary", start.astype(np.uint8), s.geometry, s.grid) > 0
    marked = s.maps == 1
    e0 = float(np.clip((~marked & shadow).sum() / max(shadow.sum(), 1), 0.01, 0.45))
    e1 = float(np.clip((marked & ~shadow).sum() / max((~shadow).sum(), 1), 1e-3, 0.3))
    allowed = votes > 0.4 * s.geometry.n_tilts
    volume = np.where(start, 0.5, np.where(allowed, 0.02, 0.0)).astype(np.float32)
    mean = WeightedMean(s.geometry, s.grid)
    for _ in range(n_iterations):
        survives = np.exp(-projected("sum", volume, s.geometry, s.grid))
        p = e1 + (1 - e0 - e1) * (1 - survives)
        gradient = (1 - e0 - e1) * survives * np.where(marked, 1 / p, -1 / (1 - p))
        step = np.nan_to_num(lifted(mean, gradient.astype(np.float32)))
        volume = np.where(allowed, np.clip(volume + step, 0, 1.5), 0).astype(np.float32)
    return s.cut(np.rint(MAX_SCORE * np.clip(volume, 0, 1)).astype(np.uint8))


VARIANTS: dict[str, Callable[[Specimen], Mask]] = {
    "plain": _plain,
    "plain, own thresholds": _plain_own,
    "coverage": _shares(1, coverage=True),
    "balanced (3 sectors)": _shares(3, coverage=False),
    "balanced (5 sectors)": _shares(5, coverage=False),
    "balanced, coverage": _shares(3),
    "balanced, coverage, own thresholds (default)": _shares(3, own=True),
    "weights cos t": _weighted(_cosines),
    "weights 1 / cos t": _weighted(lambda s: 1 / _cosines(s)),
    "weights by residual": _weighted(_residual_weights),
    "soft votes": _soft,
    "unexplained rays": _unexplained,
    "bounded fit": _fitted,
    "plain, best threshold (knows the truth)": _best_threshold,
}


def bad_tilts_experiment(n_seeds: int) -> Experiment:
    """Series of which some tilts are misaligned, dark or wrongly annotated."""
    cases = [
        Case(f"{errors} errors", seed, {"structure": s, "errors": errors})
        for s in STRUCTURES
        for errors in ("none", "few", "some")
        for seed in range(n_seeds)
    ]
    return Experiment("tilts", run_bad_tilts, tuple(cases), baseline="all tilts", version=3)


def run_bad_tilts(case: Case) -> list[Row]:
    """Three tilts shifted by 8 pixels, two dark, one marked all over: are they found."""
    structure = case.settings["structure"]
    specimen = make(structure, next(iter(SCHEMES)), case.settings["errors"], case.seed)
    maps, bad = _spoiled(specimen.maps, case.seed)
    spoiled = dataclasses.replace(specimen, maps=maps)
    algorithm, variants = f"{structure}, six bad tilts of 41", {"all tilts": np.zeros(0, int)}
    disagreeing = _disagreeing(spoiled)
    variants |= {"those that disagree left out": disagreeing, "the bad ones left out": bad}
    rows = []
    for name, out in variants.items():
        kept = [t for t in range(len(maps)) if t not in out]
        rest = dataclasses.replace(spoiled, geometry=spoiled.geometry.select(kept), maps=maps[kept])
        value = Confusion.of(_shares(3)(rest), specimen.truth).iou
        rows.append(Row(algorithm, name, case.condition, case.seed, "IoU", value))
    weighted = Confusion.of(_weighted(_residual_weights)(spoiled), specimen.truth).iou
    rows.append(Row(algorithm, "weights by residual", case.condition, case.seed, "IoU", weighted))
    hits = len(set(disagreeing.tolist()) & set(bad.tolist()))
    name = "those that disagree left out"
    for measure, value in (
        ("bad tilts found", hits / len(bad)),
        ("good tilts left out", float(len(disagreeing) - hits)),
    ):
        rows.append(Row(algorithm, name, case.condition, case.seed, measure, value))
    return rows


def _spoiled(maps: Maps, seed: int) -> tuple[Maps, npt.NDArray[np.int64]]:
    """Maps of which six are spoiled, and which."""
    random, maps = np.random.default_rng(seed), maps.copy()
    bad = random.choice(len(maps), 6, replace=False)
    for t in bad[:3]:
        maps[t] = np.roll(maps[t], 8, axis=1)
    maps[bad[3:5]] = 0
    maps[bad[5]] |= random.random(maps.shape[1:]) < 0.1
    return maps, np.sort(bad)


def _disagreeing(s: Specimen) -> npt.NDArray[np.int64]:
    """Tilts far below their neighbours in agreement."""
    scores = lifted(BalancedVotes(s.geometry, s.grid), s.maps)
    curve = threshold_curve(scores, s.maps, s.geometry, s.grid, MAX_SCORE)
    at = curve.best
    columns = (curve.iou[:, at], curve.precision[:, at], curve.recall[:, at])
    return np.flatnonzero(consistency_of(s.geometry.tilt_angles, *columns).disagrees)

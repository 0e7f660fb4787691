"""Section 3.1 of the paper: granules by a 2D network and Algorithm 1, or by a 3D network.

Two simulated tomograms of mitochondria with calcium phosphate granules: networks learn from the
first, and the second is judged, by the IoU of the 3D mask with the truth. The 2D path learns from
the true silhouettes on the tilts of the first, detects on those of the second, and lifts. The 3D
path reconstructs both by weighted backprojection, learns from the true volume of the first, and
detects in the second. (The paper: 0.523 for 2D, 0.459 for 3D CheXNet, on real data.)

The 3D path is the product's: statistics, windows, scores and thresholds are its functions.

Same rules for all: the best network by the IoU on a held-out block (tilts, or rows of the volume),
its threshold from there, AdamW with the same schedule; numbers of steps are set such that training
takes about as much processor time each, and that time is reported.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tomodist.algorithms.lift.backproject import Votes, WeightedMean
from tomodist.algorithms.lift.balanced import MAX_SCORE, BalancedVotes
from tomodist.algorithms.reconstruct.wbp import WeightedBackprojection
from tomodist.experiments.cases import Case, Row
from tomodist.experiments.inmemory import cut_each, lifted, threshold_curve
from tomodist.experiments.learning import learn, split_tilts
from tomodist.experiments.report import Experiment
from tomodist.experiments.tomograms import SimulatedTomogram, simulate_tomogram
from tomodist.learned.detectors.tiles import Blending
from tomodist.learned.detectors.volume import (
    OVERLAP,
    SIDE,
    as_scores,
    blended_probabilities,
    score_above,
)
from tomodist.learned.model.network import dense_output, sigmoid
from tomodist.learned.networks.build import seeded
from tomodist.learned.networks.device import use_threads
from tomodist.learned.networks.spec import Architecture
from tomodist.learned.training.examples import Example, Loaded
from tomodist.learned.training.schedule import Schedule
from tomodist.learned.training.segment import SegmentJob
from tomodist.learned.training.split import block_of
from tomodist.metrics import Confusion
from tomodist.sources.statistics import combined, sums_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.learned.detectors.tiles import Window
    from tomodist.learned.model.torch_network import TorchNetwork
    from tomodist.learned.training.loop import Trained
    from tomodist.values.arrays import AnyArray, BoolArray, Float32Array, UInt8Array


LABEL = "granule"
PAPER = "2D network, plain votes"
SHAPE = (100, 256, 256)
_ROWS_APART = 16  # voxels between the rows to learn from and those to judge by


class Condition(NamedTuple):
    """How tilt series are taken: signal-to-noise ratio, rms misalignment (Å), tilt step (°)."""

    snr: float
    jitter: float = 0.0
    step: float = 3.0

    @property
    def name(self) -> str:
        """Name of the condition."""
        words = [f"SNR {self.snr:g}"]
        words += [f"{self.jitter:g} Å misaligned"] if self.jitter else []
        words += [f"tilts every {self.step:g}°"] if self.step != 3 else []
        return ", ".join(words)

    @property
    def settings(self) -> dict[str, str]:
        """Fields as text, because JSON has no infinity."""
        return {name: str(value) for name, value in self._asdict().items()}


CONDITIONS = (
    Condition(0.3),
    Condition(0.1),
    Condition(0.3, jitter=100.0),
    Condition(0.3, step=10.0),
)


@dataclass(frozen=True)
class Contender:
    """Network with its training schedule."""

    architecture: Architecture
    schedule: Schedule


@dataclass(frozen=True)
class Settings:
    """Settings that all cases share.

    Parameters
    ----------
    shape : tuple of int
        Of the volume.
    steps : int
        Of the 2D network; the 3D residual U-Net takes 0.4 times as many, 3D CheXNet a quarter.
    side, side_3d : int
        Of patches, in pixels and in voxels.
    """

    shape: tuple[int, int, int] = SHAPE
    steps: int = 1000
    side: int = 128
    side_3d: int = 48

    def flat(self, seed: int) -> Contender:
        """The 2D network."""
        return Contender(Architecture(), Schedule(steps=self.steps, side=self.side, seed=seed))

    def solid(self, seed: int) -> dict[str, Contender]:
        """The 3D networks: the strong one, and a narrow DenseNet-121 (CheXNet) of the paper."""
        small = {"blocks": (2, 4, 6, 4), "growth": 16}
        of = {"batch": 4, "side": self.side_3d, "seed": seed}
        return {
            "3D residual U-Net": Contender(
                Architecture("residual-unet", 3), Schedule(steps=max(1, 2 * self.steps // 5), **of)
            ),
            "3D CheXNet (narrow)": Contender(
                Architecture("dense-unet", 3, options=small),
                Schedule(steps=max(1, self.steps // 4), **of),
            ),
        }


def experiment(
    n_seeds: int,
    conditions: Sequence[Condition] = CONDITIONS,
    settings: Settings | None = None,
) -> Experiment:
    """Experiment over all conditions and some seeds.

    Parameters
    ----------
    n_seeds : int
        Pairs of tomograms.
    conditions : sequence of Condition
        On what.
    settings : Settings, optional
        Of size and training.

    Returns
    -------
    Experiment
    """
    shared = vars(settings or Settings())
    cases = [
        Case(condition.name, seed, {**shared, **condition.settings})
        for condition in conditions
        for seed in range(n_seeds)
    ]
    parameters = {**shared, "conditions": [condition.settings for condition in conditions]}
    parameters = {k: list(v) if isinstance(v, tuple) else v for k, v in parameters.items()}
    return Experiment("granules", run_case, tuple(cases), parameters, PAPER, ("training time",))


def run_case(case: Case) -> list[Row]:
    """Train on one tomogram, judge on another, by every path."""
    values = dict(case.settings)
    taken = Condition(*(float(values.pop(name)) for name in Condition._fields))
    settings = Settings(tuple(values.pop("shape")), **values)
    use_threads(1)  # cases run side by side
    known, unknown = (
        simulate_tomogram(2 * case.seed + k, shape=settings.shape, **taken._asdict())
        for k in (0, 1)
    )
    truth = unknown.truth(LABEL) > 0
    rows = []

    def tell(variant: str, measure: str, value: float) -> None:
        rows.append(Row("granules", variant, case.condition, case.seed, measure, value))

    began = time.process_time()
    network, trained = _learnt(settings.flat(case.seed), *split_tilts([known], LABEL))
    tell("2D network, plain votes", "training time", time.process_time() - began)
    masks = detect_tilts(network, unknown, trained)
    tell("2D network, plain votes", "2D IoU", _iou(masks.maps > 0, unknown.maps(LABEL) > 0))
    for name, mask in lift_all(unknown, masks).items():
        tell(name, "IoU", _iou(mask, truth))
    volumes = [reconstructed(t) for t in (known, unknown)]
    for name, contender in settings.solid(case.seed).items():
        began = time.process_time()
        network, trained = _learnt(contender, *_blocks(known, volumes[0]))
        tell(name, "training time", time.process_time() - began)
        scores = detect_volume(network, volumes[1])
        threshold = score_above(trained.score.details["thresholds"][0])
        tell(name, "IoU", _iou(scores > threshold, truth))
    return rows


def _learnt(
    contender: Contender, training: list[Loaded], validation: list[Loaded]
) -> tuple[TorchNetwork, Trained]:
    """Train one network; its best form."""
    module = seeded(contender.architecture, contender.schedule.seed)
    job = SegmentJob(contender.schedule, (LABEL,))
    return learn(job, module, training, validation, contender.schedule)


def _blocks(known: SimulatedTomogram, volume: Float32Array) -> tuple[list[Loaded], list[Loaded]]:
    """The volume with its truth: rows to learn from in two blocks, and the held-out rows."""
    truth = (known.truth(LABEL) > 0).astype(np.uint8)
    marked = truth.sum(axis=(0, 2), dtype=np.int64).tolist()
    split = block_of(volume.shape[1], marked, gap=_ROWS_APART)
    parts = []
    for rows in (split.training, split.validation):
        runs = np.split(np.array(rows), np.flatnonzero(np.diff(rows) > 1) + 1)
        blocks = (slice(int(run[0]), int(run[-1]) + 1) for run in runs)
        parts.append(
            [
                Loaded(f"rows {b.start} to {b.stop}", Example.of(volume[:, b], truth[None, :, b]))
                for b in blocks
            ]
        )
    return parts[0], parts[1]


@dataclass(frozen=True, eq=False)
class TiltDetections:
    """Probabilities of every tilt, and masks."""

    probabilities: Float32Array
    maps: UInt8Array


def detect_tilts(
    network: TorchNetwork, unknown: SimulatedTomogram, trained: Trained
) -> TiltDetections:
    """Apply the 2D network to every tilt.

    Parameters
    ----------
    network : TorchNetwork
        The trained 2D network.
    unknown : SimulatedTomogram
        The tomogram that the networks did not learn from.
    trained : Trained
        Result of the training, for the threshold.

    Returns
    -------
    TiltDetections
    """
    examples = unknown.examples(LABEL)
    outputs = [dense_output(network, e.example.image)[0] for e in examples]
    probabilities = np.stack([sigmoid(output) for output in outputs])
    threshold = trained.score.details["thresholds"][0]
    return TiltDetections(probabilities, (probabilities > threshold).astype(np.uint8))


def lift_all(unknown: SimulatedTomogram, tilts: TiltDetections) -> dict[str, BoolArray]:
    """Lift detections by Algorithm 1, its variants, and soft votes.

    Parameters
    ----------
    unknown : SimulatedTomogram
        The tomogram that the networks did not learn from.
    tilts : TiltDetections
        Detections on its tilts.

    Returns
    -------
    dict of str to ndarray, shape of the grid, bool
        Masks by the name of the variant.
    """
    at = (unknown.nominal, unknown.grid)
    n = unknown.n_tilts
    votes = lifted(Votes(*at), tilts.maps)
    balanced = lifted(BalancedVotes(*at), tilts.maps)
    soft = np.nan_to_num(lifted(WeightedMean(*at), tilts.probabilities))
    soft = np.rint(MAX_SCORE * np.clip(soft, 0, 1)).astype(np.uint8)

    def best(scores: AnyArray, max_score: int) -> int:
        return threshold_curve(scores, tilts.maps, *at, max_score).best

    cut = best(balanced, MAX_SCORE)
    return {
        PAPER: votes > best(votes, n),
        "2D network, balanced votes": balanced > cut,
        "2D network, balanced, own thresholds (default)": cut_each(
            balanced, cut, tilts.maps, *at, MAX_SCORE
        ),
        "2D network, soft votes": soft > best(soft, MAX_SCORE),
    }


def reconstructed(tomogram: SimulatedTomogram) -> Float32Array:
    """Weighted backprojection, normalised."""
    method = WeightedBackprojection(tomogram.nominal, tomogram.grid)
    filtered = [method.filtered(t, tomogram.images[t]) for t in range(tomogram.n_tilts)]
    volume: Float32Array = lifted(method.lifting, np.stack(filtered))
    return combined([sums_of(volume)]).normalised(volume)


def detect_volume(network: TorchNetwork, volume: Float32Array) -> UInt8Array:
    """Apply the 3D network to a volume, by overlapping windows.

    Parameters
    ----------
    network : TorchNetwork
        The trained 3D network.
    volume : ndarray, shape (nz, ny, nx), float32
        Normalised reconstruction.

    Returns
    -------
    ndarray, shape (nz, ny, nx), uint8
        Scores, as they would be stored.
    """
    whole = tuple((0, n) for n in volume.shape)
    blending = Blending(volume.shape, SIDE, OVERLAP)

    def read(window: Window) -> Float32Array:
        return volume[tuple(slice(*w) for w in window)]

    return as_scores(blended_probabilities(network, read, blending, whole)[0])


def _iou(mask: BoolArray, truth: BoolArray) -> float:
    return float(Confusion.of(np.asarray(mask), np.asarray(truth)).iou)

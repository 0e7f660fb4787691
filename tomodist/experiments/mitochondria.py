"""Section 3.3 of the paper: mitochondria by boxes on the tilts, lifted to 3D.

Detectors of boxes learn from the true boxes of one or of three simulated tomograms, and find those
of another. Their boxes are judged in 2D, by average precision and F1 at an IoU of 0.5, and lifted
in two ways, by components of the votes of filled boxes and by tracks, and these are judged in 3D by
their centres. The detectors:

- the default, a network of centres;
- a network of masks (learnt from the true masks), of which the connected parts give the boxes: the
  way for those who have no boxes to learn from;
- the paper's Faster R-CNN, on the encoder of the default network, where torchvision can be used;
- the true boxes, which tell what lifting alone costs.

Same rules for all: the best network by a held-out block of tilts, its threshold from there, AdamW
with the same schedule; the Faster R-CNN takes half as many steps of half as many patches, at which
it still takes far longer. Processor times are reported.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tomodist.experiments.cases import Case, Row
from tomodist.experiments.learning import learn, split_tilts
from tomodist.experiments.objects import by_components, by_tracks
from tomodist.experiments.report import Experiment
from tomodist.experiments.tomograms import VOXEL, SimulatedTomogram, simulate_tomogram
from tomodist.learned.detectors.centers import found_boxes
from tomodist.learned.detectors.faster_rcnn import boxes_of_rows
from tomodist.learned.model.network import dense_output, sigmoid
from tomodist.learned.networks.build import seeded
from tomodist.learned.networks.device import use_threads
from tomodist.learned.networks.faster_rcnn import SMALL, is_available
from tomodist.learned.networks.spec import FASTER_RCNN, N_REGRESSION, Architecture
from tomodist.learned.training.centers import (
    LOWEST,
    CentersJob,
    first_network,
    hits_of,
    mean_log_size,
)
from tomodist.learned.training.faster_rcnn import FasterRCNNJob
from tomodist.learned.training.schedule import Schedule
from tomodist.learned.training.segment import SegmentJob
from tomodist.metrics import Agreement, match_boxes, match_points
from tomodist.metrics.precision import RankedHits
from tomodist.values.boxes import Boxes, boxes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tomodist.learned.training.loop import Trained
    from tomodist.values.arrays import Float32Array

    Learner = Callable[[Sequence[SimulatedTomogram], "Settings", int], "Detector"]

LABEL = "mitochondrion"
CENTERS, MASKS = "centre network", "mask network, its parts"
RCNN, TRUE = "Faster R-CNN", "true boxes"
SHAPE = (100, 256, 256)
NEAR = 200.0  # Å: a centre so near is found; the smallest mitochondria are 800 across


class Condition(NamedTuple):
    """Signal-to-noise ratio, and how many tomograms are learnt from."""

    snr: float
    n_tomograms: int

    @property
    def name(self) -> str:
        """Name of the condition."""
        many = f"{self.n_tomograms} tomogram{'s' * (self.n_tomograms > 1)}"
        return f"SNR {self.snr:g}, {many}"


CONDITIONS = tuple(Condition(snr, n) for snr in (3.0, 0.3) for n in (1, 3))


@dataclass(frozen=True)
class Settings:
    """Settings that all cases share.

    Parameters
    ----------
    shape : tuple of int
        Of the volume.
    n_mitochondria : int
        In each tomogram.
    steps : int
        Of training.
    side : int
        Of patches.
    faster_rcnn : bool
        Whether there is one.
    """

    shape: tuple[int, int, int] = SHAPE
    n_mitochondria: int = 6
    steps: int = 400
    side: int = 128
    faster_rcnn: bool = False


@dataclass(frozen=True, eq=False)
class Detector:
    """Function that finds boxes in a normalised image, and the threshold on their scores.

    Parameters
    ----------
    find : callable
        Boxes of an image, of any score.
    threshold : float
        Boxes of a higher score are kept.
    """

    find: Callable[[Float32Array], Boxes]
    threshold: float


def experiment(
    n_seeds: int,
    conditions: Sequence[Condition] = CONDITIONS,
    settings: Settings | None = None,
) -> Experiment:
    """Experiment over all conditions and some seeds.

    Parameters
    ----------
    n_seeds : int
        Sets of tomograms.
    conditions : sequence of Condition
        On what.
    settings : Settings, optional
        Of size and training; by default with a Faster R-CNN if torchvision can be imported.

    Returns
    -------
    Experiment
    """
    shared = vars(settings or Settings(faster_rcnn=is_available()))
    cases = [
        Case(condition.name, seed, {**shared, **condition._asdict()})
        for condition in conditions
        for seed in range(n_seeds)
    ]
    parameters = {**shared, "near": NEAR, "conditions": [c._asdict() for c in conditions]}
    parameters["shape"] = list(parameters["shape"])
    lower = ("centre error (Å)", "training time (s)", "time per image (s)")
    return Experiment("mitochondria", run_case, tuple(cases), parameters, CENTERS, lower)


def run_case(case: Case) -> list[Row]:
    """Train the detectors, and judge them on another tomogram."""
    values = dict(case.settings)
    condition = Condition(*(values.pop(name) for name in Condition._fields))
    settings = Settings(**{**values, "shape": tuple(values["shape"])})
    use_threads(1)  # cases run side by side
    *known, unknown = (
        simulate_tomogram(
            4 * case.seed + k,
            shape=settings.shape,
            snr=condition.snr,
            n_mitochondria=settings.n_mitochondria,
            n_granules=2,
        )
        for k in (*range(condition.n_tomograms), 3)
    )
    rows: list[Row] = []

    def tell(algorithm: str, variant: str, values: dict[str, float]) -> None:
        for measure, value in values.items():
            rows.append(Row(algorithm, variant, case.condition, case.seed, measure, value))

    for name, way in learners(settings).items():
        began = time.process_time()
        detector = way(known, settings, case.seed)
        learnt = time.process_time()
        examples = unknown.examples(LABEL, with_boxes=True)
        every = [detector.find(one.example.image) for one in examples]
        took = (time.process_time() - learnt) / unknown.n_tilts
        kept = [boxes.select(boxes.score > detector.threshold) for boxes in every]
        tell("2D", name, {**box_measures(every, kept, unknown), "time per image (s)": took})
        tell("2D", name, {"training time (s)": learnt - began})
        for lifted_by, of_objects in object_measures(kept, unknown).items():
            tell(lifted_by, name, of_objects)
    for lifted_by, of_objects in object_measures(unknown.boxes(LABEL), unknown).items():
        tell(lifted_by, TRUE, of_objects)
    return rows


def learners(settings: Settings) -> dict[str, Learner]:
    """Ways to a detector, by name."""
    ways: dict[str, Learner] = {CENTERS: learn_centers, MASKS: learn_masks}
    if settings.faster_rcnn:
        ways[RCNN] = learn_faster_rcnn
    return ways


def learn_centers(known: Sequence[SimulatedTomogram], settings: Settings, seed: int) -> Detector:
    """Train the default detector, a network of centres.

    Parameters
    ----------
    known : sequence of SimulatedTomogram
        Tomograms to learn from.
    settings : Settings
        Of the experiment.
    seed : int
        Seed of weights and patches.

    Returns
    -------
    Detector
    """
    training, validation = split_tilts(known, LABEL, with_boxes=True)
    schedule = _schedule(settings, seed)
    size = mean_log_size([e.example.boxes[0] for e in training])
    job = CentersJob(schedule, (LABEL,))
    network, trained = learn(job, first_network(1, seed, size), training, validation, schedule)
    return Detector(lambda image: found_boxes(network, image, LOWEST, 1)[0], _threshold(trained))


def learn_masks(known: Sequence[SimulatedTomogram], settings: Settings, seed: int) -> Detector:
    """Train a segmentation network, whose connected parts give the boxes.

    Parameters and result as for `learn_centers`.
    """
    training, validation = split_tilts(known, LABEL)
    schedule = _schedule(settings, seed)
    job = SegmentJob(schedule, (LABEL,))
    module = seeded(Architecture(), seed)
    network, trained = learn(job, module, training, validation, schedule)
    threshold = _threshold(trained)

    def find(image: Float32Array) -> Boxes:
        return boxes_of(sigmoid(dense_output(network, image)[0]) > threshold)

    return Detector(find, 0.0)


def learn_faster_rcnn(
    known: Sequence[SimulatedTomogram], settings: Settings, seed: int
) -> Detector:
    """Train the paper's Faster R-CNN, with a small backbone.

    Parameters and result as for `learn_centers`.
    """
    training, validation = split_tilts(known, LABEL, with_boxes=True)
    schedule = _schedule(settings, seed, part=2)
    job = FasterRCNNJob(schedule, (LABEL,))
    module = seeded(Architecture(FASTER_RCNN, 2, 1 + N_REGRESSION, {"backbone": SMALL}), seed)
    network, trained = learn(job, module, training, validation[::2], schedule)
    return Detector(
        lambda image: boxes_of_rows(network(image[None, None])[0], LOWEST, 0), _threshold(trained)
    )


def box_measures(
    every: Sequence[Boxes], kept: Sequence[Boxes], unknown: SimulatedTomogram
) -> dict[str, float]:
    """Quality of the 2D boxes of all tilts.

    Parameters
    ----------
    every, kept : sequence of Boxes
        Per tilt: boxes of any score, and those above the threshold.
    unknown : SimulatedTomogram
        The tomogram that the networks did not learn from.

    Returns
    -------
    dict of str to float
        AP50 and F1.
    """
    ranked, matches = RankedHits.nothing(), Agreement()
    for ranking, sure, true in zip(every, kept, unknown.boxes(LABEL), strict=True):
        ranked += hits_of(ranking, true)
        sure = sure.select((sure.size > 0).all(axis=1))
        matches += match_boxes(sure.center, sure.size, true.center, true.size)
    return {"AP50": ranked.average_precision, "F1": matches.f1}


def object_measures(
    kept: Sequence[Boxes], unknown: SimulatedTomogram
) -> dict[str, dict[str, float]]:
    """Quality of the 3D objects from boxes, by components and by tracks.

    Parameters
    ----------
    kept : sequence of Boxes
        Boxes of every tilt.
    unknown : SimulatedTomogram
        The tomogram that the networks did not learn from.

    Returns
    -------
    dict of str to dict
        Measures by the way of lifting.
    """
    rows = [np.concatenate([b.center, b.size], axis=1) for b in kept]
    structures = unknown.scene.structures(LABEL)
    true = unknown.grid.indices([s.center for s in structures]) * VOXEL
    by_way = {
        "3D by components": by_components(unknown.nominal, unknown.grid, rows),
        "3D by tracks": by_tracks(unknown.nominal, unknown.grid, rows),
    }
    values = {}
    for way, objects in by_way.items():
        near = match_points(objects.center * VOXEL, true, NEAR)
        values[way] = {
            "precision": near.precision,
            "recall": near.recall,
            "F1": near.f1,
            "centre error (Å)": near.median_center_error,
        }
    return values


def _threshold(trained: Trained) -> float:
    """Threshold of the only class."""
    return float(trained.score.details["thresholds"][0])


def _schedule(settings: Settings, seed: int, part: int = 1) -> Schedule:
    """Training schedule; `part` divides its steps and patches."""
    steps = max(1, settings.steps // part)
    of = {"side": settings.side, "batch": 8 // part, "every": max(1, steps // 8)}
    return Schedule(steps=steps, seed=seed, **of)

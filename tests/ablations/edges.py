"""Ablation of Algorithm 2: refinement, the threshold T, denoising, and the 2D detector.

One rule: all variants of a case see the same images, and T is either chosen from the data (by
`tomodist.algorithms.threshold.ray_lengths`) or the best one that the truth allows, so that
refinement is judged apart from the choice of T.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, get_args

from tests.ablations.criteria import all_criteria
from tests.ablations.shells import draw_shells, tilt_angles
from tomodist.detectors.classical import DogEdges
from tomodist.detectors.denoise import METHODS, Denoised
from tomodist.errors import InputError
from tomodist.experiments.cases import Case, Row
from tomodist.experiments.lifted import (
    PLAIN,
    Rule,
    defaults,
    detect_all,
    edge_agreement,
    edge_votes,
    ray_length_threshold,
)
from tomodist.experiments.report import Experiment
from tomodist.experiments.shells import Specimen, make_specimen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tomodist.detectors.base import MapDetector

Part = Literal["refinement", "threshold", "denoise", "detector"]
PARTS: tuple[Part, ...] = get_args(Part)
VERSION = 2  # of what a case measures

RULES = (
    PLAIN,
    *(Rule(1, k, 1) for k in (2, 3)),
    *(Rule(2, k, 1) for k in (2, 3, 4, 5)),
    *(Rule(2, k, m) for k, m in ((3, 2), (4, 2), (5, 2), (5, 4))),
    *(Rule(3, k, m) for k, m in ((3, 1), (5, 1), (5, 2), (7, 2))),
    *(Rule(2, k, m, keep_own=False) for k, m in ((3, 1), (3, 2), (4, 2))),
    *(Rule(3, k, m, keep_own=False) for k, m in ((4, 2), (5, 1), (5, 2), (6, 2))),
    *(Rule(4, k, m, keep_own=False) for k, m in ((5, 2), (6, 2))),
)
SIGMAS, FRACTIONS = (1.0, 1.5, 2.0, 3.0), (0.5, 0.6, 0.7)
_TOLERANCE = 2
_F1 = "F1 within 2, shown part"


def edges_experiment(
    part: Part,
    seeds: int,
    *,
    size: int = 100,
    snrs: Sequence[float] = (math.inf, 1.0, 0.3, 0.1),
    steps: Sequence[float] = (2.0, 5.0),
    sigma: float = 2.0,
    first_seed: int = 0,
) -> Experiment:
    """One of the ablations.

    Parameters
    ----------
    part : {"refinement", "threshold", "denoise", "detector"}
        What is varied: w, k, m and whether a tilt's own mark must hold; how T is chosen; denoising
        before detection; sigma and fraction of the detector.
    seeds : int
        Specimens per condition: odd ones hold two shells.
    size : int
        Of the volume, in voxels each way.
    snrs, steps : sequence of float
        Signal-to-noise ratios (see `make_specimen`) and tilt steps of ±50°.
    sigma : float
        Of the detector, where it is not varied.
    first_seed : int
        The lowest; even and odd ones are different specimens.

    Returns
    -------
    Experiment

    Raises
    ------
    InputError
        If the part is unknown.
    """
    if part not in PARTS:
        raise InputError(f"part is {part!r}; it must be one of {', '.join(PARTS)}")
    settings: dict[str, Any] = {"part": part, "size": size, "sigma": sigma}
    cases = tuple(
        Case(f"SNR {snr:g}, step {step:g}°", seed, {**settings, "snr": str(snr), "step": step})
        for snr in snrs
        for step in steps
        for seed in range(first_seed, first_seed + seeds)
    )
    parameters = {**settings, "snrs": [str(s) for s in snrs], "steps": list(steps)}
    parameters["first_seed"] = first_seed
    baseline = {"threshold": "tilts / 5", "detector": "sigma 2, fraction 0.7"}.get(part, "plain")
    return Experiment(f"edges_{part}", measure_case, cases, parameters, baseline, version=VERSION)


def measure_case(case: Case) -> list[Row]:
    """All variants on one specimen."""
    size, snr = case.settings["size"], float(case.settings["snr"])
    angles = tilt_angles(case.settings["step"])
    specimen = make_specimen(draw_shells(case.seed, size), size, angles, snr, case.seed)
    detector = DogEdges(sigma=case.settings["sigma"])
    measured: Iterable[tuple[str, str, str, float]]
    if case.settings["part"] == "refinement":
        measured = _refinements(specimen, detector)
    elif case.settings["part"] == "threshold":
        measured = _thresholds(specimen, detector)
    elif case.settings["part"] == "denoise":
        measured = _detectors(
            specimen,
            {"plain" if m == "none" else m: Denoised(detector, m) for m in METHODS},
        )
    else:
        grid = [(s, f) for f in FRACTIONS for s in SIGMAS]
        named = {f"sigma {s:g}, fraction {f:g}": DogEdges(sigma=s, threshold=f) for s, f in grid}
        measured = _detectors(specimen, named)
    return [Row(a, v, case.condition, case.seed, m, x) for a, v, m, x in measured]


def _refinements(
    specimen: Specimen, detector: MapDetector
) -> Iterator[tuple[str, str, str, float]]:
    """Every rule, with T from the data, the best T, and a fixed one."""
    maps = detect_all(specimen, detector)
    for rule in RULES:
        votes = edge_votes(specimen, maps, rule)
        agreement = edge_agreement(votes, specimen, [_TOLERANCE])
        fixed = specimen.geometry.n_tilts // 5
        chosen = ray_length_threshold(votes, maps, specimen, rule).best if votes.any() else fixed
        levels = {"T from ray lengths": chosen, "best T": agreement.best(), "T = tilts / 5": fixed}
        for name, level in levels.items():
            yield "edges", rule.name, f"{_F1}, {name}", agreement.measures(level)[_F1]
        precision = agreement.measures(fixed)["precision within 2"]
        yield "edges", rule.name, "precision within 2, T = tilts / 5", precision


def _thresholds(specimen: Specimen, detector: MapDetector) -> Iterator[tuple[str, str, str, float]]:
    """Every way to choose T, without refinement and with the default one."""
    maps = detect_all(specimen, detector)
    for rule in dict.fromkeys((PLAIN, Rule(2, 5, 2), defaults())):
        votes = edge_votes(specimen, maps, rule)
        agreement = edge_agreement(votes, specimen, [_TOLERANCE])
        name = "no refinement" if rule == PLAIN else f"refined by {rule.name}"
        levels = all_criteria(votes, maps, specimen, rule, detector) if votes.any() else {}
        levels["best (from the truth)"] = agreement.best()
        for criterion, level in levels.items():
            level_in_range = min(level, specimen.geometry.n_tilts - 1)
            yield name, criterion, _F1, agreement.measures(level_in_range)[_F1]


def _detectors(
    specimen: Specimen, detectors: Mapping[str, MapDetector]
) -> Iterator[tuple[str, str, str, float]]:
    """Several detectors, with the default refinement."""
    rule = defaults()
    for name, detector in detectors.items():
        maps = detect_all(specimen, detector)
        votes = edge_votes(specimen, maps, rule)
        agreement = edge_agreement(votes, specimen, [_TOLERANCE])
        chosen = ray_length_threshold(votes, maps, specimen, rule).best if votes.any() else 0
        for text, level in {"T from ray lengths": chosen, "best T": agreement.best()}.items():
            yield "edges", name, f"{_F1}, {text}", agreement.measures(level)[_F1]

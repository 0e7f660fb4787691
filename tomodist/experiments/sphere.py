"""The paper's experiment 3.2: the edges of a hollow sphere, round by round of refinement.

One sphere at the centre, tilts of ±50°, exact projections with noise, edges by the difference of
Gaussians. The paper says that every round makes the backprojections more precise; so precision is
reported beside recall, and T is once held fixed and once chosen from the data after every round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.detectors.classical import DogEdges
from tomodist.experiments.cases import Case, Row
from tomodist.experiments.lifted import (
    Rule,
    defaults,
    detect_all,
    edge_agreement,
    edge_votes,
    edges_of,
    ray_length_threshold,
    surface_measures,
)
from tomodist.experiments.report import Experiment
from tomodist.experiments.shells import VOXEL, Shell, Specimen, make_specimen
from tomodist.metrics import squared_distances
from tomodist.pictures.sphere import SphereFigure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.experiments.lifted import Maps
    from tomodist.values.arrays import AnyArray

_RADIUS, _THICKNESS = 0.4, 4.0  # of the side; voxels
_LOWER = tuple(
    f"surface distance, {what}{part}" for what in ("mean", "95 %") for part in ("", ", whole")
)
_FIXED, _CHOSEN = "T = tilts / 5", "T from ray lengths"


@dataclass(frozen=True)
class Settings:
    """Settings of the sphere, the tilt series and the refinement.

    Parameters
    ----------
    size : int
        Of the volume, in voxels each way.
    snr : float
        See `make_specimen`.
    angles : tuple of float
        Tilt angles.
    sigma : float
        Of the detector, in pixels.
    rounds : int
        Most rounds of refinement.
    reach, support : int
        w and k.
    """

    size: int = 100
    snr: float = 0.3
    angles: tuple[float, ...] = tuple(float(a) for a in range(-50, 51, 2))
    sigma: float = 2.0
    rounds: int = 3
    reach: int = 2
    support: int = 4

    @property
    def rules(self) -> list[Rule]:
        """Rounds 0, 1, ..."""
        keep = defaults().keep_own
        return [Rule(self.reach, self.support, m, keep) for m in range(self.rounds + 1)]

    def specimen(self, seed: int) -> Specimen:
        """The sphere, with the noise of a seed."""
        shell = Shell((0.0, 0.0, 0.0), _RADIUS * self.size * VOXEL, _THICKNESS * VOXEL)
        return make_specimen([shell], self.size, self.angles, self.snr, seed)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {**self.__dict__, "snr": str(self.snr), "angles": list(self.angles)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Settings:
        """The inverse of `to_dict`."""
        numbers = {"snr": float(values["snr"]), "angles": tuple(values["angles"])}
        return cls(**{**values, **numbers})


def sphere_experiment(seeds: int, settings: Settings) -> Experiment:
    """The experiment with so many seeds of the noise.

    Parameters
    ----------
    seeds : int
        Of the noise.
    settings : Settings
        Everything else.

    Returns
    -------
    Experiment
    """
    steepest, n = max(map(abs, settings.angles)), len(settings.angles)
    condition = f"SNR {settings.snr:g}, ±{steepest:g}°, {n} tilts"
    values = settings.to_dict()
    cases = tuple(Case(condition, seed, values) for seed in range(seeds))
    return Experiment("sphere", measure_case, cases, values, "plain", _LOWER)


def measure_case(case: Case) -> list[Row]:
    """Measures of every round of refinement against the truth."""
    settings = Settings.from_dict(case.settings)
    specimen = settings.specimen(case.seed)
    maps = detect_all(specimen, DogEdges(sigma=settings.sigma))
    rows = []
    for rule in settings.rules:
        votes = edge_votes(specimen, maps, rule)
        agreement = edge_agreement(votes, specimen)
        for algorithm, threshold in _thresholds(votes, maps, specimen, rule).items():
            values = agreement.measures(threshold) | surface_measures(votes > threshold, specimen)
            values["voxels"] = float(np.count_nonzero(votes > threshold))
            rows += [
                Row(algorithm, _variant(rule), case.condition, case.seed, measure, value)
                for measure, value in values.items()
            ]
    return rows


def _variant(rule: Rule) -> str:
    if not rule.rounds:
        return "plain"
    return f"{rule.rounds} round" + "s" * (rule.rounds > 1)


def _thresholds(votes: AnyArray, maps: Maps, specimen: Specimen, rule: Rule) -> dict[str, int]:
    """Thresholds by algorithm."""
    fixed = specimen.geometry.n_tilts // 5
    chosen = ray_length_threshold(votes, maps, specimen, rule).best if votes.any() else fixed
    return {_CHOSEN: chosen, _FIXED: fixed}


def sphere_figure(settings: Settings, seed: int = 0) -> SphereFigure:
    """Content of the figure for one seed; T is the one chosen after the last round.

    Parameters
    ----------
    settings : Settings
        Of the experiment.
    seed : int
        Of the noise.

    Returns
    -------
    SphereFigure
    """
    specimen = settings.specimen(seed)
    maps = detect_all(specimen, DogEdges(sigma=settings.sigma))
    rounds = [edge_votes(specimen, maps, rule) for rule in settings.rules]
    threshold = _thresholds(rounds[-1], maps, specimen, settings.rules[-1])[_CHOSEN]
    tilts = _three(settings.angles)
    middle = settings.size // 2
    near = squared_distances(specimen.truth, 2) <= 4
    planes = (np.s_[middle], np.s_[:, middle])
    return SphereFigure(
        angles=[settings.angles[t] for t in tilts],
        images=[specimen.images[t] for t in tilts],
        edges=[edges_of(maps[t]) for t in tilts],
        truth=[specimen.truth[p] for p in planes],
        shown=[specimen.shown[p] for p in planes],
        near=[near[p] for p in planes],
        rounds=[[(votes > threshold)[p] for votes in rounds] for p in planes],
        threshold=threshold,
    )


def _three(angles: Sequence[float]) -> list[int]:
    """Tilts near both ends, and the flattest one."""
    order = np.argsort(angles)
    flattest = int(np.argmin(np.abs(angles)))
    return [int(order[len(order) // 8]), flattest, int(order[-1 - len(order) // 8])]

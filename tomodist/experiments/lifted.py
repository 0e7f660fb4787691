"""From images to 3D edges and their measures, in memory: what the experiments on edges share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tomodist.algorithms.lift.edges import RefinedEdges
from tomodist.algorithms.threshold.ray_lengths import (
    RayLengthCurve,
    choose_by_ray_lengths,
    count_ray_lengths,
    sampled_tilts,
)
from tomodist.experiments.inmemory import lifted, projected
from tomodist.metrics import Agreement, surface_distances, tolerant_curve
from tomodist.values.arrays import AnyArray, BoolArray, UInt8Array
from tomodist.values.maps import STRUCTURE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tomodist.detectors.base import MapDetector
    from tomodist.experiments.shells import Specimen
    from tomodist.values.arrays import AnyArray, BoolArray

Maps = UInt8Array

TOLERANCES = (1, 2)  # voxels
_REACH = 16  # voxels: farther surfaces count as so far


class Rule(NamedTuple):
    """w, k, m, and whether a tilt's own mark must hold."""

    reach: int
    support: int
    rounds: int
    keep_own: bool = True

    @property
    def name(self) -> str:
        """Name such as "2, 5, 2", "2, 5, 2 fill", or "plain" without a round."""
        if not self.rounds:
            return "plain"
        text = f"{self.reach}, {self.support}, {self.rounds}"
        return text if self.keep_own else f"{text} fill"


PLAIN = Rule(2, 5, 0)


def defaults() -> Rule:
    """Default rule of `RefinedEdges`."""
    return Rule(
        RefinedEdges.reach, RefinedEdges.support, RefinedEdges.rounds, RefinedEdges.keep_own
    )


def detect_all(specimen: Specimen, detector: MapDetector) -> Maps:
    """2D edges of every tilt.

    Parameters
    ----------
    specimen : Specimen
        The simulated series.
    detector : MapDetector
        Detector of 2D edges.

    Returns
    -------
    ndarray, shape (n_tilts, height, width), uint8
    """
    size = specimen.geometry.pixel_size
    maps: Maps = np.stack([detector(image, size) for image in specimen.images])
    return maps


def edge_votes(specimen: Specimen, maps: Maps, rule: Rule, tilts: Iterable[int] = ()) -> AnyArray:
    """Refined votes of the whole volume, from all tilts or from some.

    Parameters
    ----------
    specimen : Specimen
        The simulated series.
    maps : ndarray, shape (n_tilts, height, width), uint8
        2D edges.
    rule : Rule
        The refinement.
    tilts : iterable of int
        The tilts; by default all.

    Returns
    -------
    ndarray, shape of the grid, uint8 or uint16
    """
    chosen = list(tilts) or list(range(specimen.geometry.n_tilts))
    geometry = specimen.geometry.select(chosen)
    return lifted(RefinedEdges(geometry, specimen.grid, *rule), maps[chosen])


def ray_length_threshold(
    votes: AnyArray, maps: Maps, specimen: Specimen, rule: Rule
) -> RayLengthCurve:
    """Threshold by ray lengths, as in `tomodist.steps.ray_lengths`, in memory.

    Parameters
    ----------
    votes : ndarray, shape of the grid, integer
        Edge votes.
    maps : ndarray, shape (n_tilts, height, width), uint8
        2D edges.
    specimen : Specimen
        The simulated series.
    rule : Rule
        The refinement.

    Returns
    -------
    RayLengthCurve
    """
    geometry, grid = specimen.geometry, specimen.grid
    tilts = list(sampled_tilts(geometry))
    shadow = partial(projected, "sum", geometry=geometry, grid=grid, tilts=tilts)

    def count(thresholds: Sequence[int]) -> dict[int, AnyArray]:
        dense = ((threshold, (votes > threshold).astype(np.float32)) for threshold in thresholds)
        return {
            threshold: count_ray_lengths(shadow(mask), maps[tilts]) for threshold, mask in dense
        }

    return choose_by_ray_lengths(count, geometry.n_tilts, 0 if rule.rounds else 1)


@dataclass(frozen=True)
class EdgeAgreement:
    """Edges at every threshold beside the truth.

    Parameters
    ----------
    whole, shown : dict of int to list of Agreement
        For every tolerance, at every threshold: against the whole truth, and with the recall of
        the part that the tilts can show.
    """

    whole: dict[int, list[Agreement]]
    shown: dict[int, list[Agreement]]

    def best(self, tolerance: int = 2) -> int:
        """The threshold of the highest F1 on the part that can be shown."""
        return int(np.argmax([one.f1 for one in self.shown[tolerance]]))

    def measures(self, threshold: int) -> dict[str, float]:
        """F1, precision and recall at a threshold."""
        values: dict[str, float] = {}
        for tolerance in self.shown:
            shown, whole = self.shown[tolerance][threshold], self.whole[tolerance][threshold]
            values[f"F1 within {tolerance}, shown part"] = shown.f1
            values[f"F1 within {tolerance}, whole"] = whole.f1
            values[f"precision within {tolerance}"] = shown.precision
            values[f"recall within {tolerance}, shown part"] = shown.recall
        return values


def edge_agreement(
    votes: AnyArray, specimen: Specimen, tolerances: Iterable[int] = TOLERANCES
) -> EdgeAgreement:
    """Compare edges at all thresholds 0 .. n_tilts - 1 with the truth.

    Precision asks whether there is any shell near, shown or not: what is found of the rest is right
    as well.

    Parameters
    ----------
    votes : ndarray, shape of the grid, integer
        Edge votes.
    specimen : Specimen
        The simulated series.
    tolerances : iterable of int
        In voxels.

    Returns
    -------
    EdgeAgreement
    """
    n = specimen.geometry.n_tilts
    whole, shown = {}, {}
    for r in tolerances:
        whole[r] = list(tolerant_curve(votes, specimen.truth, r, n_thresholds=n))
        recalled = specimen.shown
        shown[r] = list(tolerant_curve(votes, specimen.truth, r, recalled=recalled, n_thresholds=n))
    return EdgeAgreement(
        {r: [_none_is_wrong(a) for a in whole[r]] for r in whole},
        {r: [_none_is_wrong(a) for a in shown[r]] for r in shown},
    )


def _none_is_wrong(agreement: Agreement) -> Agreement:
    """Agreement whose precision is 0, not 1, where nothing was found."""
    return agreement if agreement.n_predicted else replace(agreement, n_predicted=1)


def surface_measures(mask: AnyArray, specimen: Specimen) -> dict[str, float]:
    """Distances between the surfaces of a result and of the truth.

    Parameters
    ----------
    mask : ndarray, shape of the grid, bool
        The result.
    specimen : Specimen
        The simulated series.

    Returns
    -------
    dict of str to float
        Distances in voxels, by the name of the measure.
    """
    whole = surface_distances(mask, specimen.truth, _REACH)
    shown = surface_distances(mask, specimen.truth, _REACH, counted=specimen.shown)
    # Everything that was found, and only the part of the truth that can be found.
    both = whole.predicted + shown.truth
    return {
        "surface distance, mean": both.mean,
        "surface distance, 95 %": both.percentile(95),
        "surface distance, mean, whole": whole.both.mean,
        "surface distance, 95 %, whole": whole.both.percentile(95),
    }


def edges_of(maps: Maps) -> BoolArray:
    """Mask of the edges in maps."""
    return np.asarray(maps == STRUCTURE)

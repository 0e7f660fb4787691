"""How one result, or several together, agree with the truth.

One rule: scores hold counts and add; what people read is worked out from them when it is asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.errors import InputError

if TYPE_CHECKING:
    from tomodist.metrics.counts import Agreement, Confusion
    from tomodist.metrics.surfaces import Histogram, SurfaceDistances

_PERCENT = 95


@dataclass(frozen=True)
class MaskScores:
    """Agreement of masks.

    Parameters
    ----------
    voxels : Confusion
        Voxels in common.
    surfaces : SurfaceDistances
        How far the surfaces are apart.
    """

    voxels: Confusion
    surfaces: SurfaceDistances

    def __add__(self, other: MaskScores) -> MaskScores:
        return MaskScores(self.voxels + other.voxels, self.surfaces + other.surfaces)

    def to_dict(self, voxel_size: float | None) -> dict[str, Any]:
        """Counts and measures, ready for JSON.

        Parameters
        ----------
        voxel_size : float, optional
            In Å; without it lengths are in voxels only.

        Returns
        -------
        dict
        """
        voxels, surfaces = self.voxels, self.surfaces
        histograms = {
            "both": surfaces.both,
            "from_predicted": surfaces.predicted,
            "from_truth": surfaces.truth,
        }
        return {
            "iou": voxels.iou,
            "dice": voxels.dice,
            "precision": voxels.precision,
            "recall": voxels.recall,
            "voxels": {"tp": voxels.tp, "fp": voxels.fp, "fn": voxels.fn},
            "surface": {name: _lengths(h, voxel_size) for name, h in histograms.items()},
            "surface_counts": _surface_counts(surfaces),
        }


@dataclass(frozen=True)
class EdgeScores:
    """Agreement of edges at one or more tolerances.

    Parameters
    ----------
    tolerances : tuple of float
        In voxels.
    agreements : tuple of Agreement
        At each.
    """

    tolerances: tuple[float, ...]
    agreements: tuple[Agreement, ...]

    def __add__(self, other: EdgeScores) -> EdgeScores:
        _check_same(self.tolerances, other.tolerances)
        return EdgeScores(self.tolerances, _sums(self.agreements, other.agreements))

    def to_dict(self, voxel_size: float | None) -> dict[str, Any]:
        """Counts and measures, ready for JSON; `voxel_size` in Å as for masks."""
        return {
            "tolerances": [
                {
                    "voxels": tolerance,
                    "angstrom": None if voxel_size is None else tolerance * voxel_size,
                    **_quotients(agreement),
                }
                for tolerance, agreement in zip(self.tolerances, self.agreements, strict=True)
            ]
        }


@dataclass(frozen=True)
class ObjectScores:
    """Agreement of boxes or points at one or more criteria of a match.

    Parameters
    ----------
    criteria : tuple of str
        Such as ``"IoU 0.25"`` or ``"within 100 Å"``.
    agreements : tuple of Agreement
        At each.
    center_errors : tuple of tuple of float
        At each, distance between the centres of every pair, in Å.
    pairs : tuple of tuple of tuple of int
        At each, rows of the result and of the truth, from 0, that were matched. Sums have none.
    """

    criteria: tuple[str, ...]
    agreements: tuple[Agreement, ...]
    center_errors: tuple[tuple[float, ...], ...]
    pairs: tuple[tuple[tuple[int, int], ...], ...] = ()

    def __add__(self, other: ObjectScores) -> ObjectScores:
        _check_same(self.criteria, other.criteria)
        errors = zip(self.center_errors, other.center_errors, strict=True)
        return ObjectScores(
            self.criteria,
            _sums(self.agreements, other.agreements),
            tuple(mine + theirs for mine, theirs in errors),
        )

    @property
    def mean_center_errors(self) -> tuple[float, ...]:
        """Centre error at each criterion, in Å; nan without pairs."""
        return tuple(float(np.mean(e)) if e else math.nan for e in self.center_errors)

    @property
    def median_center_errors(self) -> tuple[float, ...]:
        """Centre error at each criterion, in Å; nan without pairs."""
        return tuple(float(np.median(e)) if e else math.nan for e in self.center_errors)

    def to_dict(self, voxel_size: float | None) -> dict[str, Any]:  # noqa: ARG002 -- as the others
        """Counts and measures, ready for JSON; `voxel_size` does not matter."""
        entries: list[dict[str, Any]] = [
            {
                "match": criterion,
                **_quotients(self.agreements[k]),
                "mean_center_error_angstrom": self.mean_center_errors[k],
                "median_center_error_angstrom": self.median_center_errors[k],
                "center_errors_angstrom": list(self.center_errors[k]),
            }
            for k, criterion in enumerate(self.criteria)
        ]
        for entry, pairs in zip(entries, self.pairs, strict=False):
            entry["pairs"] = [list(pair) for pair in pairs]
        return {"matches": entries}


Scores = MaskScores | EdgeScores | ObjectScores


def _lengths(histogram: Histogram, voxel_size: float | None) -> dict[str, float | None]:
    """Mean and percentile in voxels and Å, and the share beyond the reach."""
    mean, high = histogram.mean, histogram.percentile(_PERCENT)
    size = math.nan if voxel_size is None else voxel_size
    return {
        "mean_voxels": mean,
        "mean_angstrom": mean * size,
        f"percentile_{_PERCENT}_voxels": high,
        f"percentile_{_PERCENT}_angstrom": high * size,
        "share_beyond": histogram.beyond,
    }


def _surface_counts(surfaces: SurfaceDistances) -> dict[str, Any]:
    """The histograms without their empty bins; the last bin, of what is beyond, by itself."""
    predicted, truth = surfaces.predicted.counts, surfaces.truth.counts
    filled = np.flatnonzero(surfaces.both.counts[:-1])
    return {
        "max_distance_voxels": math.isqrt(len(predicted) - 2),
        "squared_distance_voxels": filled.tolist(),
        "from_predicted": predicted[filled].tolist(),
        "from_truth": truth[filled].tolist(),
        "from_predicted_beyond": int(predicted[-1]),
        "from_truth_beyond": int(truth[-1]),
    }


def _quotients(agreement: Agreement) -> dict[str, Any]:
    return {
        "f1": agreement.f1,
        "precision": agreement.precision,
        "recall": agreement.recall,
        "predicted_hits": agreement.predicted_hits,
        "n_predicted": agreement.n_predicted,
        "truth_hits": agreement.truth_hits,
        "n_truth": agreement.n_truth,
    }


def _sums(a: tuple[Agreement, ...], b: tuple[Agreement, ...]) -> tuple[Agreement, ...]:
    return tuple(x + y for x, y in zip(a, b, strict=True))


def _check_same(a: tuple[object, ...], b: tuple[object, ...]) -> None:
    if a != b:
        raise InputError(f"scores by {a} and by {b} cannot be added; evaluate both in the same way")

"""Ways to choose the threshold T of 3D edges from the data; all but one are here to be compared.

`tomodist.algorithms.threshold.ray_lengths` is the one that won. Each of these can be computed out
of core, too: they need maximum or sum projections, or histograms, of the votes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.filters import threshold_otsu, threshold_triangle, threshold_yen

from tomodist.algorithms.threshold.curve import count_agreement, curve_of
from tomodist.experiments.inmemory import projected
from tomodist.experiments.lifted import Rule, edge_votes, edges_of, ray_length_threshold
from tomodist.values.maps import STRUCTURE

if TYPE_CHECKING:
    from tomodist.detectors.base import MapDetector
    from tomodist.experiments.lifted import Maps
    from tomodist.experiments.shells import Specimen
    from tomodist.values.arrays import AnyArray

_BOUNDARIES = (1, 2, 3)  # pixels
_REDETECTED = 12  # thresholds that are tried where each costs a projection and a detection


def all_criteria(
    votes: AnyArray, maps: Maps, specimen: Specimen, rule: Rule, detector: MapDetector
) -> dict[str, int]:
    """The threshold of every criterion.

    Parameters
    ----------
    votes : ndarray
        Refined votes.
    maps : ndarray
        The 2D edges.
    specimen : Specimen
        Geometry and grid; the truth is not looked at.
    rule : Rule
        How the votes were refined.
    detector : MapDetector
        That made the maps.

    Returns
    -------
    dict of str to int
    """
    n = specimen.geometry.n_tilts
    largest = projected("max", votes, specimen.geometry, specimen.grid)
    thresholds = {
        "tilts / 5": n // 5,
        "tilts / 3": n // 3,
        "reprojection IoU": curve_of(count_agreement(largest, maps, n)).best,
    }
    for width in _BOUNDARIES:
        thresholds[f"IoU with the boundary, {width} px"] = boundary_threshold(largest, maps, width)
    thresholds["detector on the reprojection"] = redetected_threshold(
        votes, maps, specimen, detector
    )
    thresholds["half of the tilts against the other"] = halves_threshold(maps, specimen, rule)
    thresholds |= histogram_thresholds(votes)
    thresholds["ray lengths"] = ray_length_threshold(votes, maps, specimen, rule).best
    return thresholds


def boundary_threshold(largest: AnyArray, maps: Maps, width: int) -> int:
    """IoU of the maps with the boundary of the reprojection.

    A pixel belongs to the boundary at T if the largest vote of its ray exceeds T, and that of some
    pixel within `width` does not: T from the least of these up to its own. So all T at once.
    """
    n = int(largest.max())
    low = ndimage.minimum_filter(largest, size=(1, 2 * width + 1, 2 * width + 1), mode="nearest")
    edges = edges_of(maps)
    inside = np.zeros((len(maps), 2, n + 2), np.int64)
    for t in range(len(maps)):
        for value in (0, 1):
            chosen = edges[t] == bool(value)
            for bound, sign in ((low[t], 1), (largest[t], -1)):
                counts = np.bincount(np.maximum(bound[chosen], 0), minlength=n + 2)
                inside[t, value] += sign * counts
    covered = inside.cumsum(axis=2)[:, :, : n + 1]
    union = edges.sum(axis=(1, 2))[:, None] + covered[:, 0]
    return int((covered[:, 1] / np.maximum(union, 1)).mean(axis=0).argmax())


def redetected_threshold(
    votes: AnyArray, maps: Maps, specimen: Specimen, detector: MapDetector
) -> int:
    """IoU of the maps with what the detector finds on sum projections of the result."""
    edges, n = edges_of(maps), specimen.geometry.n_tilts
    levels = sorted({k * n // _REDETECTED for k in range(_REDETECTED)})
    scores = []
    for level in levels:
        mask = (votes > level).astype(np.float32)
        dense = projected("sum", mask, specimen.geometry, specimen.grid)
        edges_of_result = [
            detector(-image, specimen.geometry.pixel_size) == STRUCTURE for image in dense
        ]
        pairs = zip(edges_of_result, edges, strict=True)
        scores.append(np.mean([(a & b).sum() / max((a | b).sum(), 1) for a, b in pairs]))
    return levels[int(np.argmax(scores))]


def halves_threshold(maps: Maps, specimen: Specimen, rule: Rule) -> int:
    """Dice of the edges of every other tilt with those of the others, each at T / 2."""
    n = specimen.geometry.n_tilts
    odd, even = (edge_votes(specimen, maps, rule, range(k, n, 2)) for k in (1, 0))
    scores = []
    for level in range(0, n, 2):
        a, b = odd > level // 2, even > level // 2
        scores.append(2 * (a & b).sum() / max(int(a.sum() + b.sum()), 1))
    return 2 * int(np.argmax(scores))


def histogram_thresholds(votes: AnyArray) -> dict[str, int]:
    """Of the histogram of the votes above 0: Otsu's, the knee (triangle), and Yen's."""
    values: npt.NDArray[Any] = votes[votes > 0]
    rules = {"Otsu": threshold_otsu, "knee": threshold_triangle, "Yen": threshold_yen}
    if values.size == 0 or values.min() == values.max():
        return dict.fromkeys((f"{name} of the votes" for name in rules), 0)
    return {f"{name} of the votes": int(rule(values)) for name, rule in rules.items()}

from __future__ import annotations

import numpy as np
import pytest

from tests.ablations.shells import draw_shells, tilt_angles
from tomodist.algorithms.threshold.ray_lengths import (
    N_BINS,
    choose_by_ray_lengths,
    count_ray_lengths,
    first_thresholds,
    ray_length_curve,
    sampled_tilts,
)
from tomodist.detectors.classical import DogEdges
from tomodist.errors import InputError
from tomodist.experiments.lifted import (
    PLAIN,
    Rule,
    detect_all,
    edge_agreement,
    edge_votes,
    ray_length_threshold,
)
from tomodist.experiments.shells import make_specimen
from tomodist.values.geometry import TiltGeometry

_F1 = "F1 within 2, shown part"


def histograms(*pairs: tuple[dict[int, int], dict[int, int]]) -> dict[int, np.ndarray]:
    """Levels 0, 1, ... from bins of map value 0 and of map value 1."""
    found = {}
    for level, both in enumerate(pairs):
        counts = np.zeros((2, N_BINS), np.int64)
        for value, bins in enumerate(both):
            for place, n in bins.items():
                counts[value, place] = n
        found[level] = counts
    return found


def test_lengths_are_counted_by_map_value_and_octave() -> None:
    lengths = np.array([[[0, 0.5, 1, 7, 15, 15]], [[3, 3, 1e9, -1e-6, 0, 0]]], np.float32)
    maps = np.array([[[0, 1, 1, 1, 0, 2]], [[1, 2, 0, 0, 1, 0]]], np.uint8)
    counts = count_ray_lengths(lengths, maps)
    expected = histograms(({0: 3, 32: 1, N_BINS - 1: 1}, {0: 1, 4: 1, 8: 1, 16: 1, 24: 1}))[0]
    assert np.array_equal(counts, expected)


def test_kappa_is_one_where_long_rays_are_the_edges_and_0_by_chance() -> None:
    perfect = ({0: 90}, {16: 10})
    blind = ({0: 45, 16: 45}, {0: 5, 16: 5})
    curve = ray_length_curve(histograms(blind, perfect, ({0: 90}, {0: 10})), own=0)
    assert curve.thresholds == (0, 1, 2)
    assert curve.score == pytest.approx((0, 1, 0), abs=1e-12)
    assert curve.best == 1
    assert 0 < curve.lengths[1] <= 3  # bin 16 starts at a length of 3


def test_a_map_does_not_explain_itself() -> None:
    """At level 0 marked rays are long by their own votes alone; with one vote less nothing is."""
    itself = ({0: 80, 16: 10}, {40: 10})
    others = ({0: 88, 16: 2}, {0: 2, 16: 8})
    nothing = ({0: 90}, {0: 10})
    levels = histograms(itself, others, others, nothing)
    assert ray_length_curve(levels, own=0).best == 0
    assert ray_length_curve(levels, own=1).best == 1


def test_coarse_levels_are_refined_around_the_best() -> None:
    asked: list[int] = []

    def count(levels: object) -> dict[int, np.ndarray]:
        found = {}
        for level in levels:  # type: ignore[attr-defined]
            asked.append(level)
            right = 50 - abs(level - 33)
            found[level] = histograms(({0: 450}, {0: 50 - right, 20: right}))[0]
        return found

    assert choose_by_ray_lengths(count, 61, own=0).best == 33
    assert len(asked) == len(set(asked)) < 25


def test_nothing_to_agree_is_an_error_that_says_why() -> None:
    with pytest.raises(InputError, match="no map marks any pixel, so no threshold"):
        ray_length_curve(histograms(({0: 5, 20: 5}, {})), own=0)
    with pytest.raises(InputError, match=r"no voxel has enough votes.*`rounds`"):
        ray_length_curve(histograms(({0: 5}, {0: 5})), own=0)


def test_sampled_tilts_are_even_in_angle_and_few() -> None:
    angles = np.random.default_rng(0).permutation(np.arange(-60, 61, 2)).tolist()
    geometry = TiltGeometry(angles, (4, 4), 10.0)
    chosen = np.sort([angles[t] for t in sampled_tilts(geometry)])
    assert len(chosen) == 13
    assert np.diff(chosen).min() >= 8
    assert np.diff(chosen).max() <= 10
    assert sampled_tilts(TiltGeometry([5, -5, 0], (4, 4), 10.0)) == [0, 1, 2]
    assert len(first_thresholds(200)) == 10


@pytest.mark.parametrize("step", [2, 5])
@pytest.mark.parametrize("snr", [np.inf, 0.3, 0.1])
def test_the_threshold_of_shells_is_nearly_the_best_there_is(snr: float, step: float) -> None:
    for seed in (0, 1):
        specimen = make_specimen(draw_shells(seed, 64), 64, tilt_angles(step), snr, seed)
        maps = detect_all(specimen, DogEdges(sigma=2.0))
        votes = edge_votes(specimen, maps, PLAIN)
        agreement = edge_agreement(votes, specimen, [2])
        chosen = ray_length_threshold(votes, maps, specimen, PLAIN).best
        best = agreement.measures(agreement.best())[_F1]
        assert agreement.measures(chosen)[_F1] > best - 0.08
        fixed = agreement.measures(specimen.geometry.n_tilts // 5)[_F1]
        assert agreement.measures(chosen)[_F1] > fixed - 0.02


def test_refined_votes_may_explain_themselves() -> None:
    rule = Rule(2, 4, 1)
    specimen = make_specimen(draw_shells(0, 64), 64, tilt_angles(5), 1.0, 0)
    maps = detect_all(specimen, DogEdges(sigma=2.0))
    votes = edge_votes(specimen, maps, rule)
    agreement = edge_agreement(votes, specimen, [2])
    chosen = ray_length_threshold(votes, maps, specimen, rule).best
    assert agreement.measures(chosen)[_F1] > agreement.measures(agreement.best())[_F1] - 0.05

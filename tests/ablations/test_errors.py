"""The detector-error model: rates come out as they were set, and seeds decide everything."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.ablations.errors import DetectorErrors, detected_boxes, detected_mask, softened
from tomodist.errors import InputError
from tomodist.simulate import Ellipsoid, Scene, boxes, silhouette
from tomodist.values.geometry import TiltGeometry

N = 60
GEOMETRY = TiltGeometry(np.linspace(-60, 60, N).tolist(), (90, 101), 10.0)
PLACES = [(0, -300, -300), (50, 200, 100), (-60, -100, 250), (20, 300, -200), (0, 0, 0)]
SCENE = Scene(
    tuple(
        Ellipsoid((float(z), float(y), float(x)), (60.0, 80.0, 50.0), structure=k)
        for k, (z, y, x) in enumerate(PLACES, 1)
    )
)


def masks(**rates: Any) -> np.ndarray:
    errors = DetectorErrors(**rates)
    return np.stack([detected_mask(SCENE, "object", GEOMETRY, t, errors) for t in range(N)])


TRUE = np.stack([silhouette(SCENE, "object", GEOMETRY, t) for t in range(N)])


def test_without_errors_all_is_true() -> None:
    np.testing.assert_array_equal(masks(), TRUE)
    for t in (0, 31):
        detected, true = (
            detected_boxes(SCENE, "object", GEOMETRY, t, DetectorErrors()),
            boxes(SCENE, "object", GEOMETRY, t),
        )
        for a, b in zip(detected, true, strict=True):
            np.testing.assert_array_equal(a, b)


def test_missed_objects_are_missing_whole() -> None:
    detected = masks(missed=0.3)
    assert not (detected & ~TRUE).any()
    assert abs(detected.sum() / TRUE.sum() - 0.7) < 0.08


def test_more_is_missed_at_steep_tilts() -> None:
    errors = DetectorErrors(missed=0.1, steep=0.5)
    assert [round(errors.missed_at(t), 6) for t in (0, 60, -60)] == [0.1, 0.6, 0.6]
    assert errors.missed_at(85) == 1.0
    detected = masks(missed=0.0, steep=0.6)
    share = detected.sum((1, 2)) / TRUE.sum((1, 2))
    assert share[25:35].mean() > 0.95
    assert share[:6].mean() < 0.7


def test_false_objects_are_added() -> None:
    detected = masks(false=0.4)
    assert not (TRUE & ~detected).any()
    share = (detected & ~TRUE).sum() / TRUE.sum()
    assert 0.25 < share < 0.45  # some lie on true ones


def test_jitter_moves_boundaries_both_ways() -> None:
    detected = masks(jitter=1.5)
    added, lost = (detected & ~TRUE).sum() / TRUE.sum(), (TRUE & ~detected).sum() / TRUE.sum()
    assert 0.05 < added < 0.35
    assert 0.05 < lost < 0.35
    assert abs(added - lost) < 0.08


def test_patches_are_as_large_as_they_are_set() -> None:
    detected = masks(flipped=0.2, patch=2.0)
    assert abs((detected & ~TRUE).sum() / TRUE.sum() - 0.2) < 0.05
    assert abs((TRUE & ~detected).sum() / TRUE.sum() - 0.2) < 0.07


def test_lost_tilts_are_empty() -> None:
    detected = masks(lost_tilts=0.25)
    empty = ~detected.any(axis=(1, 2))
    assert 6 <= empty.sum() <= 25
    np.testing.assert_array_equal(detected[~empty], TRUE[~empty])


def test_boxes_that_are_missed_false_and_moved() -> None:
    errors = DetectorErrors(missed=0.3, false=0.5, jitter=3.0, seed=2)
    n_true = n_false = 0
    for t in range(N):
        detected, true = (
            detected_boxes(SCENE, "object", GEOMETRY, t, errors),
            boxes(SCENE, "object", GEOMETRY, t),
        )
        n_false += int((detected.ids == 0).sum())
        for center, size, k in zip(detected.centers, detected.sizes, detected.ids, strict=True):
            if k:
                n_true += 1
                assert np.abs(center - true.centers[k - 1]).max() <= 3
                assert np.abs(size - true.sizes[k - 1]).max() <= 3
    assert abs(n_true / (N * len(PLACES)) - 0.7) < 0.08
    assert abs(n_false / (N * len(PLACES)) - 0.5) < 0.12


def test_seeds_decide_and_tilts_do_not_depend_on_each_other() -> None:
    rates: dict[str, Any] = {"missed": 0.2, "false": 0.3, "jitter": 1.0, "flipped": 0.1}
    first = masks(**rates, seed=1)
    np.testing.assert_array_equal(first, masks(**rates, seed=1))
    assert (first != masks(**rates, seed=2)).any()
    alone = detected_mask(SCENE, "object", GEOMETRY, 17, DetectorErrors(**rates, seed=1))
    np.testing.assert_array_equal(alone, first[17])


def test_probabilities_are_about_the_mask() -> None:
    random = np.random.default_rng(0)
    soft = softened(TRUE[30], 1.5, 0.0, random)
    assert ((soft >= 0) & (soft <= 1)).all()
    assert ((soft > 0.5) ^ TRUE[30]).sum() < 0.1 * TRUE[30].sum()
    noisy = softened(TRUE[30], 1.5, 0.2, random)
    assert 0.05 < np.abs(noisy - soft).mean() < 0.25


@pytest.mark.parametrize(
    "wrong",
    [{"steep": -1}, {"missed": 1.1}, {"missed": -0.1}, {"flipped": 0.6}, {"lost_tilts": 2},
     {"false": -1}, {"jitter": float("nan")}, {"patch": 0}, {"seed": -1}],
)  # fmt: skip
def test_rates_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        DetectorErrors(**wrong)

"""The experiment on boxes of mitochondria, at tiny size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("torch")

from tomodist.experiments import Case
from tomodist.experiments.mitochondria import (
    CENTERS,
    MASKS,
    RCNN,
    TRUE,
    Condition,
    Settings,
    box_measures,
    experiment,
    learners,
    object_measures,
    run_case,
)
from tomodist.experiments.objects import by_components, by_tracks
from tomodist.experiments.tomograms import SimulatedTomogram, simulate_tomogram
from tomodist.values.boxes import Boxes

if TYPE_CHECKING:
    from collections.abc import Sequence

LABEL = "mitochondrion"
TINY = Settings(shape=(48, 96, 96), n_mitochondria=2, steps=60, side=64)


@pytest.fixture(scope="module")
def tomogram() -> SimulatedTomogram:
    of = {"n_mitochondria": 2, "n_granules": 1}
    return simulate_tomogram(3, shape=TINY.shape, snr=3.0, step=6.0, **of)


def moved(boxes: Sequence[Boxes], by: tuple[float, float]) -> list[Boxes]:
    return [Boxes(b.center + by, b.size, b.score) for b in boxes]


@pytest.mark.long
def test_a_case_judges_every_detector_in_2d_and_3d() -> None:
    condition = Condition(3.0, 1)
    rows = run_case(Case(condition.name, 0, {**vars(TINY), **condition._asdict()}))
    measured = {(r.algorithm, r.variant, r.measure): r.value for r in rows}
    assert {r.variant for r in rows} == {CENTERS, MASKS, TRUE}
    assert measured["2D", CENTERS, "AP50"] > 0.5  # 0.80 in bfloat16, 0.79 in float32
    assert measured["2D", MASKS, "AP50"] > 0.2  # 0.77 and 0.79
    for way in ("3D by components", "3D by tracks"):
        assert measured[way, TRUE, "F1"] == 1
        assert measured[way, TRUE, "centre error (Å)"] < 1


def test_true_boxes_are_perfect_and_moved_ones_are_as_far_off_as_they_were_moved(
    tomogram: SimulatedTomogram,
) -> None:
    true = tomogram.boxes(LABEL)
    assert box_measures(true, true, tomogram) == {"AP50": 1.0, "F1": 1.0}
    by = moved(true, (2.0, 0.0))
    for values in object_measures(by, tomogram).values():
        assert values["recall"] == values["precision"] == 1
        assert values["centre error (Å)"] == pytest.approx(40, abs=1)  # two pixels of 20 Å along y
    far = moved(true, (0.0, 60.0))
    assert box_measures(far, far, tomogram) == {"AP50": 0.0, "F1": 0.0}


def test_without_boxes_nothing_is_found(tomogram: SimulatedTomogram) -> None:
    nothing = [Boxes.empty()] * tomogram.n_tilts
    assert box_measures(nothing, nothing, tomogram) == {"AP50": 0.0, "F1": 0.0}
    for values in object_measures(nothing, tomogram).values():
        assert (values["recall"], values["F1"]) == (0, 0)
        assert np.isnan(values["centre error (Å)"])


def test_objects_of_true_boxes_are_where_they_are(tomogram: SimulatedTomogram) -> None:
    rows = [np.concatenate([b.center, b.size], axis=1) for b in tomogram.boxes(LABEL)]
    structures = tomogram.scene.structures(LABEL)
    true = tomogram.grid.indices([s.center for s in structures])
    order = np.lexsort(true.T[::-1])
    for way in (by_components, by_tracks):
        centers = way(tomogram.nominal, tomogram.grid, rows).center
        np.testing.assert_allclose(centers[np.lexsort(centers.T[::-1])], true[order], atol=0.05)


def test_a_faster_rcnn_is_compared_where_it_can_be() -> None:
    assert set(learners(Settings(faster_rcnn=True))) == {CENTERS, MASKS, RCNN}
    assert set(learners(Settings(faster_rcnn=False))) == {CENTERS, MASKS}


def test_all_conditions_have_the_same_seeds() -> None:
    whole = experiment(2, settings=TINY)
    assert len({case.condition for case in whole.cases}) == 4
    assert all(
        sorted(c.seed for c in whole.cases if c.condition == name) == [0, 1]
        for name in {case.condition for case in whole.cases}
    )
    assert whole.parameters["faster_rcnn"] is False
    assert whole.parameters["shape"] == [48, 96, 96]

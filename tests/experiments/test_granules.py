"""The experiment on granules, tiny: every path gives a number, the same ones again."""

from __future__ import annotations

import numpy as np
import pytest

from tomodist.experiments.granules import CONDITIONS, Condition, Settings, experiment, run_case
from tomodist.experiments.tomograms import simulate_tomogram

TINY = Settings(shape=(48, 128, 128), steps=40, side=64, side_3d=32)
PATHS = (
    "2D network, plain votes",
    "2D network, balanced votes",
    "2D network, balanced, own thresholds (default)",
    "2D network, soft votes",
    "3D residual U-Net",
    "3D CheXNet (narrow)",
)


@pytest.mark.long
def test_every_path_is_judged() -> None:
    asked = experiment(1, (Condition(3.0),), TINY)
    rows = run_case(asked.cases[0])
    iou = {row.variant: row.value for row in rows if row.measure == "IoU"}
    assert tuple(iou) == PATHS
    assert iou["2D network, plain votes"] > 0.3  # 0.54 in bfloat16, 0.53 in float32
    assert all(0 <= value <= 1 for value in iou.values())


def test_conditions_have_names_of_their_own() -> None:
    names = [condition.name for condition in CONDITIONS]
    assert len(set(names)) == len(names)
    assert Condition(0.3, 100.0, 10.0).name == "SNR 0.3, 100 Å misaligned, tilts every 10°"


def test_a_simulated_tomogram_has_the_noise_that_is_asked_for() -> None:
    shape = (32, 64, 72)
    clean, noisy = (simulate_tomogram(3, shape=shape, snr=snr) for snr in (np.inf, 0.3))
    scale = float(noisy.images.mean() / clean.images.mean())
    signal = float((scale * clean.images).var())
    noise = float((noisy.images - scale * clean.images).var())
    assert 0.27 < signal / noise < 0.33
    moved = simulate_tomogram(3, shape=shape, snr=np.inf, jitter=60.0)
    assert moved.nominal == clean.nominal
    assert np.std(moved.true.shift_x) > 20
    assert not np.array_equal(moved.maps("mitochondrion"), clean.maps("mitochondrion"))

from __future__ import annotations

import numpy as np
import pytest

from tomodist.errors import InputError
from tomodist.metrics import tolerant_curve, tolerant_f1


@pytest.mark.parametrize("tolerance", [0, 1, 1.5, 2, 3])
@pytest.mark.parametrize("n_axes", [2, 3])
def test_every_threshold_is_judged_as_if_alone(tolerance: float, n_axes: int) -> None:
    random = np.random.default_rng(7)
    shape = (14, 11, 9)[:n_axes]
    votes = random.poisson(1.0, shape).astype(np.uint8)
    truth = random.random(shape) < 0.05
    found = tolerant_curve(votes, truth, tolerance, n_thresholds=9)
    assert len(found) == 9
    for level, one in enumerate(found):
        assert one == tolerant_f1(votes > level, truth, tolerance)


def test_a_part_of_the_truth_may_be_asked_for_while_all_of_it_is_right() -> None:
    votes = np.array([0, 2, 0, 0, 0, 3, 0], np.uint8)
    truth = [0, 1, 0, 0, 0, 1, 0]
    (one,) = tolerant_curve(votes, truth, 0, recalled=[0, 1, 1, 1, 0, 0, 0], n_thresholds=1)
    assert (one.predicted_hits, one.n_predicted, one.truth_hits, one.n_truth) == (2, 2, 1, 1)


def test_shapes_and_types_are_checked() -> None:
    with pytest.raises(InputError, match=r"votes have shape \(3,\), but the truth has \(4,\)"):
        tolerant_curve(np.zeros(3, np.uint8), [0, 0, 0, 1], 1)
    with pytest.raises(InputError, match="votes are float64; they must be unsigned integers"):
        tolerant_curve(np.zeros(3), [0, 0, 1], 1)

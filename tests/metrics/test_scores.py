from __future__ import annotations

import math

import numpy as np
import pytest

from tests.metrics.masks import smooth_masks
from tomodist.errors import InputError
from tomodist.metrics import (
    Agreement,
    Confusion,
    EdgeScores,
    MaskScores,
    ObjectScores,
    surface_distances,
)


def scores_of(seed: int) -> MaskScores:
    found, truth = smooth_masks((14, 17, 15), seed)
    return MaskScores(Confusion.of(found, truth), surface_distances(found, truth, 3))


def test_the_counts_in_a_document_give_its_measures() -> None:
    scores = scores_of(3) + scores_of(4)
    found = scores.to_dict(10.0)
    counts, voxels = found["surface_counts"], found["voxels"]
    assert found["iou"] == voxels["tp"] / sum(voxels.values())
    squared = np.array([*counts["squared_distance_voxels"], counts["max_distance_voxels"] ** 2])
    for way in ("from_predicted", "from_truth"):
        n = np.array([*counts[way], counts[f"{way}_beyond"]])
        mean = (n * np.sqrt(squared)).sum() / n.sum()
        assert found["surface"][way]["mean_voxels"] == pytest.approx(mean)
        assert found["surface"][way]["mean_angstrom"] == pytest.approx(10 * mean)
        assert found["surface"][way]["share_beyond"] == n[-1] / n.sum()
    assert 0 < found["surface"]["both"]["percentile_95_voxels"] <= 3


def test_without_a_voxel_size_there_is_no_angstrom() -> None:
    found = scores_of(5).to_dict(None)["surface"]["both"]
    assert math.isnan(found["mean_angstrom"])
    assert math.isnan(found["percentile_95_angstrom"])
    assert found["mean_voxels"] > 0
    edges = EdgeScores((1, 2), (Agreement(1, 2, 1, 4), Agreement(2, 2, 3, 4)))
    assert [one["angstrom"] for one in edges.to_dict(None)["tolerances"]] == [None, None]
    assert [one["angstrom"] for one in edges.to_dict(5.0)["tolerances"]] == [5.0, 10.0]
    assert [one["recall"] for one in edges.to_dict(5.0)["tolerances"]] == [0.25, 0.75]


def test_sums_of_edges_and_objects_are_sums_of_counts() -> None:
    edges = EdgeScores((1, 2), (Agreement(1, 2, 1, 4), Agreement(2, 2, 3, 4)))
    assert (edges + edges).agreements == (Agreement(2, 4, 2, 8), Agreement(4, 4, 6, 8))
    one = ObjectScores(("IoU 0.5",), (Agreement(1, 2, 1, 1),), ((3.0,),), (((1, 0),),))
    other = ObjectScores(("IoU 0.5",), (Agreement(2, 2, 2, 5),), ((4.0, 8.0),), (((0, 0), (1, 1)),))
    both = one + other
    assert both.agreements == (Agreement(3, 4, 3, 6),)
    assert (both.mean_center_errors, both.median_center_errors) == ((5.0,), (4.0,))
    assert one.to_dict(None)["matches"][0]["pairs"] == [[1, 0]]
    assert "pairs" not in both.to_dict(None)["matches"][0]  # rows of which table?
    assert both.to_dict(None)["matches"][0]["center_errors_angstrom"] == [3.0, 4.0, 8.0]


def test_scores_by_other_criteria_do_not_add() -> None:
    one = ObjectScores(("within 10 Å",), (Agreement(),), ((),))
    other = ObjectScores(("within 20 Å",), (Agreement(),), ((),))
    with pytest.raises(InputError, match="cannot be added; evaluate both in the same way"):
        _ = one + other
    with pytest.raises(InputError, match="cannot be added"):
        _ = EdgeScores((1,), (Agreement(),)) + EdgeScores((2,), (Agreement(),))
    assert math.isnan(one.mean_center_errors[0])
    assert math.isnan(one.median_center_errors[0])

"""The experiment on Algorithm 3, at small size."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ablations import localisation
from tests.ablations.localisation import balls, polygon_sizes, run_case
from tomodist.algorithms.objects.tracks import link_boxes
from tomodist.experiments import Case
from tomodist.simulate import boxes
from tomodist.values.geometry import TiltGeometry, VolumeGrid


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(localisation, "SHAPE", (48, 100, 100))
    conditions = {
        "apart": (6, False, {}),
        "touching": (8, True, {}),
        "errors": (8, True, {"missed": 0.3, "false": 0.5, "jitter": 2.0}),
    }
    monkeypatch.setattr(localisation, "CONDITIONS", conditions)


def values(condition: str, seed: int = 0) -> dict[tuple[str, str], float]:
    return {(r.variant, r.measure): r.value for r in run_case(Case(condition, seed))}


def test_without_errors_both_ways_find_what_is_apart() -> None:
    measured = values("apart")
    for name in ("votes", "tracks"):
        assert measured[name, "recall"] == 1
        assert measured[name, "median centre error (voxels)"] < 0.01
    assert measured["tracks", "F1 at IoU 0.5"] == 1


@pytest.mark.parametrize("condition", ["touching", "errors"])
def test_tracks_part_what_touches(condition: str) -> None:
    measured = values(condition)
    assert measured["tracks", "F1 within 5 voxels"] == 1
    assert measured["votes", "F1 within 5 voxels"] < 1
    assert measured["tracks", "F1 at IoU 0.5"] > measured["votes", "F1 at IoU 0.5"]


def test_pairs_touch_and_others_do_not() -> None:
    solids = balls(10, 3, touching=True).ellipsoids
    centers = np.array([e.center for e in solids])
    radii = np.array([e.semi_axes[0] for e in solids])
    gap = np.linalg.norm(centers[:, None] - centers, axis=2) - radii[:, None] - radii
    np.fill_diagonal(gap, np.inf)
    paired = [gap[k, k ^ 1] for k in range(10)]
    np.testing.assert_allclose(paired, 0, atol=1e-6)
    for k in range(10):
        gap[k, k ^ 1] = np.inf
    assert gap.min() > 10  # two voxels less what touching partners may come closer


def test_polygons_bound_a_ball_and_reach_beyond_it_along_z() -> None:
    geometry = TiltGeometry(np.arange(-60.0, 61, 3).tolist(), (100, 100), 10.0)
    grid, scene = VolumeGrid((48, 100, 100), 10.0), balls(1, 0, touching=False)
    seen = [boxes(scene, "object", geometry, t) for t in range(geometry.n_tilts)]
    rows = [np.concatenate([b.centers, b.sizes], axis=1) for b in seen]
    diameter = 2 * scene.ellipsoids[0].semi_axes[0] / 10
    z, y, x = polygon_sizes(geometry, grid, rows, link_boxes(geometry, grid, rows))[0]
    assert y == pytest.approx(diameter, rel=1e-6)
    assert x == pytest.approx(diameter, rel=0.01)
    assert z == pytest.approx(diameter / np.sin(np.deg2rad(60)), rel=0.05)

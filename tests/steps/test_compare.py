"""Bricks of any size give the scores of the whole volume, and hold what the plan says."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import pytest

from tests.metrics.masks import slow_distances, slow_surface, smooth_masks
from tests.sources.truths import write_mrc, write_zarr
from tomodist.errors import InputError, PlanError
from tomodist.metrics import (
    Agreement,
    Confusion,
    EdgeScores,
    MaskScores,
    squared_distances,
    surface,
    surface_distances,
    tolerant_f1,
)
from tomodist.planning.plan import MiB, Resources
from tomodist.runtime.cluster import open_session
from tomodist.runtime.runner import Session
from tomodist.sources.truth import MaskVolume, open_truth
from tomodist.steps.compare import (
    Objects,
    VolumePair,
    VolumeScores,
    compare_boxes,
    compare_points,
    compare_volumes,
    objects_within,
    plan_comparison,
)

if TYPE_CHECKING:
    from tomodist.values.arrays import BoolArray

SHAPE = (70, 131, 129)
THREADS = Session(Resources(1, 2, 4096 * MiB))


def compared(
    session: Session, pair: VolumePair, brick: tuple[int, ...] | None = None
) -> VolumeScores:
    """The scores of two volumes, by bricks."""
    plan = plan_comparison(pair, session.resources, brick)
    return session.run(compare_volumes(pair, plan))


def opened(path: Path) -> MaskVolume:
    found = open_truth(path)
    assert isinstance(found, MaskVolume)
    return found


@pytest.fixture(scope="module")
def masks() -> tuple[BoolArray, BoolArray, BoolArray]:
    found, truth = smooth_masks(SHAPE, 8)
    z, y, x = (np.arange(n) for n in SHAPE)
    found &= (z[:, None, None] > 20) & (x < 100)  # so that some bricks have no result
    within = np.broadcast_to((y[:, None] + x) % 50 > 9, SHAPE).copy()
    return found, truth, within


@pytest.fixture(scope="module")
def pair(
    masks: tuple[BoolArray, BoolArray, BoolArray], tmp_path_factory: pytest.TempPathFactory
) -> VolumePair:
    folder = tmp_path_factory.mktemp("pair")
    found, truth, within = masks
    return VolumePair(
        opened(write_zarr(folder / "found.zarr", found.astype(np.uint32) * 7)),
        opened(write_mrc(folder / "truth.mrc", truth.astype(np.int8))),
        "mask",
        9,
        opened(write_mrc(folder / "within.mrc", within.astype(np.float32))),
    )


@pytest.mark.parametrize("kind", ["mask", "edges"])
@pytest.mark.parametrize("region", [False, True], ids=["all", "within"])
@pytest.mark.parametrize("brick", [(64, 64, 64), (128, 64, 192), (128, 192, 192), None], ids=str)
def test_any_bricks_give_the_scores_of_the_whole(
    masks: tuple[BoolArray, BoolArray, BoolArray],
    pair: VolumePair,
    kind: Literal["mask", "edges"],
    brick: tuple[int, ...] | None,
    *,
    region: bool,
) -> None:
    found, truth, within = masks
    counted = within if region else np.ones_like(within)
    expected: MaskScores | EdgeScores
    if kind == "mask":
        expected = MaskScores(
            Confusion.of(found & counted, truth & counted),
            surface_distances(found, truth, 9, counted=counted),
        )
        assert 0 < expected.surfaces.both.beyond < 1
    else:
        agreements = (tolerant_f1(found, truth, t, counted=counted) for t in (1, 2))
        expected = EdgeScores((1, 2), tuple(agreements))
        assert 0.1 < expected.agreements[0].f1 < expected.agreements[1].f1 < 1
    asked = replace(pair, kind=kind, within=pair.within if region else None)
    assert compared(THREADS, asked, brick) == expected


def test_the_scores_are_those_of_slow_code(
    masks: tuple[BoolArray, BoolArray, BoolArray], pair: VolumePair
) -> None:
    found, truth, _ = masks
    scores = compared(THREADS, replace(pair, within=None, reach=40), (64, 64, 64))
    assert isinstance(scores, MaskScores)
    assert scores.voxels.iou == (found & truth).sum() / (found | truth).sum()
    a, b = slow_surface(found), slow_surface(truth)
    distances = np.concatenate([slow_distances(a, b, 40), slow_distances(b, a, 40)])
    assert scores.surfaces.both.n == len(distances)
    assert scores.surfaces.both.mean == pytest.approx(distances.mean(), rel=1e-12)
    high = np.percentile(distances, 95, method="inverted_cdf")
    assert scores.surfaces.both.percentile(95) == pytest.approx(high)


def test_worker_processes_give_the_same_scores(pair: VolumePair) -> None:
    with open_session("local", n_workers=2, memory_limit=1024 * MiB) as session:
        found = compared(session, pair, (64, 64, 64))
    assert found == compared(THREADS, pair)


def test_little_memory_gives_small_bricks_or_a_refusal(pair: VolumePair) -> None:
    shape = (2000, 4092, 5760)
    large = replace(
        pair,
        **{
            name: replace(getattr(pair, name), shape=shape) for name in ("found", "truth", "within")
        },
        reach=32,
    )
    small, ample = (plan_comparison(large, Resources(2, 1, m * MiB)) for m in (640, 65536))
    assert small.task_memory <= small.resources.task_budget < ample.task_memory
    assert np.prod(small.brick) < np.prod(ample.brick)
    assert ample.seconds < small.seconds  # less of what is read is halo
    with pytest.raises(PlanError, match=r"evaluate mask: brick .*`memory`"):
        plan_comparison(large, Resources(2, 1, 400 * MiB))
    with pytest.raises(InputError, match="multiples of 64"):
        plan_comparison(large, Resources(2, 1, 4096 * MiB), (100, 64, 64))


PROGRAM = """
import json, re, sys
from pathlib import Path
from tests.steps.test_compare import *
found, truth = map(Path, sys.argv[1:3])
pair = VolumePair(opened(found), opened(truth), sys.argv[3], 32)
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
found, truth = (replace(volume, shape=(64,) * 3) for volume in (pair.found, pair.truth))
small = replace(pair, found=found, truth=truth)
session = Session(Resources(1, 1, 8192 * MiB))
compared(session, small)  # loads what is needed
before = peak()
scores = compared(session, pair, (256, 256, 256))
plan = plan_comparison(pair, session.resources, (256, 256, 256))
print(json.dumps([peak() - before, plan.task_memory, scores == pair.nothing]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
@pytest.mark.parametrize("kind", ["mask", "edges"])
@pytest.mark.parametrize(
    "noise", [True, pytest.param(False, marks=pytest.mark.long)], ids=["noise", "lumps"]
)
def test_a_task_holds_no_more_than_planned(tmp_path: Path, kind: str, *, noise: bool) -> None:
    """Noise is all surface, the most that there can be."""
    shape, random = (240, 240, 240), np.random.default_rng(0)
    volume = random.integers(0, 2 if noise else 30, shape, dtype=np.uint32)
    if not noise:
        lumps = (volume[::24, ::24, ::24] > 20).astype(np.uint32)
        volume = np.kron(lumps, np.ones((24, 24, 24), np.uint32))
    found = write_zarr_in_chunks(tmp_path / "found.zarr", volume)
    truth = write_mrc(tmp_path / "truth.mrc", np.roll(volume, 3, axis=0).astype(np.int8))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(found), str(truth), kind],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    used, planned, empty = json.loads(done.stdout)
    assert 0.5 * planned < used <= planned
    assert not empty


def write_zarr_in_chunks(path: Path, volume: npt.NDArray[np.uint32]) -> Path:
    """As a store has its labels: in chunks of 64."""
    import zarr

    array = zarr.create_array(str(path), shape=volume.shape, chunks=(64,) * 3, dtype=volume.dtype)
    array[...] = volume
    return path


def test_positions_are_looked_up_in_the_voxel_that_holds_them(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).random((70, 5, 140)) < 0.5
    within = opened(write_mrc(tmp_path / "within.mrc", volume.astype(np.int8)))
    index = np.stack(np.unravel_index(np.arange(0, volume.size, 7), volume.shape), axis=1)
    jitter = np.random.default_rng(1).uniform(-0.49, 0.49, index.shape)
    inside = objects_within((index + jitter) * 12.0, 12.0, within)
    np.testing.assert_array_equal(inside, volume[tuple(index.T)])
    beyond = np.array([[-1, 0, 0], [0, 5, 0], [0, 0, 1e6], [70, 0, 0]]) * 12.0
    assert not objects_within(beyond, 12.0, within).any()
    assert objects_within(np.zeros((0, 3)), 12.0, within).shape == (0,)


def test_objects_outside_the_region_do_not_count_but_may_be_found() -> None:
    """Truths at 0, 10, 20, of which the last is outside; predictions near all, and a stray one."""
    truth = Objects(
        np.array([[0, 0, 0.0], [0, 0, 10], [0, 0, 20]]), None, np.array([1, 1, 0], bool)
    )
    found = Objects(
        np.array([[0, 0, 1.0], [0, 0, 12], [0, 0, 19], [0, 9, 0], [0, 50, 0]]),
        None,
        np.array([1, 0, 1, 1, 0], bool),
    )
    scores = compare_points(found, truth, 3)
    # counted predictions: 0 and 2 hit, 3 is stray; counted truths: 0 and 1 are both hit
    assert scores.agreements == (Agreement(2, 3, 2, 2),)
    assert scores.center_errors == ((1.0, 2.0),)
    everything = compare_points(replace(found, counted=None), replace(truth, counted=None), 3)
    assert everything.agreements == (Agreement(3, 5, 3, 3),)
    assert everything.pairs == (((0, 0), (1, 1), (2, 2)),)


def test_a_shifted_box_has_the_overlap_of_its_shift() -> None:
    size = np.array([[10.0, 10, 10]])
    truth = Objects(np.zeros((1, 3)), size)
    for shift, hits in ((2.0, (1, 1)), (4.0, (1, 0)), (7.0, (0, 0))):  # IoU 8/12, 6/14, 3/17
        scores = compare_boxes(Objects(np.array([[0, shift, 0]]), size), truth)
        assert scores.criteria == ("IoU 0.25", "IoU 0.5")
        assert tuple(a.truth_hits for a in scores.agreements) == hits
        assert scores.mean_center_errors[0] == pytest.approx(shift, nan_ok=True) or hits == (0, 0)


def test_what_is_beyond_the_halo_is_never_asked_for() -> None:
    """The halo of a mask is one more than the reach: its last layer only says what is surface."""
    mask = np.zeros((40, 3, 3), bool)
    mask[12:, :, :] = True
    part = mask[: 7 + 5 + 1]  # voxels 0 to 7 with a halo of reach + 1 = 5
    assert surface(mask)[12].all()
    assert not surface(part)[12].all() or squared_distances(surface(part), 4)[7].min() > 16
    np.testing.assert_array_equal(
        squared_distances(surface(mask), 4)[:8], squared_distances(surface(part), 4)[:8]
    )

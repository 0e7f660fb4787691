"""Forward projections and the threshold curve, against the backprojections they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.benchmarks.cases import FEW, ROUNDS
from tests.benchmarks.numpy_forms import max_by_planes, max_by_rows
from tests.geometries import reader
from tomodist.algorithms.lift.backproject import Votes, lift_brick
from tomodist.algorithms.lift.project import READ, project_tile
from tomodist.algorithms.threshold.curve import ThresholdCurve, count_agreement, curve_of
from tomodist.kernels.memory import aligned_zeros, swapped
from tomodist.values.windows import brick_windows

if TYPE_CHECKING:
    from tests.benchmarks.cases import Problem, Size
    from tests.benchmarks.conftest import Measure

Array = npt.NDArray[Any]


@pytest.fixture(params=["aligned", "turned"])
def problem(request: pytest.FixtureRequest) -> Problem:
    found: Problem = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def prefix(problem: Problem) -> str:
    return "" if problem.binary.rows_only else "general "


def raised(volume: Array) -> Array:
    """Votes one higher, as the package projects them: 0 says that a ray missed."""
    brick = aligned_zeros(volume.shape, volume.dtype)
    np.add(volume, 1, out=brick)
    return brick


def measured_max(measure: Measure, case: str, problem: Problem, brick: Array) -> Array:
    images = problem.stack(brick.dtype)
    return measure(
        case,
        lambda: problem.project_max(brick, images),
        problem.updates,
        setup=lambda: images.fill(0),
        rounds=ROUNDS if problem.binary.rows_only else FEW,
    )


def test_max_projection(measure: Measure, problem: Problem, prefix: str) -> None:
    """Largest vote > T exactly where the mask votes > T projects to: the curve rests on this."""
    found = measured_max(measure, f"{prefix}max projection", problem, raised(problem.votes))
    threshold = problem.geometry.n_tilts // 4
    mask = (problem.votes > threshold).astype(np.uint8)
    expected = problem.project_max(mask, problem.stack(np.uint8))
    np.testing.assert_array_equal(found > threshold + 1, expected)
    assert 0 < expected.mean() < 1


def test_binary_projection(measure: Measure, problem: Problem, prefix: str, size: Size) -> None:
    brick = aligned_zeros(problem.votes.shape, np.int8)
    brick[:] = problem.votes > problem.geometry.n_tilts // 4
    measured_max(measure, f"{prefix}binary projection", problem, brick)
    first = brick[: size.few_layers]
    form = max_by_rows if problem.binary.rows_only else max_by_planes
    expected = problem.stack(np.int8)
    form(first, problem.matrices, problem.half, expected)
    found = problem.project_max(first, problem.stack(np.int8))
    np.testing.assert_array_equal(found, expected)


def test_max_projection_in_numpy(measure: Measure, aligned: Problem, size: Size) -> None:
    n = size.numpy_layers
    brick, images = raised(aligned.votes[:n]), aligned.stack(np.uint8)

    def run() -> Array:
        max_by_rows(brick, aligned.matrices, aligned.half, images)
        return images

    updates = aligned.updates * n // aligned.grid.shape[0]
    case = "max projection, NumPy by rows"
    found = measure(case, run, updates, setup=lambda: images.fill(0), rounds=FEW)
    np.testing.assert_array_equal(found, aligned.project_max(brick, aligned.stack(np.uint8)))


def test_sum_projection(measure: Measure, problem: Problem, prefix: str) -> None:
    """The adjoint: <project x, p> = <x, backproject p>."""
    brick = problem.volume(np.float32)
    brick[:] = np.random.default_rng(1).random(brick.shape)
    images = problem.stack(np.float32)
    found = measure(
        f"{prefix}sum projection",
        lambda: problem.project_sum(brick, images),
        problem.updates,
        setup=lambda: images.fill(0),
        rounds=ROUNDS if problem.binary.rows_only else FEW,
    )
    left = np.sum(found * problem.images.transpose(0, 2, 1), dtype=np.float64)
    right = np.sum(brick * problem.backprojected, dtype=np.float64)
    assert left == pytest.approx(right, rel=1e-4)


# ------------------------------------------------------------------------------ threshold curve


def test_votes_from_maps(measure: Measure, aligned: Problem) -> None:
    """As a task does it: maps (tilt, y, x) to votes (z, y, x)."""
    lifting, read = Votes(aligned.geometry, aligned.grid), reader(aligned.maps)
    found = measure(
        "votes, from maps to volume",
        lambda: lift_brick(lifting, read, (0, 0, 0), aligned.grid.shape),
        aligned.updates,
    )
    np.testing.assert_array_equal(found, aligned.votes.transpose(0, 2, 1))


def curve(problem: Problem, votes: Array) -> ThresholdCurve:
    """As a task does it, of votes (z, y, x) in memory."""
    (height, _), n_tilts = problem.geometry.image_shape, problem.geometry.n_tilts
    largest = project_tile(
        "max",
        problem.geometry,
        problem.grid,
        lambda z, y, x: votes[slice(*z), slice(*y), slice(*x)],
        brick_windows(problem.grid.shape, READ),
        range(n_tilts),
        (0, height),
        largest=n_tilts,
    )
    return curve_of(count_agreement(largest, problem.maps, n_tilts))


def test_threshold_curve(measure: Measure, aligned: Problem) -> None:
    votes = swapped(aligned.votes)
    found = measure("threshold curve", lambda: curve(aligned, votes), aligned.updates)
    maps = aligned.maps.transpose(0, 2, 1)
    ones = aligned.volume(np.uint8) + np.uint8(1)
    seen = aligned.project_max(ones, aligned.stack(np.uint8)) > 0
    for threshold in (0, found.best):
        mask = (aligned.votes > threshold).astype(np.uint8)
        back = (aligned.project_max(mask, aligned.stack(np.uint8)) > 0) & seen
        both, either = (np.sum(s & seen, axis=(1, 2)) for s in (back & maps, back | maps))
        np.testing.assert_allclose(found.iou[:, threshold], both / either)
    assert 0 < found.best < aligned.geometry.n_tilts - 1

"""Linear backprojection and votes beside the peers, which must give the same values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.benchmarks import cases, numpy_forms, peers
from tests.benchmarks.cases import FEW

if TYPE_CHECKING:
    from tests.benchmarks.cases import Problem, Size
    from tests.benchmarks.conftest import Measure

Array = npt.NDArray[Any]
CLOSE = 1e-4  # relative, and of sums of tilts that are each about 1

LINEAR_FORMS = {"rows": numpy_forms.linear_by_rows, "planes": numpy_forms.linear_by_planes}
VOTES_FORMS = {"rows": numpy_forms.votes_by_rows, "planes": numpy_forms.votes_by_planes}


def run_form(
    measure: Measure, case: str, form: Any, images: Array, problem: Problem, n_layers: int
) -> Array:
    """Measure a NumPy form on the first layers."""
    nz, ny, nx = problem.grid.shape
    out = np.zeros((min(n_layers, nz), nx, ny), images.dtype)

    def run() -> Array:
        form(images, problem.matrices, problem.half, out)
        return out

    updates = problem.updates * len(out) // nz
    return measure(case, run, updates, setup=lambda: out.fill(0), rounds=FEW)


# --------------------------------------------------------------------------------------- linear


@pytest.mark.parametrize("geometry", ["aligned", "turned"])
def test_linear(measure: Measure, request: pytest.FixtureRequest, geometry: str) -> None:
    problem: Problem = request.getfixturevalue(geometry)
    total = problem.volume(np.float32)
    case = "linear" if geometry == "aligned" else "general linear"
    found = measure(
        case, lambda: problem.backproject(total), problem.updates, setup=lambda: total.fill(0)
    )
    np.testing.assert_array_equal(found, problem.backprojected)


@pytest.mark.parametrize("form", LINEAR_FORMS)
def test_linear_in_numpy(measure: Measure, aligned: Problem, size: Size, form: str) -> None:
    case, n = f"linear, NumPy by {form}", size.numpy_layers
    found = run_form(measure, case, LINEAR_FORMS[form], aligned.columns, aligned, n)
    np.testing.assert_allclose(found, aligned.backprojected[:n], rtol=CLOSE, atol=CLOSE)


def test_general_linear_in_numpy(measure: Measure, turned: Problem, size: Size) -> None:
    case, n = "general linear, NumPy by planes", size.few_layers
    found = run_form(measure, case, numpy_forms.linear_by_planes, turned.columns, turned, n)
    np.testing.assert_allclose(found, turned.backprojected[:n], rtol=CLOSE, atol=CLOSE)


def test_linear_by_scipy(measure: Measure, aligned: Problem) -> None:
    run = peers.scipy_sparse(aligned)
    found = measure("linear, scipy.sparse CSR", run, aligned.updates, rounds=FEW)
    np.testing.assert_allclose(found, aligned.backprojected, rtol=CLOSE, atol=CLOSE)


def test_linear_by_dask(measure: Measure, aligned: Problem, size: Size) -> None:
    run = peers.dask_by_hand(aligned, size.rows)
    updates = aligned.updates * size.rows // aligned.grid.shape[1]
    found = measure("linear, dask.array by hand", run, updates, rounds=FEW)
    np.testing.assert_allclose(
        found, aligned.backprojected[:, :, : size.rows], rtol=CLOSE, atol=CLOSE
    )


def test_linear_by_astra(measure: Measure, aligned: Problem, size: Size) -> None:
    """ASTRA interpolates along the volume's rows or columns (Joseph), so weights vary about 1."""
    run = peers.astra_bp(aligned, size.rows)
    updates = aligned.updates * size.rows // aligned.grid.shape[1]
    found = measure("linear, ASTRA BP (CPU)", run, updates, rounds=FEW)
    expected = aligned.backprojected[:, :, : size.rows]
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99
    assert np.vdot(found, expected) / np.vdot(expected, expected) == pytest.approx(1, abs=0.02)


def test_linear_by_skimage(measure: Measure, size: Size) -> None:
    problem = cases.square(size)
    run = peers.skimage_iradon(problem)
    found = measure("linear, scikit-image iradon", run, problem.updates, rounds=FEW)
    z, x = np.indices(found.shape[:2]) - found.shape[0] // 2
    inside = z**2 + x**2 < (found.shape[0] // 2 - 1) ** 2  # iradon fills a circle
    np.testing.assert_allclose(found[inside], problem.backprojected[inside], rtol=CLOSE, atol=CLOSE)


# ---------------------------------------------------------------------------------------- votes


@pytest.mark.parametrize("geometry", ["aligned", "turned"])
def test_votes(measure: Measure, request: pytest.FixtureRequest, geometry: str) -> None:
    problem: Problem = request.getfixturevalue(geometry)
    votes = problem.volume(np.uint8)
    case = "votes" if geometry == "aligned" else "general votes"
    found = measure(case, lambda: problem.vote(votes), problem.updates)
    np.testing.assert_array_equal(found, problem.votes)
    assert found.max() > problem.geometry.n_tilts // 2


@pytest.mark.parametrize("form", VOTES_FORMS)
def test_votes_in_numpy(measure: Measure, aligned: Problem, size: Size, form: str) -> None:
    case, n = f"votes, NumPy by {form}", size.numpy_layers
    found = run_form(measure, case, VOTES_FORMS[form], aligned.map_columns, aligned, n)
    np.testing.assert_array_equal(found, aligned.votes[:n])


def test_general_votes_in_numpy(measure: Measure, turned: Problem, size: Size) -> None:
    case, n = "general votes, NumPy by planes", size.few_layers
    found = run_form(measure, case, numpy_forms.votes_by_planes, turned.map_columns, turned, n)
    np.testing.assert_array_equal(found, turned.votes[:n])

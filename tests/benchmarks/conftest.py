"""One option, `--full`: without it every case runs once, tiny, as a plain test."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from tests.benchmarks import cases
from tests.benchmarks.report import ROWS

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

T = TypeVar("T")

LIBRARIES = ("numba", "numpy", "scipy", "astra-toolbox", "scikit-image", "dask")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full", action="store_true", help="benchmarks at full size; for timing see `make bench`"
    )


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Say in the results which versions were measured."""
    installed = {d.metadata["Name"]: d.version for d in metadata.distributions()}
    machine_info["versions"] = {n: installed[n] for n in LIBRARIES if n in installed}


@pytest.fixture(scope="session")
def size(request: pytest.FixtureRequest) -> cases.Size:
    full = request.config.getoption("--full", default=False)  # unknown if given no path to here
    return cases.FULL if full else cases.TINY


@pytest.fixture(scope="session")
def aligned(size: cases.Size) -> cases.Problem:
    return cases.aligned(size)


@pytest.fixture(scope="session")
def turned(size: cases.Size) -> cases.Problem:
    return cases.turned(size)


@dataclass(frozen=True)
class Measure:
    """Runs a case: some rounds, timed, or once where benchmarks are disabled."""

    benchmark: BenchmarkFixture

    def __call__(
        self,
        case: str,
        run: Callable[[], T],
        updates: int = 0,
        *,
        setup: Callable[[], None] | None = None,
        rounds: int = cases.ROUNDS,
        cores: int = 1,
    ) -> T:
        """What `run` returns; `updates` are voxels times tilts that it computes."""
        assert case in {row.case for row in ROWS}, "a case that the report would not print"
        self.benchmark.name = case
        self.benchmark.extra_info.update(updates=updates, cores=cores)
        found: T = self.benchmark.pedantic(  # type: ignore[no-untyped-call]
            run, setup=setup, rounds=rounds, warmup_rounds=1
        )
        return found

    def add_seconds(self, seconds: float) -> None:
        """Report these instead of the time of `run`: it measured something itself."""
        self.benchmark.extra_info.setdefault("seconds", []).append(seconds)


@pytest.fixture
def measure(benchmark: BenchmarkFixture) -> Measure:
    return Measure(benchmark)

"""A score volume several times as large as all workers together: does measured memory fit the plan?

Run: python -m tests.benchmarks.bench_out_of_core --workers 2 --memory 640 --shape 1024,2048,2560

``--only-scores`` stops after the votes; then ``gups`` says whether a large volume is as quick as a
small one. ``idle`` is the part of the workers' time in which no task ran: scheduling, and waiting
for the last task.
"""

from __future__ import annotations

import argparse
import functools
import json
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import psutil
from distributed import get_task_stream

from tests.stores import adopt_maps, run_step
from tomodist.algorithms.lift.backproject import Lifting, Votes
from tomodist.algorithms.lift.balanced import BalancedVotes
from tomodist.cli.shared.console import Bars
from tomodist.planning.plan import MiB
from tomodist.runtime.cluster import open_session
from tomodist.steps.backproject import Backproject
from tomodist.steps.export import export_result
from tomodist.steps.structures import FindStructures, Selection
from tomodist.steps.threshold import ChooseThreshold, stored_threshold
from tomodist.store.tomogram import Tomogram
from tomodist.values.geometry import TiltGeometry, VolumeGrid

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def peak_memory() -> Iterator[dict[int, int]]:
    """Largest resident size of every child process while the block runs, in bytes."""
    peaks: dict[int, int] = {}
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.05):
            for child in psutil.Process().children(recursive=True):
                try:
                    peaks[child.pid] = max(peaks.get(child.pid, 0), child.memory_info().rss)
                except psutil.NoSuchProcess:
                    continue

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        stop.set()
        thread.join()


def beads(geometry: TiltGeometry, grid: VolumeGrid, n: int) -> da.Array:
    """Maps of random beads, lazy, one tilt per chunk."""
    rng = np.random.default_rng(0)
    voxels = rng.uniform(0.15, 0.85, (n, 3)) * grid.shape
    places = geometry.matrices(grid) @ np.column_stack([voxels, np.ones(n)]).T

    def draw(tilt: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        image = np.zeros(geometry.image_shape, np.uint8)
        for row, column in places[tilt].T:
            r, c = round(row), round(column)
            image[max(r - 8, 0) : r + 9, max(c - 8, 0) : c + 9] = 1
        return image

    shape = geometry.image_shape
    import dask

    return da.stack(
        [da.from_delayed(dask.delayed(draw)(t), shape, np.uint8) for t in range(geometry.n_tilts)]
    )


def busy_seconds(stream: Any) -> float:
    """Seconds that tasks took, of a task stream of distributed."""
    return float(
        sum(
            part["stop"] - part["start"]
            for task in stream.data
            for part in task["startstops"]
            if part["action"] == "compute"
        )
    )


def run(
    folder: Path,
    shape: tuple[int, int, int],
    n_tilts: int,
    workers: int,
    memory: int,
    *,
    only_scores: bool = False,
    balanced: bool = False,
) -> dict[str, Any]:
    """Vote, threshold, label and export; time and largest worker of every step.

    Balanced votes go with own thresholds, which hold more than others do.
    """
    geometry = TiltGeometry(np.linspace(-60, 60, n_tilts).tolist(), shape[1:], 10.0)
    grid = VolumeGrid(shape, 10.0)
    tomogram = Tomogram.create(folder / "large.zarr")
    adopt_maps(tomogram, "beads", beads(geometry, grid, 200), geometry, grid)
    report: dict[str, Any] = {"volume_bytes": grid.n_voxels, "workers_bytes": workers * memory}
    with (
        Bars() as bars,
        open_session("local", n_workers=workers, memory_limit=memory, progress=bars) as session,
    ):
        votes: Lifting = (BalancedVotes if balanced else Votes)(geometry, grid)
        steps = _steps(tomogram, votes, per_structure=balanced)
        report["planned_bytes"] = max(
            plan.worker_memory for step in steps.values() for plan in step.plans(session.resources)
        )
        jobs: dict[str, Any] = {
            name: functools.partial(run_step, session, step) for name, step in steps.items()
        }
        mask = folder / "mask.mrc"
        jobs["export"] = lambda: export_result(bars, tomogram, "beads", mask, "mrc")
        for name, job in jobs.items():
            if only_scores and name != "backproject":
                continue
            started = time.perf_counter()
            with peak_memory() as peaks, get_task_stream(session.client) as stream:
                job()
            seconds = time.perf_counter() - started
            report[name] = {
                "seconds": round(seconds, 1),
                "largest_worker_bytes": max(peaks.values(), default=0),
                "tasks": len(stream.data),
                "idle": round(1 - busy_seconds(stream) / seconds / workers, 3),
            }
        updates = grid.n_voxels * n_tilts
        report["gups"] = round(updates / report["backproject"]["seconds"] / 1e9, 2)
        if not only_scores:
            report["structures"] = tomogram.label("beads").structures.dataset().sizes["structure"]
    return report


def _steps(tomogram: Tomogram, votes: Lifting, *, per_structure: bool) -> dict[str, Any]:
    label = tomogram.label("beads")

    def threshold() -> float:
        return stored_threshold(label) or 0.0

    return {
        "backproject": Backproject((label,), votes),
        "threshold": ChooseThreshold(label, votes.max_score or 1),
        "select": FindStructures(label, threshold, Selection(per_structure=per_structure)),
    }


def main() -> None:
    """Parse the options, run, print the report as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", default="512,1024,1280")
    parser.add_argument("--tilts", type=int, default=21)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory", type=int, default=640, help="MiB per worker")
    parser.add_argument("--only-scores", action="store_true")
    parser.add_argument("--balanced", action="store_true", help="And own thresholds.")
    options = parser.parse_args()
    nz, ny, nx = (int(n) for n in options.shape.split(","))
    with tempfile.TemporaryDirectory() as folder:
        report = run(
            Path(folder),
            (nz, ny, nx),
            options.tilts,
            options.workers,
            options.memory * MiB,
            only_scores=options.only_scores,
            balanced=options.balanced,
        )
    print(json.dumps(report, indent=1))  # noqa: T201 -- this is a program


if __name__ == "__main__":
    main()

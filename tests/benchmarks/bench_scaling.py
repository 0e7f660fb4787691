"""Scaling: the planner's model beside real runs on few processes and a simulated cluster.

*Real*: the votes of one volume on 1, 2, 4 and 8 worker processes of one thread. *Simulated*: a real
scheduler, client and up to 512 workers of distributed, whose tasks sleep for the time that the
model gives a brick of a tomogram of 5760 x 4092 x 2000 voxels and 121 tilts. All workers share one
process; the scheduler has its own, whose processor time is measured too.

Run: python -m tests.benchmarks.bench_scaling --output results.json --plot scaling.png
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import socket
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import distributed
import numpy as np
import psutil

from tests.benchmarks.bench_whole_job import run_batch, scores_of, write_maps
from tomodist.algorithms.lift.backproject import Votes
from tomodist.planning.costs import SCHEDULED
from tomodist.planning.plan import Cut, MiB, Plan, Resources
from tomodist.runtime.cluster import open_session
from tomodist.runtime.runner import Batch, Session, task_of
from tomodist.steps.parts.lifting import plan_scores
from tomodist.values.geometry import TiltGeometry, VolumeGrid

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGE = (2000, 4092, 5760)  # voxels
LARGE_TILTS = 121
CLUSTERS = (16, 32, 64, 128, 256, 512)
FLOOD = 2000  # tasks


def large_plan(n_workers: int) -> Plan:
    """Of the large tomogram, on workers of 2 GiB."""
    geometry = TiltGeometry(np.linspace(-60, 60, LARGE_TILTS).tolist(), LARGE[1:], 10.0)
    votes = Votes(geometry, VolumeGrid(LARGE, 10.0))
    return plan_scores(votes, 1, Resources(n_workers, 1, 2048 * MiB))


def real_runs(folder: Path, shape: tuple[int, int, int], runs: int) -> list[dict[str, Any]]:
    """Seconds of the same votes on 1, 2, 4 and 8 processes."""
    geometry = TiltGeometry(np.linspace(-60, 60, 61).tolist(), shape[1:], 10.0)
    votes = Votes(geometry, VolumeGrid(shape, 10.0))
    maps = write_maps(folder, geometry, binary=True)
    found = []
    for n in (1, 2, 4, 8):
        with open_session("local", n_workers=n, memory_limit=1024 * MiB) as session:
            plan = plan_scores(votes, 1, session.resources, cut=Cut((256, 256, 256)))
            scores_of(session, folder, maps, votes, plan)
            times = [scores_of(session, folder, maps, votes, plan)[1][0] for _ in range(runs)]
        cores = min(n, os.cpu_count() or 1)
        modelled = plan_scores(
            votes, 1, Resources(cores, 1, 2**30), cut=Cut((256, 256, 256))
        ).seconds
        found.append({"workers": n, "seconds": float(np.median(times)), "modelled": modelled})
    return found


# What a worker does beside its tasks, a hundred times a second: nothing against a process of its
# own, but 512 of them in one process would do nothing else.
QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "1 hour",
    "distributed.admin.tick.interval": "1 s",
    "logging.distributed": "error",
}


async def _serve_workers(n_workers: int, address: str) -> None:
    options: dict[str, Any] = {"nthreads": 1, "memory_limit": 0, "dashboard_address": None}
    workers = [distributed.Worker(address, **options) for _ in range(n_workers)]
    await asyncio.gather(*workers)
    await asyncio.gather(*(worker.finished() for worker in workers))


async def _serve_scheduler(port: int) -> None:
    async with distributed.Scheduler(host="127.0.0.1", port=port, dashboard=False) as scheduler:
        await scheduler.finished()


def _run_workers(n_workers: int, address: str) -> None:
    with dask.config.set(QUIET):
        asyncio.run(_serve_workers(n_workers, address))


def _run_scheduler(port: int) -> None:
    with dask.config.set(QUIET):
        asyncio.run(_serve_scheduler(port))


@contextmanager
def simulated_cluster(n_workers: int) -> Iterator[tuple[Session, psutil.Process]]:
    """A session with a scheduler process and a process of all workers; and the former."""
    context = multiprocessing.get_context("spawn")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    scheduler = context.Process(target=_run_scheduler, args=(port,), daemon=True)
    workers = context.Process(target=_run_workers, args=(n_workers, address), daemon=True)
    scheduler.start()
    workers.start()
    try:
        with dask.config.set(QUIET), distributed.Client(address, timeout="60s") as client:
            client.wait_for_workers(n_workers, timeout=300)
            session = Session(Resources(n_workers, 1, 2048 * MiB), client)
            yield session, psutil.Process(scheduler.pid)
    finally:
        for process in (workers, scheduler):
            process.terminate()
            process.join()


@dataclass(frozen=True)
class Simulated:
    """Seconds of a run, and seconds that the scheduler's process computed in it."""

    wall: float
    scheduler: float


def simulate(n_workers: int, n_tasks: int, seconds: float) -> Simulated:
    """Run tasks that sleep."""
    with simulated_cluster(n_workers) as (session, scheduler):
        run_batch(session, Batch("warm", (task_of(time.sleep, 0) for _ in range(64)), 64))
        before, start = scheduler.cpu_times(), time.perf_counter()
        tasks = (task_of(time.sleep, seconds) for _ in range(n_tasks))
        run_batch(session, Batch("sleep", tasks, n_tasks))
        wall, after = time.perf_counter() - start, scheduler.cpu_times()
        return Simulated(wall, after.user + after.system - before.user - before.system)


def simulated_runs() -> list[dict[str, Any]]:
    """One large tomogram, and a flood of empty tasks, on clusters of several sizes."""
    found = []
    for n in CLUSTERS:
        plan = large_plan(n)
        leaf = large_plan(1).seconds / plan.n_tasks
        tomogram, flood = simulate(n, plan.n_tasks, leaf), simulate(n, FLOOD, 0.0)
        found.append(
            {
                "workers": n,
                "tasks": plan.n_tasks,
                "leaf_seconds": leaf,
                "modelled": plan.seconds,
                "seconds": tomogram.wall,
                "scheduler_ms_per_task": 1e3 * tomogram.scheduler / plan.n_tasks,
                "flood_ms_per_task": 1e3 * flood.wall / FLOOD,
            }
        )
        sys.stderr.write(json.dumps(found[-1]) + "\n")
    return found


def draw(results: dict[str, Any], path: Path) -> None:
    """Seconds over workers: model, real runs, simulated cluster."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    real, simulated = results["real"], results["simulated"]
    for axes, runs, measured in ((left, real, "measured"), (right, simulated, "simulated")):
        n = [run["workers"] for run in runs]
        axes.loglog(n, [run["modelled"] for run in runs], "k-", label="model")
        axes.loglog(n, [run["seconds"] for run in runs], "o", label=measured)
        axes.set(xlabel="workers of one thread", ylabel="seconds")
        axes.xaxis.set_major_locator(FixedLocator(n))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(ScalarFormatter())
    left.set_title(
        f"votes of {' x '.join(map(str, results['shape']))}, on {results['cores']} cores"
    )
    right.set_title("one tomogram of 2000 x 4092 x 5760, 121 tilts")
    left.set_ylim(0.3, 5)
    limit = [run["tasks"] * run["scheduler_ms_per_task"] / 1e3 for run in simulated]
    right.loglog([run["workers"] for run in simulated], limit, "r--", label="scheduler alone")
    for axes in (left, right):
        axes.legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Parse the options, run, write results and plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("scaling.json"))
    parser.add_argument("--plot", type=Path, default=Path("scaling.png"))
    parser.add_argument("--shape", default="256,1024,1024")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    nz, ny, nx = (int(n) for n in options.shape.split(","))
    with tempfile.TemporaryDirectory() as folder:
        results = {
            "shape": [nz, ny, nx],
            "cores": os.cpu_count(),
            "scheduled_seconds": SCHEDULED,
            "real": real_runs(Path(folder), (nz, ny, nx), options.runs),
            "simulated": simulated_runs(),
        }
    options.output.write_text(json.dumps(results, indent=1))
    draw(results, options.plot)


if __name__ == "__main__":
    main()

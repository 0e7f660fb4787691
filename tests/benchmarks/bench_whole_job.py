"""The whole job beside its bound: stored maps to stored scores, and merely writing the same array.

Both run on the same cluster with the same bricks and codecs, in turn, several times, each from a
clean page cache (nothing waiting to be written). ``seconds`` ends when the last task does,
``on_disk`` when the bytes are on the disk (sync). Ratios are taken pair by pair.

Run: python -m tests.benchmarks.bench_whole_job --kind linear --workers 2
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import distributed
import numpy as np

from tomodist.algorithms.lift.backproject import Lifting, Votes, WeightedMean
from tomodist.formats.zarr import Group
from tomodist.planning.plan import Cut, MiB
from tomodist.runtime.cluster import open_session
from tomodist.runtime.runner import Batch, Work, task_of
from tomodist.steps.parts.lifting import fill_scores, plan_scores
from tomodist.store.volumes import create_stack, create_volume
from tomodist.values.geometry import TiltGeometry, VolumeGrid

if TYPE_CHECKING:
    from collections.abc import Callable

    from tomodist.formats.zarr import ArrayHandle
    from tomodist.planning.plan import Plan
    from tomodist.runtime.runner import Session, Work
    from tomodist.values.windows import Index


def write_maps(folder: Path, geometry: TiltGeometry, *, binary: bool) -> ArrayHandle:
    """Smooth noise, or its highest part: speckles of about the size of a granule."""
    import scipy.ndimage

    stack = create_stack(Group(str(folder)), "maps", geometry, np.uint8 if binary else np.float32)
    random = np.random.default_rng(0)
    noise = random.standard_normal(geometry.image_shape).astype(np.float32)
    smooth = scipy.ndimage.gaussian_filter(noise, 4)
    smooth /= smooth.std()
    for tilt in range(geometry.n_tilts):
        image = np.roll(smooth, (7 * tilt, 13 * tilt), (0, 1))
        noise = random.standard_normal(image.shape).astype(np.float32)
        stack.write((tilt, 0, 0), (image > 2.0 if binary else image + noise)[None])
    return stack


def hold_brick(source: ArrayHandle, brick: Index, dask_worker: Any) -> None:
    """Read a brick into the worker's memory."""
    dask_worker.held = source.read(*source.window(brick))


def write_held(target: ArrayHandle, brick: Index) -> None:
    """Write the brick that is held."""
    held = distributed.get_worker().held
    target.write(brick, held[tuple(slice(b - a) for a, b in target.window(brick))])


def timed(function: Callable[[], Any]) -> tuple[float, float]:
    """Seconds until a function returns, and until what it wrote is on the disk."""
    os.sync()
    start = time.perf_counter()
    function()
    done = time.perf_counter() - start
    os.sync()
    return done, time.perf_counter() - start


def merely_write(session: Session, target: ArrayHandle) -> None:
    """Write an array, of which every worker holds a brick already."""
    bricks = target.bricks()
    tasks = (task_of(write_held, target, brick) for brick in bricks)
    run_batch(session, Batch("write", tasks, len(bricks)))


def scores_of(
    session: Session, folder: Path, maps: ArrayHandle, lifting: Lifting, plan: Plan
) -> tuple[ArrayHandle, tuple[float, float]]:
    """Scores, and the seconds that they took."""
    group = Group(str(folder))
    group.remove("scores")
    scores = create_volume(group, "scores", lifting.grid, plan.brick, lifting.dtype)
    return scores, timed(lambda: session.run(fill_scores(maps, scores, lifting, plan)))


def run_batch(session: Session, batch: Batch) -> None:
    """Run the tasks of one batch."""

    def work() -> Work[None]:
        yield batch

    session.run(work())


def ratio(jobs: list[tuple[float, float]], writes: list[tuple[float, float]], k: int) -> float:
    """Median of job over writing."""
    pairs = zip(jobs, writes, strict=True)
    return round(statistics.median(job[k] / write[k] for job, write in pairs), 2)


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run the pairs."""
    shape = tuple(int(n) for n in options.shape.split(","))
    geometry = TiltGeometry(np.linspace(-60, 60, options.tilts).tolist(), shape[1:], 10.0)
    grid = VolumeGrid(shape, 10.0)
    binary = options.kind == "votes"
    maps = write_maps(folder, geometry, binary=binary)
    lifting: Lifting = Votes(geometry, grid) if binary else WeightedMean(geometry, grid)
    memory = options.memory * MiB if options.memory else None
    jobs, writes = [], []
    with open_session(options.cluster, n_workers=options.workers, memory_limit=memory) as session:
        brick = tuple(int(n) for n in options.brick.split(",")) if options.brick else None
        plan = plan_scores(lifting, maps.dtype.itemsize, session.resources, cut=Cut(brick))
        scores, _ = scores_of(session, folder, maps, lifting, plan)
        for _ in range(options.runs):
            scores, seconds = scores_of(session, folder, maps, lifting, plan)
            jobs.append(seconds)
            session.client.run(hold_brick, scores, scores.bricks()[0])
            Group(str(folder)).remove("copy")
            copy = create_volume(Group(str(folder)), "copy", grid, plan.brick, lifting.dtype)
            writes.append(timed(functools.partial(merely_write, session, copy)))
    stored = sum(p.stat().st_size for p in (folder / "scores").rglob("*") if p.is_file())
    updates = grid.n_voxels * geometry.n_tilts
    return {
        "kind": options.kind,
        "shape": shape,
        "tilts": geometry.n_tilts,
        "brick": plan.brick,
        "tilts_per_task": plan.tilts_per_task,
        "workers": session.resources.n_slots,
        "seconds": [round(job[0], 2) for job in jobs],
        "write_seconds": [round(write[0], 2) for write in writes],
        "on_disk": [round(job[1], 2) for job in jobs],
        "write_on_disk": [round(write[1], 2) for write in writes],
        "gups": round(updates / statistics.median(job[0] for job in jobs) / 1e9, 2),
        "ratio_to_writing": ratio(jobs, writes, 0),
        "ratio_on_disk": ratio(jobs, writes, 1),
        "smaller_on_disk": round(grid.n_voxels * lifting.dtype.itemsize / stored, 1),
    }


def main() -> None:
    """Parse the options, run, print the report as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=["votes", "linear"], default="linear")
    parser.add_argument("--shape", default="256,1024,1024")
    parser.add_argument("--tilts", type=int, default=61)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory", type=int, help="MiB per worker")
    parser.add_argument("--brick", help="instead of the planned one")
    parser.add_argument("--cluster", default="local")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        json.dump(measure(Path(folder), options), sys.stdout)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()

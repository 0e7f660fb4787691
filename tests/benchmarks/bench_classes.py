"""Classes of label maps in one pass, beside as many runs on binary maps.

Run: python -m tests.benchmarks.bench_classes --width 512 --thickness 128 --tilts=-60,60,3

Rows are the number of classes. ``lift`` makes the votes with their pyramids, ``all`` is everything
from files to structures, both on workers that have just started; ``largest`` is the worker that
held most while lifting, beside what was planned. ``cpu`` is the lifting again on one thread of
this process, and ``windows`` and ``read`` what it reads of maps.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import mrcfile
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from tomodist.tasks.run import run_task

from tests.benchmarks.bench_out_of_core import peak_memory
from tomodist.cli import run as run_command
from tomodist.formats.zarr import ArrayHandle
from tomodist.planning.plan import MiB
from tomodist.runtime.cluster import open_session
from tomodist.sources.classes import import_classes
from tomodist.sources.stack import import_maps
from tomodist.steps.backproject import backproject_maps, plan_scores
from tomodist.store.tomogram import Tomogram
from tomodist.tasks.classes import class_segmentation, run_classes
from tomodist.tasks.lifting import segmentation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tomodist.runtime.runner import Session
    from tomodist.tasks.classes import ClassesTask
    from tomodist.tasks.lifting import Task

NAMES = ("mitochondrion", "membrane", "granule", "gold")
_RIM = 4  # pixels: how thick membranes look at the rim of a silhouette


class Case(NamedTuple):
    """The same classes twice: as label maps, and as binary maps of one class each."""

    tomogram: Tomogram
    together: ClassesTask
    alone: list[Task]


def label_maps(folder: Path) -> npt.NDArray[np.uint8]:
    """True label maps of the simulated cell; what lies inside hides what lies around it."""
    seen = {}
    for name in ("mitochondrion", "granule", "gold"):
        with mrcfile.open(folder / f"cell_{name}_maps.mrc") as file:
            seen[name] = np.array(file.data) > 0
    body = seen["mitochondrion"]
    inner = np.stack([ndimage.binary_erosion(image, iterations=_RIM) for image in body])
    seen["membrane"] = body & ~inner
    labels = np.zeros(body.shape, np.uint8)
    for value, name in enumerate(NAMES, start=1):
        labels[seen[name]] = value
    return labels


def make_case(folder: Path, labels: npt.NDArray[np.uint8], n_classes: int) -> Case:
    """A store with nothing but the series, and the tasks for some of the classes."""
    store = folder / f"{n_classes}.zarr"
    series = ["--tilt-angles", folder / "cell.tlt", "--cluster", "threads", "-o", store]
    with mrcfile.open(folder / "cell_granule_truth.mrc", header_only=True) as file:
        thickness = int(file.header.nz)
    ingest = ["ingest", folder / "cell.mrc", *series, "--thickness", thickness]
    assert run_command([str(word) for word in ingest]) == 0
    tomogram = Tomogram.open(store)
    path = folder / f"labels-{n_classes}.npy"
    np.save(path, np.where(labels <= n_classes, labels, 0))
    source = import_classes(tomogram, path, NAMES[:n_classes], "cell")
    alone = []
    for value, name in source.classes.items():
        np.save(folder / f"{name}.npy", labels == value)
        maps = import_maps(tomogram, folder / f"{name}.npy")
        alone.append(segmentation(tomogram, f"{name}-alone", maps))
    return Case(tomogram, class_segmentation(tomogram, "cell", source), alone)


@contextmanager
def map_reads() -> Iterator[dict[str, float]]:
    """Number, bytes and seconds of windows that are read of maps in this process."""
    total = {"reads": 0.0, "bytes": 0.0, "seconds": 0.0}
    read: Callable[..., Any] = ArrayHandle.read

    def counted(handle: ArrayHandle, *window: tuple[int, int]) -> Any:
        started = time.perf_counter()
        values = read(handle, *window)
        if handle.path.endswith("maps"):
            total["reads"] += 1
            total["bytes"] += values.nbytes
            total["seconds"] += time.perf_counter() - started
        return values

    ArrayHandle.read = counted  # type: ignore[method-assign, assignment]
    try:
        yield total
    finally:
        ArrayHandle.read = read  # type: ignore[method-assign]


def lift(session: Session, tomogram: Tomogram, tasks: list[Task], names: list[str]) -> None:
    """Make the scores of classes together (one task for all), or one by one."""
    groups = [(tasks[0], names)] if len(tasks) == 1 else [(t, [t.label]) for t in tasks]
    for task, labels in groups:
        given = (labels if len(labels) > 1 else labels[0], task.lifting, task.parameters)
        backproject_maps(session, tomogram, *given)


def forget(tomogram: Tomogram, kind: str) -> None:
    """Remove what is made again."""
    for label in tomogram.names(kind):
        tomogram.remove(f"{kind}/{label}")


def in_this_process(tomogram: Tomogram, tasks: list[Task], names: list[str]) -> dict[str, float]:
    """Seconds of processor of lifting where everything is compiled: the least of three."""
    rows = []
    for _ in range(3):
        with open_session("threads", n_workers=1) as session, map_reads() as total:
            started = time.process_time()
            lift(session, tomogram, tasks, names)
            seconds = time.process_time() - started
        forget(tomogram, "scores")
        rows.append({"cpu s": seconds, "windows": total["reads"],
                     "read MiB": total["bytes"] / MiB, "read s": total["seconds"]})  # fmt: skip
    return min(rows, key=lambda row: row["cpu s"])


def measure(case: Case, workers: int, memory: int) -> dict[str, dict[str, float]]:
    """Both ways: reads, seconds, the largest worker, the plan."""
    tomogram, names = case.tomogram, list(case.together.classes.values())

    def run_all(session: Session, way: str) -> None:
        if way == "together":
            run_classes(session, tomogram, case.together)
        else:
            for task in case.alone:
                run_task(session, tomogram, task)

    report = {}
    for way in ("together", "alone"):
        tasks = [case.together.common] if way == "together" else case.alone
        row: dict[str, float] = {}
        with open_session("local", n_workers=workers, memory_limit=memory) as session:
            started = time.perf_counter()
            run_all(session, way)
            row["all s"] = time.perf_counter() - started
        forget(tomogram, "scores")
        with open_session("local", n_workers=workers, memory_limit=memory) as session:
            n_classes = len(names) if way == "together" else 1
            plan = plan_scores(tasks[0].lifting, 1, session.resources, n_classes=n_classes)
            row["planned MiB"] = plan.worker_memory / MiB
            with peak_memory() as peaks:
                started = time.perf_counter()
                lift(session, tomogram, tasks, names)
                row["lift s"] = time.perf_counter() - started
            row["largest MiB"] = max(peaks.values()) / MiB
        forget(tomogram, "scores")
        row |= in_this_process(tomogram, tasks, names)
        report[way] = {name: round(value, 2) for name, value in row.items()}
    return report


def run(
    folder: Path,
    size: tuple[int, int],
    tilts: str,
    classes: list[int],
    *,
    workers: int = 2,
    memory: int = 1024 * MiB,
) -> dict[int, dict[str, dict[str, float]]]:
    """Simulate a cell of (thickness, width), and measure for every number of classes."""
    thickness, width = size
    cell = ["simulate", "cell", "--width", width, "--thickness", thickness, f"--tilts={tilts}"]
    content = ["--mitochondria", 3, "--granules", 3, "--gold", 30, "-o", folder]
    assert run_command([str(word) for word in [*cell, *content]]) == 0
    labels = label_maps(folder)
    return {n: measure(make_case(folder, labels, n), workers, memory) for n in classes}


def main() -> None:
    """Parse the options, run, print the report as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--thickness", type=int, default=64)
    parser.add_argument("--tilts", default="-60,60,6")
    parser.add_argument("--classes", default="1,2,4")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory", type=int, default=1024, help="MiB per worker")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = run(
            Path(folder),
            (given.thickness, given.width),
            given.tilts,
            [int(n) for n in given.classes.split(",")],
            workers=given.workers,
            memory=given.memory * MiB,
        )
    print(json.dumps(report, indent=1))  # noqa: T201 -- this is a program


if __name__ == "__main__":
    main()

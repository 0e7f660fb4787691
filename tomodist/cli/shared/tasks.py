"""What segment, edges and locate have in common: running, the plan, the summary."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from tomodist.cli.shared.console import print_line, print_table
from tomodist.cli.shared.options import RunOptions, WorkOptions, session_of
from tomodist.planning.plan import Plan, format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import xarray as xr

    from tomodist.planning.plan import Resources
    from tomodist.runtime.runner import Session
    from tomodist.store.tomogram import Tomogram
    from tomodist.tasks.lifting import LinkTask, Task

_ENOUGH_OBJECTS = 5  # to say of a tilt that it shows few of them


def run_or_plan(
    tomogram: Tomogram, tasks: Task | Sequence[Task | LinkTask], run: RunOptions
) -> None:
    """Run tasks one by one and print their summaries, or only print the plan."""
    from tomodist.pictures import draw_all
    from tomodist.tasks.lifting import Task
    from tomodist.tasks.run import run_task

    tasks = [tasks] if isinstance(tasks, Task) else tasks
    with session_or_plan(tasks[0].plans, run) as session:  # tasks differ in their maps only
        if session is None:
            return
        thresholds = [run_task(session, tomogram, t, overwrite=run.overwrite) for t in tasks]
    for task, threshold in zip(tasks, thresholds, strict=True):
        pictures = draw_all(tomogram, task.label)
        print_structures(tomogram, task.label, threshold)
        print_disagreeing(tomogram, task.label)
        print_unsupportive(tomogram, task.label)
        for picture in pictures:
            print_line(f"picture: {picture}")


@contextmanager
def session_or_plan(
    plans_on: Callable[[Resources], list[Plan]], run: WorkOptions
) -> Iterator[Session | None]:
    """Where to run; or None, and only the plan is printed.

    What cannot fit is refused before workers are started; only a cluster that runs already has to
    be asked what it has.
    """
    from tomodist.runtime.cluster import resources_of

    if "://" not in run.cluster:
        plans = plans_on(resources_of(*run.where))
        if run.dry_run:
            print_plans(plans)
            yield None
            return
    with session_of(*run.where) as session:
        if run.dry_run:
            print_plans(plans_on(session.resources))
        yield None if run.dry_run else session


def print_plans(plans: list[Plan]) -> None:
    """Print what the steps would cost."""
    if not plans:
        print_line("plan: one task per tilt that detects, one that links; no volume is made")
        return
    rows = [
        (
            plan.step,
            " x ".join(map(str, plan.brick)),
            plan.n_bricks,
            f"{plan.tilts_per_task} of {plan.n_tilts}" if plan.n_tilts > 1 else "-",
            plan.n_tasks,
            format_bytes(plan.task_memory),
            f"{format_bytes(plan.worker_memory)} of {format_bytes(plan.resources.memory_limit)}",
            format_bytes(plan.bytes_read),
            format_bytes(plan.bytes_written),
            "-" if math.isnan(plan.seconds) else f"{plan.seconds:.2g} s",
        )
        for plan in plans
    ]
    head = (
        "step", "brick", "bricks", "tilts per task", "tasks", "memory per task",
        "memory per worker", "reads", "writes", "about",
    )  # fmt: skip
    print_table("plan (uncompressed sizes)", head, rows)


def print_structures(
    tomogram: Tomogram, label: str, threshold: float | None, most: int = 40
) -> None:
    """Print the table of structures."""
    table = tomogram.label(label).structures.dataset().load()
    n = table.sizes["structure"]
    shown = [(head, value) for head, column, value in _COLUMNS if column is None or column in table]
    rows = [[value(table.isel(structure=k)) for _, value in shown] for k in range(min(n, most))]
    how = "linked across tilts" if threshold is None else f"score > {threshold:.3g}"
    print_table(f"{n} structures of {label}, {how}", [head for head, _ in shown], rows)
    if n > most:
        print_line(f"... and {n - most} more; `tomodist export` writes them all")
    located = "residual" in table and n
    if located or "residual" in table:
        _print_boxes(tomogram, label)
    quality = f", median residual: {table['residual'].median().item():.2f} px" if located else ""
    print_line(f"structures: {n}{quality}, store: {tomogram}")


def _print_boxes(tomogram: Tomogram, label: str) -> None:
    """How many 2D boxes there were to lift."""
    from tomodist.store.boxes import box_rows

    numbers = [len(b) for b in box_rows(tomogram.label(label).maps)]
    shown = sum(n > 0 for n in numbers)
    print_line(f"2D boxes: {sum(numbers)} on {shown} of {len(numbers)} tilts")


def print_disagreeing(tomogram: Tomogram, label: str) -> None:
    """Name the tilts that disagree with the rest, where a threshold was chosen."""
    from tomodist.store.curves import stored_consistency

    found = stored_consistency(tomogram, label)
    if found is None:
        return
    tilts, angles, consistency = found
    rows = [
        (
            tilts[k],
            f"{angles[k]:.1f}°",
            consistency.iou[k],
            consistency.expected[k],
            consistency.reason(k),
        )
        for k in np.flatnonzero(consistency.disagrees).tolist()
    ]
    if rows:
        head = ("tilt", "angle", "IoU", "expected", "because")
        print_table("tilts that disagree with the rest (--exclude-tilts)", head, rows)


def print_unsupportive(tomogram: Tomogram, label: str) -> None:
    """Name the tilts that show few of the located objects: misaligned, or with few boxes."""
    table = tomogram.label(label).structures.dataset().load()
    if "residual_per_tilt" not in table or table.sizes["structure"] < _ENOUGH_OBJECTS:
        return
    shown = np.isfinite(table["residual_per_tilt"].values).mean(axis=0)
    excluded = tomogram.label(label).structures.attributes["fingerprint"].get("excluded", [])
    few = [t for t in np.flatnonzero(shown < np.median(shown) / 2) if t not in excluded]
    angles, n = table["tilt_angle"].values, table.sizes["structure"]
    rows = [(t, f"{angles[t]:.1f}°", f"{round(shown[t] * n)} of {n}") for t in few]
    if rows:
        title = "boxes lie elsewhere (--exclude-tilts)"
        print_table(title, ("tilt", "angle", "objects shown"), rows)


def _whole(name: str) -> Callable[[xr.Dataset], object]:
    return lambda structure: round(structure[name].item())


def _real(name: str, digits: int) -> Callable[[xr.Dataset], object]:
    return lambda structure: round(structure[name].item(), digits)


def _triple(*names: str) -> Callable[[xr.Dataset], object]:
    return lambda structure: " x ".join(f"{structure[name].item():.0f}" for name in names)


# Of the table of structures: head, the column that has to be there (None: it always is), the value.
_COLUMNS: tuple[tuple[str, str | None, Callable[[xr.Dataset], object]], ...] = (
    ("id", None, _whole("id")),
    ("z (Å)", None, _whole("z")),
    ("y (Å)", None, _whole("y")),
    ("x (Å)", None, _whole("x")),
    ("± z, y, x (Å)", "sigma_z", _triple("sigma_z", "sigma_y", "sigma_x")),
    ("size z, y, x (Å)", None, _triple("size_z", "size_y", "size_x")),
    ("voxels", "n_voxels", _whole("n_voxels")),
    ("score", "mean_score", _real("mean_score", 2)),
    ("threshold", "threshold", _real("threshold", 2)),
    ("stability", "stability", _real("stability", 2)),
    ("tilts", "n_tilts", _whole("n_tilts")),
    ("residual (px)", "residual", _real("residual", 2)),
)


def open_tomogram(store: Path) -> Tomogram:
    """Open a store."""
    from tomodist.store.tomogram import Tomogram

    return Tomogram.open(store)

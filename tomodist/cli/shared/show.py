"""What a person sees of results and plans: tables, lines, and the paths of pictures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.cli.shared.console import print_line, print_table
from tomodist.planning.plan import Plan, format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    import xarray as xr

    from tomodist.store.tomogram import Label, Tomogram
    from tomodist.tasks.base import PlannedTask
    from tomodist.tasks.results import (
        ClassesResult,
        LabelResult,
        LabelsResult,
        ReconstructionResult,
    )

_ENOUGH_OBJECTS = 5  # to say of a tilt that it shows few of them


def open_tomogram(store: Path) -> Tomogram:
    """Open a store."""
    from tomodist.store.tomogram import Tomogram

    return Tomogram.open(store)


def show(result: Any) -> None:  # noqa: ANN401 -- a result of any task
    """Print the tables of a result, draw its pictures, and print their paths."""
    from tomodist.tasks import results

    shown: dict[type, Callable[[Any], None]] = {
        results.LabelResult: _show_label,
        results.LabelsResult: _show_labels,
        results.ClassesResult: _show_classes,
        results.ReconstructionResult: _show_reconstruction,
    }
    shown[type(result)](result)


def _show_label(result: LabelResult) -> None:
    pictures = result.draw()
    print_structures(result.label, result.threshold)
    print_disagreeing(result)
    print_unsupportive(result.label)
    print_pictures(pictures)


def _show_labels(result: LabelsResult) -> None:
    for one in result.labels:
        _show_label(one)


def _show_classes(result: ClassesResult) -> None:
    rows = []
    for value, one in result.classes.items():
        _show_label(one)
        n = one.structures.sizes["structure"]
        rows.append((value, one.label.name, round(one.threshold or 0.0, 3), n))
    head = ("value", "class", "score above", "structures")
    print_table(f"classes of {result.label.labels}, the largest share decides", head, rows)
    print_pictures(result.draw())


def _show_reconstruction(result: ReconstructionResult) -> None:
    if result.residuals:
        print_line(
            f"residual before the last of {len(result.residuals)} iterations: "
            f"{100 * result.residuals[-1]:.2f} %"
        )
    print_line(f"reconstruction: {result.unit}, store: {result.unit.tomogram}")
    print_pictures(result.draw())


def print_pictures(paths: Iterable[Path]) -> None:
    """Print the paths of pictures."""
    for path in paths:
        print_line(f"picture: {path}")


def print_plans(planned: Sequence[PlannedTask[Any]]) -> None:
    """Print what the steps would cost; tasks that are planned alike are printed once."""
    rows = dict.fromkeys(_plan_row(plan) for task in planned for plan in task.plans)
    head = (
        "step", "brick", "bricks", "tilts per task", "tasks", "memory per task",
        "memory per worker", "reads", "writes", "about",
    )  # fmt: skip
    print_table("plan (uncompressed sizes)", head, rows)


def _plan_row(plan: Plan) -> tuple[object, ...]:
    return (
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


def print_structures(label: Label, threshold: float | None, most: int = 40) -> None:
    """Print the table of structures.

    Parameters
    ----------
    label : Label
        Whose structures.
    threshold : float, optional
        The score above which a voxel is structure; tracks have none.
    most : int
        Rows that are printed.
    """
    table = label.structures.dataset().load()
    n = table.sizes["structure"]
    columns = [(head, value) for head, name, value in _COLUMNS if name is None or name in table]
    rows = [[value(table.isel(structure=k)) for _, value in columns] for k in range(min(n, most))]
    how = "linked across tilts" if threshold is None else f"score > {threshold:.3g}"
    print_table(f"{n} structures of {label}, {how}", [head for head, _ in columns], rows)
    if n > most:
        print_line(f"... and {n - most} more; `tomodist export` writes them all")
    if "residual" in table:
        _print_boxes(label)
    located = "residual" in table and n
    quality = f", median residual: {table['residual'].median().item():.2f} px" if located else ""
    print_line(f"structures: {n}{quality}, store: {label.tomogram}")


def _print_boxes(label: Label) -> None:
    """How many 2D boxes there were to lift."""
    from tomodist.store.boxes import box_rows

    numbers = [len(rows) for rows in box_rows(label.maps)]
    print_line(f"2D boxes: {sum(numbers)} on {sum(n > 0 for n in numbers)} of {len(numbers)} tilts")


def print_disagreeing(result: LabelResult) -> None:
    """Name the tilts that disagree with the rest, where a threshold was chosen."""
    agreement = result.agreement
    if agreement is None:
        return
    consistency = agreement.consistency
    rows = [
        (
            agreement.tilts[k],
            f"{agreement.angles[k]:.1f}°",
            consistency.iou[k],
            consistency.expected[k],
            consistency.reason(k),
        )
        for k in np.flatnonzero(consistency.disagrees).tolist()
    ]
    if rows:
        head = ("tilt", "angle", "IoU", "expected", "because")
        print_table("tilts that disagree with the rest (--exclude-tilts)", head, rows)


def print_unsupportive(label: Label) -> None:
    """Name the tilts that show few of the located objects: misaligned, or with few boxes."""
    table = label.structures.dataset().load()
    if "residual_per_tilt" not in table or table.sizes["structure"] < _ENOUGH_OBJECTS:
        return
    shown = np.isfinite(table["residual_per_tilt"].values).mean(axis=0)
    excluded = label.structures.attributes["fingerprint"].get("excluded", [])
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

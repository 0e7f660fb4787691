"""``tomodist evaluate``: results beside a known truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click
import cloup

from tomodist.cli.shared.console import print_line, print_table
from tomodist.cli.shared.options import (
    INPUT,
    OUTPUT,
    RUN,
    STORE,
    Brick,
    GroupedCommand,
    WorkOptions,
    cluster_options,
    overwrite_option,
)
from tomodist.cli.shared.running import run_tasks
from tomodist.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.tasks.comparisons import Kind, Pair
    from tomodist.tasks.evaluate import Evaluation

_T = TypeVar("_T")
_POOLED = "all together"
COMPARISON = cloup.OptionGroup("Comparison")


@cloup.command(
    "evaluate",
    cls=GroupedCommand,
    epilog="Example: tomodist evaluate TS_01.zarr --label granule --truth granule_truth.mrc "
    "--json TS_01_scores.json",
)
@cloup.argument("result", type=STORE, help="Tomogram store, or a volume or a table.")
@cloup.option(
    "--label", multiple=True, group=INPUT, help="Result of a store, one for each --truth."
)
@cloup.option(
    "--truth",
    multiple=True,
    type=STORE,
    required=True,
    group=INPUT,
    help="True volume (MRC, Zarr, OME-Zarr) or table (CSV, STAR).",
)
@cloup.option(
    "--value",
    multiple=True,
    type=float,
    group=INPUT,
    help="Value of a true volume that is the class. [default: any value but 0]",
)
@cloup.option(
    "--found-value",
    multiple=True,
    type=float,
    group=INPUT,
    help="Value of a result that is the class. [default: any value but 0]",
)
@cloup.option("--within", type=STORE, group=INPUT, help="Volume outside which nothing counts.")
@cloup.option(
    "--pixel-size", type=float, group=INPUT, help="Pixel size in Å, of files that do not say it."
)
@cloup.option(
    "--kind",
    multiple=True,
    type=click.Choice(["mask", "edges", "boxes", "points"]),
    group=COMPARISON,
    help="Kind of comparison, one for all or one for each --truth. [default: that of the truth]",
)
@cloup.option(
    "--distance",
    type=float,
    group=COMPARISON,
    help="Largest distance between a point and the true one, in Å.",
)
@cloup.option(
    "--max-distance",
    default=32,
    show_default=True,
    group=COMPARISON,
    help="Largest distance between surfaces that is measured exactly, in voxels.",
)
@cloup.option(
    "--json", "target", type=STORE, group=OUTPUT, help="JSON file for all measures and counts."
)
@overwrite_option("the JSON file")
@cloup.option(
    "--brick",
    type=Brick(),
    group=RUN,
    help="Size of the bricks in voxels, multiples of 64. [default: planned]",
)
@cluster_options
def command(
    result: Path,
    label: tuple[str, ...],
    truth: tuple[Path, ...],
    kind: tuple[Kind, ...],
    value: tuple[float, ...],
    found_value: tuple[float, ...],
    distance: float | None,
    max_distance: int,
    within: Path | None,
    pixel_size: float | None,
    target: Path | None,
    brick: tuple[int, ...] | None,
    cluster: str,
    workers: int | None,
    memory: int | None,
    *,
    overwrite: bool,
) -> None:
    """Compare results with the truth: masks, edges, boxes and points.

    RESULT is a tomogram store, or a volume or table that was made elsewhere.
    """
    from tomodist.formats.files import check_target, write_json
    from tomodist.tasks.comparisons import Rules
    from tomodist.tasks.evaluate import evaluation_task

    if target is not None:
        check_target(target, overwrite=overwrite)
    rules = Rules(max_distance, distance, within, pixel_size)
    pairs = _pairs(truth, label, kind, value, found_value)
    task = evaluation_task(result, pairs, rules, brick)
    if not task.has_volumes:
        cluster = "threads"  # tables need no workers
    options = WorkOptions(cluster=cluster, workers=workers, memory=memory)
    (evaluation,) = run_tasks([task], options)
    _print(evaluation)
    if target is not None:
        write_json(target, evaluation.to_dict())
        print_line(f"written: {target}")


def _pairs(
    truths: tuple[Path, ...],
    labels: tuple[str, ...],
    kinds: tuple[Kind, ...],
    values: tuple[float, ...],
    found_values: tuple[float, ...],
) -> list[Pair]:
    """One pair for each truth."""
    from tomodist.tasks.comparisons import Pair

    n = len(truths)
    if labels and len(labels) != n:
        raise InputError(
            f"--label is used {len(labels)} times, but --truth {n} times; use one --truth for "
            "each --label"
        )
    every = (
        labels or (None,) * n,
        _for_each("kind", kinds, n),
        _for_each("value", values, n),
        _for_each("found-value", found_values, n),
    )
    return [Pair(*values) for values in zip(truths, *every, strict=True)]


def _for_each(name: str, values: tuple[_T, ...], n: int) -> tuple[_T | None, ...]:
    """The values for each of n truths: none, one for all, or one for each."""
    if len(values) not in (0, 1, n):
        raise InputError(
            f"--{name} is used {len(values)} times, but --truth {n} times; use it once for all, "
            "or once for each"
        )
    return values if len(values) == n else (values or (None,)) * n


def _print(evaluation: Evaluation) -> None:
    """A table for each kind, with the sum where there are several."""
    tables = {
        "mask": _mask_rows,
        "edges": _edge_rows,
        "boxes": _object_rows,
        "points": _object_rows,
    }
    heads = {
        "mask": (
            *("structures", "IoU", "Dice", "precision", "recall", "surface mean (Å)", "(voxels)"),
            *("95 % (Å)", "(voxels)", f"beyond {evaluation.rules.max_distance}"),
        ),
        "edges": ("structures", "within (voxels)", "F1", "precision", "recall", "found", "true"),
    }
    objects = (
        *("structures", "match", "F1", "precision", "recall", "found", "true"),
        *("centre error, mean (Å)", "median (Å)"),
    )
    content = evaluation.to_dict()
    for kind, pooled in content["pooled"].items():
        entries = [entry for entry in content["results"] if entry["kind"] == kind]
        if len(entries) > 1:
            entries.append({"label": _POOLED, **pooled})
        rows = [row for entry in entries for row in tables.get(kind, _object_rows)(entry)]
        print_table(kind, heads.get(kind, objects), rows)


def _mask_rows(entry: dict[str, Any]) -> list[list[object]]:
    both = entry["surface"]["both"]
    numbers = [entry[name] for name in ("iou", "dice", "precision", "recall")]
    numbers += [both[f"{what}_{unit}"] for what in ("mean", "percentile_95")
                for unit in ("angstrom", "voxels")]  # fmt: skip
    return [[entry["label"], *map(_shown, numbers), _percent(both["share_beyond"])]]


def _edge_rows(entry: dict[str, Any]) -> list[list[object]]:
    return [[entry["label"], one["voxels"], *_counted(one)] for one in entry["tolerances"]]


def _object_rows(entry: dict[str, Any]) -> list[list[object]]:
    return [
        [
            entry["label"],
            one["match"],
            *_counted(one),
            *(_shown(one[f"{what}_center_error_angstrom"]) for what in ("mean", "median")),
        ]
        for one in entry["matches"]
    ]


def _counted(one: dict[str, Any]) -> list[object]:
    return [one[name] for name in ("f1", "precision", "recall", "n_predicted", "n_truth")]


def _shown(value: float) -> object:
    """A number, or a dash for none."""
    return "-" if value != value else value


def _percent(share: float) -> object:
    return "-" if share != share else f"{100 * share:.1f} %"

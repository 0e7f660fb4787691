"""``tomodist evaluate``: results beside a known truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from tomodist.cli.shared.console import print_line, print_table
from tomodist.cli.shared.options import STORE, Brick, cluster_options, session_of
from tomodist.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.tasks.comparisons import Comparison, Kind, Pair
    from tomodist.tasks.evaluate import Evaluation

_T = TypeVar("_T")
_POOLED = "all together"


@click.command(
    "evaluate",
    epilog="Example: tomodist evaluate TS_01.zarr --label granule --truth granule_truth.mrc "
    "--json TS_01_scores.json",
)
@click.argument("result", type=STORE)
@click.option("--label", multiple=True, help="Of a store: which result, one for each --truth.")
@click.option(
    "--truth",
    multiple=True,
    type=STORE,
    required=True,
    help="Volume (MRC, Zarr, OME-Zarr) or table (CSV, STAR).",
)
@click.option(
    "--kind",
    multiple=True,
    type=click.Choice(["mask", "edges", "boxes", "points"]),
    help="One for all, or one for each --truth. [default: what the truth is]",
)
@click.option(
    "--value", multiple=True, type=float, help="Class in a true volume. [default: all but 0]"
)
@click.option("--found-value", multiple=True, type=float, help="The same, of a result.")
@click.option("--distance", type=float, help="How far (Å) from the true one a point may be.")
@click.option(
    "--max-distance",
    default=32,
    show_default=True,
    help="Surface distances up to so many voxels are exact.",
)
@click.option("--within", type=STORE, help="A volume; only what lies in it counts.")
@click.option("--pixel-size", type=float, help="In Å, of files that do not say it.")
@click.option("--json", "target", type=STORE, help="Write every measure and count there.")
@click.option("--overwrite", is_flag=True, help="Replace the JSON file.")
@click.option("--brick", type=Brick(), help="Of the volumes. [default: planned]")
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
    from tomodist.tasks.comparisons import Rules, prepare

    if target is not None:
        check_target(target, overwrite=overwrite)
    rules = Rules(max_distance, distance, within, pixel_size)
    pairs = _pairs(truth, label, kind, value, found_value)
    comparisons = prepare(result, pairs, rules)
    evaluation = _run(comparisons, rules, brick, (cluster, workers, memory))
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
            f"--label is given {len(labels)} times, but --truth {n} times; give one --truth for "
            "each --label"
        )
    every = (
        labels or (None,) * n,
        _for_each("kind", kinds, n),
        _for_each("value", values, n),
        _for_each("found-value", found_values, n),
    )
    return [Pair(*given) for given in zip(truths, *every, strict=True)]


def _for_each(name: str, given: tuple[_T, ...], n: int) -> tuple[_T | None, ...]:
    """What was given for each of n truths: nothing, one for all, or one for each."""
    if len(given) not in (0, 1, n):
        raise InputError(
            f"--{name} is given {len(given)} times, but --truth {n} times; give it once for all, "
            "or once for each"
        )
    return given if len(given) == n else (given or (None,)) * n


def _run(
    comparisons: list[Comparison],
    rules: Any,  # noqa: ANN401 -- Rules, which is not imported for every command
    brick: tuple[int, ...] | None,
    where: tuple[str, int | None, int | None],
) -> Evaluation:
    """Compare; workers are started for volumes only, and not for what cannot fit."""
    from tomodist.runtime.cluster import resources_of
    from tomodist.tasks.evaluate import compare_all, needs_session, plans

    if not needs_session(comparisons):
        return compare_all(None, comparisons, rules)
    if "://" not in where[0]:
        plans(comparisons, resources_of(*where), brick)
    with session_of(*where) as session:
        return compare_all(session, comparisons, rules, brick=brick)


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

"""The table of a benchmark run: speeds, ratios to peers, and targets.

    python -m tests.benchmarks.report .benchmarks/results.json [--markdown] [--statistic min]

A speed is in GUPS, 1e9 updates (voxels times tilts) per second and core. Seconds are the median of
all rounds of a case, for peers as for kernels; `--statistic min` takes the shortest instead, which
other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Kind = Literal["speed", "peer", "relative speed", "relative time", "gain", "seconds", "extra"]
Case = dict[str, Any]
Results = dict[str, Case]


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Parameters
    ----------
    case : str
        Name, as given to `measure`.
    kind : str
        What is compared with the target: see `figure`.
    of : str
        The case that it is relative to.
    least, most : float, optional
        The target.
    """

    case: str
    kind: Kind = "speed"
    of: str = ""
    least: float | None = None
    most: float | None = None


ROWS = (
    Row("linear", least=8),
    Row("linear, NumPy by rows", "peer", "linear"),
    Row("linear, NumPy by planes", "peer", "linear"),
    Row("linear, scipy.sparse CSR", "peer", "linear", least=4),
    Row("linear, ASTRA BP (CPU)", "peer", "linear", least=38),
    Row("linear, scikit-image iradon", "peer", "linear"),
    Row("linear, dask.array by hand", "peer", "linear"),
    Row("linear, two threads", "gain", "linear", least=1.9),
    Row("votes", least=40),
    Row("votes, NumPy by rows", "peer", "votes"),
    Row("votes, NumPy by planes", "peer", "votes"),
    Row("votes, two threads", "gain", "votes", least=1.9),
    Row("max projection", "relative speed", "votes", least=0.5),
    Row("max projection, NumPy by rows", "peer", "max projection"),
    Row("binary projection", "relative speed", "votes", least=0.5),
    Row("sum projection", "relative speed", "linear", least=0.5),
    Row("votes, from maps to volume", "relative time", "votes"),
    Row("threshold curve", "relative time", "votes", most=1.5),
    Row("threshold curve", "relative time", "votes, from maps to volume", most=1.5),
    Row("Algorithm 2, 0 rounds", "relative time", "votes"),
    Row("Algorithm 2, 1 rounds", "relative time", "votes"),
    Row("Algorithm 2, 2 rounds", "relative time", "votes"),
    Row("Algorithm 2, 5 rounds", "relative time", "votes", most=4),
    Row("Algorithm 2, 5 rounds, NumPy by planes", "peer", "Algorithm 2, 5 rounds"),
    Row("general linear", least=1.5),
    Row("general linear, NumPy by planes", "peer", "general linear"),
    Row("general votes"),
    Row("general votes, NumPy by planes", "peer", "general votes"),
    Row("general max projection", "relative speed", "general votes"),
    Row("general binary projection", "relative speed", "general votes"),
    Row("general sum projection", "relative speed", "general linear"),
    Row("bare interpreter", "seconds"),
    Row("import tomodist", "extra", "bare interpreter", most=0.3),
    Row("first call of linear_rows", "seconds", most=1),
    Row("first call of votes_rows", "seconds", most=1),
)


def seconds(case: Case, statistic: str) -> float:
    """Median or minimum over the rounds of a case."""
    own: list[float] = case["extra_info"].get("seconds", [])
    if not own:
        return float(case["stats"][statistic])
    rounds = own[-int(case["stats"]["rounds"]) :]  # without the warm-up
    return min(rounds) if statistic == "min" else statistics.median(rounds)


def gups(case: Case, statistic: str) -> float:
    """1e9 updates per second and core."""
    info = case["extra_info"]
    return float(info["updates"]) / int(info["cores"]) / seconds(case, statistic) / 1e9


def figure(row: Row, results: Results, statistic: str) -> tuple[float, str]:
    """What a row compares with its target, and a phrase with {} in its place."""
    case, other = results[row.case], results.get(row.of, {})
    if row.kind == "speed":
        return gups(case, statistic), ""
    time = seconds(case, statistic)
    if row.kind == "seconds":
        return time, ""
    other_time = seconds(other, statistic)
    if row.kind == "extra":
        return time - other_time, f"{{}} s more than {row.of}"
    if row.kind == "relative time":
        return time / other_time, f"{{}} x the time of {row.of}"
    if row.kind == "gain":
        return other_time / time, f"{{}} x as fast as one ({row.of})"
    speeds = gups(case, statistic), gups(other, statistic)
    if row.kind == "peer":
        return speeds[1] / speeds[0], f"{row.of} is {{}} x as fast"
    return speeds[0] / speeds[1], f"{{}} x the speed of {row.of}"


def target(row: Row, found: float) -> tuple[str, str]:
    """The target of a row, and whether it is met."""
    unit = {"speed": "GUPS", "seconds": "s", "extra": "s"}.get(row.kind, "x")
    if row.least is not None:
        return f"≥ {row.least:g} {unit}", "yes" if found >= row.least else "NO"
    if row.most is not None:
        return f"≤ {row.most:g} {unit}", "yes" if found <= row.most else "NO"
    return "", ""


def line(row: Row, results: Results, statistic: str) -> list[str]:
    """The cells of a row."""
    case = results[row.case]
    speed = f"{gups(case, statistic):.3g}" if case["extra_info"]["updates"] else ""
    found, phrase = figure(row, results, statistic)
    compared = phrase.format(f"{found:.3g}")
    return [row.case, f"{seconds(case, statistic):.4g}", speed, compared, *target(row, found)]


def table(results: Results, statistic: str) -> list[list[str]]:
    """Head and rows of all cases that were measured."""
    head = ["case", f"seconds ({statistic})", "GUPS per core", "compared", "target", "met"]
    rows = [r for r in ROWS if r.case in results and (not r.of or r.of in results)]
    return [head, *(line(row, results, statistic) for row in rows)]


def as_text(cells: list[list[str]]) -> str:
    """Columns side by side."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(text.rstrip() for text in lines)


def as_markdown(cells: list[list[str]]) -> str:
    """A table for the README."""
    head, *rows = cells
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def machine(run: dict[str, Any]) -> str:
    """Where, when and of what the run was."""
    info = run["machine_info"]
    cpu = info["cpu"]
    versions = ", ".join(f"{name} {v}" for name, v in info["versions"].items())
    place = f"{cpu.get('brand_raw', info['machine'])}, {cpu.get('count', '?')} cores"
    return f"{place}; Python {info['python_version']}, {versions}; {run['datetime'][:16]} UTC"


def report(run: dict[str, Any], statistic: str, *, markdown: bool) -> str:
    """Everything that is printed, from the JSON of pytest-benchmark."""
    results = {case["name"]: case for case in run["benchmarks"]}
    cells = table(results, statistic)
    missing = [row.case for row in ROWS if row.case not in results]
    notes = [machine(run), *([f"Not measured: {'; '.join(missing)}."] if missing else [])]
    return "\n\n".join([as_markdown(cells) if markdown else as_text(cells), *notes])


def main() -> None:
    """Parse the options and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--statistic", choices=["median", "min"], default="median")
    options = parser.parse_args()
    run = json.loads(options.results.read_text())
    print(report(run, options.statistic, markdown=options.markdown))  # noqa: T201 -- a program


if __name__ == "__main__":
    main()

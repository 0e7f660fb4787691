"""What an experiment says: all rows, a table for each measure, a plot.

One rule: seeds are shared, so variants are compared pair by pair: beside mean and spread stands the
mean difference to the baseline, and in how many seeds a variant was the better one.
"""

from __future__ import annotations

import csv
import importlib.metadata
import platform
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.errors import ExistsError, InputError
from tomodist.experiments.cases import Case, Row, run_cases
from tomodist.formats.files import read_json, write_json
from tomodist.pictures.variants import Group, draw_variants

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tomodist.runtime.runner import Session
    from tomodist.values.arrays import FloatArray

_LIBRARIES = ("tomodist", "numpy", "scipy", "numba", "scikit-image", "dask")


@dataclass(frozen=True)
class Experiment:
    """A question that simulated specimens can answer.

    Parameters
    ----------
    name : str
        Of its files.
    function : callable
        ``function(case)`` gives the rows of a case; see `run_cases`.
    cases : tuple of Case
        Conditions and seeds.
    parameters : dict
        What all cases share, as plain values, for the record; not the number of seeds.
    baseline : str
        Variant that the others are compared with.
    lower : tuple of str
        Measures of which less is better.
    version : int
        Of the function.
    """

    name: str
    function: Callable[[Case], Sequence[Row]]
    cases: tuple[Case, ...]
    parameters: dict[str, Any] = field(default_factory=dict)
    baseline: str = "plain"
    lower: tuple[str, ...] = ()
    version: int = 1


@dataclass(frozen=True)
class Report:
    """The rows of an experiment, and what follows from them.

    Parameters
    ----------
    name : str
        Of the experiment.
    rows : list of Row
        Everything that was measured.
    parameters : dict
        Of the experiment.
    baseline : str
        Variant that the others are compared with.
    lower : tuple of str
        Measures of which less is better.
    """

    name: str
    rows: list[Row]
    parameters: dict[str, Any] = field(default_factory=dict)
    baseline: str = "plain"
    lower: tuple[str, ...] = ()

    @property
    def tables(self) -> list[tuple[str, str]]:
        """(algorithm, measure) of every table, in the order of the rows."""
        return list(dict.fromkeys((row.algorithm, row.measure) for row in self.rows))

    def names(self, algorithm: str, measure: str, what: str) -> list[str]:
        """Variants or conditions of a table.

        Parameters
        ----------
        algorithm, measure : str
            The table.
        what : {"variant", "condition"}
            Rows or columns of it.

        Returns
        -------
        list of str
            In the order of the rows of the report.
        """
        chosen = (r for r in self.rows if (r.algorithm, r.measure) == (algorithm, measure))
        return list(dict.fromkeys(getattr(row, what) for row in chosen))

    def values(
        self, algorithm: str, measure: str, variant: str, condition: str
    ) -> dict[int, float]:
        """The value of every seed.

        Parameters
        ----------
        algorithm, measure, variant, condition : str
            The cell of a table.

        Returns
        -------
        dict of int to float
            Values by seed.
        """
        key = (algorithm, variant, condition, measure)
        return {
            row.seed: row.value
            for row in self.rows
            if (row.algorithm, row.variant, row.condition, row.measure) == key
        }

    def table(self, algorithm: str, measure: str) -> tuple[list[str], list[list[str]]]:
        """Head and lines of a table.

        Parameters
        ----------
        algorithm, measure : str
            Which one.

        Returns
        -------
        list of str
            "variant", then the conditions.
        list of list of str
            Per variant its name and, per condition, mean ± standard deviation over the seeds, the
            best mean between asterisks; in parentheses the mean paired difference to the baseline
            and in how many seeds the variant is better.
        """
        variants = self.names(algorithm, measure, "variant")
        conditions = self.names(algorithm, measure, "condition")
        cells = {
            (v, c): self.values(algorithm, measure, v, c) for v in variants for c in conditions
        }
        sign = -1.0 if measure in self.lower else 1.0
        best = {c: _best(variants, {v: cells[v, c] for v in variants}, sign) for c in conditions}
        lines = [
            [v, *(_cell(cells[v, c], cells.get((self.baseline, c), {}), sign,
                        marked=v == best[c], is_baseline=v == self.baseline) for c in conditions)]
            for v in variants
        ]  # fmt: skip
        return ["variant", *conditions], lines

    def markdown(self) -> str:
        """All tables as Markdown."""
        seeds = sorted({row.seed for row in self.rows})
        parts = [
            f"# {self.name}",
            f"Mean ± standard deviation over {len(seeds)} seeds; the best of each condition is "
            f"bold. In parentheses: mean paired difference to `{self.baseline}`, and the number of "
            "seeds in which the variant is better.",
        ]
        for algorithm, measure in self.tables:
            head, lines = self.table(algorithm, measure)
            lower = " (less is better)" if measure in self.lower else ""
            grid = [head, ["---"] * len(head), *lines]
            parts.append(f"## {algorithm}: {measure}{lower}")
            parts.append("\n".join("| " + " | ".join(line) + " |" for line in grid))
        return "\n\n".join(parts) + "\n"

    def write(self, folder: Path) -> list[Path]:
        """Write ``<name>.csv``, ``.json``, ``.md`` and ``.png``; the JSON file last.

        Returns
        -------
        list of Path
        """
        paths = [folder / f"{self.name}.{suffix}" for suffix in ("csv", "md", "png", "json")]
        with paths[0].open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(Row._fields)
            writer.writerows(self.rows)
        paths[1].write_text(self.markdown())
        draw_variants(self._groups(), self.name, paths[2])
        content = {
            "name": self.name,
            "parameters": self.parameters,
            "versions": _versions(),
            "rows": [row._asdict() for row in self.rows],
        }
        write_json(paths[3], content)
        return paths

    def _groups(self) -> list[Group]:
        """Panels of the plot, one for each table."""
        groups = []
        for algorithm, measure in self.tables:
            variants = self.names(algorithm, measure, "variant")
            conditions = self.names(algorithm, measure, "condition")
            values = [
                [_array(self.values(algorithm, measure, v, c)) for v in variants]
                for c in conditions
            ]
            groups.append(Group(f"{algorithm}: {measure}", variants, conditions, values))
        return groups


def run_experiment(
    session: Session, experiment: Experiment, folder: Path, *, overwrite: bool = False
) -> Report:
    """Run the cases that are missing, and write the report.

    Parameters
    ----------
    session : Session
        Where tasks run.
    experiment : Experiment
        What is asked.
    folder : Path
        For ``cases/`` and the report; made if it is missing.
    overwrite : bool
        Run every case again, and replace a report of other parameters.

    Returns
    -------
    Report

    Raises
    ------
    ExistsError
        If there is a report of other parameters and `overwrite` is false.
    InputError
        If there are no cases.
    """
    if not experiment.cases:
        raise InputError(f"experiment {experiment.name} has no cases; set `seeds` to 1 or more")
    _check_parameters(experiment, folder, overwrite=overwrite)
    rows = run_cases(
        session,
        experiment.function,
        experiment.cases,
        folder,
        version=experiment.version,
        overwrite=overwrite,
    )
    report = Report(
        experiment.name, rows, experiment.parameters, experiment.baseline, experiment.lower
    )
    report.write(folder)
    return report


def _check_parameters(experiment: Experiment, folder: Path, *, overwrite: bool) -> None:
    """Refuse to replace a report of something else."""
    path = folder / f"{experiment.name}.json"
    if overwrite or not path.exists():
        return
    before = read_json(path).get("parameters", {})
    now = experiment.parameters
    different = [
        f"{key} was {before.get(key)!r} and is {now.get(key)!r}"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]
    if different:
        raise ExistsError(
            f"{path} exists and was made differently: {'; '.join(different)}; use `overwrite` to "
            "replace it, or another `output`"
        )


def _array(values: dict[int, float]) -> FloatArray:
    return np.array([values[seed] for seed in sorted(values)], dtype=np.float64)


def _best(variants: list[str], values: dict[str, dict[int, float]], sign: float) -> str | None:
    """Variant with the best mean; None where there is only one."""
    means = {v: sign * float(_array(values[v]).mean()) for v in variants if values[v]}
    known = {v: mean for v, mean in means.items() if np.isfinite(mean)}
    return max(known, key=lambda v: known[v]) if len(known) > 1 else None


def _cell(
    values: dict[int, float],
    baseline: dict[int, float],
    sign: float,
    *,
    marked: bool,
    is_baseline: bool,
) -> str:
    """Mean ± deviation, and the paired difference."""
    if not values:
        return "-"
    numbers = _array(values)
    text = f"{numbers.mean():.3f}"
    if len(numbers) > 1:
        text += f" ± {numbers.std(ddof=1):.3f}"
    if marked:
        text = f"**{text}**"
    # Paired by seed: only seeds that both have are compared.
    shared = sorted(values.keys() & baseline.keys())
    if is_baseline or not shared:
        return text
    difference = np.array([values[s] - baseline[s] for s in shared])
    better = int(np.count_nonzero(sign * difference > 0))
    return f"{text} ({difference.mean():+.3f}, {better} of {len(shared)})"


def _versions() -> dict[str, str]:
    """Versions of Python and of the libraries that determine the numbers."""
    versions = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "unknown"
    return versions

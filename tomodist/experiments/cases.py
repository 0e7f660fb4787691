"""Cases of an experiment: run as tasks, kept one by one, never run twice.

A case's rows are written to ``<folder>/cases/`` when they arrive, under a name that holds a digest
of all that determines them; so an interrupted experiment goes on where it stopped, more seeds may
be asked for later, and other settings are other cases. Rows are always read back from the files:
they are the same whether a case was run now or before.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from tomodist.formats.files import read_json, write_json
from tomodist.runtime.runner import Batch, Work, task_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tomodist.runtime.runner import Session


class Row(NamedTuple):
    """One measured number.

    Parameters
    ----------
    algorithm, variant : str
        What was run, and which form of it.
    condition : str
        On what.
    seed : int
        Of everything random.
    measure : str
        What was measured.
    value : float
        The number; NaN where there is none.
    """

    algorithm: str
    variant: str
    condition: str
    seed: int
    measure: str
    value: float


@dataclass(frozen=True)
class Case:
    """Condition, seed and settings of one task of an experiment.

    Parameters
    ----------
    condition : str
        Name of the condition.
    seed : int
        Of everything random.
    settings : dict
        Plain values that, with the seed, say all there is to know.
    """

    condition: str
    seed: int
    settings: dict[str, Any] = field(default_factory=dict)


def run_cases(
    session: Session,
    function: Callable[[Case], Sequence[Row]],
    cases: Sequence[Case],
    folder: Path,
    *,
    version: int = 1,
    overwrite: bool = False,
) -> list[Row]:
    """Run the cases that were not run yet.

    Parameters
    ----------
    session : Session
        Where tasks run.
    function : callable
        ``function(case)`` gives the rows of a case; it must be a module's function, and its rows
        depend on the case alone.
    cases : sequence of Case
        In the order that the rows are to have.
    folder : Path
        Where rows are kept, in ``cases/``.
    version : int
        Of the function; another one makes other rows.
    overwrite : bool
        Run every case again.

    Returns
    -------
    list of Row
        In the order of the cases, bitwise the same for any number of workers.

    Raises
    ------
    InputError
        If the folder cannot be written.
    """
    (folder / "cases").mkdir(parents=True, exist_ok=True)
    paths = [folder / "cases" / _file_name(function, case, version) for case in cases]
    # A file of rows is written whole, so one that exists is complete.
    missing = [k for k, path in enumerate(paths) if overwrite or not path.exists()]
    tasks = (task_of(_numbered, function, k, cases[k]) for k in missing)
    n = len(cases)

    def keep(numbered: tuple[int, Sequence[Row]]) -> None:
        k, rows = numbered
        content = {"condition": cases[k].condition, "seed": cases[k].seed}
        settings = {"settings": cases[k].settings}
        write_json(paths[k], {**content, **settings, "rows": [list(row) for row in rows]})

    def work() -> Work[None]:
        yield Batch("cases", tasks, n, done=n - len(missing), each=keep)

    session.run(work())
    return [row for path in paths for row in _rows(path)]


def _numbered(
    function: Callable[[Case], Sequence[Row]], k: int, case: Case
) -> tuple[int, Sequence[Row]]:
    """Results come in any order, so each brings its number."""
    return k, function(case)


def _file_name(function: Callable[..., Any], case: Case, version: int) -> str:
    """File name of a case: readable, with a digest of everything that determines its rows."""
    name = f"{function.__module__}.{function.__qualname__}"
    all_of_it = [name, version, case.condition, case.seed, case.settings]
    text = json.dumps(all_of_it, sort_keys=True, default=list)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", case.condition).strip("-")[:60]
    return f"{readable}_seed{case.seed}_{digest}.json"


def _rows(path: Path) -> list[Row]:
    """Rows of a finished case; null in JSON is NaN."""
    rows = read_json(path)["rows"]
    return [Row(a, v, c, s, m, math.nan if x is None else float(x)) for a, v, c, s, m, x in rows]

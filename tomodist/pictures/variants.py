"""A plot of variants beside each other: mean and spread over seeds, a panel per measure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tomodist.values.arrays import FloatArray

_MOST_COLUMNS = 3  # panels side by side
_VARIANT, _LINE = 0.22, 0.09  # inches per variant, and per condition of it


@dataclass(frozen=True)
class Group:
    """One panel.

    Parameters
    ----------
    title : str
        Its title.
    variants, conditions : list of str
        Names; a variant is a line, a condition a colour.
    values : list of list of ndarray
        ``values[condition][variant]``, one number per seed; may be empty.
    """

    title: str
    variants: list[str]
    conditions: list[str]
    values: list[list[FloatArray]]


def draw_variants(groups: Sequence[Group], title: str, path: Path) -> Path:
    """Draw every group as a panel of dots (means) with bars (standard deviation over seeds).

    Parameters
    ----------
    groups : sequence of Group
        The panels.
    title : str
        Above them.
    path : Path
        Of the PNG file.

    Returns
    -------
    Path
    """
    columns = min(_MOST_COLUMNS, len(groups))
    rows = -(-len(groups) // columns)
    lines = max(len(g.variants) * max(_VARIANT, _LINE * len(g.conditions)) for g in groups)
    height = rows * (1.2 + max(1.2, lines))
    figure = Figure(figsize=(5.5 * columns, height + 0.5), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, group in zip(panels, groups, strict=False):
        _draw_group(axes, group)
    for axes in panels[len(groups) :]:
        axes.axis("off")
    figure.suptitle(f"{title}: mean and standard deviation over seeds")
    figure.savefig(path, dpi=80)
    return path


def _draw_group(axes: Any, group: Group) -> None:  # noqa: ANN401 -- matplotlib Axes
    n = len(group.conditions)
    colors = mpl.colormaps["viridis"](np.linspace(0, 0.85, n))
    for k, (condition, values) in enumerate(zip(group.conditions, group.values, strict=True)):
        lines = np.arange(len(group.variants)) + 0.6 * ((k + 0.5) / n - 0.5)
        known = [j for j, seeds in enumerate(values) if np.isfinite(seeds).any()]
        means = [float(np.nanmean(values[j])) for j in known]
        spread = [float(np.nanstd(values[j], ddof=min(1, len(values[j]) - 1))) for j in known]
        axes.errorbar(
            means, lines[known], xerr=spread, fmt="o", ms=3, lw=1, color=colors[k],
            label=condition,
        )  # fmt: skip
    axes.set_yticks(range(len(group.variants)), group.variants, fontsize=8)
    axes.invert_yaxis()
    axes.grid(axis="x", lw=0.3)
    axes.set_title(group.title, fontsize=10)
    axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, 0), borderaxespad=3, ncols=3)

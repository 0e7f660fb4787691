"""How a training went: loss and score over the steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from tomodist.pictures.planes import save

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SCORES = {"segment": "IoU on what is held out", "boxes": "average precision on what is held out"}


def draw_history(history: Sequence[dict[str, float]], best: int, task: str, path: Path) -> Path:
    """Draw loss and score, and where the score was best.

    Parameters
    ----------
    history : sequence of dict
        Per validation: ``step``, ``loss`` and ``score``.
    best : int
        Step of the network that was kept.
    task : {"segment", "boxes"}
        What the score is.
    path : Path
        Of the PNG file.

    Returns
    -------
    Path
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = [entry["step"] for entry in history]
    left.plot(steps, [entry["loss"] for entry in history], color="#555555")
    left.set(xlabel="step", ylabel="loss", yscale="log")
    right.plot(steps, [entry["score"] for entry in history], color="#0072b2")
    right.axvline(best, color="#d55e00", linestyle=":", label=f"kept: step {best}")
    right.set(xlabel="step", ylabel=_SCORES.get(task, "score"))
    right.legend(loc="lower right", frameon=False)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    return save(figure, path)

"""The figure of the sphere experiment: projections with edges, edges per round, what each removes.

Laid out like Fig. 4 of the paper; row 0 is at the bottom.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from tomodist.pictures.planes import draw_outline, save

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tomodist.values.arrays import AnyArray


_EDGE = "#ffb000"
_SHOWN, _HIDDEN, _HIT, _FALSE = "#6a6a6a", "#3a3a3a", "#00e676", "#ff4060"


@dataclass(frozen=True)
class SphereFigure:
    """What the figure shows.

    Parameters
    ----------
    angles, images, edges : sequence
        Of three tilts: the angle, the image, the 2D edges.
    truth, shown, near : sequence of ndarray
        Of a z and a y plane: the true shell, the part that tilts can show, what is near the shell.
    rounds : sequence of sequence of ndarray
        Of both planes, the edges after every round.
    threshold : int
        T.
    """

    angles: Sequence[float]
    images: Sequence[AnyArray]
    edges: Sequence[AnyArray]
    truth: Sequence[AnyArray]
    shown: Sequence[AnyArray]
    near: Sequence[AnyArray]
    rounds: Sequence[Sequence[AnyArray]]
    threshold: int


def draw_sphere(content: SphereFigure, path: Path) -> Path:
    """Draw the figure.

    Parameters
    ----------
    content : SphereFigure
        What it shows.
    path : Path
        Of the PNG file.

    Returns
    -------
    Path
    """
    n = max(3, len(content.rounds[0]) + 1)
    figure = Figure(figsize=(2.6 * n, 8.6), layout="constrained")
    panels = figure.subplots(3, n)
    _draw_tilts(panels[0], content)
    for k, (row, title) in enumerate(zip(panels[1:], ("y over x", "z over x"), strict=True)):
        for m, (axes, mask) in enumerate(zip(row, content.rounds[k], strict=False)):
            axes.imshow(_beside_truth(content, k, mask), origin="lower", interpolation="nearest")
            axes.set_title(f"{title}, {m} rounds", fontsize=9)
        _draw_removed(row[-1], content.rounds[k])
    for axes in panels.ravel():
        axes.set(xticks=[], yticks=[])
    figure.suptitle(f"Hollow sphere: 2D edges, and E = votes > {content.threshold}")
    return save(figure, path, dpi=80)


def _draw_tilts(panels: Sequence[Any], content: SphereFigure) -> None:
    for axes, angle, image, edges in zip(
        panels, content.angles, content.images, content.edges, strict=False
    ):
        low, high = np.percentile(image, [0.5, 99.5])
        height, width = image.shape
        extent = (-0.5, width - 0.5, -0.5, height - 0.5)
        axes.imshow(image, cmap="gray", vmin=low, vmax=high, origin="lower", extent=extent)
        draw_outline(axes, edges, extent, _EDGE)
        axes.set_title(f"tilt {angle:g}°, 2D edges", fontsize=9)
    legend = {
        "shell, tilts can show it": _SHOWN,
        "shell, no tilt shows it": _HIDDEN,
        "edge within 2 voxels": _HIT,
        "edge elsewhere": _FALSE,
    }
    for axes in panels[len(content.angles) :]:
        axes.axis("off")
    panels[-1].legend(
        handles=[Patch(color=c, label=t) for t, c in legend.items()], loc="center", fontsize=8
    )


def _beside_truth(content: SphereFigure, k: int, mask: AnyArray) -> AnyArray:
    picture = np.zeros((*mask.shape, 3))
    picture[content.truth[k]] = to_rgb(_HIDDEN)
    picture[content.shown[k]] = to_rgb(_SHOWN)
    picture[mask & content.near[k]] = to_rgb(_HIT)
    picture[mask & ~content.near[k]] = to_rgb(_FALSE)
    return picture


def _draw_removed(axes: Any, rounds: Sequence[AnyArray]) -> None:  # noqa: ANN401 -- matplotlib Axes
    """Every voxel in the colour of the round that removes it; white stays, and black never was."""
    n = len(rounds) - 1
    colors = mpl.colormaps["plasma"](np.linspace(0.25, 0.95, max(n, 1)))[:, :3]
    picture = np.zeros((*rounds[0].shape, 3))
    picture[rounds[-1]] = 1
    for m in range(n):
        picture[rounds[m] & ~rounds[m + 1]] = colors[m]
    axes.imshow(picture, origin="lower", interpolation="nearest")
    handles = [Patch(color=tuple(colors[m]), label=f"round {m + 1}") for m in range(n)]
    axes.legend(handles=handles, loc="center", fontsize=7)
    axes.set_title("removed by", fontsize=9)

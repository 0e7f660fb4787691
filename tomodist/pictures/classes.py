"""A picture of several classes put together: slices of the semantic volume, a colour per class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.colors import ListedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from tomodist.pictures.planes import drawn_level, plane_of, save
from tomodist.store.maps import stored_classes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tomodist.store.tomogram import Label, Tomogram

_NOTHING = "#f4f4f4"
_NAMED = 24  # classes that the legend has room for


def draw_classes(label: Label) -> Path:
    """Three orthogonal slices of the semantic volume, where most classes are seen.

    Laid out as IMOD's XYZ window: y over x, y over z to its right, z over x below.

    Parameters
    ----------
    label : Label
        Of a finished semantic volume.

    Returns
    -------
    Path
        ``<store>_<label>_classes.png`` beside the store.
    """
    tomogram = label.tomogram
    level = drawn_level(tomogram.grid.shape)
    classes = stored_classes(label.labels)
    volume = label.labels.level(level)
    size = tomogram.grid.voxel_size * 2**level / 10
    at = [
        min(int(voxel / 2**level), n - 1)
        for voxel, n in zip(_where(tomogram, list(classes.values())), volume.shape, strict=True)
    ]
    nz, ny, nx = (n * size for n in volume.shape)
    figure = Figure(figsize=(9, 1 + 8 * (ny + nz) / (nx + nz)))
    grid = figure.add_gridspec(
        2, 2, width_ratios=(nx, nz), height_ratios=(ny, nz), wspace=0.12, hspace=0.12
    )
    colors = _colors(classes)
    shown = ListedColormap([colors.get(k, _NOTHING) for k in range(max(classes) + 1)])
    panels = ((0, "y", "x", grid[0, 0]), (2, "y", "z", grid[0, 1]), (1, "z", "x", grid[1, 0]))
    for axis, up, right, place in panels:
        plane = plane_of(volume, axis, at[axis])
        plane = plane.T if right == "z" else plane
        axes = figure.add_subplot(place)
        extent = (0.0, plane.shape[1] * size, 0.0, plane.shape[0] * size)
        axes.imshow(
            plane, cmap=shown, origin="lower", extent=extent, interpolation="nearest",
            vmin=-0.5, vmax=max(classes) + 0.5,
        )  # fmt: skip
        axes.set(xlabel=f"{right} (nm)", ylabel=f"{up} (nm)")
        axes.set_title(f"{'zyx'[axis]} = {at[axis] * size:.0f} nm", fontsize=9)
        if axis == 0:  # the panel below has the same x
            axes.set(xlabel="", xticklabels=[])
        if right == "z":  # and the panel to the left the same y
            axes.set(ylabel="", yticklabels=[])
    corner = figure.add_subplot(grid[1, 1])
    corner.axis("off")
    named = [Patch(color=colors[k], label=f"{k} {name}") for k, name in classes.items()][:_NAMED]
    corner.legend(handles=named, loc="upper left", fontsize=7, frameon=False, borderaxespad=2)
    figure.suptitle(f"{tomogram.name}: classes of {label}", y=0.97)
    return save(figure, tomogram.place.beside(f"{label}_classes.png"))


def _colors(classes: dict[int, str]) -> dict[int, str]:
    """A colour for every class; beyond twenty they come again."""
    palette = mpl.colormaps["tab10" if len(classes) <= 10 else "tab20"]
    return {value: to_hex(palette(k % palette.N)) for k, value in enumerate(classes)}


def _where(tomogram: Tomogram, names: Sequence[str]) -> list[int]:
    """Voxel (z, y, x) whose planes cut structures of most classes, judged by their boxes.

    Of as many the plane in the middle of the first such range; the volume's middle without any.
    """
    size = tomogram.grid.voxel_size
    tables = [tomogram.label(name).structures.dataset().load() for name in names]
    found = []
    for axis, n in zip("zyx", tomogram.grid.shape, strict=True):
        seen = np.zeros((len(names), n), np.bool_)
        for row, table in zip(seen, tables, strict=True):
            low = np.rint(table[f"low_{axis}"].values / size).astype(int)
            high = np.rint((table[f"low_{axis}"] + table[f"size_{axis}"]).values / size).astype(int)
            for start, stop in zip(np.maximum(low, 0), high, strict=True):
                row[start:stop] = True
        together = seen.sum(axis=0)
        if not together.any():
            found.append(n // 2)
            continue
        best = np.flatnonzero(together == together.max())
        length = int(np.argmax(np.append(np.diff(best) != 1, True))) + 1  # of the first range
        found.append(int(best[0]) + length // 2)
    return found

"""Pictures of labels on a reconstruction, and of how the threshold of edges was chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from tomodist.pictures.planes import (
    SECTION,
    SMOOTH,
    STRUCTURE_COLOR,
    contrast_of,
    draw_outline,
    drawn_level,
    interesting,
    mean_plane,
    middle_of,
    plane_of,
    save,
    smoothed,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.store.tomogram import Label

_CHOSEN = "#ffb000"


def draw_over(label: Label, name: str, path: Path) -> Path:
    """Sections of a reconstruction, each beside itself with the labels outlined on it.

    A z and a y section through the best-supported structure: the mean of about 10 nm, smoothed by
    3 nm within, and what is labelled in its middle layer.

    Parameters
    ----------
    label : Label
        With labels.
    name : str
        Of a finished reconstruction.
    path : Path
        Of the PNG file.

    Returns
    -------
    Path
    """
    tomogram = label.tomogram
    level = drawn_level(tomogram.grid.shape)
    volume = tomogram.reconstruction(name).level(level)
    labels = label.labels.level(level)
    center = interesting(label, labels.shape, level)
    size = tomogram.grid.voxel_size * 2**level / 10
    nz, ny, nx = (n * size for n in volume.shape)
    figure = Figure(figsize=(14, 1.6 + 7 * (ny + nz) / nx), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True, height_ratios=(ny, nz))
    for row, axis, up in zip(panels, (0, 1), "yz", strict=True):
        n = volume.shape[axis]
        thick = min(n, max(1, round(SECTION / size)))
        first = int(np.clip(center[axis] - (thick - 1) // 2, 0, n - thick))
        section = smoothed(mean_plane(volume, axis, first, first + thick), SMOOTH / size)
        outline = plane_of(labels, axis, center[axis]) > 0
        low, high = contrast_of(middle_of(section))
        extent = (0.0, nx, 0.0, section.shape[0] * size)
        for axes in row:
            axes.imshow(section, cmap="gray", vmin=low, vmax=high, origin="lower", extent=extent)
            axes.set(xlabel=f"x (nm), {'zy'[axis]} = {center[axis] * size:.0f} nm")
        row[0].set(ylabel=f"{up} (nm)")
        draw_outline(row[1], outline, extent, STRUCTURE_COLOR)
    figure.suptitle(f"{tomogram.name}: {label} on the reconstruction {name}")
    return save(figure, path, dpi=80)


def draw_edge_threshold(label: Label, path: Path) -> Path:
    """Agreement of long rays with the 2D edges at every threshold that was tried.

    Parameters
    ----------
    label : Label
        Finished label of a store.
    path : Path
        PNG file that is written.

    Returns
    -------
    Path
        The same path.
    """
    tomogram = label.tomogram
    curve = label.edge_curves.dataset().load()
    best = label.edge_curves.attributes["best"]
    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(curve["threshold"], curve["kappa"], "k.-", label="long rays and 2D edges")
    length = float(curve["length"].values[curve["threshold"].values == best][0])
    axes.axvline(best, color=_CHOSEN, label=f"T = {best}, rays of {length:.0f} voxels or more")
    axes.set(xlabel="threshold T on the votes", ylabel="agreement (Cohen's kappa)", ylim=(0, 1))
    axes.set_title(f"{tomogram.name}: {label}")
    axes.legend()
    return save(figure, path)

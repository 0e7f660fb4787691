"""Pictures of a result: slices with labels, tilts with detections, the threshold curve.

One rule: a picture reads one plane or one tilt at a time, of the pyramid level that fits the page,
and row 0 is at the bottom, as IMOD and ChimeraX show it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from tomodist.errors import StoreError
from tomodist.pictures.contact import draw_contact_sheet
from tomodist.pictures.overlay import draw_edge_threshold, draw_over
from tomodist.pictures.planes import (
    PAGE,
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
from tomodist.store.boxes import box_rows
from tomodist.store.curves import tilt_agreement
from tomodist.store.maps import stored_maps
from tomodist.values.projection import project_points

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.formats.zarr import Stack
    from tomodist.store.tomogram import Label, Unit
    from tomodist.values.arrays import AnyArray

_DETECTION, _REPROJECTED = "#ffb000", "#00e676"


def draw_all(label: Label) -> list[Path]:
    """Draw every picture of a label, as PNG beside the store.

    Parameters
    ----------
    label : Label
        With finished structures.

    Returns
    -------
    list of Path
        ``<store>_<label>_slices.png`` where there is a volume, ``..._tilts.png``; of located
        structures ``..._contact.png``; where a threshold was chosen, ``..._threshold.png`` and
        ``..._agreement.png``, or of edges ``..._edge_threshold.png``; and for every
        reconstruction ``..._on_<name>.png``.
    """
    tomogram = label.tomogram
    has_images = "source" in tomogram.series.attributes
    located = "residual_per_tilt" in label.structures.dataset()
    wanted = {
        "slices": (draw_slices, label.labels.exists()),
        "tilts": (draw_tilts, has_images and label.maps.exists()),
        "contact": (draw_contact_sheet, has_images and located),
        "threshold": (draw_threshold, label.curves.exists()),
        "agreement": (draw_agreement, label.curves.exists()),
        "edge_threshold": (draw_edge_threshold, label.edge_curves.exists()),
    }
    pictures = [
        draw(label, tomogram.place.beside(f"{label}_{name}.png"))
        for name, (draw, possible) in wanted.items()
        if possible
    ]
    if not label.labels.exists():
        return pictures
    drawn = [
        draw_over(label, name, tomogram.place.beside(f"{label}_on_{name}.png"))
        for name in tomogram.names("reconstructions")
    ]
    return pictures + drawn


def draw_slices(label: Label, path: Path) -> Path:
    """Three orthogonal slices of the scores through a structure, with the labels' outlines.

    Laid out as IMOD's XYZ window: y over x, y over z to its right, z over x below.

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
    level = drawn_level(tomogram.grid.shape)
    scores = label.scores.level(level)
    labels = label.labels.level(level)
    center = interesting(label, scores.shape, level)
    size = tomogram.grid.voxel_size * 2**level / 10
    nz, ny, nx = (n * size for n in scores.shape)
    figure = Figure(figsize=(9, 1 + 8 * (ny + nz) / (nx + nz)))
    grid = figure.add_gridspec(
        2, 2, width_ratios=(nx, nz), height_ratios=(ny, nz), wspace=0.12, hspace=0.12
    )
    panels = ((0, "y", "x", grid[0, 0]), (2, "y", "z", grid[0, 1]), (1, "z", "x", grid[1, 0]))
    scale = label.structures.attributes.get("score_scale", 1.0)
    largest = scale * max(float(np.nanmax(plane_of(scores, k, center[k]))) for k in range(3))
    for axis, up, right, place in panels:
        plane, outline = (plane_of(a, axis, center[axis]) for a in (scores, labels))
        if right == "z":
            plane, outline = plane.T, outline.T
        axes = figure.add_subplot(place)
        extent = (0.0, plane.shape[1] * size, 0.0, plane.shape[0] * size)
        shown = axes.imshow(
            plane * scale, cmap="gray", origin="lower", extent=extent, interpolation="nearest",
            vmin=0, vmax=max(largest, 1e-6),
        )  # fmt: skip
        draw_outline(axes, outline > 0, extent, STRUCTURE_COLOR)
        axes.set(xlabel=f"{right} (nm)", ylabel=f"{up} (nm)")
        axes.set_title(f"{'zyx'[axis]} = {center[axis] * size:.0f} nm", fontsize=9)
        if axis == 0:  # the panel below has the same x
            axes.set(xlabel="", xticklabels=[])
        if right == "z":  # and the panel to the left the same y
            axes.set(ylabel="", yticklabels=[])
    corner = figure.add_subplot(grid[1, 1])
    corner.axis("off")
    figure.colorbar(shown, ax=corner, orientation="horizontal", label="score", fraction=0.3)
    figure.suptitle(f"{tomogram.name}: scores of {label}, structures outlined", y=0.97)
    return save(figure, path)


def draw_reconstruction(unit: Unit) -> Path:
    """Two sections through the middle of a reconstruction: y over x, and z over x below.

    Each is the mean of about 10 nm, smoothed by 3 nm within (single layers of a cryo volume are
    mostly noise), in the contrast of 99 % of the values in its middle.

    Parameters
    ----------
    unit : Unit
        A finished reconstruction.

    Returns
    -------
    Path
        ``<store>_<name>_reconstruction.png`` beside the store.
    """
    tomogram, name = unit.tomogram, unit.label
    level = drawn_level(tomogram.grid.shape)
    volume = unit.level(level)
    size = tomogram.grid.voxel_size * 2**level / 10
    nz, ny, nx = (n * size for n in volume.shape)
    figure = Figure(figsize=(9, 1.6 + 8 * (ny + nz) / nx), layout="constrained")
    panels = figure.subplots(2, 1, sharex=True, height_ratios=(ny, nz))
    for axes, axis, up in zip(panels, (0, 1), "yz", strict=True):
        n = volume.shape[axis]
        thick = min(n, max(1, round(SECTION / size)))
        first = (n - thick) // 2
        section = smoothed(mean_plane(volume, axis, first, first + thick), SMOOTH / size)
        low, high = contrast_of(
            middle_of(section)
        )  # borders are seen by few tilts, and are extreme
        extent = (0.0, nx, 0.0, section.shape[0] * size)
        axes.imshow(section, cmap="gray", vmin=low, vmax=high, origin="lower", extent=extent)
        axes.set(xlabel="x (nm)", ylabel=f"{up} (nm)")
        middle = (first + (thick - 1) / 2) * size
        depth = f"{'zy'[axis]} = {middle:.0f} nm, mean of {thick * size:.0f} nm, smoothed"
        axes.set_title(depth, fontsize=9)
    figure.suptitle(f"{tomogram.name}: reconstruction {name}")
    return save(figure, tomogram.place.beside(f"{name}_reconstruction.png"))


def draw_tilts(label: Label, path: Path) -> Path:
    """Three tilts with the 2D detections and the structures projected onto them.

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
    geometry = tomogram.geometry
    boxes = box_rows(label.maps)
    maps = stored_maps(label.maps)
    images = tomogram.series.array("images")
    table = label.structures.dataset()
    index = np.stack([table[a].values for a in "zyx"], axis=1) / tomogram.grid.voxel_size
    places = project_points(geometry.matrices(tomogram.grid), index)
    order = np.argsort(geometry.tilt_angles)
    height, width = geometry.image_shape
    figure = Figure(figsize=(15, 1.2 + 4.6 * height / width), layout="constrained")
    step = -(-max(geometry.image_shape) // PAGE)
    for axes, tilt in zip(
        figure.subplots(1, 3),
        order[[len(order) // 8, len(order) // 2, -1 - len(order) // 8]],
        strict=True,
    ):
        image = images.read((tilt, tilt + 1))[0][::step, ::step]
        extent = (-0.5, width - 0.5, -0.5, height - 0.5)
        low, high = np.nanpercentile(image, [0.5, 99.5])
        axes.imshow(image, cmap="gray", vmin=low, vmax=high, origin="lower", extent=extent)
        _draw_detections(axes, boxes[tilt], maps, int(tilt), step, extent)
        axes.plot(places[tilt, :, 1], places[tilt, :, 0], "+", color=_REPROJECTED, ms=5, mew=0.6)
        axes.set(xlim=extent[:2], ylim=extent[2:], xlabel="x (pixels)", ylabel="y (pixels)")
        axes.set_title(f"tilt {round(geometry.tilt_angles[tilt], 1) + 0.0:g}°")
    figure.suptitle(
        f"{tomogram.name}: {label}; 2D detections (orange) and structures reprojected (green)"
    )
    return save(figure, path)


def draw_threshold(label: Label, path: Path) -> Path:
    """IoU of maps and reprojection at every threshold: the mean, and every tilt.

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
    curve = label.curves.dataset()
    iou, best = curve["iou"].values, label.curves.attributes["best"]
    thresholds = curve["threshold"].values
    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axes = figure.subplots()
    colors = mpl.colormaps["coolwarm"](np.linspace(0, 1, len(iou)))
    for row, color in zip(iou[np.argsort(curve["tilt_angle"].values)], colors, strict=True):
        axes.plot(thresholds, row, color=color, lw=0.5, alpha=0.6)
    axes.plot(thresholds, iou.mean(axis=0), "k", lw=2, label="mean over tilts")
    axes.axvline(best, color=_DETECTION, label=f"T = {best:.3g}")
    axes.set(xlabel="threshold T on the scores", ylabel="IoU of map and reprojection", ylim=(0, 1))
    axes.set_title(f"{tomogram.name}: {label} (lines: single tilts, blue to red by angle)")
    axes.legend()
    return save(figure, path)


def draw_agreement(label: Label, path: Path) -> Path:
    """How well every tilt agrees with the rest, at the chosen threshold; outliers in red.

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
    agreement = tilt_agreement(label.curves)
    if agreement is None:
        raise StoreError(f"{tomogram}: no threshold was chosen for {label}")
    tilts, angles, consistency = agreement.tilts, agreement.angles, agreement.consistency
    order = np.argsort(angles)
    figure = Figure(figsize=(7.5, 4), layout="constrained")
    axes = figure.subplots()
    angle, expected = np.array(angles)[order], consistency.expected[order]
    band = (expected - consistency.tolerated, expected)
    axes.fill_between(angle, *band, color="#00c2ff", alpha=0.15, lw=0, label="tolerated")
    axes.plot(angle, expected, color="#00c2ff", lw=1, label="as its neighbours let expect")
    for name, style in (("precision", ":"), ("recall", "--")):
        axes.plot(angle, getattr(consistency, name)[order], style, color="gray", lw=1, label=name)
    axes.plot(angle, consistency.iou[order], ".-", color="black", lw=1, label="IoU")
    for k in np.flatnonzero(consistency.disagrees):
        axes.plot(angles[k], consistency.iou[k], "o", color="#ff5050")
        axes.annotate(f"tilt {tilts[k]}", (angles[k], consistency.iou[k]), fontsize=8)
    axes.set(xlabel="tilt angle (degrees)", ylabel="map against reprojection", ylim=(0, 1.02))
    axes.set_title(f"{tomogram.name}: agreement of every tilt with all, {label}", fontsize=10)
    axes.legend(fontsize=8)
    return save(figure, path)


def _draw_detections(
    axes: Any,  # noqa: ANN401 -- matplotlib Axes
    boxes: AnyArray,
    maps: Stack,
    tilt: int,
    step: int,
    extent: tuple[float, ...],
) -> None:
    """Outlines of the map, and a frame around every box."""
    mask = maps.read((tilt, tilt + 1))[0][::step, ::step] == 1
    draw_outline(axes, mask, extent, _DETECTION)
    if 0 < len(boxes) <= 200:
        axes.plot(boxes[:, 1], boxes[:, 0], ".", color=_DETECTION, ms=2)

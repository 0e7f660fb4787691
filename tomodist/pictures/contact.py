"""A contact sheet: every located object's patch through the tilts, one row per object.

One rule: each patch is cut around where the *object* projects, not around its 2D box, so a wrong
position shows as a structure that wanders out of its row.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from tomodist.store.boxes import box_rows
from tomodist.values.projection import project_points

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.store.tomogram import Label, Tomogram
    from tomodist.values.arrays import AnyArray, Float32Array, FloatArray

_COLUMNS, _ROWS = 13, 40  # tilts and objects on a sheet
_PATCH = 2.5  # times the object's size
_MOST = 48  # pixels of a patch; a larger one is thinned
_GAP = 2


def draw_contact_sheet(label: Label, path: Path) -> Path:
    """Draw patches of located objects: the images at their projections, and the 2D boxes.

    Parameters
    ----------
    label : Label
        Located structures (with support by tilts).
    path : Path
        The PNG.

    Returns
    -------
    Path
        `path`. Of more than 40 objects, those that fit worst are drawn, as these need a look.
    """
    tomogram = label.tomogram
    geometry, table = tomogram.geometry, label.structures.dataset().load()
    rows = _worst_first(table["residual"].values)
    index = np.stack([table[a].values for a in "zyx"], axis=1)[rows] / tomogram.grid.voxel_size
    tilts = _spread(np.argsort(geometry.tilt_angles), _COLUMNS)
    places = project_points(geometry.matrices(tomogram.grid), index)
    sizes = np.stack([table[f"size_{a}"].values for a in "yx"], axis=1)[rows]
    typical = float(np.median(sizes)) / geometry.pixel_size if len(rows) else 1.0
    half = max(4, math.ceil(_PATCH / 2 * typical))
    boxes = box_rows(label.maps)
    figure = Figure(figsize=(1 + 0.75 * len(tilts), 1.2 + 0.75 * len(rows)), layout="constrained")
    axes = figure.subplots()
    sheet, step = _sheet(tomogram, tilts, places, half)
    side = sheet.shape[1] // max(len(tilts), 1)
    axes.imshow(sheet, cmap="gray", vmin=0, vmax=1, origin="upper", interpolation="nearest")
    supported = np.isfinite(table["residual_per_tilt"].values)[rows]
    for column, tilt in enumerate(tilts):
        for row in range(len(rows)):
            corner = np.array([row * side, column * side])
            middle = corner + (side - _GAP - 1) / 2
            shift = _nearest_box(boxes[tilt], places[tilt, row], half)
            if shift is not None:
                y, x = middle + np.array([-1, 1]) * shift / step
                color = "#ffb000" if supported[row, tilt] else "#ff5050"
                axes.plot(x, y, "+", color=color, ms=4, mew=0.7)
    angles = [f"{round(geometry.tilt_angles[t])}°" for t in tilts]
    axes.set_xticks((np.arange(len(tilts)) + 0.5) * side, angles, fontsize=7)
    names = [f"{int(table['id'].values[k])} ({table['residual'].values[k]:.2f} px)" for k in rows]
    axes.set_yticks((np.arange(len(rows)) + 0.5) * side, names, fontsize=7)
    axes.set_title(
        f"{tomogram.name}: {label}, each patch centred where the object projects\n"
        "(+ the 2D box that supports it; red: one nearby that does not)",
        fontsize=9,
    )
    figure.savefig(path, dpi=110)
    return path


def _worst_first(residual: AnyArray) -> list[int]:
    """All objects in their order, or the forty of the largest residuals."""
    if len(residual) <= _ROWS:
        return list(range(len(residual)))
    return sorted(np.argsort(-np.nan_to_num(residual, nan=np.inf))[:_ROWS].tolist())


def _spread(order: AnyArray, n: int) -> list[int]:
    """About n tilts, evenly spread over the range."""
    picked = np.unique(np.linspace(0, len(order) - 1, min(n, len(order))).round().astype(int))
    return [int(t) for t in order[picked]]


def _sheet(
    tomogram: Tomogram, tilts: list[int], places: AnyArray, half: int
) -> tuple[Float32Array, int]:
    """Patches side by side, in the contrast of their tilt; row 0 of each is at its bottom."""
    images, step = tomogram.series.array("images"), max(1, -(-2 * half // _MOST))
    n, side = places.shape[1], len(range(0, 2 * half + 1, step)) + _GAP
    sheet = np.ones((max(n, 1) * side, max(len(tilts), 1) * side), np.float32)
    for column, tilt in enumerate(tilts):
        image = images.read((tilt, tilt + 1))[0]
        low, high = np.nanpercentile(image, [0.5, 99.5]) if np.isfinite(image).any() else (0, 1)
        for row, (y, x) in enumerate(np.round(places[tilt]).astype(int)):
            patch = (_cut(image, y, x, half)[::step, ::step] - low) / max(high - low, 1e-9)
            window = sheet[row * side :, column * side :]
            window[: side - _GAP, : side - _GAP] = np.nan_to_num(patch, nan=1.0)[::-1]
    return sheet, step


def _cut(image: AnyArray, y: int, x: int, half: int) -> Float32Array:
    """Pixels around a place; NaN beyond the image."""
    patch = np.full((2 * half + 1, 2 * half + 1), np.nan, np.float32)
    rows = slice(max(y - half, 0), max(y + half + 1, 0))
    columns = slice(max(x - half, 0), max(x + half + 1, 0))
    part = image[rows, columns]
    first = (max(half - y, 0), max(half - x, 0))
    patch[first[0] : first[0] + part.shape[0], first[1] : first[1] + part.shape[1]] = part
    return patch


def _nearest_box(boxes: AnyArray, place: AnyArray, half: int) -> FloatArray | None:
    """From where an object projects to the nearest box (y, x), if that is on the patch."""
    if not len(boxes):
        return None
    apart = boxes[:, :2] - np.round(place)
    nearest = apart[np.argmin(np.linalg.norm(boxes[:, :2] - place, axis=1))]
    return nearest if np.abs(nearest).max() < half else None

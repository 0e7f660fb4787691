"""Pictures show what is stored, at its place: the panels of the figures, not their pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.stores import adopt_maps, run_step
from tomodist.algorithms.lift.backproject import Votes
from tomodist.pictures import overlay, planes, results
from tomodist.pictures.results import draw_all, draw_slices
from tomodist.runtime.cluster import open_session
from tomodist.steps.backproject import Backproject
from tomodist.steps.structures import FindStructures
from tomodist.store.tomogram import Label, Tomogram
from tomodist.values.geometry import TiltGeometry, VolumeGrid

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

SHAPE, SIZE = (30, 41, 52), 10.0  # even, odd, even; in Å
LOW, HIGH = (8, 22, 31), (16, 33, 38)  # a chiral place: nowhere near the middle of any axis


@pytest.fixture(scope="module")
def label(tmp_path_factory: pytest.TempPathFactory) -> Label:
    """One box of votes, seen by five tilts about 0 degrees."""
    grid = VolumeGrid(SHAPE, SIZE)
    geometry = TiltGeometry([-50.0, -25.0, 0.0, 25.0, 50.0], SHAPE[1:], SIZE)
    corners = np.array([(z, 0, x) for z in (LOW[0], HIGH[0]) for x in (LOW[2], HIGH[2])])
    maps = np.zeros((5, *SHAPE[1:]), np.uint8)
    for tilt, matrix in enumerate(geometry.matrices(grid)):
        columns = corners @ matrix[1, :3] + matrix[1, 3]
        first, last = int(np.ceil(columns.min())), int(columns.max())
        maps[tilt, LOW[1] : HIGH[1], max(first, 0) : last] = 1
    tomogram = Tomogram.create(tmp_path_factory.mktemp("pictures") / "t.zarr")
    adopt_maps(tomogram, "box", maps, geometry, grid)
    made = tomogram.label("box")
    with open_session("threads", n_workers=1) as session:
        run_step(session, Backproject((made,), Votes(geometry, grid)))
        run_step(session, FindStructures(made, lambda: 4.0))
    return made


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Every figure that is saved; it is written as well."""
    saved: list[Figure] = []

    def save(figure: Figure, path: Path, dpi: int = 110) -> Path:
        saved.append(figure)
        return planes.save(figure, path, dpi)

    for module in (results, overlay):
        monkeypatch.setattr(module, "save", save)
    return saved


def panels(figure: Figure) -> dict[str, Any]:
    """Images of a figure, by the axis that they are perpendicular to."""
    return {a.get_title()[0]: a.images[0] for a in figure.axes if a.images and a.get_title()}


def test_slices_lie_as_in_imod_s_xyz_window(
    label: Label, figures: list[Figure], tmp_path: Path
) -> None:
    picture = draw_slices(label, tmp_path / "slices.png")
    assert picture.stat().st_size > 5000
    shown = panels(figures[0])
    scores = label.scores.volume.read()
    table = label.structures.dataset()
    z, y, x = (round(float(table[a].values[0]) / SIZE) for a in "zyx")
    np.testing.assert_array_equal(shown["z"].get_array(), scores[z])
    np.testing.assert_array_equal(shown["y"].get_array(), scores[:, y])
    np.testing.assert_array_equal(shown["x"].get_array(), scores[:, :, x].T)
    sizes = {"z": (52, 41), "y": (52, 30), "x": (30, 41)}  # nm, to the right and up
    for axis, (right, up) in sizes.items():
        assert shown[axis].origin == "lower"
        assert shown[axis].get_extent() == [0, right, 0, up]


def test_the_slices_go_through_the_structure(label: Label) -> None:
    center = planes.interesting(label, SHAPE, 0)
    for k, low, high in zip(center, LOW, HIGH, strict=True):
        assert low <= k < high


def test_outlines_lie_around_the_structure(
    label: Label, figures: list[Figure], tmp_path: Path
) -> None:
    draw_slices(label, tmp_path / "slices.png")
    axes = next(a for a in figures[0].axes if a.get_title().startswith("z"))
    (outline,) = axes.collections
    points = np.concatenate([path.vertices for path in outline.get_paths()])
    labels = label.labels.volume.read()[planes.interesting(label, SHAPE, 0)[0]]
    rows, columns = np.nonzero(labels)
    size = SIZE / 10
    for values, inside in zip(points.T, (columns, rows), strict=True):
        assert values.min() == pytest.approx(inside.min() * size, abs=size)
        assert values.max() == pytest.approx((inside.max() + 1) * size, abs=size)


def test_only_what_exists_is_drawn(label: Label) -> None:
    pictures = draw_all(label)
    store = label.tomogram.place.path
    assert pictures == [store.with_name("t_box_slices.png")]  # no images, no curve
    assert all(picture.is_file() for picture in pictures)

"""The threshold of stored edges: the same however the work is cut, and kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.image
import numpy as np
import pytest

from tests.ablations.shells import draw_shells, tilt_angles
from tests.cli.materials import THREADS, tomodist
from tests.stores import adopt_maps, run_step
from tomodist.algorithms.lift.edges import RefinedEdges
from tomodist.detectors.classical import DogEdges
from tomodist.errors import PlanError
from tomodist.experiments.lifted import PLAIN, detect_all, edge_votes, ray_length_threshold
from tomodist.experiments.shells import Specimen, make_specimen
from tomodist.planning.plan import Cut, MiB, Resources
from tomodist.planning.tiles import Tile, plan_of_tiles
from tomodist.runtime.cluster import open_session
from tomodist.runtime.lazy import as_dask
from tomodist.runtime.runner import Session
from tomodist.steps.backproject import Backproject
from tomodist.steps.ray_lengths import compare_ray_lengths, plan_ray_lengths
from tomodist.store.tomogram import Tomogram
from tomodist.store.volumes import create_stack

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 70  # more than one brick of 64


@pytest.fixture(scope="module")
def specimen() -> Specimen:
    return make_specimen(draw_shells(2, SIZE), SIZE, tilt_angles(5), 1.0, 2)


@pytest.fixture(scope="module")
def store(specimen: Specimen, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, as ingested."""
    path = tmp_path_factory.mktemp("chords") / "shell.zarr"
    tomogram = Tomogram.create(path)
    with tomogram.series.stage({"step": "test"}) as staging:
        stack = create_stack(staging, "images", specimen.geometry, np.float32)
        for tilt, image in enumerate(specimen.images):
            stack.write((tilt, 0, 0), image[None])
        staging.describe(
            geometry=specimen.geometry.to_dict(), grid=specimen.grid.to_dict(), source="simulated"
        )
    return path


def test_any_tiles_choose_as_in_memory(specimen: Specimen, tmp_path: Path) -> None:
    maps = detect_all(specimen, DogEdges(sigma=2.0))
    expected = ray_length_threshold(edge_votes(specimen, maps, PLAIN), maps, specimen, PLAIN)
    geometry, grid = specimen.geometry, specimen.grid
    tomogram = Tomogram.create(tmp_path / "t.zarr")
    adopt_maps(tomogram, "shell", as_dask(maps, maps.shape, "maps"), geometry, grid)
    with open_session("threads", n_workers=2) as session:
        edges = RefinedEdges(geometry, grid, rounds=0)
        labels = (tomogram.label("shell"),)
        run_step(session, Backproject(labels, edges, cut=Cut((64, 64, 64))))
    scores = tomogram.label("shell").scores.volume
    stored = tomogram.label("shell").maps.array("maps")
    session = Session(Resources(1, 2, 4096 * MiB))
    whole = plan_ray_lengths(geometry, session.resources)
    tiles = Tile(64, 5)
    stack = (whole.shape[0], *geometry.image_shape)
    small = plan_of_tiles("edges", stack, tiles, {}, session.resources)
    assert small.n_bricks > whole.n_bricks
    for plan in (whole, small):
        work = compare_ray_lengths(scores, stored, geometry, grid, 1, plan)
        assert session.run(work) == expected
    assert 5 < expected.best < 15


def test_a_tile_that_cannot_fit_is_refused(specimen: Specimen) -> None:
    with pytest.raises(PlanError, match=r"tile of .* \(1, 64, .*needs .*`memory`"):
        plan_ray_lengths(specimen.geometry, Resources(1, 1, 20 * MiB))


def test_edges_choose_their_threshold_and_keep_it(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("edges", store, "--label", "shell", *THREADS)
    assert tomodist(*command) == 0
    tomogram = Tomogram.open(store)
    best = tomogram.label("shell").edge_curves.attributes["best"]
    said = capsys.readouterr().out
    assert f"> {best}" in said
    picture = store.with_name("shell_shell_edge_threshold.png")
    assert f"picture: {picture}" in said
    assert matplotlib.image.imread(picture)[..., :3].std() > 0.05
    curve = tomogram.label("shell").edge_curves.dataset().load()
    assert float(curve["kappa"].max()) > 0.4
    assert curve["threshold"].values[np.argmax(curve["kappa"].values)] == best
    made = (store / "edge_curves" / "shell" / "zarr.json").stat().st_mtime_ns
    assert tomodist(*command) == 0
    assert (store / "edge_curves" / "shell" / "zarr.json").stat().st_mtime_ns == made
    fixed = ("edges", store, "--label", "fixed", "--threshold", 4, *THREADS)
    assert tomodist(*fixed) == 0
    assert "> 4" in capsys.readouterr().out
    assert not tomogram.label("fixed").edge_curves.exists()


def test_labels_are_drawn_on_every_reconstruction(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tomodist("reconstruct", store, *THREADS) == 0
    assert tomodist("edges", store, "--label", "drawn", "--denoise", "gaussian", *THREADS) == 0
    picture = store.with_name("shell_drawn_on_wbp.png")
    assert f"picture: {picture}" in capsys.readouterr().out
    pixels = matplotlib.image.imread(picture)[..., :3]
    blue = (pixels[..., 2] > 0.8) & (pixels[..., 0] < 0.3)
    width = pixels.shape[1] // 2
    assert not blue[:, :width].any()  # as it is
    assert blue[:, width:].sum() > 200  # and with the outline
    attributes = Tomogram.open(store).label("drawn").maps.attributes
    assert attributes["denoise"] == "gaussian"

"""Learned detectors as steps: killed workers, interrupted runs, memory, and bricks of volumes."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.runtime.test_execution import wait_for
from tests.stores import run_step
from tomodist.errors import PlanError, StoreError
from tomodist.learned.detectors.segmentation import LearnedSegmentation
from tomodist.learned.model.card import ModelCard, write_model
from tomodist.learned.model.opened import Model
from tomodist.learned.networks.build import seeded
from tomodist.learned.networks.spec import Architecture
from tomodist.planning.plan import BASE_MEMORY, Resources
from tomodist.runtime.cluster import open_session, resources_of
from tomodist.runtime.runner import Session, Silent
from tomodist.sources.base import DetectorMaps
from tomodist.steps.detect import DetectMaps
from tomodist.steps.detect_volume import DetectVolume, VolumeDetection, plan_volume
from tomodist.store.tomogram import Tomogram, Unit
from tomodist.store.volumes import create_levels, create_stack
from tomodist.values.geometry import TiltGeometry, VolumeGrid

MiB = 2**20


def untrained(folder: Path, dims: int = 2, n_classes: int = 1, **options: Any) -> Model:
    """A model whose random weights say something everywhere."""
    architecture = Architecture("residual-unet", dims, n_classes, options)  # type: ignore[arg-type]
    module = seeded(architecture, 3)
    module.head.bias.data.zero_()
    weights = {name: value.numpy() for name, value in module.state_dict().items()}
    names = tuple("abc"[:n_classes])
    thresholds = (0.5,) * n_classes
    card = ModelCard("segment", dims, "residual-unet", options, names, 10.0, thresholds)  # type: ignore[arg-type]
    write_model(folder, card, weights)
    return Model.at(folder)


def series(path: Path, n_tilts: int, side: int, grid: VolumeGrid | None = None) -> Tomogram:
    """A store with noisy images and nothing else."""
    geometry = TiltGeometry(np.linspace(-50, 50, n_tilts).tolist(), (side, side), 10.0)
    grid = grid or VolumeGrid((64, side, side), 10.0)
    tomogram = Tomogram.create(path)
    random = np.random.default_rng(0)
    with tomogram.series.stage({"step": "test"}) as staging:
        staging.describe(geometry=geometry.to_dict(), grid=grid.to_dict())
        images = create_stack(staging, "images", geometry, np.float32)
        for tilt in range(n_tilts):
            image = random.standard_normal((1, side, side), dtype=np.float32)
            images.write((tilt, 0, 0), image.cumsum(axis=1).cumsum(axis=2))
    return tomogram


def detect(session: Session, tomogram: Tomogram, model: Model) -> bool:
    """Maps and probabilities of the label ``a``."""
    source = DetectorMaps(LearnedSegmentation(model), keep="uint8")
    return run_step(session, DetectMaps(tomogram.label("a"), source))


def content(tomogram: Tomogram, unit: str = "maps/a") -> list[np.ndarray]:
    """Maps, probabilities and boxes."""
    return [Unit(tomogram, unit).array(name).read() for name in ("maps", "probabilities", "boxes")]


@pytest.mark.long
def test_a_killed_worker_costs_nothing_but_time(tmp_path: Path) -> None:
    model = untrained(tmp_path / "model")
    reference, killed = (series(tmp_path / name, 40, 256) for name in ("one.zarr", "two.zarr"))
    with open_session("threads", n_workers=1) as session:
        detect(session, reference, model)
    with open_session("local", n_workers=2, memory_limit=1500 * MiB) as session:
        victim = next(iter(session.client.run(os.getpid).values()))
        shards = killed.place.path / ".staging" / "maps--a" / "maps" / "c"

        def kill() -> None:
            wait_for(lambda: len(list(shards.glob("*/*/*"))) >= 4)
            os.kill(victim, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        detect(session, killed, model)
        killer.join()
        assert victim not in session.client.run(os.getpid).values()
    for one, two in zip(content(reference), content(killed), strict=True):
        np.testing.assert_array_equal(one, two)


class Stops(Silent):
    """Interrupts when some tilts are done."""

    def __init__(self, after: int) -> None:
        self.left = after

    def advance(self, bar: Any) -> None:  # noqa: ARG002
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def test_an_interrupted_detection_goes_on_where_it_stopped(tmp_path: Path) -> None:
    model = untrained(tmp_path / "model")
    whole, tomogram = (series(tmp_path / name, 12, 128) for name in ("one.zarr", "two.zarr"))
    resources = resources_of("threads", 1, 2000 * MiB)
    detect(Session(resources), whole, model)
    with pytest.raises(KeyboardInterrupt):
        detect(Session(resources, None, Stops(5)), tomogram, model)
    assert not tomogram.label("a").maps.exists()
    shards = tomogram.place.path / ".staging" / "maps--a" / "maps" / "c"
    before = {p: p.stat().st_mtime_ns for p in shards.glob("*/0/0")}
    assert 5 <= len(before) < 12
    assert detect(Session(resources), tomogram, model)
    after = tomogram.place.path / "maps" / "a" / "maps" / "c"
    for path, time in before.items():
        assert (after / path.relative_to(shards)).stat().st_mtime_ns == time
    for one, two in zip(content(whole), content(tomogram), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not detect(Session(resources), tomogram, model)


def _peak() -> int:
    """Of this process alone; getrusage tells that of the one that started it, if it was more."""
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("there is no /proc that tells a process's peak memory")
    line = next(s for s in status.read_text().splitlines() if s.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


@pytest.mark.long
@pytest.mark.parametrize("side", [1024, 2304])
def test_a_worker_stays_within_what_is_planned(tmp_path: Path, side: int) -> None:
    model = untrained(tmp_path / "model")
    tomogram = series(tmp_path / "TS.zarr", 2, side)
    detector = LearnedSegmentation(model)
    planned = BASE_MEMORY + detector.memory((side, side), 10.0) + 48 * side**2
    with open_session("local", n_workers=1, memory_limit=4000 * MiB) as session:
        detect(session, tomogram, model)
        measured = max(session.client.run(_peak).values())
    assert 0.3 * planned < measured < planned


def test_a_worker_that_is_too_small_is_refused_before_it_starts(tmp_path: Path) -> None:
    model = untrained(tmp_path / "model")
    tomogram = series(tmp_path / "TS.zarr", 1, 512)
    with pytest.raises(PlanError, match=r"detect: an image of .* \(1, 512, 512\) needs"):
        detect(Session(Resources(1, 1, 700 * MiB)), tomogram, model)
    assert not tomogram.label("a").maps.exists()


GRID = VolumeGrid((70, 150, 140), 10.0)


def reconstructed(path: Path) -> Tomogram:
    """A store with a volume of smooth noise, of which a corner is not known."""
    tomogram = series(path, 1, 64, GRID)
    random = np.random.default_rng(5)
    volume = random.standard_normal(GRID.shape, dtype=np.float32).cumsum(axis=0).cumsum(axis=2)
    volume[:, :20, :30] = np.nan
    with tomogram.reconstruction("wbp").stage({"step": "test"}) as staging:
        level = create_levels(staging, "reconstruction", GRID, "f4", (128, 128, 128))[0]
        for brick in level.bricks():
            level.write(brick, volume[tuple(slice(*w) for w in level.window(brick))])
    return tomogram


@pytest.mark.long
def test_volumes_are_the_same_however_they_are_cut(tmp_path: Path) -> None:
    model = untrained(tmp_path / "model", 3, 2, widths=(16, 16, 32))
    found = []
    ways = (
        ("threads", 1, (128, 192, 192)),
        ("threads", 2, (64, 64, 64)),
        ("local", 2, (64, 128, 64)),
    )
    for k, (cluster, workers, brick) in enumerate(ways):
        tomogram = reconstructed(tmp_path / f"{k}.zarr")
        detection = VolumeDetection(model, "wbp", {"a": "a", "b": "other"}, side=64, overlap=16)
        with open_session(cluster, n_workers=workers, memory_limit=2000 * MiB) as session:
            assert run_step(session, DetectVolume(tomogram, detection, brick))
            assert not run_step(session, DetectVolume(tomogram, detection, brick))
        units = [tomogram.label(u).scores.volume.read() for u in ("a", "other")]
        found.append(units)
    assert 1 < len(np.unique(found[0][0])) <= 255
    assert not np.array_equal(found[0][0], found[0][1])
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.long
def test_an_interrupted_run_goes_on_with_other_bricks_and_classes(tmp_path: Path) -> None:
    model = untrained(tmp_path / "model", 3, 2, widths=(16, 16))
    whole, tomogram = (reconstructed(tmp_path / name) for name in ("one.zarr", "two.zarr"))
    resources = resources_of("threads", 1, 2000 * MiB)

    def run(store: Tomogram, labels: dict[str, str], brick: int, progress: Silent) -> None:
        detection = VolumeDetection(model, "wbp", labels, side=64, overlap=16)
        session = Session(resources, None, progress)
        run_step(session, DetectVolume(store, detection, (64, 64, brick)))

    run(whole, {"a": "a", "b": "b"}, 64, Silent())
    with pytest.raises(KeyboardInterrupt):
        run(tomogram, {"a": "a"}, 64, Stops(24))  # statistics are summed first
    run(tomogram, {"a": "a", "b": "b"}, 128, Silent())
    for label in "ab":
        one, two = (s.label(label).scores.volume.read() for s in (whole, tomogram))
        np.testing.assert_array_equal(one, two)


def test_a_reconstruction_of_another_series_is_refused(tmp_path: Path) -> None:
    tomogram = reconstructed(tmp_path / "TS.zarr")
    made = {"step": "test", "tilt_series": "another digest"}
    with tomogram.reconstruction("wbp").stage(made) as staging:
        create_levels(staging, "reconstruction", GRID, "f4", (128, 128, 128))
    model = untrained(tmp_path / "model", 3, 1)
    detection = VolumeDetection(model, "wbp", {"a": "a"})
    session = Session(resources_of("threads", 1, 2000 * MiB))
    with pytest.raises(StoreError, match="is out of date: its source tilt_series was changed"):
        run_step(session, DetectVolume(tomogram, detection))


def test_blended_windows_agree_with_the_whole_volume_inside(tmp_path: Path) -> None:
    from tomodist.learned.detectors.tiles import Blending
    from tomodist.learned.detectors.volume import blended_probabilities
    from tomodist.learned.model.network import dense_output, sigmoid

    network = untrained(tmp_path / "model", 3, 1, widths=(16, 16)).network()
    volume = np.random.default_rng(1).standard_normal((48, 96, 80), dtype=np.float32)
    volume = (volume.cumsum(axis=1) / 8).astype(np.float32)
    whole = sigmoid(dense_output(network, volume))[0]

    def read(window: tuple[tuple[int, int], ...]) -> np.ndarray:
        return volume[tuple(slice(*w) for w in window)]

    part = tuple((0, n) for n in volume.shape)
    blended = blended_probabilities(network, read, Blending(volume.shape, 64, 24), part)[0]
    assert np.abs(blended - whole).mean() < 0.03  # an untrained network looks far
    assert ((blended > 0.5) != (whole > 0.5)).mean() < 0.03
    assert np.corrcoef(blended.ravel(), whole.ravel())[0, 1] > 0.95


@pytest.mark.long
def test_the_plan_of_a_volume_tells_what_a_task_holds(tmp_path: Path) -> None:
    model = untrained(tmp_path / "model", 3, 1)
    detection = VolumeDetection(model, "wbp", {"a": "a"})
    tomogram = reconstructed(tmp_path / "TS.zarr")
    plan = plan_volume(detection, GRID, Resources(1, 1, 4000 * MiB))
    with open_session("local", n_workers=1, memory_limit=4000 * MiB) as session:
        run_step(session, DetectVolume(tomogram, detection))
        measured = max(session.client.run(_peak).values())
    assert 0.3 * plan.worker_memory < measured < plan.worker_memory
    with pytest.raises(PlanError, match="detect in 3D: brick"):
        plan_volume(detection, GRID, Resources(1, 1, 600 * MiB))

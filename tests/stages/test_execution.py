"""The same bytes however the work is cut, and whatever is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest

from tomodist.cluster import open_session
from tomodist.errors import InputError, PlanError, StoreError
from tomodist.geometry import TiltGeometry, VolumeGrid
from tomodist.io.store import Tomogram
from tomodist.lift.backproject import Votes
from tomodist.plan import MiB, Resources
from tomodist.stages.adopt import adopt_maps
from tomodist.stages.backproject import backproject_maps, plan_scores
from tomodist.stages.execute import Session, Silent, task_of, tree_of
from tomodist.stages.select import Selection, select_structures
from tomodist.stages.threshold import choose_threshold_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

SHAPE = (150, 131, 140)
ANGLES = tuple(range(-60, 61, 10))


def blobs(shape: tuple[int, ...], seed: int = 0) -> npt.NDArray[np.uint8]:
    """Maps with a few squares each, different in every tilt."""
    rng = np.random.default_rng(seed)
    maps = np.zeros(shape, np.uint8)
    for image in maps:
        for y, x in rng.integers(0, np.array(shape[1:]) - 12, (12, 2)):
            image[y : y + 12, x : x + 12] = 1
    return maps


def store_with_maps(folder: Path, shape: tuple[int, int, int] = SHAPE) -> Tomogram:
    """A store without images, with maps labelled "blobs"."""
    geometry = TiltGeometry(ANGLES, shape[1:], 10.0)
    tomogram = Tomogram.create(folder / "t.zarr")
    maps = da.from_array(blobs((len(ANGLES), *shape[1:])))
    adopt_maps(tomogram, "blobs", maps, geometry, VolumeGrid(shape, 10.0))
    return tomogram


def lift(session: Session, tomogram: Tomogram, **options: Any) -> None:
    """Votes, then structures where at least five tilts agree."""
    votes = Votes(tomogram.geometry, tomogram.grid)
    brick = options.pop("labels_brick", None)
    backproject_maps(session, tomogram, "blobs", votes, {}, **options)
    select_structures(session, tomogram, "blobs", Selection(4.0), brick=brick)


def results(tomogram: Tomogram) -> dict[str, npt.NDArray[Any]]:
    """Everything that was made, as arrays."""
    arrays = {
        f"{kind}{level}": tomogram.array(f"{kind}/blobs", f"scale{level}/{kind}").read()
        for kind in ("scores", "labels")
        for level in (0, 1)
    }
    table = tomogram.dataset("structures/blobs").load()
    return arrays | {str(name): table[name].values for name in table.variables}


def assert_same(a: dict[str, npt.NDArray[Any]], b: dict[str, npt.NDArray[Any]]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype, name
        assert a[name].tobytes() == b[name].tobytes(), name


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, npt.NDArray[Any]]:
    """Results of one thread and one brick."""
    tomogram = store_with_maps(tmp_path_factory.mktemp("one"))
    with open_session("threads", n_workers=1) as session:
        lift(session, tomogram, brick=(192, 192, 192), labels_brick=(192, 192, 192))
    made = results(tomogram)
    assert made["labels0"].max() > 10
    return made


@pytest.mark.parametrize(
    ("cluster", "workers", "options"),
    [
        ("threads", 2, {}),
        ("threads", 3, {"brick": (64, 64, 64), "labels_brick": (64, 128, 64)}),
        ("threads", 2, {"brick": (128, 64, 192), "tilts_per_task": 1}),
        ("threads", 2, {"brick": (192, 192, 192), "tilts_per_task": 3}),
        ("local", 2, {"brick": (128, 128, 128), "labels_brick": (64, 64, 64)}),
        pytest.param(
            *("local", 1, {"brick": (64, 64, 128), "tilts_per_task": 5}), marks=pytest.mark.long
        ),
        pytest.param("local", 2, {"tilts_per_task": 1}, marks=pytest.mark.long),
    ],
    ids=lambda value: str(value).replace(" ", ""),
)
def test_same_bytes_however_the_work_is_cut(
    tmp_path: Path,
    expected: dict[str, npt.NDArray[Any]],
    cluster: str,
    workers: int,
    options: dict[str, Any],
) -> None:
    tomogram = store_with_maps(tmp_path)
    with open_session(cluster, n_workers=workers, memory_limit=1024 * MiB) as session:
        lift(session, tomogram, **options)
    assert_same(results(tomogram), expected)


def test_a_killed_worker_costs_nothing_but_time(tmp_path: Path) -> None:
    shape = (256, 256, 256)
    tomogram, plain = store_with_maps(tmp_path / "killed", shape), tmp_path / "plain"
    reference = store_with_maps(plain, shape)
    with open_session("threads", n_workers=2) as session:
        lift(session, reference, brick=(64, 64, 64))
    with open_session("local", n_workers=2, memory_limit=1024 * MiB) as session:
        victim = next(iter(session.client.run(os.getpid).values()))
        shards = tomogram.path / ".staging" / "scores--blobs" / "scale0" / "scores" / "c"

        def kill() -> None:
            wait_for(lambda: len(list(shards.glob("*/*/*"))) >= 5)
            os.kill(victim, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        lift(session, tomogram, brick=(64, 64, 64))
        killer.join()
        assert victim not in session.client.run(os.getpid).values()
    assert_same(results(tomogram), results(reference))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path, how: signal.Signals) -> None:
    """The signal comes when some bricks are done and others are being computed."""
    shape = (192, 192, 192)
    tomogram = store_with_maps(tmp_path, shape)
    reference = store_with_maps(tmp_path / "plain", shape)
    shards = tomogram.path / ".staging" / "scores--blobs" / "scale0" / "scores" / "c"
    first = run_lifting(tomogram.path, 9, how)
    assert first.returncode != 0
    if how == signal.SIGINT:
        assert "KeyboardInterrupt" in first.stderr
    before = written(shards)
    assert 9 <= len(before) < 27
    assert not tomogram.has("scores/blobs")
    second = run_lifting(tomogram.path)
    assert second.returncode == 0, second.stderr
    after = written(tomogram.path / "scores" / "blobs" / "scale0" / "scores" / "c")
    assert len(after) == 27
    assert {k: after[k] for k in before} == before, "a finished brick was computed again"
    with open_session("threads", n_workers=2) as session:
        lift(session, reference, brick=(64, 64, 64))
        lift(session, tomogram, brick=(64, 64, 64))
    assert_same(results(tomogram), results(reference))


class Deadly(Silent):
    """Sends a signal to its own process when some tasks are done."""

    def __init__(self, after: int, how: int) -> None:
        self.left, self.how = after, how

    def advance(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.how)


def run_lifting(store: Path, *deadly: int) -> subprocess.CompletedProcess[str]:
    """Backproject in another process, on two threads; for `deadly` see `Deadly`."""
    program = (
        "import sys; from pathlib import Path\n"
        "from tests.stages.test_execution import *\n"
        "progress = Deadly(*map(int, sys.argv[2:])) if sys.argv[2:] else Silent()\n"
        "with open_session('threads', n_workers=2, progress=progress) as session:\n"
        "    tomogram = Tomogram.open(sys.argv[1])\n"
        "    votes = Votes(tomogram.geometry, tomogram.grid)\n"
        "    backproject_maps(session, tomogram, 'blobs', votes, {}, brick=(64, 64, 64))\n"
    )
    root = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-c", program, str(store), *(str(int(d)) for d in deadly)],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )


def written(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Time of writing and content of every finished shard."""
    return {
        str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.read_bytes())
        for p in folder.glob("*/*/*")
        if not p.name.endswith("partial") and p.suffix == ""
    }


def wait_for(happened: Callable[[], bool], seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def test_a_task_that_fails_ends_the_run_with_its_message(tmp_path: Path) -> None:
    tomogram = store_with_maps(tmp_path)
    shard = next((tomogram.path / "maps" / "blobs" / "maps" / "c").glob("*/*/*"))
    damaged = bytearray(shard.read_bytes())
    damaged[20] ^= 0xFF
    shard.write_bytes(damaged)
    for cluster in ("threads", "local"):
        with (
            open_session(cluster, n_workers=1, memory_limit=1024 * MiB) as session,
            pytest.raises(StoreError, match=r"maps.*damaged"),
        ):
            lift(session, tomogram)
    assert not tomogram.has("scores/blobs")


def test_only_a_few_tasks_are_in_flight() -> None:
    made = 0

    def tasks() -> Iterator[Any]:
        nonlocal made
        for k in range(50):
            made += 1
            yield task_of(abs, -k)

    session = Session(Resources(1, 2, 1024 * MiB))
    for done, _ in enumerate(session.run("count", tasks(), 50), start=1):
        assert made <= done + 3
    assert made == 50


def test_a_tree_adds_everything_once() -> None:
    leaves = [task_of(int, k) for k in range(11)]
    total = tree_of(leaves, 3, lambda *parts: sum(parts), lambda *parts: ("end", sum(parts)))
    assert total.compute(scheduler="synchronous") == ("end", 55)


def test_the_threshold_is_the_same_for_any_tiles(tmp_path: Path) -> None:
    tomogram = store_with_maps(tmp_path)
    geometry, grid = tomogram.geometry, tomogram.grid
    curves = []
    with open_session("threads", n_workers=2) as session:
        backproject_maps(session, tomogram, "blobs", Votes(geometry, grid), {}, brick=(64, 64, 64))
        scores = tomogram.array("scores/blobs", "scale0/scores")
        maps = tomogram.array("maps/blobs", "maps")
        for n, memory in ((1, 4096), (7, 4096), (1, 500)):
            limited = Session(Resources(1, n, memory * MiB))
            curves.append(
                choose_threshold_of(limited, scores, maps, geometry, grid, geometry.n_tilts).iou
            )
    assert np.array_equal(curves[0], curves[1])
    assert np.array_equal(curves[0], curves[2])


def test_a_run_that_cannot_fit_is_refused_before_it_starts(tmp_path: Path) -> None:
    tomogram = store_with_maps(tmp_path)
    with (
        open_session("threads", memory_limit=300 * MiB) as session,
        pytest.raises(PlanError, match="--memory"),
    ):
        lift(session, tomogram)
    assert not (tomogram.path / ".staging" / "scores--blobs").exists()


def test_edges_refuse_groups_of_tilts(tmp_path: Path) -> None:
    from tomodist.lift.edges import RefinedEdges

    tomogram = store_with_maps(tmp_path)
    edges = RefinedEdges(tomogram.geometry, tomogram.grid)
    assert plan_scores(edges, 1, Resources(8, 1, 1024 * MiB)).n_groups == 1
    with pytest.raises(InputError, match="all of them in one task"):
        edges.contribution(lambda *_: np.zeros((1, 1)), range(3), (0, 0, 0), (1, 1, 1))

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

from tests.stores import adopt_maps, run_step
from tomodist.algorithms.lift.backproject import Votes
from tomodist.errors import InputError, PlanError, StoreError
from tomodist.planning.plan import Cut, MiB, Resources
from tomodist.runtime.cluster import open_session
from tomodist.runtime.runner import Batch, Session, Silent, task_of, tree_of
from tomodist.steps.backproject import Backproject
from tomodist.steps.parts.lifting import plan_scores
from tomodist.steps.structures import FindStructures
from tomodist.steps.threshold import compare_at_all_thresholds, plan_threshold
from tomodist.store.tomogram import Tomogram, Unit
from tomodist.values.geometry import TiltGeometry, VolumeGrid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from tomodist.runtime.runner import Work

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
    brick = options.pop("labels_brick", None)
    run_step(session, backprojection(tomogram, **options))
    run_step(session, FindStructures(tomogram.label("blobs"), lambda: 4.0, brick=brick))


def backprojection(tomogram: Tomogram, **options: Any) -> Backproject:
    votes = Votes(tomogram.geometry, tomogram.grid)
    return Backproject((tomogram.label("blobs"),), votes, cut=Cut(**options))


def results(tomogram: Tomogram) -> dict[str, npt.NDArray[Any]]:
    """Everything that was made, as arrays."""
    arrays = {
        f"{kind}{level}": Unit(tomogram, f"{kind}/blobs").level(level).read()
        for kind in ("scores", "labels")
        for level in (0, 1)
    }
    table = tomogram.label("blobs").structures.dataset().load()
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
        shards = tomogram.place.path / ".staging" / "scores--blobs" / "scale0" / "scores" / "c"

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
    shards = tomogram.place.path / ".staging" / "scores--blobs" / "scale0" / "scores" / "c"
    first = run_lifting(tomogram.place.path, 9, how)
    assert first.returncode != 0
    if how == signal.SIGINT:
        assert "KeyboardInterrupt" in first.stderr
    before = written(shards)
    assert 9 <= len(before) < 27
    assert not tomogram.label("blobs").scores.exists()
    second = run_lifting(tomogram.place.path)
    assert second.returncode == 0, second.stderr
    after = written(tomogram.place.path / "scores" / "blobs" / "scale0" / "scores" / "c")
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

    def advance(self, bar: Any) -> None:  # noqa: ARG002 -- as of Silent
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.how)


def run_lifting(store: Path, *deadly: int) -> subprocess.CompletedProcess[str]:
    """Backproject in another process, on two threads; for `deadly` see `Deadly`."""
    program = (
        "import sys; from pathlib import Path\n"
        "from tests.runtime.test_execution import *\n"
        "progress = Deadly(*map(int, sys.argv[2:])) if sys.argv[2:] else Silent()\n"
        "with open_session('threads', n_workers=2, progress=progress) as session:\n"
        "    tomogram = Tomogram.open(sys.argv[1])\n"
        "    run_step(session, backprojection(tomogram, brick=(64, 64, 64)))\n"
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
    shard = next((tomogram.place.path / "maps" / "blobs" / "maps" / "c").glob("*/*/*"))
    damaged = bytearray(shard.read_bytes())
    damaged[20] ^= 0xFF
    shard.write_bytes(damaged)
    for cluster in ("threads", "local"):
        with (
            open_session(cluster, n_workers=1, memory_limit=1024 * MiB) as session,
            pytest.raises(StoreError, match=r"maps.*damaged"),
        ):
            lift(session, tomogram)
    assert not tomogram.label("blobs").scores.exists()


def test_only_a_few_tasks_are_in_flight() -> None:
    made, results = 0, []

    def tasks() -> Iterator[Any]:
        nonlocal made
        for k in range(50):
            made += 1
            yield task_of(abs, -k)

    def keep(result: int) -> None:
        results.append(result)
        assert made <= len(results) + 3

    def work() -> Work[int]:
        yield Batch("count", tasks(), 50, each=keep)
        return made

    session = Session(Resources(1, 2, 1024 * MiB))
    assert session.run(work()) == 50
    assert sorted(results) == list(range(50))


class Recorded(Silent):
    """Which batches have begun, and how many of their tasks are done."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []

    def start(self, step: str, total: int) -> list[Any]:
        self.batches.append([step, total, 0])
        return self.batches[-1]

    def advance(self, bar: list[Any]) -> None:
        bar[2] += 1


def double(value: int, seconds: float = 0.0) -> int:
    time.sleep(seconds)
    return 2 * value


def two_batches(name: str, n: int, seconds: float = 0.0) -> Work[int]:
    """The second batch needs the sum of the first."""
    sums = [0, 0]

    def add_to(k: int) -> Callable[[int], None]:
        def add(value: int) -> None:
            sums[k] += value

        return add

    first = (task_of(double, k, seconds) for k in range(n))
    yield Batch(f"{name} 1", first, n, each=add_to(0))
    second = (task_of(double, sums[0]) for _ in range(2))
    yield Batch(f"{name} 2", second, 2, each=add_to(1))
    return sums[1]


@pytest.mark.parametrize("cluster", ["threads", "local"])
def test_several_works_share_one_window(cluster: str) -> None:
    progress = Recorded()
    with open_session(cluster, n_workers=2, memory_limit=1024 * MiB, progress=progress) as session:
        works = [two_batches(f"work {k}", 3 + k, 0.05) for k in range(4)]
        outcomes = dict(session.run_each(works))
    expected = {k: 4 * 2 * sum(range(3 + k)) for k in range(4)}
    assert {k: outcome.value() for k, outcome in outcomes.items()} == expected
    batches = [batch for batch in progress.batches if batch[0].startswith("work")]
    assert all(total == done for _, total, done in batches)
    begun = [name for name, _, _ in batches]
    assert begun.index("work 1 1") < begun.index("work 0 2"), "the tail of a batch ran alone"


def test_a_work_that_fails_leaves_the_others_alone() -> None:
    cleaned = []

    def failing() -> Work[None]:
        try:
            yield Batch("fails", [task_of(int, "no number")], 1)
        except ValueError:
            cleaned.append(True)
            raise

    session = Session(Resources(1, 2, 1024 * MiB))
    outcomes = dict(session.run_each([two_batches("a", 5), failing(), two_batches("b", 4)]))
    assert outcomes[0].value() == 4 * 2 * 10
    assert outcomes[2].value() == 4 * 2 * 6
    assert cleaned == [True]
    with pytest.raises(ValueError, match="no number"):
        outcomes[1].value()


def test_an_interrupt_closes_all_works() -> None:
    closed = []

    def waiting(name: str) -> Work[None]:
        try:
            yield Batch(name, [task_of(double, 1, 0.05)], 1, each=interrupt)
        except GeneratorExit:
            closed.append(name)
            raise

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    session = Session(Resources(1, 1, 1024 * MiB))
    with pytest.raises(KeyboardInterrupt):
        list(session.run_each([waiting("a"), waiting("b")]))
    assert sorted(closed) == ["a", "b"]


def test_an_empty_batch_is_passed_over() -> None:
    def work() -> Work[str]:
        yield Batch("nothing", [], 0)
        yield Batch("everything was done", [], 3, done=3)
        return "end"

    progress = Recorded()
    session = Session(Resources(1, 1, 1024 * MiB), progress=progress)
    assert session.run(work()) == "end"
    assert progress.batches == [["nothing", 0, 0], ["everything was done", 3, 3]]


def test_a_tree_adds_everything_once() -> None:
    leaves = [task_of(int, k) for k in range(11)]
    total = tree_of(leaves, 3, lambda *parts: sum(parts), lambda *parts: ("end", sum(parts)))
    assert total.compute(scheduler="synchronous") == ("end", 55)


def test_the_threshold_is_the_same_for_any_tiles(tmp_path: Path) -> None:
    tomogram = store_with_maps(tmp_path)
    geometry, grid = tomogram.geometry, tomogram.grid
    curves, n_tiles = [], []
    label = tomogram.label("blobs")
    with open_session("threads", n_workers=2) as session:
        run_step(session, backprojection(tomogram, brick=(64, 64, 64)))
        levels = geometry.n_tilts
        for n, memory in ((1, 4096), (7, 4096), (1, 500)):
            limited = Session(Resources(1, n, memory * MiB))
            plan = plan_threshold(geometry, limited.resources, levels)
            scores, maps = label.scores.volume, label.maps.array("maps")
            work = compare_at_all_thresholds(scores, maps, geometry, grid, levels, plan)
            curves.append(limited.run(work).iou)
            n_tiles.append(plan.n_bricks)
    assert len(set(n_tiles)) > 1
    assert np.array_equal(curves[0], curves[1])
    assert np.array_equal(curves[0], curves[2])


def test_a_run_that_cannot_fit_is_refused_before_it_starts(tmp_path: Path) -> None:
    tomogram = store_with_maps(tmp_path)
    with (
        open_session("threads", memory_limit=300 * MiB) as session,
        pytest.raises(PlanError, match="`memory`"),
    ):
        lift(session, tomogram)
    assert not (tomogram.place.path / ".staging" / "scores--blobs").exists()


def test_edges_refuse_groups_of_tilts(tmp_path: Path) -> None:
    from tomodist.algorithms.lift.edges import RefinedEdges

    tomogram = store_with_maps(tmp_path)
    edges = RefinedEdges(tomogram.geometry, tomogram.grid)
    assert plan_scores(edges, 1, Resources(8, 1, 1024 * MiB)).n_groups == 1
    with pytest.raises(InputError, match="all of them in one task"):
        edges.contribution(lambda *_: np.zeros((1, 1)), range(3), (0, 0, 0), (1, 1, 1))


def write_late(path: str, began: str) -> None:
    """Write a file some time after the other task has failed."""
    Path(began).touch()
    time.sleep(0.5)
    Path(path).write_text("late")


def fail_when(began: str) -> None:
    """Fail as soon as the other task runs."""
    while not Path(began).exists():
        time.sleep(0.01)
    raise InputError("bad")


def test_a_failed_work_cleans_up_when_none_of_its_tasks_writes_any_more(tmp_path: Path) -> None:
    late, began = tmp_path / "late", tmp_path / "began"
    seen: list[bool] = []

    def work() -> Work[None]:
        tasks = (task_of(write_late, str(late), str(began)), task_of(fail_when, str(began)))
        try:
            yield Batch("two", tasks, 2)
        finally:
            seen.append(late.exists())

    with open_session("threads", n_workers=2) as session, pytest.raises(InputError, match="bad"):
        session.run(work())
    assert seen == [True]

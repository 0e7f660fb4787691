"""Classes in one pass are what separate binary runs give, however the work is cut or killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
import zarr
from ome_zarr_models.v05 import ImageLabel

from tests.cli.materials import tree
from tests.stores import run_step
from tests.tasks.labelled import (
    ANGLES,
    NAMES,
    SHAPE,
    assert_same,
    classes_task,
    everything,
    label_maps,
    series,
)
from tomodist.algorithms.lift.backproject import Votes
from tomodist.algorithms.lift.balanced import BalancedVotes
from tomodist.algorithms.lift.edges import RefinedEdges
from tomodist.errors import ExistsError, InputError, PlanError, StoreError
from tomodist.formats.zarr import Group
from tomodist.planning.plan import Cut, MiB, Resources
from tomodist.runtime.cluster import open_session
from tomodist.runtime.runner import Session, Silent
from tomodist.sources.stack import import_maps
from tomodist.steps.backproject import Backproject, _write_classes
from tomodist.steps.parts.lifting import plan_scores
from tomodist.store.boxes import box_rows
from tomodist.store.maps import stored_maps
from tomodist.store.tomogram import Unit
from tomodist.store.volumes import create_stack, create_volume
from tomodist.tasks.base import run
from tomodist.tasks.segment import segmentation
from tomodist.values.boxes import boxes_of
from tomodist.values.geometry import TiltGeometry, VolumeGrid
from tomodist.values.maps import NOT_MEASURED

if TYPE_CHECKING:
    from tomodist.algorithms.lift.backproject import Lifting
    from tomodist.formats.zarr import ArrayHandle
    from tomodist.store.tomogram import Tomogram

Arrays = dict[str, npt.NDArray[Any]]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Arrays]:
    """Results of a separate run on binary maps, by class."""
    folder = tmp_path_factory.mktemp("alone")
    tomogram, labels, made = series(folder), label_maps(), {}
    with open_session("threads", n_workers=1) as session:
        for value, name in enumerate(NAMES, start=1):
            np.save(folder / f"{name}.npy", labels == value)
            maps = import_maps(tomogram, folder / f"{name}.npy")
            run(session, segmentation(tomogram.label(name), maps, cut=Cut((192, 192, 192))))
            made[name] = everything(tomogram, name)
            assert made[name]["labels0"].any()
    return made


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Tomogram:
    """A store with everything in it; not to be changed."""
    tomogram = series(tmp_path_factory.mktemp("together"))
    with open_session("threads", n_workers=2) as session:
        run(session, classes_task(tomogram))
    return tomogram


@pytest.mark.parametrize(
    ("cluster", "workers", "brick"),
    [
        ("threads", 1, (192, 192, 192)),
        ("threads", 3, (64, 64, 64)),
        pytest.param("local", 2, (64, 128, 64), marks=pytest.mark.long),
    ],
    ids=str,
)
def test_every_class_is_what_a_run_of_its_own_gives(
    tmp_path: Path, alone: dict[str, Arrays], cluster: str, workers: int, brick: tuple[int, ...]
) -> None:
    tomogram = series(tmp_path)
    with open_session(cluster, n_workers=workers, memory_limit=1024 * MiB) as session:
        result = run(session, classes_task(tomogram, brick=brick))
    for name in NAMES:
        assert_same(everything(tomogram, name), alone[name])
        thresholds = {one.label.name: one.threshold for one in result.classes.values()}
        assert thresholds[name] == tomogram.label(name).curves.attributes["best"]


def test_a_class_is_seen_as_binary_maps(together: Tomogram) -> None:
    labels = together.label("cell").maps.array("maps").read()
    assert set(np.unique(labels)) == {0, 1, 2, 3, NOT_MEASURED}
    np.testing.assert_array_equal(labels == NOT_MEASURED, np.isnan(images(together)))
    for value, name in enumerate(NAMES, start=1):
        expected = np.where(labels == NOT_MEASURED, 2, labels == value)
        maps = stored_maps(together.label(name).maps)
        np.testing.assert_array_equal(maps.read(), expected)
        np.testing.assert_array_equal(maps.read((3, 5), (20, 90)), expected[3:5, 20:90])
        some = stored_maps(together.label(name).maps, [1, 5])
        np.testing.assert_array_equal(some.read(), expected[[1, 5]])
        np.testing.assert_array_equal(together.label(name).maps.dataset()["maps"], expected)
        assert not (together.place.path / "maps" / name / "maps").exists()  # stored once
        for found, mask in zip(box_rows(together.label(name).maps), expected, strict=True):
            boxes = boxes_of(mask)
            np.testing.assert_array_equal(found, np.column_stack([boxes.center, boxes.size]))


def images(tomogram: Tomogram) -> npt.NDArray[np.float32]:
    return tomogram.series.array("images").read()


def semantic(tomogram: Tomogram) -> npt.NDArray[np.uint8]:
    """The class of every voxel, by plain NumPy."""
    scores, labels = (
        np.stack([Unit(tomogram, f"{kind}/{n}").volume.read() for n in NAMES])
        for kind in ("scores", "labels")
    )
    share = np.where(labels > 0, scores.astype(int), -1)
    return np.where(share.max(axis=0) < 0, 0, share.argmax(axis=0) + 1).astype(np.uint8)


def test_the_semantic_volume_is_what_the_labels_say(together: Tomogram) -> None:
    found = together.label("cell").labels.volume.read()
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, semantic(together))
    assert set(np.unique(found)) == {0, 1, 2, 3}


def test_the_largest_share_decides_where_classes_overlap(tmp_path: Path) -> None:
    tomogram = series(tmp_path)
    with open_session("threads", n_workers=2) as session:
        plain = classes_task(tomogram, votes="plain", threshold=2, per_structure=False)
        run(session, plain)
    found = tomogram.label("cell").labels.volume.read()
    np.testing.assert_array_equal(found, semantic(tomogram))
    inside = np.stack([tomogram.label(n).labels.volume.read() > 0 for n in NAMES])
    shares = np.stack([tomogram.label(n).scores.volume.read() for n in NAMES])
    both = inside[1] & inside[2]  # the labels keep both
    assert set(np.unique(found[both])) == {2, 3}
    tie = both & ~inside[0] & (shares[1] == shares[2])
    assert tie.any()
    assert (found[tie] == 2).all()  # the lower number


@pytest.mark.parametrize("brick", [(64, 64, 64), (64, 192, 128)], ids=str)
def test_the_decision_is_the_same_for_any_bricks(
    together: Tomogram, tmp_path: Path, brick: tuple[int, ...]
) -> None:
    from tomodist.steps.semantic import _decide_brick

    sources = tuple(
        (value, together.label(n).labels.volume,
         together.label(n).scores.volume)
        for value, n in enumerate(NAMES, start=1)
    )  # fmt: skip
    decided = create_volume(Group(str(tmp_path)), "decided", together.grid, brick, np.uint8)
    for index in decided.bricks():
        _decide_brick(sources, decided, index)
    np.testing.assert_array_equal(decided.read(), semantic(together))


def test_the_semantic_volume_is_an_ome_zarr_label_with_names(together: Tomogram) -> None:
    group = zarr.open_group(str(together.place.path / "labels/cell"), mode="r")
    label = ImageLabel.from_zarr(group).ome_attributes.image_label
    assert label is not None
    assert label.properties is not None
    said = [(one.label_value, dict(one)["class"]) for one in label.properties]
    assert said == list(enumerate(NAMES, start=1))
    assert label.source is not None
    source = together.place.path / "labels/cell" / str(label.source.image)
    assert source.resolve() == together.place.path / "scores/granule"


def test_tilts_left_out_are_left_out_of_every_class(tmp_path: Path) -> None:
    exclude = (1, 6, 12)
    tomogram, other = series(tmp_path / "a"), series(tmp_path / "b")
    task = classes_task(tomogram, exclude=exclude)
    np.save(tmp_path / "gold.npy", label_maps() == 3)
    gold = segmentation(
        other.label("gold"), import_maps(other, tmp_path / "gold.npy"), exclude=exclude
    )
    with open_session("threads", n_workers=2) as session:
        run(session, task)
        run(session, gold)
    assert_same(everything(tomogram, "gold"), everything(other, "gold"))
    for name in NAMES:
        assert tomogram.label(name).scores.attributes["excluded"] == [1, 6, 12]


def test_disagreeing_tilts_must_be_named(together: Tomogram) -> None:
    with pytest.raises(InputError, match=r"auto.*would leave out other tilts of every class.*0,7"):
        classes_task(together, exclude="auto")


def test_small_parts_of_a_class_are_dropped(tmp_path: Path) -> None:
    from tomodist.sources.classes import import_classes

    tomogram = series(tmp_path)
    labels = np.zeros((len(ANGLES), *SHAPE[1:]), np.uint8)
    labels[:, 80:90, 20:30] = 1
    labels[:, 100:103, 20:30] = 1
    labels[:, 84:86, 24:26] = 2
    np.save(tmp_path / "l.npy", labels)
    source = import_classes(tomogram, tmp_path / "l.npy", ("a", "b"), "c", min_size=40)
    kept = source.of_tilt(1).detect(images(tomogram)[1], 10).map
    expected = np.where(labels[1] == 2, 0, labels[1])
    expected[100:103] = 0
    np.testing.assert_array_equal(kept, expected)


# --------------------------------------------------------------------- what is not made again


def test_a_second_run_does_nothing(together: Tomogram) -> None:
    before = tree(together.place.path)
    with open_session("threads", n_workers=2) as session:
        run(session, classes_task(together))
    assert tree(together.place.path) == before


@pytest.mark.parametrize(
    ("step", "n"),
    [
        ("backproject", 3),
        *(
            pytest.param(step, n, marks=pytest.mark.long)
            for step, n in (
                ("detect", 4),
                ("classes of", 5),
                ("pyramid", 3),
                ("number structures", 1),
                ("decide", 1),
            )
        ),
    ],
)
def test_a_killed_run_goes_on(tmp_path: Path, together: Tomogram, step: str, n: int) -> None:
    tomogram = series(tmp_path)
    program = (
        "import sys\n"
        "from tests.tasks.labelled import *\n"
        "from tomodist.planning.plan import Resources\n"
        "from tomodist.runtime.runner import Session\n"
        "deadly = Deadly(sys.argv[2], int(sys.argv[3]))\n"
        "session = Session(Resources(1, 1, 2**30), progress=deadly)\n"
        "run_and_die(session, Tomogram.open(sys.argv[1]), brick=(64, 64, 64))\n"
    )
    command = [sys.executable, "-c", program, str(tomogram.place.path), step, str(n)]
    killed = subprocess.run(command, cwd=Path(__file__).parents[2], check=False)
    assert killed.returncode == -signal.SIGKILL
    before = {k: v for k, v in tree(tomogram.place.path, "/local/").items() if "/c/" in k}
    with open_session("threads", n_workers=2) as session:
        run(session, classes_task(tomogram))
    after = tree(tomogram.place.path).values()
    assert set(before.values()) <= set(after), "what was finished was made again"
    for name in NAMES:
        assert_same(everything(tomogram, name), everything(together, name))
    np.testing.assert_array_equal(tomogram.label("cell").labels.volume.read(), semantic(together))


def test_scores_appear_together_or_not_at_all(tmp_path: Path) -> None:
    class Stops(Silent):
        def start(self, step: str, total: int) -> None:  # noqa: ARG002
            if step.startswith("pyramid"):
                raise KeyboardInterrupt

    tomogram = series(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(Session(Resources(1, 2, 1024 * MiB), progress=Stops()), classes_task(tomogram))
    assert tomogram.names("scores") == []
    assert tomogram.names("maps") == ["cell", "gold", "granule", "membrane"]


def test_only_the_class_that_lacks_is_made_again(tmp_path: Path, together: Tomogram) -> None:
    tomogram = series(tmp_path)
    with open_session("threads", n_workers=2) as session:
        run(session, classes_task(tomogram))
        before = {
            k: v for k, v in tree(tomogram.place.path / "scores").items() if "membrane" not in k
        }
        tomogram.label("membrane").scores.remove()
        tomogram.label("gold").maps.remove()
        run(session, classes_task(tomogram))
    after = tree(tomogram.place.path / "scores")
    assert {k: v for k, v in after.items() if "membrane" not in k and "/" in k} == {
        k: v for k, v in before.items() if "/" in k
    }
    for name in NAMES:
        assert_same(everything(tomogram, name), everything(together, name))


def test_bricks_of_an_earlier_run_are_kept_or_begun_anew_but_never_mixed(tmp_path: Path) -> None:
    """Of two classes one has bricks of an earlier run, which are cut otherwise."""
    tomogram = series(tmp_path)
    votes = Votes(tomogram.geometry, tomogram.grid)

    class Stops(Silent):
        def advance(self, bar: Any) -> None:  # noqa: ARG002
            raise KeyboardInterrupt

    def lift(session: Session, names: list[str], rounds: int, brick: Any = None) -> None:
        labels = tuple(tomogram.label(name) for name in names)
        excluded = tuple(range(rounds))  # something that makes the scores different
        step = Backproject(labels, votes, excluded, "given", Cut(brick))
        run_step(session, step, overwrite=True)

    with open_session("threads", n_workers=1) as session:
        run(session, classes_task(tomogram))
        with pytest.raises(KeyboardInterrupt):
            lift(Session(session.resources, progress=Stops()), ["gold"], 1, (64, 64, 64))
        names = ["granule", "gold"]
        lift(session, names, 1, (64, 128, 128))
        bricks = {tomogram.label(n).scores.volume.brick for n in names}
        assert bricks == {(64, 128, 128)}
        together = {n: tomogram.label(n).scores.volume.read() for n in names}
        for name in names:
            lift(session, [name], 0)
            lift(session, [name], 1)
            again = tomogram.label(name).scores.volume.read()
            np.testing.assert_array_equal(together[name], again)


# --------------------------------------------------------------------- what cannot be


def test_a_class_that_marks_nothing_has_no_structures_and_the_others_go_on(
    tmp_path: Path, together: Tomogram
) -> None:
    class Told(Silent):
        said: list[str] = []  # noqa: RUF012

        def message(self, text: str) -> None:
            self.said.append(text)

    tomogram, labels = series(tmp_path), label_maps()
    names = ("granule", "membrane", "gold", "ribosome")
    with open_session("threads", n_workers=2, progress=Told()) as session:
        run(session, classes_task(tomogram, labels, names))
        before = tree(tomogram.place.path)
        run(session, classes_task(tomogram, labels, names))
    assert tree(tomogram.place.path) == before
    assert "ribosome marks no pixel: it has no structures" in Told.said
    assert tomogram.label("ribosome").structures.dataset().sizes["structure"] == 0
    assert not tomogram.label("ribosome").labels.volume.read().any()
    for name in NAMES:
        assert_same(everything(tomogram, name), everything(together, name))
    np.testing.assert_array_equal(tomogram.label("cell").labels.volume.read(), semantic(together))


def test_maps_that_are_no_class_of_these_are_not_replaced(tmp_path: Path) -> None:
    tomogram = series(tmp_path)
    np.save(tmp_path / "gold.npy", label_maps() == 3)
    with open_session("threads", n_workers=2) as session:
        gold = segmentation(tomogram.label("gold"), import_maps(tomogram, tmp_path / "gold.npy"))
        run(session, gold)
        before = tree(tomogram.place.path)
        with pytest.raises(
            ExistsError, match=r"maps/gold exists and is not class 3 of cell.*`classes`"
        ):
            run(session, classes_task(tomogram))
        assert tree(tomogram.place.path) == before
        run(session, classes_task(tomogram), overwrite=True)
        assert tomogram.label("gold").maps.attributes["class_of"] == "cell"


def test_other_label_maps_make_their_classes_outdated(tmp_path: Path) -> None:
    tomogram = series(tmp_path)
    with open_session("threads", n_workers=2) as session:
        run(session, classes_task(tomogram))
        other = classes_task(tomogram, np.where(label_maps() == 3, 1, label_maps()), ("a", "b"))
        with pytest.raises(ExistsError, match=r"maps/cell exists and was made differently"):
            run(session, other)
        run(session, other, overwrite=True)
    assert tomogram.label("gold").labels.outdated() == tomogram.label("cell").maps
    assert tomogram.label("cell").labels.outdated() is None
    assert tomogram.label("a").structures.dataset().sizes["structure"] >= 2
    with pytest.raises(
        StoreError, match="maps/gold is out of date: its source maps/cell was changed"
    ):
        stored_maps(tomogram.label("gold").maps)


def test_only_classes_of_the_same_maps_are_lifted_together(tmp_path: Path) -> None:
    tomogram = series(tmp_path)
    with open_session("threads", n_workers=2) as session:
        run(session, classes_task(tomogram))
        np.save(tmp_path / "other.npy", label_maps() == 3)
        other = segmentation(tomogram.label("other"), import_maps(tomogram, tmp_path / "other.npy"))
        run(session, other)
        votes = Votes(tomogram.geometry, tomogram.grid)
        labels = (tomogram.label("gold"), tomogram.label("other"))
        with pytest.raises(InputError, match="only classes of the same label maps"):
            run_step(session, Backproject(labels, votes), overwrite=True)


# --------------------------------------------------------------------- what it costs


def test_groups_of_tilts_are_refused() -> None:
    geometry = TiltGeometry(ANGLES.tolist(), SHAPE[1:], 10.0)
    votes = Votes(geometry, VolumeGrid(SHAPE, 10.0))
    machine = Resources(64, 1, 1024 * MiB)
    with pytest.raises(InputError, match=r"`tilts_per_task` is 5, but 3 classes.*all 13 tilts"):
        plan_scores(votes, 1, machine, n_classes=3, cut=Cut(tilts_per_task=5))
    assert plan_scores(votes, 1, machine, n_classes=3).n_groups == 1
    with pytest.raises(PlanError, match="`memory`"):
        plan_scores(votes, 1, Resources(1, 1, 360 * MiB), n_classes=3)


def test_the_plan_holds_one_class_at_a_time_and_writes_all() -> None:
    geometry = TiltGeometry(np.linspace(-60, 60, 41).tolist(), (512, 512), 10.0)
    votes = BalancedVotes(geometry, VolumeGrid((128, 512, 512), 10.0))
    machine, brick = Resources(2, 1, 2048 * MiB), (128, 512, 512)
    plans = [plan_scores(votes, 1, machine, n_classes=n, cut=Cut(brick)) for n in (1, 2, 4)]
    assert plans[1].terms == plans[2].terms
    more = plans[1].task_memory - plans[0].task_memory
    assert 0 < more == 41 * 512 * 512  # the windows, as they are stored
    assert [p.bytes_written for p in plans] == [n * 128 * 512 * 512 for n in (1, 2, 4)]
    assert plans[0].bytes_read == plans[2].bytes_read
    assert plans[0].seconds < plans[1].seconds < plans[2].seconds < 4 * plans[0].seconds


@pytest.mark.parametrize("kind", [Votes, BalancedVotes, RefinedEdges])
def test_a_task_holds_no_more_than_planned(tmp_path: Path, kind: type[Lifting]) -> None:
    shape, n_tilts = (128, 256, 256), 41
    geometry = TiltGeometry(np.linspace(-60, 60, n_tilts).tolist(), shape[1:], 10.0)
    lifting = kind(geometry, VolumeGrid(shape, 10.0))  # type: ignore[call-arg]
    group = Group(str(tmp_path))
    stack = create_stack(group, "maps", geometry, np.uint8)
    labels = np.random.default_rng(0).integers(0, 5, (n_tilts, *shape[1:])).astype(np.uint8)
    for tilt in range(n_tilts):
        stack.write((tilt, 0, 0), labels[tilt][None])
    plan = plan_scores(lifting, 1, Resources(1, 1, 4096 * MiB), n_classes=3, cut=Cut(shape))
    volumes = [
        (value, create_volume(group, str(value), lifting.grid, shape, lifting.dtype))
        for value in (1, 2, 4)
    ]
    _write_classes(stack, volumes[:1], (0, 0, 0), lifting)  # compiles
    reads = Counted(stack)
    tracemalloc.start()
    _write_classes(reads, volumes, (0, 0, 0), lifting)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert reads.n == n_tilts  # once for all classes
    assert 0.4 * plan.task_memory < peak <= plan.task_memory


class Counted:
    """A stack that counts."""

    def __init__(self, stack: ArrayHandle) -> None:
        self.stack, self.n = stack, 0

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.stack.dtype

    def read(self, *window: tuple[int, int]) -> npt.NDArray[Any]:
        self.n += 1
        return self.stack.read(*window)

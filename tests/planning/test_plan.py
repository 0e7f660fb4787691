from __future__ import annotations

import math
import re

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.geometries import random_window
from tomodist.algorithms.lift.backproject import Lifting, Votes, WeightedMean
from tomodist.algorithms.lift.edges import RefinedEdges
from tomodist.algorithms.lift.windows import binary_windows
from tomodist.errors import PlanError
from tomodist.planning.costs import TaskCosts
from tomodist.planning.plan import (
    BASE_MEMORY,
    FAN_IN,
    Cut,
    MiB,
    Plan,
    Resources,
    Terms,
    check_fit,
    format_bytes,
    plan_step,
    rounded,
)
from tomodist.runtime.runner import task_of, tree_of
from tomodist.steps.parts.lifting import plan_scores
from tomodist.values.geometry import TiltGeometry, VolumeGrid

GiB = 1024 * MiB
Shape = tuple[int, int, int]

few = settings(deadline=None, max_examples=60)
kinds = st.sampled_from([(Votes, 1), (WeightedMean, 4), (RefinedEdges, 1)])
shapes = st.tuples(st.integers(1, 2000), st.integers(1, 4000), st.integers(1, 6000))
machines = st.builds(
    Resources, st.integers(1, 200), st.sampled_from([1, 2, 4]), st.integers(490 * MiB, 64 * GiB)
)


def aligned(kind: type[Lifting], n_tilts: int, shape: Shape) -> Lifting:
    """A lifting in which the images have the size of the volume."""
    geometry = TiltGeometry(np.linspace(-60, 60, n_tilts).tolist(), shape[1:], 10.0)
    return kind(geometry, VolumeGrid(shape, 10.0))  # type: ignore[call-arg]


def plan_or_none(lifting: Lifting, itemsize: int, machine: Resources) -> Plan | None:
    try:
        return plan_scores(lifting, itemsize, machine)
    except PlanError:
        return None


@given(kinds, shapes, st.integers(1, 150), machines)
@few
def test_a_chosen_brick_is_whole_chunks_and_fits(
    kind: tuple[type[Lifting], int], shape: Shape, n_tilts: int, machine: Resources
) -> None:
    lifting = aligned(kind[0], n_tilts, shape)
    plan = plan_or_none(lifting, kind[1], machine)
    if plan is None:  # then the smallest brick does not fit, in one task or in groups of tilts
        ample = Resources(machine.n_workers, machine.threads_per_worker, 2**50)
        needs = [
            plan_scores(lifting, kind[1], ample, cut=Cut((64, 64, 64), n)).task_memory
            for n in ({1, n_tilts} if lifting.may_group else {n_tilts})
        ]
        assert max(needs) > machine.task_budget
        return
    assert [b % 64 for b in plan.brick] == [0, 0, 0]
    assert all(b < n + 64 for b, n in zip(plan.brick, shape, strict=True))
    assert plan.task_memory <= machine.task_budget
    assert plan.worker_memory <= machine.memory_limit * 0.75
    assert 1 <= plan.tilts_per_task <= n_tilts
    assert plan.n_bricks == math.prod(-(-n // b) for n, b in zip(shape, plan.brick, strict=True))


@given(kinds, shapes, st.integers(1, 150), machines, st.integers(0, 64 * GiB))
@few
def test_more_memory_never_makes_a_run_slower(
    kind: tuple[type[Lifting], int], shape: Shape, n_tilts: int, machine: Resources, more: int
) -> None:
    """But for the 5 % by which a smaller brick may be slower."""
    lifting = aligned(kind[0], n_tilts, shape)
    larger = Resources(machine.n_workers, machine.threads_per_worker, machine.memory_limit + more)
    less, plenty = (plan_or_none(lifting, kind[1], m) for m in (machine, larger))
    if less is not None:
        assert plenty is not None
        assert 0 < plenty.seconds <= 1.051 * less.seconds


def test_a_run_is_not_refused_because_its_tilts_were_grouped() -> None:
    """All tilts in one task would need 5.2 MiB of the 8.75 MiB; a tree of groups needs 13."""
    lifting, machine = aligned(WeightedMean, 2, (1, 1, 1)), Resources(1, 2, 490 * MiB)
    alone = plan_scores(lifting, 4, machine, cut=Cut(tilts_per_task=2))
    assert alone.task_memory <= machine.task_budget
    assert plan_scores(lifting, 4, machine).task_memory <= machine.task_budget


REAL = {
    "small": (41, (200, 315, 326)),
    "binned": (61, (500, 1023, 1440)),
    "full": (121, (2000, 4092, 5760)),
}


@pytest.mark.parametrize(
    ("case", "kind", "memory", "brick", "tilts_per_task", "task_memory"),
    [
        ("small", Votes, 1, (64, 320, 384), 41, "32.2 MiB"),
        ("small", Votes, 2, (64, 320, 384), 41, "32.2 MiB"),
        ("small", Votes, 8, (64, 320, 384), 41, "32.2 MiB"),
        ("binned", Votes, 1, (256, 512, 512), 61, "263.7 MiB"),
        ("binned", Votes, 2, (256, 512, 512), 61, "263.7 MiB"),
        ("binned", Votes, 8, (256, 512, 512), 61, "263.7 MiB"),
        ("full", Votes, 1, (256, 512, 512), 121, "270.1 MiB"),
        ("full", Votes, 2, (256, 512, 512), 121, "270.1 MiB"),
        ("full", Votes, 8, (256, 512, 512), 121, "270.1 MiB"),
        ("small", WeightedMean, 1, (64, 320, 384), 41, "188.5 MiB"),
        ("small", WeightedMean, 2, (64, 320, 384), 41, "188.5 MiB"),
        ("small", WeightedMean, 8, (64, 320, 384), 41, "188.5 MiB"),
        ("binned", WeightedMean, 1, (256, 256, 256), 61, "372.0 MiB"),
        ("binned", WeightedMean, 2, (256, 256, 512), 61, "721.4 MiB"),
        ("binned", WeightedMean, 8, (256, 512, 512), 61, "1.4 GiB"),
        ("full", WeightedMean, 1, (128, 512, 128), 121, "263.0 MiB"),
        ("full", WeightedMean, 2, (256, 512, 256), 121, "841.1 MiB"),
        ("full", WeightedMean, 8, (256, 512, 512), 121, "1.6 GiB"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_plans_of_real_series(
    case: str, kind: type[Lifting], memory: int, brick: Shape, tilts_per_task: int, task_memory: str
) -> None:
    """Snapshot, for four workers of one thread."""
    n_tilts, shape = REAL[case]
    itemsize = 1 if kind is Votes else 4
    plan = plan_scores(aligned(kind, n_tilts, shape), itemsize, Resources(4, 1, memory * GiB))
    found = (plan.brick, plan.tilts_per_task, format_bytes(plan.task_memory))
    assert found == (brick, tilts_per_task, task_memory)


def test_tilts_are_grouped_only_where_bricks_are_few_and_tilts_dear() -> None:
    """Bricks of one chunk are the smallest; where they are fewer than workers, tilts are shared."""
    shape = (64, 128, 128)
    turned = TiltGeometry(np.linspace(-60, 60, 121).tolist(), shape[1:], 10.0, 30.0)
    general = Votes(turned, VolumeGrid(shape, 10.0))
    single, grouped = (plan_scores(general, 1, Resources(n, 1, GiB)) for n in (1, 64))
    assert single.n_groups == 1
    assert grouped.n_groups > 1
    assert grouped.n_bricks * grouped.n_groups <= 2 * 64
    assert grouped.terms["sums"] == math.prod(grouped.brick) * (FAN_IN + 1)
    alone = plan_scores(general, 1, Resources(64, 1, GiB), cut=Cut(tilts_per_task=121))
    assert grouped.seconds < 0.7 * alone.seconds
    large = aligned(Votes, 121, (256, 512, 512))  # bricks enough
    assert plan_scores(large, 1, Resources(64, 1, GiB)).n_groups == 1


def test_float_sums_do_not_depend_on_the_number_of_workers() -> None:
    lifting = aligned(WeightedMean, 41, (64, 64, 64))
    assert {plan_scores(lifting, 4, Resources(n, 1, GiB)).n_groups for n in (1, 64)} == {1}


def test_edges_are_never_grouped() -> None:
    plan = plan_scores(aligned(RefinedEdges, 41, (128, 128, 128)), 1, Resources(64, 1, GiB))
    assert plan.tilts_per_task == 41


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("turned", [False, True], ids=["single axis", "general"])
def test_windows_are_no_larger_than_planned(seed: int, *, turned: bool) -> None:
    """The planned term holds the array that a task really allocates, wherever the brick lies."""
    random = np.random.default_rng(seed)
    shape = (90, 120, 150)
    angles = random.uniform(-70, 70, 3).tolist()
    axis = random.uniform(-90, 90, 3).tolist() if turned else 0.0
    geometry = TiltGeometry(angles, shape[1:], 10.0, axis)
    grid = VolumeGrid(shape, 10.0)
    start, _ = random_window(seed, shape)
    stop = [min(a + 64, n) for a, n in zip(start, shape, strict=True)]
    plan = plan_scores(Votes(geometry, grid), 1, Resources(1, 1, GiB), cut=Cut((64, 64, 64)))

    def read(_: int, rows: tuple[int, int], columns: tuple[int, int]) -> npt.NDArray[np.uint8]:
        return np.zeros((rows[1] - rows[0], columns[1] - columns[0]), np.uint8)

    seen = binary_windows(read, range(3), geometry.matrices(grid), start, stop, shape[1:])
    assert seen.images.nbytes <= plan.terms["map windows"]


def sum_of_output(brick: Shape, tilts: int) -> Terms:
    return {"output": math.prod(brick), "maps": tilts * 1000}


def no_time(_: Shape, __: int) -> TaskCosts:
    return TaskCosts(0.0, 0.0)


@pytest.mark.parametrize(
    ("memory", "threads", "words"),
    [
        (400 * MiB, 1, ["400.0 MiB has 0 B for each"]),
        (552 * MiB, 1, ["needs 64.1 MiB per task", "552.0 MiB has 64.0 MiB for each"]),
        (GiB, 8, ["needs 64.1 MiB per task", "1.0 GiB has 52.2 MiB for each"]),
    ],
    ids=["less than the libraries", "just too little", "too many threads"],
)
def test_a_refusal_names_the_numbers_and_the_remedies(
    memory: int, threads: int, words: list[str]
) -> None:
    machine = Resources(2, threads, memory)
    with pytest.raises(PlanError) as refusal:
        plan_step(
            "votes", (900,) * 3, machine, sum_of_output, no_time, n_tilts=60, brick=(256, 512, 512)
        )
    message = str(refusal.value)
    for word in [
        "votes: brick (256, 512, 512) with 60 tilts per task",
        "(output 64.0 MiB, maps 58.6 KiB)",
        "`memory`",
        "`brick`",
        "`tilts_per_task`",
        *words,
    ]:
        assert word in message
    asked = re.search(r"set `memory` to ([\d.]+) (MiB|GiB)", message)
    assert asked
    rounding = 1.05 * (MiB if asked[2] == "MiB" else 0.1 * GiB)
    enough = int(float(asked[1]) * (MiB if asked[2] == "MiB" else GiB) + rounding)
    roomy = Resources(2, threads, enough)
    plan_step("votes", (900,) * 3, roomy, sum_of_output, no_time, brick=(256, 512, 512))


def test_a_plan_that_just_fits_is_accepted() -> None:
    terms = {"output": 100 * MiB}
    limit = math.ceil((BASE_MEMORY + 100 * MiB) / 0.75)
    fits, short = Resources(1, 1, limit), Resources(1, 1, limit - 2)
    shape = (64, 64, 64)
    check_fit(Plan("step", shape, shape, 1, 1, terms, fits, 0, 0))
    with pytest.raises(PlanError):
        check_fit(Plan("step", shape, shape, 1, 1, terms, short, 0, 0))


@pytest.mark.parametrize("n_groups", [1, 2, 4, 5, 16, 17, 70], ids=str)
def test_number_of_tasks_covers_the_tree_that_is_built(n_groups: int) -> None:
    """At most one task per brick too many."""
    plan = Plan("step", (100, 128, 100), (64, 64, 128), n_groups, 1, {}, Resources(1, 1, GiB), 0, 0)
    leaves = [task_of(int) for _ in range(n_groups)]
    tree = tree_of(leaves, FAN_IN, sum, sum)
    n_real = len(tree.__dask_graph__()) if n_groups > 1 else 1  # one group writes its brick itself
    assert plan.n_bricks == 4
    assert 4 * n_real <= plan.n_tasks <= 4 * (n_real + 1)


@pytest.mark.parametrize(
    ("n", "expected"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536 * MiB, "1.5 GiB"), (2**41, "2.0 TiB")],
    ids=str,
)
def test_bytes_in_words(n: int, expected: str) -> None:
    assert format_bytes(n) == expected


@pytest.mark.parametrize(("n", "expected"), [(1, 64), (64, 64), (65, 128)], ids=str)
def test_rounded_up_to_whole_chunks(n: int, expected: int) -> None:
    assert rounded(n) == expected

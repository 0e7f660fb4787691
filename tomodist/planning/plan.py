"""What a run will cost, before anything runs.

One rule: the memory of a task is a sum of named terms, each an array that the task really holds,
and its time a sum of measured costs (`tomodist.planning.costs`); of all bricks and groups of tilts
that fit the memory of a worker, the quickest are taken, and of those about as quick, the one that
holds least. A run of which not even the smallest brick fits is refused. Tests hold the sums against
measured peaks.

    budget of a task = (limit of the worker x 0.75 - base) / threads

``base`` is what a worker process holds beside its tasks' arrays (the libraries, and free memory
that malloc has not given back), and 0.75 keeps away from the 80 % at which dask pauses a worker.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tomodist.errors import InputError, PlanError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tomodist.planning.costs import TaskCosts

MiB = 2**20
BASE_MEMORY = 350 * MiB  # measured: 228 MiB of libraries; the rest is what malloc keeps and tears
USABLE = 0.75
INNER = 64  # voxels: side of the inner chunks, what viewers like to fetch
LARGEST_BRICK = (256, 512, 512)
FAN_IN = 4  # partial sums that are added at a time
_ABOUT = 1.05  # costs are not known better
_SMALLER = ", or use a smaller `brick` or fewer `tilts_per_task`"

Shape3 = tuple[int, int, int]
Terms = dict[str, int]


@dataclass(frozen=True)
class Resources:
    """Workers, threads and memory of a run.

    Parameters
    ----------
    n_workers : int
        Processes.
    threads_per_worker : int
        Tasks at a time in each.
    memory_limit : int
        Bytes per process.
    """

    n_workers: int
    threads_per_worker: int
    memory_limit: int

    @property
    def n_slots(self) -> int:
        """Tasks that run at a time."""
        return self.n_workers * self.threads_per_worker

    @property
    def task_budget(self) -> int:
        """Bytes that one task may use."""
        return int(self.memory_limit * USABLE - BASE_MEMORY) // self.threads_per_worker


@dataclass(frozen=True)
class Cut:
    """How the work is cut, where a user fixes it instead of the planner.

    Parameters
    ----------
    brick : tuple of int, optional
        Three multiples of 64.
    tilts_per_task : int, optional
        1 or more.

    Raises
    ------
    InputError
        If they are anything else.
    """

    brick: tuple[int, ...] | None = None
    tilts_per_task: int | None = None

    def __post_init__(self) -> None:
        brick = self.brick
        if brick is not None and (len(brick) != 3 or any(b < 1 or b % INNER for b in brick)):
            raise InputError(f"`brick` is {tuple(brick)}; it must be three multiples of {INNER}")
        if self.tilts_per_task is not None and self.tilts_per_task < 1:
            raise InputError(f"`tilts_per_task` is {self.tilts_per_task}; it must be 1 or more")


@dataclass(frozen=True)
class Plan:
    """How one step is cut into tasks.

    Parameters
    ----------
    step : str
        Name, for messages.
    shape, brick : tuple of int
        Of the output array and of one brick.
    n_tilts, tilts_per_task : int
        Tilts of the series and of one task; one group of tilts means no tree.
    terms : dict
        Bytes that one task holds, by name.
    resources : Resources
        What the run may use.
    bytes_read, bytes_written : int
        In total, uncompressed.
    seconds : float
        About how long it will take, on processors like those on which costs were measured.
    """

    step: str
    shape: tuple[int, ...]
    brick: tuple[int, ...]
    n_tilts: int
    tilts_per_task: int
    terms: Terms
    resources: Resources
    bytes_read: int
    bytes_written: int
    seconds: float = math.nan

    @property
    def n_bricks(self) -> int:
        """Number of bricks."""
        return math.prod(-(-n // b) for n, b in zip(self.shape, self.brick, strict=True))

    @property
    def n_groups(self) -> int:
        """Number of groups of tilts per brick."""
        return -(-self.n_tilts // self.tilts_per_task)

    @property
    def n_tasks(self) -> int:
        """Tasks in total: contributions, and the tree that adds them and writes the brick."""
        return self.n_bricks * (self.n_groups + sum(_joins(self.n_groups)))

    @property
    def task_memory(self) -> int:
        """Bytes that one task holds at its peak."""
        return sum(self.terms.values())

    @property
    def worker_memory(self) -> int:
        """Bytes that one worker process holds at its peak, the libraries included."""
        return BASE_MEMORY + self.resources.threads_per_worker * self.task_memory

    @property
    def in_flight(self) -> int:
        """Bricks that are submitted at a time; fewer where each has partial sums in memory."""
        return 3 * self.resources.n_slots if self.n_groups == 1 else max(2, self.resources.n_slots)


def plan_step(
    step: str,
    shape: Sequence[int],
    resources: Resources,
    terms: Callable[[Shape3, int], Terms],
    costs: Callable[[Shape3, int], TaskCosts],
    *,
    n_tilts: int = 1,
    tilts_per_task: int | None = None,
    brick: Sequence[int] | None = None,
    may_group: bool = False,
    may_spread: bool = False,
    bytes_read: Callable[[Shape3], int] = lambda _: 0,
    itemsize: int = 1,
) -> Plan:
    """Choose the brick and the tilt groups of a step that writes a volume.

    Parameters
    ----------
    step : str
        Name, for messages.
    shape : sequence of int
        Volume (nz, ny, nx).
    resources : Resources
        What the run may use.
    terms : callable
        ``terms(brick, tilts_per_task)`` gives the bytes that a task holds, by name.
    costs : callable
        ``costs(brick, tilts_per_task)`` gives the seconds that its tasks take.
    n_tilts : int
        Tilts of the series.
    tilts_per_task, brick : optional
        Fix them instead of choosing.
    may_group : bool
        Whether contributions of groups of tilts can be added up.
    may_spread : bool
        Whether groups may depend on the number of workers: sums of integers are the same for any.
    bytes_read : callable
        Bytes that a task of a given brick reads, uncompressed.
    itemsize : int
        Bytes per voxel written.

    Returns
    -------
    Plan

    Raises
    ------
    InputError
        If a given brick is not three multiples of 64.
    PlanError
        If no allowed brick fits the memory of a task; says what would.

    Examples
    --------
    >>> from tomodist.planning.costs import TaskCosts
    >>> machine = Resources(n_workers=2, threads_per_worker=1, memory_limit=2**30)
    >>> costs = lambda b, t: TaskCosts(leaf=0.1 + 1e-8 * math.prod(b), join=0.0)
    >>> plan = plan_step("x", (200, 315, 326), machine, lambda b, t: {"out": math.prod(b)}, costs)
    >>> plan.brick, plan.n_bricks, plan.n_groups
    ((128, 320, 384), 2, 1)
    """
    size = _shape3(shape)

    def plan_of(bricks: Shape3, tilts: int) -> Plan:
        plan = Plan(
            step,
            size,
            bricks,
            n_tilts,
            tilts,
            terms(bricks, tilts),
            resources,
            _n_bricks(size, bricks) * bytes_read(bricks),
            math.prod(size) * itemsize,
        )
        return replace(plan, seconds=_seconds(plan, costs(bricks, tilts)))

    bricks = [_checked(brick)] if brick is not None else _bricks(size)
    # One group of all tilts first: no tree, no partial sums to send.
    groups = [tilts_per_task or n_tilts]
    grouped = [-(-n_tilts // 2**k) for k in range(n_tilts.bit_length() + 1)]
    if tilts_per_task is None and may_group and may_spread:
        groups = grouped
    plans = [plan_of(b, t) for b in bricks for t in groups]
    if tilts_per_task is None and may_group and not any(map(_fits, plans)):
        # Nothing fits with all tilts at once: groups are allowed although they cost a tree.
        plans = [plan_of(b, t) for b in bricks for t in grouped]
    best = _best(plans)
    check_fit(best)
    return best


def check_fit(plan: Plan, *, cut: str = "brick", remedy: str = _SMALLER) -> None:
    """Refuse a plan whose task needs more memory than a task has.

    Parameters
    ----------
    plan : Plan
        What is planned.
    cut : str
        What a piece of the work is called.
    remedy : str
        What helps beside more memory.

    Raises
    ------
    PlanError
        Names the piece, the bytes needed and given, the largest terms, and what would fit.
    """
    if _fits(plan):
        return
    needed = (plan.resources.threads_per_worker * plan.task_memory + BASE_MEMORY) / USABLE
    largest = sorted(plan.terms.items(), key=lambda term: -term[1])[:3]
    grouped = f" with {plan.tilts_per_task} tilts per task" if plan.n_tilts > 1 else ""
    raise PlanError(
        f"{plan.step}: {cut} {plan.brick}{grouped} needs "
        f"{format_bytes(plan.task_memory)} per task "
        f"({', '.join(f'{name} {format_bytes(size)}' for name, size in largest)}), but a worker of "
        f"{format_bytes(plan.resources.memory_limit)} has "
        f"{format_bytes(max(plan.resources.task_budget, 0))} for each (a quarter is kept free, and "
        f"{format_bytes(BASE_MEMORY)} are for the libraries); set `memory` to "
        f"{math.ceil(needed / MiB)} MiB{remedy}"
    )


def rounded(n: int, multiple: int = INNER) -> int:
    """`n` rounded up to a multiple.

    Parameters
    ----------
    n : int
        0 or more.
    multiple : int
        1 or more.

    Returns
    -------
    int

    Examples
    --------
    >>> rounded(200)
    256
    """
    return -(-n // multiple) * multiple


def format_bytes(n: int) -> str:
    """Bytes in words.

    Examples
    --------
    >>> format_bytes(3 * 2**29)
    '1.5 GiB'
    """
    for unit, size in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if n >= size:
            return f"{n / size:.1f} {unit}"
    return f"{n} B"


def _shape3(shape: Sequence[int]) -> Shape3:
    z, y, x = shape
    return z, y, x


def _checked(brick: Sequence[int]) -> Shape3:
    if len(brick) != 3 or any(b < 1 or b % INNER for b in brick):
        raise InputError(f"`brick` is {tuple(brick)}; it must be three multiples of {INNER}")
    return _shape3(brick)


def _n_bricks(shape: Shape3, brick: Shape3) -> int:
    return math.prod(-(-n // b) for n, b in zip(shape, brick, strict=True))


def _bricks(shape: Shape3) -> list[Shape3]:
    """All bricks to choose from, the largest first: sides of 64, 128, 256 ... voxels."""
    sides = []
    for n, largest in zip(shape, LARGEST_BRICK, strict=True):
        start = min(largest, rounded(n))
        halves = {start} | {INNER * 2**k for k in range(4) if INNER * 2**k < start}
        sides.append(sorted(halves, reverse=True))
    return [_shape3(brick) for brick in itertools.product(*sides)]


def _joins(n_groups: int) -> list[int]:
    """Number of additions in each level of a brick's tree."""
    joins = []
    while n_groups > 1:
        n_groups = -(-n_groups // FAN_IN)
        joins.append(n_groups)
    return joins


def _seconds(plan: Plan, costs: TaskCosts) -> float:
    """Seconds of a step: the work shared by all slots, in whole rounds of tasks.

    A brick's tree adds a join per level to the end of the last round, and the scheduler hands out
    one task after the other.
    """
    slots, levels = plan.resources.n_slots, _joins(plan.n_groups)
    leaves = plan.n_bricks * plan.n_groups
    joins = plan.n_bricks * sum(levels)
    work = (leaves * costs.leaf + joins * costs.join) / slots
    # With few tasks per slot the last round is not full, and joins wait for it.
    rounds = -(-leaves // slots) * costs.leaf + len(levels) * costs.join
    return max(work, rounds, plan.n_tasks * costs.scheduled)


def _fits(plan: Plan) -> bool:
    return plan.task_memory <= plan.resources.task_budget


def _best(plans: Sequence[Plan]) -> Plan:
    """Best plan: among the fastest ones, the one with the fewest groups and least memory."""
    fitting = [plan for plan in plans if _fits(plan)]
    least = min((plan.seconds for plan in fitting), default=0.0)
    quick = [plan for plan in fitting if plan.seconds <= _ABOUT * least]
    return min(quick or plans, key=lambda plan: (bool(quick) * plan.n_groups, plan.task_memory))

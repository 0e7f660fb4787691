"""What a run will cost, by integer arithmetic, before anything runs.

One rule: the memory of a task is a sum of named terms, each an array that the task really holds;
the largest brick whose sum fits the memory of a worker is taken, and a run of which not even the
smallest fits is refused. Tests hold the sums against measured peaks.

    budget of a task = (limit of the worker x 0.75 - base) / threads

``base`` is what a worker process holds beside its tasks' arrays (the libraries, and free memory
that malloc has not given back), and 0.75 keeps away from the 80 % at which dask pauses a worker.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tomodist.errors import InputError, PlanError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MiB = 2**20
BASE_MEMORY = 350 * MiB  # measured: 228 MiB of libraries; the rest is what malloc keeps and tears
USABLE = 0.75
INNER = 64  # voxels: side of the inner chunks, what viewers like to fetch
LARGEST_BRICK = (256, 512, 512)
FAN_IN = 4  # partial sums that are added at a time
_ROWS_FIRST = 4
WORTHWHILE = 2**20  # voxels: below this a brick is not cut for the sake of parallelism

Shape3 = tuple[int, int, int]
Terms = dict[str, int]


@dataclass(frozen=True)
class Resources:
    """What the run may use.

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
        tree, level = 0, self.n_groups
        while level > 1:
            level = -(-level // FAN_IN)
            tree += level
        return self.n_bricks * (self.n_groups + tree)

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
    >>> machine = Resources(n_workers=2, threads_per_worker=1, memory_limit=2**30)
    >>> plan = plan_step("votes", (200, 315, 326), machine, lambda b, t: {"out": math.prod(b)})
    >>> plan.brick, plan.n_bricks, plan.n_groups
    ((128, 192, 192), 8, 1)
    """
    size = _shape3(shape)

    def fits(bricks: Shape3, tilts: int) -> bool:
        return sum(terms(bricks, tilts).values()) <= resources.task_budget

    if brick is not None:
        chosen = _checked(brick)
    else:
        chosen = _starting_brick(size)
        while _can_shrink(chosen) and not (
            _keeps_busy(size, chosen, resources) and fits(chosen, tilts_per_task or n_tilts)
        ):
            chosen = _halve(chosen)
    tilts = tilts_per_task or n_tilts
    wanted = _tilts_per_task(size, chosen, resources, n_tilts)
    if may_group and may_spread and tilts_per_task is None and fits(chosen, wanted):
        tilts = wanted
    while may_group and tilts_per_task is None and tilts > 1 and not fits(chosen, tilts):
        tilts = -(-tilts // 2)
    plan = Plan(
        step,
        size,
        chosen,
        n_tilts,
        tilts,
        terms(chosen, tilts),
        resources,
        _n_bricks(size, chosen) * bytes_read(chosen),
        math.prod(size) * itemsize,
    )
    check_fit(plan)
    return plan


def check_fit(plan: Plan) -> None:
    """Refuse a plan whose task needs more memory than a task has.

    Raises
    ------
    PlanError
        Names the brick, the bytes needed and given, the largest terms, and what would fit.
    """
    if plan.task_memory <= plan.resources.task_budget:
        return
    needed = (plan.resources.threads_per_worker * plan.task_memory + BASE_MEMORY) / USABLE
    largest = sorted(plan.terms.items(), key=lambda term: -term[1])[:3]
    raise PlanError(
        f"{plan.step}: brick {plan.brick} with {plan.tilts_per_task} tilts per task needs "
        f"{format_bytes(plan.task_memory)} per task "
        f"({', '.join(f'{name} {format_bytes(size)}' for name, size in largest)}), but a worker of "
        f"{format_bytes(plan.resources.memory_limit)} has "
        f"{format_bytes(max(plan.resources.task_budget, 0))} for each (a quarter is kept free, and "
        f"{format_bytes(BASE_MEMORY)} are for the libraries); give workers "
        f"{math.ceil(needed / MiB)} MiB (--memory), or take smaller bricks (--brick) or fewer "
        "tilts per task (--tilts-per-task)"
    )


def check_image_memory(image_shape: Sequence[int], resources: Resources, step: str) -> None:
    """Refuse images of which one does not fit the memory of a task.

    Raises
    ------
    PlanError
    """
    needed = 48 * image_shape[0] * image_shape[1]  # float32 in and out, float64 on the way
    if needed > resources.task_budget:
        raise PlanError(
            f"{step}: an image of {image_shape[1]} x {image_shape[0]} pixels needs "
            f"{format_bytes(needed)} per task, but a worker of "
            f"{format_bytes(resources.memory_limit)} has "
            f"{format_bytes(max(resources.task_budget, 0))}; give workers more (--memory), or use "
            "fewer of them (--workers)"
        )


def rounded(n: int, multiple: int = INNER) -> int:
    """`n` rounded up to a multiple.

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
        raise InputError(f"brick is {tuple(brick)}; it must be three multiples of {INNER}")
    return _shape3(brick)


def _n_bricks(shape: Shape3, brick: Shape3) -> int:
    return math.prod(-(-n // b) for n, b in zip(shape, brick, strict=True))


def _starting_brick(shape: Shape3) -> Shape3:
    return _shape3([min(b, rounded(n)) for b, n in zip(LARGEST_BRICK, shape, strict=True)])


def _halve(brick: Shape3) -> Shape3:
    """Halve a side, to a multiple of the inner chunk: x or z, unless y is four times as long.

    Kernels run along y, and their cost per voxel falls with the length of a row: to 1.5 to 2 times
    as fast at 512 voxels as at 256, and votes take 256 at a time. What is read twice for short z
    and x costs less.
    """
    sides = [i for i in (2, 0, 1) if brick[i] > INNER] or [2]
    k = max(sides, key=lambda i: brick[i] if i == 1 else _ROWS_FIRST * brick[i])
    return _shape3([rounded(b // 2) if i == k else b for i, b in enumerate(brick)])


def _can_shrink(brick: Shape3) -> bool:
    return max(brick) > INNER


def _keeps_busy(shape: Shape3, brick: Shape3, resources: Resources) -> bool:
    """Whether there are bricks enough for every slot, or halving them is not worthwhile."""
    enough = _n_bricks(shape, brick) >= 4 * resources.n_slots
    return enough or math.prod(_halve(brick)) < WORTHWHILE


def _tilts_per_task(shape: Shape3, brick: Shape3, resources: Resources, n_tilts: int) -> int:
    """All tilts in one task, unless there are fewer bricks than slots."""
    n_bricks = _n_bricks(shape, brick)
    if n_bricks >= resources.n_slots:
        return n_tilts
    groups = min(-(-2 * resources.n_slots // n_bricks), n_tilts)
    return -(-n_tilts // groups)

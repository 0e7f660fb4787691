"""Running many independent tasks on dask with a bounded number of them in flight.

One rule: a task is submitted only when its turn comes. So memory and graph size are bounded by
construction, progress is visible, and a rerun submits only what is missing. The same code runs on
a distributed client and on local threads.
"""

from __future__ import annotations

import itertools
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import dask

from tomodist.errors import PlanError, StoreError
from tomodist.planning.plan import Resources, format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from tomodist.formats.zarr import ArrayHandle
    from tomodist.values.windows import Index

Task = Any  # a dask Delayed


class Progress(Protocol):
    """Told how far a step is."""

    def start(self, step: str, total: int) -> None:
        """A step of `total` tasks begins."""

    def advance(self) -> None:
        """One task is done."""

    def message(self, text: str) -> None:
        """Something that the user should know."""


class Silent:
    """Tells nobody."""

    def start(self, step: str, total: int) -> None:
        """Ignore."""

    def advance(self) -> None:
        """Ignore."""

    def message(self, text: str) -> None:
        """Ignore."""


class OneBar:
    """Many passes as one progress bar.

    Parameters
    ----------
    progress : Progress
        The bar.
    step : str
        Its name.
    total : int
        Tasks of all passes.
    """

    def __init__(self, progress: Progress, step: str, total: int) -> None:
        self._progress = progress
        progress.start(step, total)

    def skip(self, n: int) -> None:
        """Count tasks of earlier runs."""
        for _ in range(n):
            self._progress.advance()

    def start(self, step: str, total: int) -> None:
        """A pass begins; nobody is told."""

    def advance(self) -> None:
        """One task is done."""
        self._progress.advance()

    def message(self, text: str) -> None:
        """Pass it on."""
        self._progress.message(text)


@dataclass(frozen=True)
class Session:
    """Where tasks run, and who is told.

    Parameters
    ----------
    resources : Resources
        What there is.
    client : distributed.Client, optional
        Without one, tasks run on threads of this process.
    progress : Progress
        Told how far a step is.
    """

    resources: Resources
    client: Any = None
    progress: Progress = Silent()  # noqa: RUF009 -- it holds nothing

    def run(
        self,
        step: str,
        tasks: Iterable[Task],
        total: int,
        *,
        done: int = 0,
        in_flight: int | None = None,
    ) -> Iterator[Any]:
        """Run tasks, a few at a time, and yield their results as they come.

        Parameters
        ----------
        step : str
            What the tasks do, for the progress bar.
        tasks : iterable of Delayed
            Made one by one, as their turn comes.
        total, done : int
            Number of tasks of the step, and how many an earlier run has finished.
        in_flight : int, optional
            Tasks that a cluster has at a time; by default three per thread.

        Yields
        ------
        object
            What each task returns, in no fixed order.

        Raises
        ------
        PlanError
            If workers died again and again over one task.
        """
        self.progress.start(step, total)
        for _ in range(done):
            self.progress.advance()
        n = in_flight or 3 * self.resources.n_slots
        results = self._on_cluster(tasks, n) if self.client else self._on_threads(tasks)
        for result in results:
            self.progress.advance()
            yield result

    def check_sees(self, folder: Path) -> None:
        """Refuse workers that do not see a folder, or a file.

        Raises
        ------
        StoreError
            Names the workers.
        """
        seen = self.client.run(folder.exists) if self.client else {}
        blind = [worker for worker, sees in seen.items() if not sees]
        if blind:
            raise StoreError(
                f"{folder}: {len(blind)} of {len(seen)} workers do not see it (such as "
                f"{blind[0]}); put it on a file system that all workers share"
            )

    def fill(
        self,
        step: str,
        array: ArrayHandle,
        task: Callable[[Index], Task],
        *,
        in_flight: int | None = None,
    ) -> None:
        """Write the bricks that an array still lacks.

        Parameters
        ----------
        step : str
            What the tasks do, for the progress bar.
        array : ArrayHandle
            Whose missing bricks are made.
        task : callable
            ``task(brick)`` gives the task that writes a brick; called as its turn comes.
        in_flight : int, optional
            As for `run`.
        """
        missing, total = array.missing(), len(array.bricks())
        tasks = (task(brick) for brick in missing)
        for _ in self.run(step, tasks, total, done=total - len(missing), in_flight=in_flight):
            pass

    def fill_all(
        self,
        step: str,
        arrays: Sequence[ArrayHandle],
        task: Callable[[Index, list[int]], Task],
        *,
        in_flight: int | None = None,
    ) -> None:
        """Write what several arrays, cut alike, still lack: one task per brick for all of them.

        Parameters
        ----------
        step : str
            What the tasks do, for the progress bar.
        arrays : sequence of ArrayHandle
            Of the same bricks.
        task : callable
            ``task(brick, lacking)`` gives the task that writes a brick of those arrays, by their
            place in `arrays`, that lack it.
        in_flight : int, optional
            As for `run`.
        """
        lacking: dict[Index, list[int]] = {}
        for k, array in enumerate(arrays):
            for brick in array.missing():
                lacking.setdefault(brick, []).append(k)
        total = len(arrays[0].bricks())
        tasks = (task(brick, lacking[brick]) for brick in sorted(lacking))
        for _ in self.run(step, tasks, total, done=total - len(lacking), in_flight=in_flight):
            pass

    def _on_threads(self, tasks: Iterable[Task]) -> Iterator[Any]:
        pending: set[Future[Any]] = set()
        queue = iter(tasks)
        with ThreadPoolExecutor(self.resources.n_slots) as pool:
            try:
                while True:
                    room = self.resources.n_slots + 1 - len(pending)
                    for task in itertools.islice(queue, room):
                        pending.add(pool.submit(task.compute, scheduler="synchronous"))
                    if not pending:
                        return
                    finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                    for future in finished:
                        yield future.result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _on_cluster(self, tasks: Iterable[Task], in_flight: int) -> Iterator[Any]:
        import distributed  # costs 0.5 s, and threads do without

        queue = iter(tasks)
        first = list(itertools.islice(queue, in_flight))
        pending = distributed.as_completed(self.client.compute(first), with_results=False)
        with _workers_that_die(self.resources, distributed.KilledWorker), _cancelled(pending):
            for future in pending:
                result = future.result()
                future.release()
                for task in itertools.islice(queue, 1):
                    pending.add(self.client.compute(task))
                yield result


def task_of(function: Callable[..., Any], *args: Any) -> Task:  # noqa: ANN401 -- anything picklable
    """One call as a task; the arguments travel as they are."""
    return dask.delayed(_Call(function, args), pure=False, traverse=False)()


@dataclass(frozen=True)
class _Call:
    """A function with its arguments, which dask does not look into."""

    function: Callable[..., Any]
    args: tuple[Any, ...]

    def __call__(self, *more: Any) -> Any:  # noqa: ANN401 -- anything
        return self.function(*self.args, *more)


def tree_of(
    leaves: Iterable[Task], fan_in: int, add: Callable[..., Any], last: Callable[..., Any]
) -> Task:
    """Add up tasks in a tree of fixed shape and hand the sum to `last`.

    Parameters
    ----------
    leaves : iterable of Delayed
        Contributions.
    fan_in : int
        How many are added at a time.
    add, last : callable
        ``add(*parts)`` gives a sum; ``last(*parts)`` adds the remaining parts and ends the tree.

    Returns
    -------
    Delayed
    """
    level = list(leaves)
    join = dask.delayed(add, pure=False, traverse=False)
    while len(level) > fan_in:
        level = [join(*level[k : k + fan_in]) for k in range(0, len(level), fan_in)]
    return dask.delayed(last, pure=False, traverse=False)(*level)


@contextmanager
def _workers_that_die(resources: Resources, killed: type[Exception]) -> Iterator[None]:
    try:
        yield
    except killed as error:
        raise PlanError(
            f"workers died again and again over one task ({error}); each may use "
            f"{format_bytes(resources.memory_limit)}: give them more (--memory), or use "
            "smaller bricks (--brick)"
        ) from error


@contextmanager
def _cancelled(pending: Any) -> Iterator[None]:  # noqa: ANN401 -- distributed is untyped
    """Drop what is still queued when the block ends early."""
    try:
        yield
    except (Exception, KeyboardInterrupt, GeneratorExit):
        for future in list(pending.futures):
            future.cancel()
        raise

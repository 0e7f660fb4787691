"""One runner for all steps: tasks go through a bounded window, whichever step they belong to.

A step does not run its tasks. Its *work* is a generator that yields batches of tasks and goes on
when a batch is done:

    def work():                                     the runner
        yield Batch("label", tasks, 8)      ---->   submits them one by one, calls `each` with what
                                                    every task returns, then resumes the generator
        yield Batch("measure", tasks, 8)    ---->   ...
        return table                        ---->   hands it to whoever asked

So what needs a result of an earlier part (a threshold, tilts that disagree) is simply written after
it. Several works, of one tomogram or of many, can share one cluster: while one waits for the last
task of a batch, the window is filled from the others, oldest first.

One rule: a task is submitted only when its turn comes. So memory and graph size are bounded by
construction, progress is visible, and a rerun submits only what is missing. The same code runs on
a distributed client and on local threads.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import dask

from tomodist.errors import PlanError, StoreError
from tomodist.planning.plan import Resources, format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

T = TypeVar("T")
Task = Any  # a dask Delayed
Bar = Any  # whatever a `Progress` gives for a step
_PER_SLOT = 3  # tasks in flight per thread of a cluster, so that none waits for the scheduler


class Progress(Protocol):
    """Shows how far steps are."""

    def start(self, step: str, total: int) -> Bar:
        """A step begins.

        Parameters
        ----------
        step : str
            Name of the step.
        total : int
            Number of its tasks.

        Returns
        -------
        object
            The bar of the step, for `advance`.
        """

    def advance(self, bar: Bar) -> None:
        """One task of a step is done."""

    def message(self, text: str) -> None:
        """Something that the user should know."""


class Silent:
    """Shows nothing."""

    def start(self, step: str, total: int) -> Bar:
        """Show nothing.

        Parameters and result as for `Progress.start`.
        """

    def advance(self, bar: Bar) -> None:
        """Ignore."""

    def message(self, text: str) -> None:
        """Ignore."""


def _ignore(_: object) -> None:
    """Do nothing with a result."""


@dataclass(frozen=True)
class Batch:
    """Tasks that need nothing of each other.

    Parameters
    ----------
    name : str
        What the tasks do, for the progress bar.
    tasks : iterable of Delayed
        Made one by one, as their turn comes.
    total, done : int
        Number of tasks of the batch, and how many of them an earlier run has finished.
    in_flight : int, optional
        Tasks of the batch that a cluster has at a time; by default three per thread.
    each : callable
        Called in this process with what a task returns, in no fixed order.
    bar : object, optional
        A bar of the session's progress that several batches share; by default one of its own.
    """

    name: str
    tasks: Iterable[Task]
    total: int
    done: int = 0
    in_flight: int | None = None
    each: Callable[[Any], None] = _ignore
    bar: Bar = None


Work = Generator[Batch, None, T]
"""What a step does: batches, in the order in which they need each other; returns a value."""


@dataclass(frozen=True)
class Session:
    """Where tasks run, and where progress is shown.

    Parameters
    ----------
    resources : Resources
        What there is.
    client : distributed.Client, optional
        Without one, tasks run on threads of this process.
    progress : Progress
        Shows how far steps are.
    """

    resources: Resources
    client: Any = None
    progress: Progress = Silent()  # noqa: RUF009 -- it holds nothing

    def run(self, work: Work[T]) -> T:
        """Run one work to its end.

        Parameters
        ----------
        work : generator of Batch
            See `Work`.

        Returns
        -------
        object
            What the work returns.

        Raises
        ------
        PlanError
            If workers died repeatedly over one task.
        """
        ((_, outcome),) = self.run_each([work])
        return outcome.value()

    def run_each(self, works: Sequence[Work[T]]) -> Iterator[tuple[int, Outcome[T]]]:
        """Run several works side by side, in one window.

        Parameters
        ----------
        works : sequence of generator of Batch
            The oldest comes first: the others get what room it leaves.

        Yields
        ------
        int
            Index of a work that has ended.
        Outcome
            What it returned, or the error that ended it; the other works go on.
        """
        with self._workplace() as workplace:
            running = [_Running(k, work, self.progress) for k, work in enumerate(works)]
            try:
                while running:
                    for one in running:
                        one.feed(workplace)
                    # Ended works leave before anything is awaited, so that their room goes to the
                    # others.
                    ended = [one for one in running if one.outcome is not None]
                    running = [one for one in running if one.outcome is None]
                    for one in ended:
                        yield one.index, one.outcome_or_fail()
                    if workplace.n_pending:
                        workplace.deliver_one()
            finally:
                workplace.cancel()
                for one in running:
                    one.work.close()

    def check_sees(self, what: str, exists: Callable[[], bool]) -> None:
        """Refuse workers that do not see a folder, or a file.

        Parameters
        ----------
        what : str
            For the message.
        exists : callable
            Asked on every worker.

        Raises
        ------
        StoreError
            Names a worker.
        """
        answers = self.client.run(exists) if self.client else {}
        blind = [worker for worker, sees in answers.items() if not sees]
        if blind:
            raise StoreError(
                f"{what}: {len(blind)} of {len(answers)} workers cannot read it (such as "
                f"{blind[0]}); move it to a file system that all workers share"
            )

    @contextmanager
    def _workplace(self) -> Iterator[_Workplace]:
        if self.client is None:
            with ThreadPoolExecutor(self.resources.n_slots) as pool:
                yield _Threads(pool, self.resources.n_slots + 1)
            return
        yield _Cluster(self.client, self.resources)


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """Result of a work, or the error that ended it.

    Parameters
    ----------
    result : object
        What it returned.
    error : Exception, optional
        What ended it instead.
    """

    result: T | None = None
    error: BaseException | None = None

    def value(self) -> T:
        """The result.

        Raises
        ------
        Exception
            The error that ended the work.
        """
        if self.error is not None:
            raise self.error
        return self.result  # type: ignore[return-value]  # a work that ended has returned one


class _Running(Generic[T]):
    """State of a work: its current batch and the number of its tasks in flight."""

    def __init__(self, index: int, work: Work[T], progress: Progress) -> None:
        self.index, self.work, self.progress = index, work, progress
        self.outcome: Outcome[T] | None = None
        self.n_in_flight = 0
        self._error: BaseException | None = None
        self._queue: Iterator[Task] | None = None
        self._batch: Batch | None = None
        self._bar: Bar = None

    def feed(self, workplace: _Workplace) -> None:
        """Submit tasks while there is room; go on to the next batch when one is done."""
        while self.outcome is None and self._error is None:
            if self._queue is None:
                if self.n_in_flight:
                    return
                self._next_batch()
                continue
            limit = self._batch.in_flight if self._batch else None
            if not workplace.has_room(self.n_in_flight, limit):
                return
            try:
                # Tasks are made only when there is room; making one may raise, too.
                tasks = list(itertools.islice(self._queue, 1))
            except Exception as error:
                self._end_with(error)
                return
            if not tasks:
                self._queue = None
                continue
            workplace.submit(tasks[0], self)
            self.n_in_flight += 1

    def deliver(self, result: Any) -> None:  # noqa: ANN401 -- whatever a task returns
        """One task is done."""
        self.n_in_flight -= 1
        if self._batch is None or self._error is not None:
            self._end()
            return
        try:
            self._batch.each(result)
        except Exception as error:
            self._end_with(error)
            return
        self.progress.advance(self._bar)

    def fail(self, error: BaseException) -> None:
        """One task failed: so does the work, which may clean up behind itself."""
        self.n_in_flight -= 1
        self._end_with(error)

    def outcome_or_fail(self) -> Outcome[T]:
        """The outcome of an ended work."""
        if self.outcome is None:
            raise RuntimeError("the work has not ended")
        return self.outcome

    def _next_batch(self) -> None:
        try:
            batch = next(self.work)
        except StopIteration as stop:
            self.outcome = Outcome(result=stop.value)
            return
        except Exception as error:
            self.outcome = Outcome(error=error)
            return
        self._batch, self._queue = batch, iter(batch.tasks)
        self._bar = batch.bar
        if self._bar is None:
            self._bar = self.progress.start(batch.name, batch.total)
        for _ in range(batch.done):
            self.progress.advance(self._bar)

    def _end_with(self, error: BaseException) -> None:
        """Submit nothing more; the first error is the one that is reported."""
        self._queue = None
        self._error = self._error or error
        self._end()

    def _end(self) -> None:
        """Throw the error when no task is in flight: one that still writes would undo clean-up."""
        if self._error is not None and self.outcome is None and not self.n_in_flight:
            self._throw(self._error)

    def _throw(self, error: BaseException) -> None:
        """Raise an error where the generator waits, so that its context managers see it."""
        try:
            self.work.throw(error)
        except StopIteration as stop:
            self.outcome = Outcome(result=stop.value)
        except Exception as raised:
            self.outcome = Outcome(error=raised)
        else:
            self.work.close()
            self.outcome = Outcome(error=error)


class _Workplace(Protocol):
    """Takes tasks, and gives results in the order in which they come."""

    @property
    def n_pending(self) -> int:
        """Tasks that were submitted and not delivered."""

    def has_room(self, n_in_flight: int, limit: int | None) -> bool:
        """Whether a work with so many tasks in flight may submit another one."""

    def submit(self, task: Task, owner: _Running[Any]) -> None:
        """Take a task."""

    def deliver_one(self) -> None:
        """Wait for a task, and hand its result to its owner."""

    def cancel(self) -> None:
        """Drop what is still queued."""


class _Threads:
    """Threads of this process."""

    def __init__(self, pool: ThreadPoolExecutor, window: int) -> None:
        self._pool, self._window = pool, window
        self._owners: dict[Future[Any], _Running[Any]] = {}

    @property
    def n_pending(self) -> int:
        return len(self._owners)

    def has_room(self, n_in_flight: int, limit: int | None) -> bool:  # noqa: ARG002
        return len(self._owners) < self._window

    def submit(self, task: Task, owner: _Running[Any]) -> None:
        self._owners[self._pool.submit(task.compute, scheduler="synchronous")] = owner

    def deliver_one(self) -> None:
        finished, _ = wait(self._owners, return_when=FIRST_COMPLETED)
        # Results before errors: what was finished is kept.
        for future in sorted(finished, key=lambda f: f.exception() is not None):
            _hand_over(future, self._owners.pop(future))

    def cancel(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


class _Cluster:
    """Workers of a dask cluster."""

    def __init__(self, client: Any, resources: Resources) -> None:  # noqa: ANN401 -- untyped
        import distributed  # costs 0.5 s, and threads do without

        self._client, self._resources = client, resources
        self._window = _PER_SLOT * resources.n_slots
        self._pending = distributed.as_completed(with_results=False, loop=client.loop)
        self._killed = distributed.KilledWorker
        self._owners: dict[Any, _Running[Any]] = {}

    @property
    def n_pending(self) -> int:
        return len(self._owners)

    def has_room(self, n_in_flight: int, limit: int | None) -> bool:
        return n_in_flight < (limit or self._window) and len(self._owners) < self._window

    def submit(self, task: Task, owner: _Running[Any]) -> None:
        future = self._client.compute(task)
        self._owners[future] = owner
        self._pending.add(future)

    def deliver_one(self) -> None:
        future = next(self._pending)
        owner = self._owners.pop(future)
        _hand_over(future, owner, self._in_words)
        future.release()

    def cancel(self) -> None:
        for future in list(self._owners):
            future.cancel()

    def _in_words(self, error: Exception) -> Exception:
        if not isinstance(error, self._killed):
            return error
        words = PlanError(
            f"workers died repeatedly over one task ({error}); each may use "
            f"{format_bytes(self._resources.memory_limit)}: set more `memory`, or use "
            "a smaller `brick`"
        )
        words.__cause__ = error
        return words


def _hand_over(
    future: Any,  # noqa: ANN401 -- of threads or of dask
    owner: _Running[Any],
    in_words: Callable[[Exception], Exception] = lambda error: error,
) -> None:
    try:
        result = future.result()
    except Exception as error:
        owner.fail(in_words(error))
    else:
        owner.deliver(result)


def task_of(function: Callable[..., Any], *args: Any) -> Task:  # noqa: ANN401 -- anything picklable
    """One call as a task; the arguments travel as they are.

    Parameters
    ----------
    function : callable
        At the top level of a module, so that it can be sent to a worker.
    *args
        Its arguments; picklable, and small: no pixel data.

    Returns
    -------
    Task
    """
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

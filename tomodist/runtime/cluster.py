"""Where the work runs: a local cluster of processes, threads of this process, or a scheduler.

dask's Nanny presets MALLOC_TRIM_THRESHOLD_=65536, by which glibc gives every large array back to
the system and faults it in again page by page: array-heavy tasks ran 2.0 to 2.6 times slower. The
workers that are started here keep what they have freed: bricks follow bricks of the same size, so
the next task finds its memory in place (a linear brick of 134 MB was computed in 0.25 instead of
0.43 s), and their peak, which the plan bounds, is lower than with mmap for large arrays (366
instead of 402 MB). zarr's own thread pool gets one thread per worker, and malloc one arena: dask's
threads own the parallelism, and two workers of 640 MiB then peaked at 417 instead of 522 MiB and
took a tenth less time. BLAS and torch get one thread: with more, float32 convolutions differ in
their last bits, and results are to be the same for any number of workers. (A learned detector took
1.8 to 2.4 times less CPU with these settings than with dask's, a brick of votes 1.4 to 1.5 times.)
For clusters that are made elsewhere, set the variables of `worker_environment` before their workers
start.
"""

from __future__ import annotations

import os
import signal
import threading
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tomodist.errors import InputError
from tomodist.planning.plan import Resources
from tomodist.runtime.runner import Progress, Session, Silent

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATIENCE = "10s"  # for a scheduler to answer
_SHARE = 0.8  # of the machine's free memory that workers get by default


@contextmanager
def open_session(
    cluster: str = "local",
    *,
    n_workers: int | None = None,
    memory_limit: int | None = None,
    progress: Progress | None = None,
) -> Iterator[Session]:
    """Open a place to run tasks.

    Parameters
    ----------
    cluster : str
        ``"local"`` (worker processes on this machine), ``"threads"`` (threads of this process) or
        the address of a running dask scheduler, such as ``"tcp://10.0.0.1:8786"``.
    n_workers : int, optional
        Processes or threads; by default one per core.
    memory_limit : int, optional
        Bytes per worker process (of this process, for threads); by default 80 % of the free
        memory in equal shares.
    progress : Progress, optional
        Informed about the progress of each step.

    Yields
    ------
    Session

    Raises
    ------
    InputError
        If `cluster` is none of these, or the scheduler does not answer.
    """
    progress = progress or Silent()
    if "://" in cluster:
        with _remote_client(cluster) as client:
            yield Session(_remote_resources(client, cluster), client, progress)
        return
    resources = resources_of(cluster, n_workers, memory_limit)
    if cluster == "threads":
        yield Session(resources, None, progress)
        return
    with _local_client(resources, progress) as client:
        yield Session(resources, client, progress)


def resources_of(cluster: str, n_workers: int | None, memory_limit: int | None) -> Resources:
    """Resources of a session on this machine; nothing is started.

    Parameters
    ----------
    cluster : {"local", "threads"}
        Where tasks run.
    n_workers, memory_limit : int, optional
        As for `open_session`.

    Returns
    -------
    Resources
    """
    local = local_resources(n_workers, memory_limit)
    if cluster == "local":
        return local
    if cluster == "threads":
        limit = memory_limit or local.n_workers * local.memory_limit
        return Resources(1, local.n_workers, limit)
    raise InputError(
        f"`cluster` is {cluster!r}; it must be local, threads, or the address of a dask "
        "scheduler such as tcp://10.0.0.1:8786"
    )


def local_resources(n_workers: int | None, memory_limit: int | None) -> Resources:
    """Resources of worker processes of one thread each.

    Parameters
    ----------
    n_workers : int, optional
        Processes; by default one per core.
    memory_limit : int, optional
        Bytes per process; by default 80 % of the free memory in equal shares.

    Returns
    -------
    Resources
    """
    n = _n_cores() if n_workers is None else n_workers
    if n < 1:
        raise InputError(f"`workers` is {n}; it must be 1 or more")
    return Resources(n, 1, memory_limit or int(_SHARE * free_memory() / n))


def worker_environment() -> dict[str, str]:
    """Environment variables that worker processes of one thread should start with.

    Returns
    -------
    dict
        Names and values.
    """
    return {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "ZARR_THREADING__MAX_WORKERS": "1",
        "ZARR_ASYNC__CONCURRENCY": "4",
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_MMAP_THRESHOLD_": str(2**32),
        "MALLOC_TRIM_THRESHOLD_": str(2**36),
    }


def free_memory() -> int:
    """Bytes that this process may still take: of the machine, or of its control group."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        with open("/proc/meminfo") as lines:  # noqa: PTH123 -- not a file of ours
            free = next(int(s.split()[1]) * 1024 for s in lines if s.startswith("MemAvailable"))
        with open("/sys/fs/cgroup/memory.max") as file:  # noqa: PTH123
            limit = file.read().strip()
        return min(free, int(limit)) if limit.isdigit() else free
    except (OSError, StopIteration):
        return free


def _n_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _local_client(resources: Resources, progress: Progress) -> Iterator[Any]:
    import dask
    import distributed

    settings = {
        "distributed.nanny.pre-spawn-environ": worker_environment(),
        "distributed.worker.memory.target": False,  # bricks are bounded by the plan:
        "distributed.worker.memory.spill": False,  # what does not fit is a fault to be seen
        "distributed.worker.memory.pause": 0.9,
        "distributed.worker.memory.terminate": 0.98,
        "distributed.comm.timeouts.connect": "60s",
    }
    with dask.config.set(settings):
        with _interrupts_ignored(), warnings.catch_warnings():
            # Another run may have taken the port a moment ago; then dask finds one, and says so.
            warnings.filterwarnings("ignore", "(?s)Port .* is already in use", UserWarning)
            cluster = distributed.LocalCluster(
                n_workers=resources.n_workers,
                threads_per_worker=1,
                memory_limit=resources.memory_limit,
                host="127.0.0.1",
                dashboard_address=_dashboard_address(),
            )
        with cluster, distributed.Client(cluster) as client:
            _share_gpus(client)
            if cluster.dashboard_link and _has_bokeh():
                progress.message(f"dashboard: {cluster.dashboard_link}")
            yield client


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Let processes started here ignore Ctrl-C.

    A terminal sends Ctrl-C to every process; the client alone decides what happens then.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals belong to the main thread
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _share_gpus(client: Any) -> None:  # noqa: ANN401 -- untyped library
    """Number the workers, so that each takes a GPU of its own, as the processes of ``torchrun`` do.

    A worker that is started again in the place of one that died takes the first GPU.
    """
    if not list(Path("/dev").glob("nvidia[0-9]*")):
        return
    for rank, address in enumerate(client.scheduler_info(n_workers=-1)["workers"]):
        client.run(_take_rank, rank, workers=[address])


def _take_rank(rank: int) -> None:
    os.environ["LOCAL_RANK"] = str(rank)  # see `tomodist.learned.networks.device`


def _dashboard_address() -> str | None:
    """Loopback, on the usual port if it is free; none without bokeh, which draws it."""
    import socket

    if not _has_bokeh():
        return None
    with socket.socket() as probe:
        port = 0 if probe.connect_ex(("127.0.0.1", 8787)) == 0 else 8787
    return f"127.0.0.1:{port}"


def _has_bokeh() -> bool:
    import importlib.util

    return importlib.util.find_spec("bokeh") is not None


@contextmanager
def _remote_client(address: str) -> Iterator[Any]:
    import distributed

    try:
        client = distributed.Client(address, timeout=_PATIENCE)
    except (OSError, ValueError) as error:
        raise InputError(
            f"`cluster` {address}: no dask scheduler answers ({error}); start one with "
            "`dask scheduler`, or set `cluster` to local"
        ) from error
    with client:
        yield client


def _remote_resources(client: Any, address: str) -> Resources:  # noqa: ANN401 -- untyped library
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    if not workers:
        raise InputError(f"`cluster` {address}: the scheduler has no workers; start some")
    threads = max(w["nthreads"] for w in workers)
    limits = [w["memory_limit"] for w in workers if w["memory_limit"]]
    return Resources(len(workers), threads, min(limits, default=int(_SHARE * free_memory())))

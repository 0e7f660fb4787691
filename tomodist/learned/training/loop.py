"""The loop: steps, validations, checkpoints, early stop, Ctrl-C, several processes.

What is trained is a `Job`: how a batch is made, what its loss is, how a network is judged. The loop
knows nothing of images. Under ``torchrun`` every process takes steps on batches of its own; the
first one judges and writes.
"""

from __future__ import annotations

import copy
import json
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from tomodist.errors import InputError
from tomodist.formats.files import whole_file
from tomodist.learned.model.torch_network import TorchNetwork
from tomodist.learned.networks.device import autocast, device, memory_format, use_threads
from tomodist.runtime.runner import Progress, Silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tomodist.learned.model.network import Network
    from tomodist.learned.training.examples import Example, Loader, Pool
    from tomodist.learned.training.schedule import Schedule
    from tomodist.values.arrays import AnyArray

Batch = dict[str, "AnyArray"]
_CLIP = 12.0  # of the gradient's norm


@dataclass(frozen=True)
class Score:
    """How good a network is: one number to choose by, and what to remember of it."""

    value: float
    details: dict[str, Any] = field(default_factory=dict)


class Job(Protocol):
    """Batches, loss and score of a kind of training."""

    def batch(self, examples: Sequence[Example], random: np.random.Generator) -> Batch:
        """Batch of one step.

        Parameters
        ----------
        examples : sequence of Example
            Examples to draw patches from.
        random : Generator
            Source of random numbers.

        Returns
        -------
        dict of str to ndarray
            Arrays of a step; ``"image"``, shape (n, 1, ...), float32, is one of them.
        """
        ...

    def loss(self, module: Any, batch: dict[str, Any]) -> Any:  # noqa: ANN401 -- torch's
        """Loss of a batch.

        Parameters
        ----------
        module : Module
            The network.
        batch : dict of str to Tensor
            From `batch`, as tensors.

        Returns
        -------
        Tensor
            A number.
        """
        ...

    def score(self, network: Network, loaders: Sequence[Loader]) -> Score:
        """Quality of a network on validation examples.

        Parameters
        ----------
        network : Network
            The network as it detects.
        loaders : sequence of Loader
            Examples that it does not learn from.

        Returns
        -------
        Score
        """
        ...


@dataclass(frozen=True, eq=False)
class Trained:
    """The best network of a run.

    Parameters
    ----------
    weights : dict of str to ndarray
        By name.
    step : int
        After which it was the best.
    score : Score
        Of its validation.
    history : list of dict
        Per validation: ``step``, ``loss`` (mean since the last one), ``score``.
    stopped : {"steps", "patience", "interrupted"}
        Why training ended.
    """

    weights: dict[str, AnyArray]
    step: int
    score: Score
    history: list[dict[str, float]]
    stopped: str


@dataclass
class _State:
    """State of a run."""

    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, Any] | None = None  # value, details, step, weights

    @property
    def since_best(self) -> int:
        """Validations since the best one."""
        best = -1 if self.best is None else self.best["step"]
        return sum(entry["step"] > best for entry in self.history)


def train(
    job: Job,
    module: Any,  # noqa: ANN401 -- see `tomodist.learned.networks.build`
    pool: Pool,
    validation: Sequence[Loader],
    schedule: Schedule,
    *,
    checkpoint: Path | None = None,
    fingerprint: str = "",
    progress: Progress | None = None,
) -> Trained:
    """Train a network.

    Parameters
    ----------
    job : Job
        What for.
    module : Module
        The network; its weights change.
    pool : Pool
        Examples to learn from.
    validation : sequence of Loader
        Examples to judge by.
    schedule : Schedule
        How long, and how.
    checkpoint : Path, optional
        File from which an interrupted run goes on; written at every validation and on Ctrl-C.
    fingerprint : str
        Of all that determines the run; a checkpoint of another is not continued.
    progress : Progress, optional
        Informed about every step.

    Returns
    -------
    Trained

    Raises
    ------
    InputError
        If the loss is not finite.
    """
    progress = progress or Silent()
    with _processes() as (rank, n_ranks):
        module = module.to(device()).to(memory_format=memory_format(_dims(module)))
        optimizer = torch.optim.AdamW(
            module.parameters(), schedule.learning_rate, weight_decay=schedule.weight_decay
        )
        # Before the module is wrapped: checkpoints hold the plain names of weights.
        state = _resumed(checkpoint, fingerprint, module, optimizer)
        parallel = torch.nn.parallel.DistributedDataParallel(module) if n_ranks > 1 else module
        half = _may_halve(module, schedule.side)
        run = _Run(
            job, module, parallel, optimizer, pool, validation, schedule, half, rank, n_ranks
        )
        bar = None
        if rank == 0:
            bar = progress.start("train", schedule.steps)
            for _ in range(state.step):
                progress.advance(bar)

        def advance() -> None:
            if rank == 0:
                progress.advance(bar)

        with _interrupted() as stop:
            stopped = run.until_done(state, stop, checkpoint, fingerprint, advance)
        if state.best is None:  # interrupted before the first validation
            raise KeyboardInterrupt
        best = state.best
        weights = {name: t.numpy() for name, t in best["weights"].items()}
        score = Score(best["value"], json.loads(best["details"]))
        return Trained(weights, best["step"], score, state.history, stopped)


@dataclass
class _Run:
    """Constant values of a run."""

    job: Job
    module: Any
    parallel: Any
    optimizer: Any
    pool: Pool
    validation: Sequence[Loader]
    schedule: Schedule
    half: bool
    rank: int
    n_ranks: int

    def until_done(
        self,
        state: _State,
        stop: threading.Event,
        checkpoint: Path | None,
        fingerprint: str,
        advance: Callable[[], None],
    ) -> str:
        """Take steps; returns why the training ended."""
        plan, losses = self.schedule, []
        with ThreadPoolExecutor(1) as ahead:  # the next batch is made while a step is taken
            coming = ahead.submit(self._batch, state.step)
            while state.step < plan.steps:
                if state.history and state.since_best >= plan.patience:
                    return "patience"
                batch = coming.result()
                coming = ahead.submit(self._batch, state.step + 1)
                losses.append(self._step(state.step, batch))
                state.step += 1
                advance()
                end = state.step % plan.every == 0 or state.step == plan.steps
                if end:
                    self._validate(state, float(np.mean(losses)))
                    losses = []
                halt = self._any(stop.is_set())
                if self.rank == 0 and checkpoint is not None and (end or halt):
                    # A mean over the last steps is lost on Ctrl-C; the steps themselves are not.
                    _save(checkpoint, fingerprint, self.module, self.optimizer, state)
                if halt:
                    return "interrupted"
        return "steps"

    def _batch(self, step: int) -> Batch:
        examples = self.pool.examples(step // self.schedule.every)
        # From (seed, step, rank) alone: a resumed run draws the same numbers.
        random = np.random.default_rng((self.schedule.seed, step, self.rank))
        return self.job.batch(examples, random)

    def _step(self, step: int, batch: Batch) -> float:
        where = device()
        tensors: dict[str, Any] = {k: torch.from_numpy(v).to(where) for k, v in batch.items()}
        image = tensors["image"]
        tensors["image"] = image.contiguous(memory_format=memory_format(image.ndim - 2))
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(step)
        self.module.train()
        # Of what draws from torch's own generator (dropout, sampled anchors): the same in any run.
        torch.manual_seed((self.schedule.seed * 1_000_003 + step) * 1_009 + self.rank)
        self.optimizer.zero_grad(set_to_none=True)
        with autocast(enabled=self.half):
            loss = self.job.loss(self.parallel, tensors)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), _CLIP)
        self.optimizer.step()
        value = float(loss.detach())
        if not np.isfinite(value):
            raise InputError(
                f"the loss of step {step} is {value}; use a smaller `learning_rate`, or check the "
                "images for damage"
            )
        return value

    def _validate(self, state: _State, loss: float) -> None:
        score = Score(0.0)
        if self.rank == 0:
            score = self.job.score(TorchNetwork(self.module), self.validation)
        if self.n_ranks > 1:
            scores = [score]
            # Early stopping depends on the score, so all processes must have the same one.
            torch.distributed.broadcast_object_list(scores, 0)
            score = scores[0]
        state.history.append({"step": state.step, "loss": loss, "score": score.value})
        if state.best is None or score.value > state.best["value"]:
            state.best = {
                "value": score.value,
                "details": json.dumps(score.details),
                "step": state.step,
                "weights": _weights(self.module),
            }

    def _any(self, flag: bool) -> bool:  # noqa: FBT001
        """Whether it is true of any process: all of them must leave at the same step."""
        if self.n_ranks == 1:
            return flag
        flags = torch.tensor([int(flag)], device=device())
        torch.distributed.all_reduce(flags, torch.distributed.ReduceOp.MAX)
        return bool(flags.item())


def _dims(module: Any) -> int:  # noqa: ANN401
    return int(max(p.ndim for p in module.parameters()) - 2)


def _may_halve(module: Any, side: int) -> bool:  # noqa: ANN401
    """Whether bfloat16 can be trusted for patches of a side.

    On the CPU, oneDNN's gradient of a 3 x 3 x 3 convolution's weights is wrong in bfloat16 where
    its output has 2 voxels along each axis: it adds memory that was never written (NaN at random
    steps; torch 2.13, one thread). With 3 or more it agrees with float32.
    """
    return _dims(module) == 2 or device().type == "cuda" or side >= 3 * module.multiple


def _weights(module: Any) -> dict[str, Any]:  # noqa: ANN401
    """Copy of the weights in memory, in the plain layout."""
    return {
        name: value.detach().to("cpu", copy=True).contiguous()
        for name, value in module.state_dict().items()
    }


def _save(path: Path, fingerprint: str, module: Any, optimizer: Any, state: _State) -> None:  # noqa: ANN401
    """Write a checkpoint."""
    content = {
        "fingerprint": fingerprint,
        "module": _weights(module),
        "optimizer": copy.deepcopy(optimizer.state_dict()),
        "step": state.step,
        "history": state.history,
        "best": state.best,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as draft:
        torch.save(content, draft)


def _resumed(path: Path | None, fingerprint: str, module: Any, optimizer: Any) -> _State:  # noqa: ANN401
    """Go on from a checkpoint, if there is one of the same run."""
    if path is None or not path.exists():
        return _State()
    try:
        content = torch.load(path, map_location=device(), weights_only=True)
    except Exception as error:  # whatever a damaged file raises
        raise InputError(
            f"{path} is damaged ({type(error).__name__}); remove it to restart the training"
        ) from error
    if content["fingerprint"] != fingerprint:
        return _State()
    module.load_state_dict(content["module"])
    optimizer.load_state_dict(content["optimizer"])
    best = content["best"]
    if best is not None:
        best["weights"] = {name: value.cpu() for name, value in best["weights"].items()}
    return _State(content["step"], content["history"], best)


@contextmanager
def _interrupted() -> Iterator[threading.Event]:
    """Ctrl-C (and SIGTERM) set an event instead of breaking a step; a second Ctrl-C breaks it."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def note(number: int, _: Any) -> None:  # noqa: ANN401 -- a frame
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _processes() -> Iterator[tuple[int, int]]:
    """Rank of this process and number of processes, from the environment of ``torchrun``."""
    n = int(os.environ.get("WORLD_SIZE", "1"))
    if n == 1:
        yield 0, 1
        return
    torch.distributed.init_process_group("nccl" if device().type == "cuda" else "gloo")
    try:
        yield torch.distributed.get_rank(), n
    finally:
        torch.distributed.destroy_process_group()


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return int(os.environ.get("RANK", "0")) == 0


def use_all_cores() -> None:
    """Let torch use the cores of this machine, shared with the other processes of ``torchrun``.

    ``OMP_NUM_THREADS`` says otherwise: two threads that wait for each other on cores that are busy
    with something else are many times slower than one.
    """
    if "OMP_NUM_THREADS" in os.environ:
        use_threads(int(os.environ["OMP_NUM_THREADS"]))
        return
    n = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    use_threads(max(1, n // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))

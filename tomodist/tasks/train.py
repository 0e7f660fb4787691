"""Training as a task: stores in, a model folder with its pictures out.

    stores --loaders, split--> examples --train--> best weights --> model.json, model.safetensors
                                     |
                        <output>.training/checkpoint.pt       while it is not finished

One rule: the same command again goes on where it stopped, and does nothing when it is finished.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tomodist.errors import ExistsError, InputError
from tomodist.learned.model.card import (
    ModelCard,
    check_model_target,
    is_model,
    read_card,
    write_model,
)
from tomodist.learned.networks.spec import FASTER_RCNN
from tomodist.learned.training.examples import Loaded, Pool, spread
from tomodist.pictures.training import draw_history
from tomodist.store.locks import locked
from tomodist.values.fingerprints import differences, digest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tomodist.learned.training.examples import Loader
    from tomodist.learned.training.loop import Job, Trained
    from tomodist.planning.plan import Plan, Resources
    from tomodist.runtime.runner import Progress, Session, Work
    from tomodist.tasks.training import TrainingTask

_JUDGED = 2**28  # bytes of examples that validations look at, read once
_LIBRARIES = ("tomodist", "torch", "numpy", "scikit-image")


@dataclass(frozen=True)
class TrainModel:
    """Step: the model folder of a training task; all of it is done in this process.

    Parameters
    ----------
    task : TrainingTask
        What is learnt.
    """

    task: TrainingTask

    def plans(self, _: Resources) -> tuple[Plan, ...]:
        """No tasks; examples take the memory that the schedule says."""
        return ()

    def is_current(self, *, overwrite: bool) -> bool:
        """Whether the model is there, trained just so and to its end."""
        task = self.task
        return finished_model(task, task.fingerprint(), overwrite=overwrite) is not None

    def work(self, session: Session, plans: Sequence[Plan]) -> Work[ModelCard]:  # noqa: ARG002
        """Train, and write the model with its pictures."""
        yield from ()
        return train_and_write(self.task, session.progress)


def train_and_write(task: TrainingTask, progress: Progress | None = None) -> ModelCard:
    """Train, and write the model with its pictures; one that is there is replaced.

    Parameters
    ----------
    task : TrainingTask
        What to do.
    progress : Progress, optional
        Shows every step.

    Returns
    -------
    ModelCard
        Of the model; ``training["stopped"]`` says why it ended.

    Raises
    ------
    InputError, StoreError
    """
    _wait_politely()
    from tomodist.learned.training.loop import is_first, use_all_cores

    parts = task.loaders()
    use_all_cores()
    pool = Pool(parts.training, task.schedule.memory, task.schedule.seed)
    module = _first_network(task, pool)
    judged = [Loaded(x.name, x.load()) for x in spread(parts.validation, _JUDGED)]
    _check_marked(task, judged, pool)
    folder = task.output.with_name(f"{task.output.name}.training")
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "lock", str(task.output)) if is_first() else nullcontext():
        return _train_and_write(task, task.fingerprint(), folder, module, pool, judged, progress)


def _train_and_write(
    task: TrainingTask,
    fingerprint: dict[str, Any],
    folder: Path,
    module: Any,  # noqa: ANN401 -- see `build`
    pool: Pool,
    judged: Sequence[Loader],
    progress: Progress | None,
) -> ModelCard:
    """Train; the best network becomes the model, and the checkpoint goes when all is done."""
    from tomodist.learned.networks.build import n_parameters
    from tomodist.learned.training.loop import is_first, train

    began = time.perf_counter()
    trained = train(
        _job(task, module),
        module,
        pool,
        judged,
        task.schedule,
        checkpoint=folder / "checkpoint.pt",
        fingerprint=digest(fingerprint),
        progress=progress,
    )
    numbers = {
        "fingerprint": fingerprint,
        "examples": len(pool),
        "validation_examples": len(judged),
        "weights": n_parameters(module),
        "seconds_of_the_last_run": round(time.perf_counter() - began, 1),
    }
    tiling = {name: max(1, getattr(module, name, 1)) for name in ("multiple", "radius")}
    card = _card(task, trained, tiling, numbers)
    if is_first():
        card = write_model(task.output, card, trained.weights, overwrite=True)
        draw_history(trained.history, trained.step, task.task, task.output / "training.png")
        if trained.stopped != "interrupted":
            shutil.rmtree(folder, ignore_errors=True)
    return card


def _wait_politely() -> None:
    """Let torch's threads soon sleep while they wait for each other; before torch is loaded.

    They spin otherwise, and on cores that something else uses that takes the time of the very
    thread they wait for: 60 steps on two threads beside busy processes took 49 to 96 s, and 8 to 18
    with few spins. On a quiet machine 150 steps take 5.6 s either way (8.2 without any spin).
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def finished_model(
    task: TrainingTask, fingerprint: dict[str, Any], *, overwrite: bool = False
) -> ModelCard | None:
    """The model, if it is there and finished; None if it is to be made.

    Parameters
    ----------
    task : TrainingTask
        What is trained, and where the model goes.
    fingerprint : dict
        What determines the model.
    overwrite : bool
        Whether another model may be replaced.

    Returns
    -------
    ModelCard or None

    Raises
    ------
    ExistsError
        If there is a model of another training, and `overwrite` is false.
    InputError
        If something else is in the way.
    """
    if not is_model(task.output):
        check_model_target(task.output, overwrite=overwrite)
        return None
    card = read_card(task.output)
    before = card.training.get("fingerprint") or {}
    if before == fingerprint:
        return None if card.training.get("stopped") == "interrupted" else card
    if not overwrite:
        changes = "; ".join(differences(before, fingerprint))
        raise ExistsError(
            f"{task.output} exists and was trained differently ({changes}); use `overwrite` "
            "to replace it, or another `output`"
        )
    return None


def _check_marked(task: TrainingTask, judged: Sequence[Loader], pool: Pool) -> None:
    """Refuse examples in which nothing is left at the model's pixel size."""
    for what, examples in (
        ("learnt from", pool.examples(0)),
        ("held out", (loader.load() for loader in judged)),
    ):
        if not any(len(places) for example in examples for places in example.places):
            raise InputError(
                f"nothing of {', '.join(task.labels)} is left in what is {what} at pixels of "
                f"{task.size:g} Å; use a smaller `pixel_size`, more annotations, or `validation`"
            )


def _first_network(task: TrainingTask, pool: Pool) -> Any:  # noqa: ANN401 -- see `build`
    """The network before its first step; of boxes it starts from their mean size."""
    from tomodist.learned.networks.build import seeded

    module = seeded(task.architecture, task.schedule.seed)
    _check_network(task, module)
    if task.task == "boxes" and task.network != FASTER_RCNN:
        from tomodist.learned.training.centers import mean_log_size, set_first_outputs

        boxes = [b for example in pool.examples(0) for b in example.boxes]
        set_first_outputs(module, mean_log_size(boxes))
    return module


def _check_network(task: TrainingTask, module: Any) -> None:  # noqa: ANN401 -- see `build`
    """Refuse patches and outputs that do not fit the network."""
    side, multiple = task.schedule.side, getattr(module, "multiple", 1)
    if side % multiple:
        raise InputError(
            f"`side` is {side}, but patches of this network need a multiple of {multiple}; give "
            f"{multiple * max(1, round(side / multiple))}, or fewer levels (`option` widths=...)"
        )
    if task.task == "segment" and module.output_stride != 1:
        raise InputError("output_stride applies only to networks for boxes; remove the `option`")


def _job(task: TrainingTask, module: Any) -> Job:  # noqa: ANN401 -- see `build`
    """What is trained for."""
    if task.task == "segment":
        from tomodist.learned.training.segment import SegmentJob

        return SegmentJob(task.schedule, task.classes)
    if task.network == FASTER_RCNN:
        from tomodist.learned.training.faster_rcnn import FasterRCNNJob

        return FasterRCNNJob(task.schedule, task.classes)
    from tomodist.learned.training.centers import CentersJob

    return CentersJob(task.schedule, task.classes, module.output_stride)


def _card(
    task: TrainingTask, trained: Trained, tiling: dict[str, int], numbers: dict[str, Any]
) -> ModelCard:
    architecture, details = task.architecture, trained.score.details
    return ModelCard(
        task=task.task,
        dims=task.dims,
        architecture=architecture.name,
        options=dict(architecture.options),
        classes=task.classes,
        pixel_size=task.size,
        thresholds=tuple(details["thresholds"]),
        tiling=tiling,
        training={
            "data": task.data(),
            "labels": list(task.labels),
            "reconstruction": task.reconstruction,
            "schedule": asdict(task.schedule),
            "best_step": trained.step,
            "stopped": trained.stopped,
            "history": trained.history,
            **numbers,
        },
        metrics={"validation": details},
        versions={"python": platform.python_version(), **_versions()},
    )


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in _LIBRARIES}

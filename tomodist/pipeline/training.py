"""Training as a task: stores in, a model folder with its pictures out.

    stores --loaders, divided--> examples --train--> best weights --> model.json, model.safetensors
                                     |
                        <output>.training/checkpoint.pt       while it is not finished

One rule: the same command again goes on where it stopped, and does nothing when it is finished.
"""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import shutil
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tomodist.detect.learned.normalise import scaled_shape
from tomodist.errors import ExistsError, InputError
from tomodist.io.fingerprints import differences, digest, plain
from tomodist.io.models import (
    ModelCard,
    check_model_target,
    is_model,
    read_card,
    write_model,
)
from tomodist.io.store import check_label
from tomodist.networks.spec import FASTER_RCNN, N_PLACE, Architecture
from tomodist.pictures.training import draw_history
from tomodist.training.examples import Pool, spread
from tomodist.training.schedule import Schedule
from tomodist.training.stores import (
    Divided,
    Source,
    block_loaders,
    check_reconstruction,
    divided,
    tilt_loaders,
    whole_loaders,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tomodist.io.models import Task
    from tomodist.io.store import Tomogram
    from tomodist.stages.execute import Progress
    from tomodist.training.examples import Loader
    from tomodist.training.loop import Job, Trained

VERSION = 1  # of training; raise it when the same task would give other weights
_JUDGED = 2**28  # bytes of examples that a validation looks at, at most
_SMALLEST, _WIDEST = 16, 32768  # pixels of an image that is learnt from
STRIDE = 4  # of the cells in which centres are looked for
_LIBRARIES = ("tomodist", "torch", "numpy", "scikit-image")


@dataclass(frozen=True)
class TrainingTask:
    """What is learnt, from what, and how.

    Parameters
    ----------
    task : {"segment", "boxes"}
        What comes out of the model.
    stores : tuple of Tomogram
        To learn from.
    labels : tuple of str
        Maps (or label volumes) of the stores, one per class.
    classes : tuple of str
        What the model calls them.
    output : Path
        The model folder.
    held_out : tuple of Tomogram
        To judge by; by default the last of three or more stores, else a block of each.
    reconstruction : str, optional
        Learn in 3D from the reconstruction of this name.
    network : str
        Name of the network; its outputs follow from the classes.
    options : dict
        Of the network.
    pixel_size : float, optional
        Of the model, in Å; by default that of the first store.
    schedule : Schedule
        How long, and how.
    """

    task: Task
    stores: tuple[Tomogram, ...]
    labels: tuple[str, ...]
    classes: tuple[str, ...]
    output: Path
    held_out: tuple[Tomogram, ...] = ()
    reconstruction: str | None = None
    network: str = "residual-unet"
    options: dict[str, Any] = field(default_factory=dict)
    pixel_size: float | None = None
    schedule: Schedule = field(default_factory=Schedule)

    def __post_init__(self) -> None:
        if not self.stores or not self.labels:
            raise InputError("training needs one or more stores, and one or more --label")
        if len(self.classes) != len(self.labels):
            raise InputError(f"{len(self.classes)} classes for {len(self.labels)} labels")
        if self.dims == 3 and self.task == "boxes":
            raise InputError("boxes are learnt on tilts; leave --3d out")
        for what, names in (("--label", self.labels), ("class", self.classes)):
            twice = [name for name in names if names.count(name) > 1]
            if twice:
                raise InputError(f"{what} {twice[0]} is given twice; give each once")
        for name in self.classes:
            check_label(name)
        if self.pixel_size is not None and not 0 < self.pixel_size < math.inf:
            raise InputError(
                f"--pixel-size is {self.pixel_size}; it must be a positive number of Å"
            )
        if self.dims == 3 and self.pixel_size is not None:
            raise InputError("--pixel-size is of images; volumes are not resampled: leave it out")
        for store in (*self.stores, *self.held_out) if self.dims == 2 else ():
            geometry = store.geometry
            sides = scaled_shape(geometry.image_shape, geometry.pixel_size, self.size)
            if min(sides) < _SMALLEST or max(sides) > _WIDEST:
                raise InputError(
                    f"at --pixel-size {self.size:g} Å the images of {store.path} have {sides[0]} x "
                    f"{sides[1]} pixels; give a size at which they have {_SMALLEST} to {_WIDEST}"
                )
        paths = [store.path.resolve() for store in (*self.stores, *self.held_out)]
        again = [path for path in paths if paths.count(path) > 1]
        if again:
            raise InputError(f"{again[0]} is given twice; what is learnt from cannot be judged by")

    @property
    def dims(self) -> Literal[2, 3]:
        """Of the network."""
        return 2 if self.reconstruction is None else 3

    @property
    def size(self) -> float:
        """Å per pixel of the model."""
        if self.pixel_size is not None:
            return self.pixel_size
        return self.stores[0].geometry.pixel_size if self.dims == 2 else self._voxel_size

    @property
    def _voxel_size(self) -> float:
        sizes = {s.grid.voxel_size for s in (*self.stores, *self.held_out)}
        if len(sizes) > 1:
            words = ", ".join(f"{size:g}" for size in sorted(sizes))
            raise InputError(f"the reconstructions have voxels of {words} Å; give alike ones")
        return self.stores[0].grid.voxel_size

    @property
    def architecture(self) -> Architecture:
        """The network."""
        n, options = len(self.classes), dict(self.options)
        if self.task == "boxes":
            n += N_PLACE
            if self.network == "residual-unet":
                options = {"output_stride": STRIDE, **options}
        return Architecture(self.network, self.dims, n, options)

    def loaders(self) -> Divided:
        """Examples to learn from and to judge by; everything about them is checked here.

        Raises
        ------
        InputError, StoreError
        """
        if self.reconstruction is not None:
            return self._blocks(self.reconstruction)
        boxes = self.task == "boxes"
        per_store, held_out = (
            [tilt_loaders(self._source(s), with_boxes=boxes) for s in stores]
            for stores in (self.stores, self.held_out)
        )
        return divided(per_store, held_out)

    def _blocks(self, name: str) -> Divided:
        if self.held_out or len(self.stores) > 2:
            whole = [
                [whole_loaders(self._source(s), name) for s in stores]
                for stores in (self.stores, self.held_out)
            ]
            return divided(*whole)
        parts = [block_loaders(self._source(s), name) for s in self.stores]
        return Divided(
            [one for part in parts for one in part.training],
            [one for part in parts for one in part.validation],
        )

    def _source(self, tomogram: Tomogram) -> Source:
        return Source(tomogram, self.labels, self.size)

    def data(self) -> list[dict[str, Any]]:
        """What is learnt from and judged by, with the fingerprints of all that matters."""
        kind, images = "maps", "tilt_series"
        if self.reconstruction is not None:
            kind, images = "labels", f"reconstructions/{self.reconstruction}"
            for store in (*self.stores, *self.held_out):
                check_reconstruction(store, self.reconstruction)
        found = []
        for role, stores in (("training", self.stores), ("held out", self.held_out)):
            for store in stores:
                units = [images, *(f"{kind}/{label}" for label in self.labels)]
                digests = {unit: store.digest(unit) for unit in units}
                found.append({"store": str(store.path), "role": role, "fingerprints": digests})
        return found

    def fingerprint(self) -> dict[str, Any]:
        """Everything that determines the weights, as plain values."""
        data = [{k: v for k, v in entry.items() if k != "store"} for entry in self.data()]
        architecture = self.architecture
        found: dict[str, Any] = plain(
            {
                "version": VERSION,
                "task": self.task,
                "architecture": [architecture.name, architecture.dims, architecture.options],
                "classes": self.classes,
                "pixel_size": self.size,
                **asdict(self.schedule),
                "processes": int(os.environ.get("WORLD_SIZE", "1")),
                "data": data,
            }
        )
        return found


def run_training(
    task: TrainingTask, *, progress: Progress | None = None, overwrite: bool = False
) -> ModelCard:
    """Train, and write the model with its pictures.

    Parameters
    ----------
    task : TrainingTask
        What to do.
    progress : Progress, optional
        Told of every step.
    overwrite : bool
        Replace a model of another training.

    Returns
    -------
    ModelCard
        Of the model; ``training["stopped"]`` says why it ended.

    Raises
    ------
    ExistsError, InputError, StoreError
    """
    _wait_politely()
    from tomodist.networks.build import n_parameters
    from tomodist.training.loop import is_first, train, use_all_cores

    fingerprint = task.fingerprint()
    finished = finished_model(task, fingerprint, overwrite=overwrite)
    if finished is not None:
        return finished
    parts = task.loaders()
    use_all_cores()
    pool = Pool(parts.training, task.schedule.memory, task.schedule.seed)
    module = _first_network(task, pool)
    judged = spread(parts.validation, _JUDGED)
    _check_marked(task, judged, pool)
    folder = task.output.with_name(f"{task.output.name}.training")
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
            f"{task.output} exists and was trained differently ({changes}); use --overwrite to "
            "replace it, or another --output"
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
                f"{task.size:g} Å; use a smaller --pixel-size, more annotations, or --validation"
            )


def _first_network(task: TrainingTask, pool: Pool) -> Any:  # noqa: ANN401 -- see `build`
    """The network before its first step; of boxes it starts from their mean size."""
    from tomodist.networks.build import seeded

    module = seeded(task.architecture, task.schedule.seed)
    _check_network(task, module)
    if task.task == "boxes" and task.network != FASTER_RCNN:
        from tomodist.training.centers import mean_log_size, set_first_outputs

        boxes = [b for example in pool.examples(0) for b in example.boxes]
        set_first_outputs(module, mean_log_size(boxes))
    return module


def _check_network(task: TrainingTask, module: Any) -> None:  # noqa: ANN401 -- see `build`
    """Refuse patches and outputs that do not fit the network."""
    side, multiple = task.schedule.side, getattr(module, "multiple", 1)
    if side % multiple:
        raise InputError(
            f"--side is {side}, but patches of this network need a multiple of {multiple}; give "
            f"{multiple * max(1, round(side / multiple))}, or fewer levels (--option widths=...)"
        )
    if task.task == "segment" and module.output_stride != 1:
        raise InputError("output_stride is of networks for boxes; leave the --option out")


def _job(task: TrainingTask, module: Any) -> Job:  # noqa: ANN401 -- see `build`
    """What is trained for."""
    if task.task == "segment":
        from tomodist.training.segment import SegmentJob

        return SegmentJob(task.schedule, task.classes)
    if task.network == FASTER_RCNN:
        from tomodist.training.faster_rcnn import FasterRCNNJob

        return FasterRCNNJob(task.schedule, task.classes)
    from tomodist.training.centers import CentersJob

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


def class_names(labels: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Labels and classes of ``--label``: ``LABEL``, or ``LABEL=CLASS`` for another name.

    Examples
    --------
    >>> class_names(["granule", "true-gold=gold"])
    (('granule', 'true-gold'), ('granule', 'gold'))
    """
    pairs = [label.partition("=") for label in labels]
    return tuple(p[0] for p in pairs), tuple(p[2] or p[0] for p in pairs)

"""What is to be learnt, as a value: stores, labels, network, schedule.

One rule: everything that can be wrong with it is found when it is made, or by `loaders`, before the
first step is taken.
"""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tomodist.errors import InputError
from tomodist.learned.detectors.centers import STRIDE
from tomodist.learned.detectors.normalise import scaled_shape
from tomodist.learned.model.card import read_card
from tomodist.learned.networks.spec import N_REGRESSION, Architecture
from tomodist.learned.training.schedule import Schedule
from tomodist.sources.examples import (
    ExampleSplit,
    Source,
    block_loaders,
    check_reconstruction,
    split_examples,
    tilt_loaders,
    whole_loaders,
)
from tomodist.store.tomogram import check_label
from tomodist.values.fingerprints import plain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tomodist.learned.model.card import ModelCard, Task
    from tomodist.runtime.runner import Session
    from tomodist.steps.parts.base import Step
    from tomodist.store.tomogram import Tomogram, Unit

VERSION = 1  # of training; raise it when the same task would give other weights
_SMALLEST, _WIDEST = 16, 32768  # pixels of an image that is learnt from


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
            raise InputError("training needs one or more stores, and one or more of `label`")
        if len(self.classes) != len(self.labels):
            raise InputError(f"{len(self.classes)} classes for {len(self.labels)} labels")
        if self.dims == 3 and self.task == "boxes":
            raise InputError("boxes are learnt on tilts, not in 3D; remove `solid`")
        for what, names in (("--label", self.labels), ("class", self.classes)):
            twice = [name for name in names if names.count(name) > 1]
            if twice:
                raise InputError(f"{what} {twice[0]} is given twice; give each once")
        for name in self.classes:
            check_label(name)
        if self.pixel_size is not None and not 0 < self.pixel_size < math.inf:
            raise InputError(
                f"`pixel_size` is {self.pixel_size}; it must be a positive number of Å"
            )
        if self.dims == 3 and self.pixel_size is not None:
            raise InputError(
                "`pixel_size` applies only to images; volumes are not resampled: remove it"
            )
        for store in (*self.stores, *self.held_out) if self.dims == 2 else ():
            geometry = store.geometry
            sides = scaled_shape(geometry.image_shape, geometry.pixel_size, self.size)
            if min(sides) < _SMALLEST or max(sides) > _WIDEST:
                raise InputError(
                    f"at a `pixel_size` of {self.size:g} Å the images of {store} have {sides[0]} x "
                    f"{sides[1]} pixels; use a size at which they have {_SMALLEST} to {_WIDEST}"
                )
        paths = [store.place.identity for store in (*self.stores, *self.held_out)]
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
            n += N_REGRESSION
            if self.network == "residual-unet":
                options = {"output_stride": STRIDE, **options}
        return Architecture(self.network, self.dims, n, options)

    def steps(self) -> tuple[Step, ...]:
        """One step."""
        from tomodist.tasks.train import TrainModel

        return (TrainModel(self),)

    def check(self, *, overwrite: bool) -> None:
        """All that can be wrong is found when the task is made, or by `loaders`."""

    def check_seen(self, session: Session) -> None:
        """Everything is done in this process."""

    def result(self, outcomes: Sequence[Any]) -> ModelCard:
        """The card of the model; ``training["stopped"]`` says why training ended."""
        # Under torchrun only the first process writes the model: the others must not read it yet.
        (card,) = outcomes
        return read_card(self.output) if card is None else card

    def loaders(self) -> ExampleSplit:
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
        return split_examples(per_store, held_out)

    def _blocks(self, name: str) -> ExampleSplit:
        if self.held_out or len(self.stores) > 2:
            whole = [
                [whole_loaders(self._source(s), name) for s in stores]
                for stores in (self.stores, self.held_out)
            ]
            return split_examples(*whole)
        parts = [block_loaders(self._source(s), name) for s in self.stores]
        return ExampleSplit(
            [one for part in parts for one in part.training],
            [one for part in parts for one in part.validation],
        )

    def _source(self, tomogram: Tomogram) -> Source:
        return Source(tomogram, self.labels, self.size)

    def data(self) -> list[dict[str, Any]]:
        """What is learnt from and judged by, with the fingerprints of all that matters."""
        if self.reconstruction is not None:
            for store in (*self.stores, *self.held_out):
                check_reconstruction(store, self.reconstruction)
        data = []
        for role, stores in (("training", self.stores), ("held out", self.held_out)):
            for store in stores:
                digests = {unit.name: unit.digest for unit in self._units(store)}
                data.append({"store": str(store), "role": role, "fingerprints": digests})
        return data

    def _units(self, store: Tomogram) -> list[Unit]:
        """What training reads of a store."""
        labels = [store.label(label) for label in self.labels]
        if self.reconstruction is None:
            return [store.series, *(label.maps for label in labels)]
        volume = store.reconstruction(self.reconstruction)
        return [volume, *(label.labels for label in labels)]

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


def class_names(labels: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Labels and classes of ``--label``: ``LABEL``, or ``LABEL=CLASS`` for another name.

    Examples
    --------
    >>> class_names(["granule", "true-gold=gold"])
    (('granule', 'true-gold'), ('granule', 'gold'))
    """
    pairs = [label.partition("=") for label in labels]
    return tuple(p[0] for p in pairs), tuple(p[2] or p[0] for p in pairs)

"""Training in memory, as the experiments on learned detectors share it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from tomodist.learned.model.torch_network import TorchNetwork
from tomodist.learned.training.examples import Loaded, Pool
from tomodist.learned.training.loop import Job, Trained, train
from tomodist.learned.training.split import block_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.experiments.tomograms import SimulatedTomogram
    from tomodist.learned.training.schedule import Schedule

_MEMORY = 2**31


def split_tilts(
    known: Sequence[SimulatedTomogram], label: str, *, with_boxes: bool = False
) -> tuple[list[Loaded], list[Loaded]]:
    """Training and validation tilts of all tomograms.

    Parameters
    ----------
    known : sequence of SimulatedTomogram
        Tomograms to learn from.
    label : str
        Structures to learn.
    with_boxes : bool
        Boxes as targets, instead of masks.

    Returns
    -------
    list of Loaded
        Tilts for training.
    list of Loaded
        Tilts for validation.
    """
    training, validation = [], []
    for tomogram in known:
        every = tomogram.examples(label, with_boxes=with_boxes)
        split = block_of(tomogram.n_tilts)
        training += [every[t] for t in split.training]
        validation += [every[t] for t in split.validation]
    return training, validation


def learn(
    job: Job,
    module: Any,  # noqa: ANN401 -- see `build`
    training: list[Loaded],
    validation: list[Loaded],
    schedule: Schedule,
) -> tuple[TorchNetwork, Trained]:
    """Train one network.

    Parameters
    ----------
    job : Job
        What is learnt.
    module : Module
        The network; its weights change.
    training, validation : list of Loaded
        Examples.
    schedule : Schedule
        How long, and how.

    Returns
    -------
    TorchNetwork
        The network with the best weights.
    Trained
        The training's record.
    """
    trained = train(job, module, Pool(training, _MEMORY, 0), validation, schedule)
    module.load_state_dict({k: torch.from_numpy(v) for k, v in trained.weights.items()})
    return TorchNetwork(module), trained

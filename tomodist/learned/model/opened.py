"""Models as small values that travel to workers, and the networks that they open there.

One rule: a process opens a network once. Everything that can be wrong with a model is found by
`check`, before a cluster starts.
"""

from __future__ import annotations

import functools
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.errors import InputError
from tomodist.learned.model.card import ModelCard, card_summary, is_model, read_card, read_weights
from tomodist.learned.model.trial import n_threads
from tomodist.learned.networks.spec import FASTER_RCNN, N_COLUMNS, N_ROWS
from tomodist.values.fingerprints import digest

if TYPE_CHECKING:
    from tomodist.learned.model.network import Network

_LOCK = threading.Lock()
_PROBE = 64  # pixels: side of the image on which a network is tried


@dataclass(frozen=True)
class Model:
    """Model by its path and the hash of its weights.

    Parameters
    ----------
    path : str
        Absolute; a model folder, or an ONNX file with its document.
    sha256 : str
        Of the weights.
    document : str
        Digest of what the model says about itself: thresholds, pixel size, ...
    """

    path: str
    sha256: str
    document: str

    @classmethod
    def at(cls, path: str | Path) -> Model:
        """The model at a path; the document is read and checked.

        Raises
        ------
        InputError
        """
        path = Path(path).absolute()
        card = read_card(path)
        return cls(str(path), card.sha256, digest(asdict(card)))

    @property
    def card(self) -> ModelCard:
        """Description of the model."""
        return _card(self.path, self.document)

    def network(self) -> Network:
        """The network, opened once per process.

        Raises
        ------
        InputError
            If the weights are damaged, or are not those that the document names.
        """
        with _LOCK:  # several threads of a worker want it at the same time
            return _network(self.path, self.document)

    def check(self) -> None:
        """Try the network on a small image.

        Raises
        ------
        InputError
            If it cannot be opened, or what comes out is not finite or of another shape.
        """
        card, network = self.card, self.network()
        # The next valid size from 64 pixels up.
        side = -(-_PROBE // network.multiple) * network.multiple
        random = np.random.default_rng(0)
        probe = random.standard_normal((1, 1, *(side,) * card.dims), dtype=np.float32)
        outputs = network(probe)
        shape = (1, n_outputs(card), *(side // network.output_stride,) * card.dims)
        if card.architecture == FASTER_RCNN:
            shape = (1, N_ROWS, N_COLUMNS)
        if outputs.shape != shape:
            raise InputError(
                f"{self.path}: the network returned shape {outputs.shape} for an image of {side} "
                f"pixels, but its document says {shape}; correct the document, or export it again"
            )
        if not np.isfinite(outputs).all():
            raise InputError(
                f"{self.path}: the network returned values that are not finite; use another model"
            )

    def parameters(self) -> dict[str, Any]:
        """Values that determine its results."""
        return dict(card_summary(self.card))


def n_outputs(card: ModelCard) -> int:
    """Number of output channels of a model's network."""
    if card.task == "boxes":
        return len(card.classes) + 4
    return len(card.classes) + (card.activation == "softmax")


@functools.lru_cache(maxsize=16)
def _card(path: str, document: str) -> ModelCard:
    """Description of a model; an error if it was changed after the run began."""
    card = read_card(Path(path))
    if digest(asdict(card)) != document:
        raise InputError(f"{path} was changed after the run began; restart the run")
    return card


@functools.lru_cache(maxsize=2)
def _network(path: str, document: str) -> Network:
    """Open a network; threads of torch are the share of this process."""
    card = _card(path, document)
    if not is_model(Path(path)):
        from tomodist.learned.model.onnx_network import OnnxNetwork

        return OnnxNetwork(Path(path), card)
    from tomodist.learned.model.torch_network import TorchNetwork
    from tomodist.learned.networks.device import use_threads

    use_threads(n_threads())
    return TorchNetwork(module_of(Path(path), card))


def module_of(folder: Path, card: ModelCard) -> Any:  # noqa: ANN401 -- see `build`
    """A model's torch module with its weights, ready to detect.

    Parameters
    ----------
    folder : Path
        The model folder.
    card : ModelCard
        Its description.

    Returns
    -------
    Module
        In evaluation mode, norms fused.

    Raises
    ------
    InputError
        If weights are missing, too many, or of other shapes; names the first.
    """
    from tomodist.learned.networks.build import filled
    from tomodist.learned.networks.layers import fuse_norms
    from tomodist.learned.networks.spec import Architecture

    architecture = Architecture(card.architecture, card.dims, n_outputs(card), card.options)
    module = filled(architecture, read_weights(folder, card), str(folder))
    fuse_norms(module)
    return module

"""From a network's name to a network; MONAI's are found by name and loaded only then."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tomodist.errors import InputError
from tomodist.learned.networks.dense import DenseUNet
from tomodist.learned.networks.residual import ResidualUNet
from tomodist.learned.networks.spec import FASTER_RCNN, MONAI, N_REGRESSION, Architecture

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from tomodist.values.arrays import AnyArray

_MONAI_OPTIONS: dict[str, dict[str, Any]] = {
    # Batch norm: instance and group norm learnt worse (0.63 and 0.69 instead of 0.76 IoU).
    "SegResNet": {"init_filters": 16, "norm": "batch"},
    "UNet": {
        "channels": (16, 32, 64, 128, 256),
        "strides": (2, 2, 2, 2),
        "num_res_units": 2,
        "norm": "batch",
    },
}
_MONAI_MULTIPLE = 32  # of the sides of an image, for any of its networks


class MonaiNetwork(nn.Module):
    """Network of MONAI with the attributes that tomodist needs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.multiple, self.output_stride = _MONAI_MULTIPLE, 1
        self.radius = 4 * _MONAI_MULTIPLE  # of most of what matters: these norms may see it all

    def forward(self, x: Tensor) -> Tensor:
        """Logits; the first output where there are several (deep supervision)."""
        outputs = self.network(x)
        logits: Tensor = outputs[0] if isinstance(outputs, list | tuple) else outputs
        return logits


def build(architecture: Architecture) -> Any:  # noqa: ANN401 -- a Module with three attributes
    """Make a network with random weights.

    Parameters
    ----------
    architecture : Architecture
        Which one.

    Returns
    -------
    Module
        With ``multiple`` (of which the sides of an image must be multiples), ``radius`` (how far an
        output looks, in pixels) and ``output_stride``.

    Raises
    ------
    InputError
        If an option makes no sense, or MONAI or torchvision is wanted and missing, or has no such
        network.
    """
    dims, n, options = architecture.dims, architecture.n_outputs, architecture.all_options
    if architecture.name == "residual-unet":
        return ResidualUNet(dims, n, **options)
    if architecture.name == "dense-unet":
        return DenseUNet(dims, n, **options)
    if architecture.name.startswith(MONAI):
        return _monai(architecture.name.removeprefix(MONAI), dims, n, architecture.options)
    return _faster_rcnn(architecture)


def _faster_rcnn(architecture: Architecture, *, download: bool = True) -> Any:  # noqa: ANN401
    """Faster R-CNN with as many classes as a network of centres with these outputs."""
    from tomodist.learned.networks.faster_rcnn import FasterRCNN

    n_classes = architecture.n_outputs - N_REGRESSION
    if architecture.dims != 2 or n_classes < 1:
        raise InputError(
            f"network {architecture.name} is only for boxes in 2D images; use another network"
        )
    return FasterRCNN(n_classes, **architecture.all_options, download=download)


def _monai(name: str, dims: int, n_outputs: int, options: dict[str, Any]) -> MonaiNetwork:
    try:
        import monai.networks.nets as nets
    except ImportError as error:
        raise InputError(
            f"network monai:{name} needs MONAI, which is not installed; run `pip install "
            "tomodist[monai]`, or use residual-unet"
        ) from error
    kind = getattr(nets, name, None)
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise InputError(f"MONAI has no network {name!r}; use a class of monai.networks.nets")
    shared = {"spatial_dims": dims, "in_channels": 1, "out_channels": n_outputs}
    try:
        return MonaiNetwork(kind(**shared, **{**_MONAI_OPTIONS.get(name, {}), **options}))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"network monai:{name} cannot be built ({error}); correct its `option` values"
        ) from error


def n_parameters(network: nn.Module) -> int:
    """Number of weights."""
    return sum(math.prod(p.shape) for p in network.parameters())


def seeded(architecture: Architecture, seed: int) -> Any:  # noqa: ANN401
    """A network whose random weights depend on the seed alone; see `build`.

    Parameters
    ----------
    architecture : Architecture
        Which network.
    seed : int
        Seed of the weights.

    Returns
    -------
    Module
        As from `build`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(architecture)


def filled(architecture: Architecture, weights: Mapping[str, AnyArray], origin: str) -> Any:  # noqa: ANN401
    """A network with given weights; see `build`.

    Parameters
    ----------
    architecture : Architecture
        Which network.
    weights : mapping of str to ndarray
        Weights by name.
    origin : str
        Where they come from, for messages.

    Returns
    -------
    Module
        As from `build`, in evaluation mode.

    Raises
    ------
    InputError
        If weights are missing, too many, or of other shapes; names the first, and the `origin`.
    """
    is_faster_rcnn = architecture.name == FASTER_RCNN  # its first weights are not fetched in vain
    network = _faster_rcnn(architecture, download=False) if is_faster_rcnn else build(architecture)
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    stored = {name: value.shape for name, value in weights.items()}
    if expected != stored:
        name = min(k for k in {**expected, **stored} if expected.get(k) != stored.get(k))
        raise InputError(
            f"{origin}: the weights do not match the network {architecture.name}: {name} has shape "
            f"{stored.get(name, 'none')}, but {expected.get(name, 'none')} is expected"
        )
    network.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    return network.eval()

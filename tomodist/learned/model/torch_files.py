"""Networks that torch opens from one file: weights of its own, TorchScript, exported programs."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.errors import InputError
from tomodist.learned.model.trial import first_line, n_threads, stride_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    from tomodist.learned.model.card import ModelCard
    from tomodist.learned.model.network import Network

    FloatArray = npt.NDArray[np.float32]

_NESTED = ("state_dict", "model_state_dict")  # where training scripts keep weights


class ProgramNetwork:
    """TorchScript or an exported program; see `tomodist.learned.model.network.Network`.

    Parameters
    ----------
    path : Path
        Of the file. Of several outputs the first counts.
    card : ModelCard
        As of `OnnxNetwork`.

    Raises
    ------
    InputError
        See `open_file`.

    Notes
    -----
    It computes in the precision that it was saved in.
    """

    def __init__(self, path: Path, card: ModelCard) -> None:
        self._torch = _torch(path)
        self._program = _program(self._torch, path)
        self.multiple, self.radius = card.tiling["multiple"], card.tiling["radius"]
        self.output_stride = stride_of(self, path, card.dims, self.multiple)

    def __call__(self, batch: FloatArray) -> FloatArray:
        """Outputs of images, one by one: many programs know of no batches; see `Network`."""
        with self._torch.inference_mode():
            found = [self._outputs(image) for image in np.split(batch, len(batch))]
        return np.concatenate(found)

    def _outputs(self, image: FloatArray) -> FloatArray:
        from tomodist.learned.networks.device import device

        tensor = self._torch.from_numpy(np.ascontiguousarray(image)).to(device())
        found = self._program(tensor)
        first = found[0] if isinstance(found, list | tuple) else found
        outputs: FloatArray = first.float().cpu().numpy()
        return outputs


def own_network(path: Path, card: ModelCard) -> Network:
    """One of tomodist's networks with the weights of a file.

    Raises
    ------
    InputError
        If the file holds something else, or weights that do not fit.
    """
    torch = _torch(path)
    from tomodist.learned.model.opened import n_outputs
    from tomodist.learned.model.torch_network import TorchNetwork
    from tomodist.learned.networks.build import filled
    from tomodist.learned.networks.layers import fuse_norms
    from tomodist.learned.networks.spec import Architecture

    architecture = Architecture(card.architecture, card.dims, n_outputs(card), card.options)
    module = filled(architecture, _weights(torch, path), str(path))
    fuse_norms(module)
    return TorchNetwork(module)


def _weights(torch: Any, path: Path) -> dict[str, npt.NDArray[Any]]:  # noqa: ANN401 -- a module
    """Weights of a file that holds nothing else."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever it raises
        raise InputError(
            f"{path} holds more than weights, or is damaged; save `network.state_dict()` alone "
            '(of TorchScript, "architecture" in the document must be "file")'
        ) from error
    for name in _NESTED:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if not (isinstance(content, dict) and content and all(map(torch.is_tensor, content.values()))):
        raise InputError(f"{path} holds no weights by name; save `network.state_dict()`")
    for name, value in content.items():
        if not torch.isfinite(value).all():
            raise InputError(f"{path}: {name} holds values that are not finite; train it again")
    plain = (value.float() if value.is_floating_point() else value for value in content.values())
    return dict(zip(content, (value.numpy() for value in plain), strict=True))


def _program(torch: Any, path: Path) -> Callable[[Any], Any]:  # noqa: ANN401 -- a module
    """What TorchScript or torch.export saved, on this process's device."""
    load = _exported if path.suffix == ".pt2" else _script
    try:
        return load(torch, path)
    except Exception as error:  # whatever they raise
        raise InputError(
            f"{path} is damaged, or not what its name says (.pt2 for torch.export, .pt or .ts for "
            f"TorchScript; of weights alone the document must name the architecture): "
            f"{first_line(error)}"
        ) from error


def _exported(torch: Any, path: Path) -> Callable[[Any], Any]:  # noqa: ANN401 -- a module
    from tomodist.learned.networks.device import device

    program = torch.export.load(path)
    if device().type != "cpu":
        program = torch.export.passes.move_to_device_pass(program, device())
    made: Callable[[Any], Any] = program.module()
    return made


def _script(torch: Any, path: Path) -> Callable[[Any], Any]:  # noqa: ANN401 -- a module
    from tomodist.learned.networks.device import device

    with warnings.catch_warnings():
        # torch 2.13 deprecates TorchScript; files of it will be around for years.
        warnings.filterwarnings("ignore", "`torch.jit.load` is", DeprecationWarning)
        made: Callable[[Any], Any] = torch.jit.load(path, map_location=device()).eval()
    return made


def _torch(path: Path) -> Any:  # noqa: ANN401 -- a module
    """The library, with this process's threads."""
    try:
        import torch
    except ImportError as error:
        raise InputError(
            f"{path} needs torch, which is not installed; `pip install tomodist[torch]`"
        ) from error
    from tomodist.learned.networks.device import use_threads

    use_threads(n_threads())
    return torch

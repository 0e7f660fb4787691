"""Networks that come as one file: ONNX, weights of torch, TorchScript, exported programs.

    .onnx                onnxruntime runs it; torch is not needed
    .pt .pth             weights of one of tomodist's own networks, which the document names
    .pt .pth .ts         TorchScript, where the document's architecture is "file"
    .pt2                 a program of torch.export

One rule: what can hold code is opened only if the user says that it may be. ONNX files and weights
(torch.load with weights_only) cannot; TorchScript and exported programs can.
"""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    from tomodist.detect.learned.network import Network
    from tomodist.io.models import ModelCard

    FloatArray = npt.NDArray[np.float32]

_PROBE = 64  # pixels: side, at least, of the image on which a network is tried
_NESTED = ("state_dict", "model_state_dict")  # where training scripts keep weights
_FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


def open_file(path: Path, card: ModelCard, *, trusted: bool) -> Network:
    """Open the network in a file.

    Parameters
    ----------
    path : Path
        The file; its hash was checked when its document was read.
    card : ModelCard
        What it is.
    trusted : bool
        Whether it may be opened if it can hold code.

    Returns
    -------
    Network
        Of one output stride, measured on an image of zeros.

    Raises
    ------
    InputError
        If what it takes is not installed, the file is damaged or may not be opened, or the network
        does not take images as the document makes one expect.
    """
    if path.suffix == ".onnx":
        return OnnxNetwork(path, card)
    if path.suffix in (".pt", ".pth") and card.architecture != "file":
        return _own_network(path, card)
    if not trusted:
        raise InputError(
            f"{path} can hold code: use --trust-model if you know where it comes from, or export "
            "it to ONNX, which cannot"
        )
    return ProgramNetwork(path, card)


class OnnxNetwork:
    """A network that onnxruntime runs; see `tomodist.detect.learned.network.Network`.

    Parameters
    ----------
    path : Path
        Of the file. Of several outputs the first counts.
    card : ModelCard
        Its tiling says of what the sides of images must be multiples, and how far outputs look.

    Raises
    ------
    InputError
        See `open_file`.
    """

    def __init__(self, path: Path, card: ModelCard) -> None:
        self._session = _session(path)
        given = self._session.get_inputs()
        if len(given) != 1 or given[0].type not in _FLOATS:
            inputs = ", ".join(f"{one.name}: {one.type}" for one in given)
            raise InputError(
                f"{path} takes {inputs}; it must take one image or volume of float32 or float16"
            )
        self._input, self._dtype = given[0].name, _FLOATS[given[0].type]
        self._one_by_one = isinstance(given[0].shape[0], int)
        self.multiple, self.radius = card.tiling["multiple"], card.tiling["radius"]
        self.output_stride = _stride_of(self, path, card.dims)

    def __call__(self, batch: FloatArray) -> FloatArray:
        """Outputs of images; see `Network`."""
        parts = np.split(batch, len(batch)) if self._one_by_one else [batch]
        name, values = self._input, (part.astype(self._dtype, copy=False) for part in parts)
        found = [np.asarray(self._session.run(None, {name: part})[0]) for part in values]
        return np.concatenate(found).astype(np.float32, copy=False)


class ProgramNetwork:
    """TorchScript or an exported program; see `tomodist.detect.learned.network.Network`.

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
        self.output_stride = _stride_of(self, path, card.dims)

    def __call__(self, batch: FloatArray) -> FloatArray:
        """Outputs of images, one by one: many programs know of no batches; see `Network`."""
        with self._torch.inference_mode():
            found = [self._outputs(image) for image in np.split(batch, len(batch))]
        return np.concatenate(found)

    def _outputs(self, image: FloatArray) -> FloatArray:
        from tomodist.networks.device import device

        tensor = self._torch.from_numpy(np.ascontiguousarray(image)).to(device())
        found = self._program(tensor)
        first = found[0] if isinstance(found, list | tuple) else found
        outputs: FloatArray = first.float().cpu().numpy()
        return outputs


# --------------------------------------------------------------------------------------- opening


def _session(path: Path) -> Any:  # noqa: ANN401 -- untyped library
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(
            f"{path} needs onnxruntime, which is not installed; `pip install tomodist[onnx]`"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _n_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only: they come as exceptions too
    there = onnxruntime.get_available_providers()
    wanted = [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in there]
    try:
        return onnxruntime.InferenceSession(path, options, providers=wanted)
    except Exception as error:  # whatever it raises
        raise InputError(
            f"{path} is damaged, or onnxruntime {onnxruntime.__version__} does not know what it "
            f"asks for: {_first_line(error)}"
        ) from error


def _own_network(path: Path, card: ModelCard) -> Network:
    """One of tomodist's networks with the weights of a file."""
    torch = _torch(path)
    from tomodist.detect.learned.network import TorchNetwork
    from tomodist.detect.learned.opened import n_outputs
    from tomodist.networks.build import filled
    from tomodist.networks.layers import fuse_norms
    from tomodist.networks.spec import Architecture

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
    from tomodist.networks.device import device

    try:
        if path.suffix == ".pt2":
            program = torch.export.load(path)
            if device().type != "cpu":
                program = torch.export.passes.move_to_device_pass(program, device())
            made: Callable[[Any], Any] = program.module()
            return made
        with warnings.catch_warnings():
            # torch 2.13 deprecates TorchScript; files of it will be around for years.
            warnings.filterwarnings("ignore", "`torch.jit.load` is", DeprecationWarning)
            made = torch.jit.load(path, map_location=device()).eval()
            return made
    except Exception as error:  # whatever they raise
        raise InputError(
            f"{path} is damaged, or not what its name says (.pt2 for torch.export, .pt or .ts for "
            f"TorchScript; of weights alone the document must name the architecture): "
            f"{_first_line(error)}"
        ) from error


def _torch(path: Path) -> Any:  # noqa: ANN401 -- a module
    """The library, with this process's threads."""
    try:
        import torch
    except ImportError as error:
        raise InputError(
            f"{path} needs torch, which is not installed; `pip install tomodist[torch]`"
        ) from error
    from tomodist.networks.device import use_threads

    use_threads(_n_threads())
    return torch


# ----------------------------------------------------------------------------------------- trying


def _stride_of(network: Callable[[FloatArray], FloatArray], path: Path, dims: int) -> int:
    """Sides of an image divided by those of its output, the same along every axis.

    The image is not square: networks that were exported for one size are found out.
    """
    multiple: int = network.multiple  # type: ignore[attr-defined]
    sides = [-(-_PROBE // multiple) * multiple + k * multiple for k in range(dims)]
    words = " x ".join(str(n) for n in sides)
    try:
        found = network(np.zeros((1, 1, *sides), np.float32)).shape
    except Exception as error:  # whatever the libraries raise
        raise InputError(
            f"{path} cannot look at one grey image of {words} pixels ({_first_line(error)}); "
            "export it with free sides, and give the multiple that they must be of as tiling in "
            "its document"
        ) from error
    strides = {n / m for n, m in zip(sides, found[2:], strict=False) if m}
    if len(found) != 2 + dims or len(strides) != 1 or not min(strides).is_integer():
        raise InputError(
            f"{path} gives an array of shape {tuple(found)} for an image of {words} pixels; it must "
            "be (1, outputs, ...) with the sides of the image, or all of them divided by a whole "
            "number"
        )
    return int(min(strides))


def _n_threads() -> int:
    return int(os.environ.get("OMP_NUM_THREADS", "1"))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__

"""Networks that come as one file: ONNX, weights of torch, TorchScript, exported programs.

    .onnx                onnxruntime runs it; torch is not needed
    .pt .pth             weights of one of tomodist's own networks, which the document names
    .pt .pth .ts         TorchScript, where the document's architecture is "file"
    .pt2                 a program of torch.export

One rule: what can hold code is opened only if the user says that it may be. ONNX files and weights
(torch.load with weights_only) cannot; TorchScript and exported programs can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tomodist.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.learned.model.card import ModelCard
    from tomodist.learned.model.network import Network


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
        from tomodist.learned.model.onnx_network import OnnxNetwork

        return OnnxNetwork(path, card)
    if path.suffix in (".pt", ".pth") and card.architecture != "file":
        from tomodist.learned.model.torch_files import own_network

        return own_network(path, card)
    if not trusted:
        raise InputError(
            f"{path} can hold code: use --trust-model if you know where it comes from, or export "
            "it to ONNX, which cannot"
        )
    from tomodist.learned.model.torch_files import ProgramNetwork

    return ProgramNetwork(path, card)

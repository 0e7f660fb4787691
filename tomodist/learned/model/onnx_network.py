"""Networks that onnxruntime runs. One rule: torch is never loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.errors import InputError
from tomodist.learned.model.trial import first_line, n_threads, stride_of

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.learned.model.card import ModelCard
    from tomodist.values.arrays import Float32Array


_FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class OnnxNetwork:
    """A network that onnxruntime runs; see `tomodist.learned.model.network.Network`.

    Parameters
    ----------
    path : Path
        Of the file. Of several outputs the first counts.
    card : ModelCard
        Its tiling says of what the sides of images must be multiples, and how far outputs look.

    Raises
    ------
    InputError
        If onnxruntime is not installed, the file is damaged, or the network does not take images as
        its document makes one expect.
    """

    def __init__(self, path: Path, card: ModelCard) -> None:
        self._session = _session(path)
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type not in _FLOATS:
            words = ", ".join(f"{one.name}: {one.type}" for one in inputs)
            raise InputError(
                f"{path} has the inputs {words}; it must have one input, an image or volume of "
                "float32 or float16"
            )
        self._input, self._dtype = inputs[0].name, _FLOATS[inputs[0].type]
        # A fixed batch size in the file: images go through one at a time.
        self._one_by_one = isinstance(inputs[0].shape[0], int)
        self.multiple, self.radius = card.tiling["multiple"], card.tiling["radius"]
        self.output_stride = stride_of(self, path, card.dims, self.multiple)

    def __call__(self, batch: Float32Array) -> Float32Array:
        """Outputs of images; see `Network`."""
        parts = np.split(batch, len(batch)) if self._one_by_one else [batch]
        name, values = self._input, (part.astype(self._dtype, copy=False) for part in parts)
        outputs = [np.asarray(self._session.run(None, {name: part})[0]) for part in values]
        return np.concatenate(outputs).astype(np.float32, copy=False)


def _session(path: Path) -> Any:  # noqa: ANN401 -- untyped library
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(
            f"{path} needs onnxruntime, which is not installed; run `pip install tomodist[onnx]`"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only: they come as exceptions too
    available = onnxruntime.get_available_providers()
    providers = [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in available]
    try:
        return onnxruntime.InferenceSession(path, options, providers=providers)
    except Exception as error:  # whatever it raises
        raise InputError(
            f"{path} is damaged, or onnxruntime {onnxruntime.__version__} does not support it "
            f"({first_line(error)}); export it again, or install a newer onnxruntime"
        ) from error

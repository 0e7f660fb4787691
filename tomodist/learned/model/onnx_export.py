"""Model folders as ONNX files, for programs without torch.

One rule: what is written is tried, on images of two sizes and numbers, before it gets its name.

Norms are in the convolutions already, as for detection: onnxruntime would do it anyway, and other
programs might not. Batch and sides are free; sides must be multiples of the network's own, which
the file says in the shape of its input, such as (n, 1, 16*y, 16*x).
"""

from __future__ import annotations

import importlib.util
import json
import logging
import warnings
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.errors import InputError
from tomodist.formats.files import check_target, whole_file
from tomodist.learned.model.card import FORMAT, ModelCard, is_model, read_card
from tomodist.learned.model.file_card import METADATA
from tomodist.learned.model.onnx_network import OnnxNetwork
from tomodist.learned.model.opened import Model, module_of
from tomodist.learned.model.trial import first_line

if TYPE_CHECKING:
    from collections.abc import Iterator

TOLERANCE = 1e-4
"""Largest difference of outputs, as a part of the largest output (or of 1): see `write_onnx`."""

_LARGEST = 2**13  # multiples along a side, and images of a batch: bounds that torch asks for


def write_onnx(model: str | Path | Model, path: Path, *, overwrite: bool = False) -> ModelCard:
    """Write a model folder's network as an ONNX file that holds its document.

    Parameters
    ----------
    model : str, Path or Model
        A model folder.
    path : Path
        The file to write; ends in ``.onnx``.
    overwrite : bool
        Replace a file that is there.

    Returns
    -------
    ModelCard
        What the file says of itself, and its hash.

    Raises
    ------
    ExistsError
        If the file is there, and `overwrite` is false.
    InputError
        If there is no such folder, packages are missing, the network cannot be exported, or the
        file's outputs differ from the network's by more than `TOLERANCE`.
    """
    folder = Path(model.path if isinstance(model, Model) else model)
    _check_packages()
    if path.suffix != ".onnx":
        raise InputError(f"{path} does not end in .onnx; use another `output`")
    check_target(path, overwrite=overwrite)
    card = read_card(folder)
    if not is_model(folder):
        raise InputError(f"{folder} is a file; only a model folder can be exported")
    module = module_of(folder, card).cpu()
    written = _card_of_file(card, module)
    with whole_file(path) as draft:
        _export(module, card, written, draft)
        _check_outputs(module, OnnxNetwork(draft, written), card.dims, path)
    return read_card(path)


def _card_of_file(card: ModelCard, module: Any) -> ModelCard:  # noqa: ANN401 -- see `build`
    """The document of the file: the network is the file, and came from an architecture."""
    return replace(
        card,
        architecture="file",
        options={"exported_from": card.architecture, **card.options},
        tiling={"multiple": module.multiple, "radius": module.radius},
        training={**card.training, "weights": card.sha256},
        sha256="",
    )


def _export(module: Any, card: ModelCard, written: ModelCard, path: Path) -> None:  # noqa: ANN401
    import torch

    # Any valid size does: the sides are exported as variables.
    side = 4 * module.multiple
    free = {
        axis + 2: module.multiple * torch.export.Dim(name, min=1, max=_LARGEST)
        for axis, name in enumerate("zyx"[-card.dims :])
    }
    batch = torch.export.Dim("n", min=1, max=_LARGEST)
    example = torch.zeros(2, 1, *(side,) * card.dims)
    try:
        with quiet():
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                dynamic_shapes=({0: batch, **free},),
                input_names=["image"],
                output_names=["logits"],
                verbose=False,
            )
    except Exception as error:  # whatever the exporter raises
        raise InputError(
            f"network {card.architecture} cannot be exported to ONNX ({first_line(error)}); use "
            "the model folder"
        ) from error
    assert program is not None
    document = {"tomodist_model": FORMAT, **asdict(written)}
    program.model.metadata_props[METADATA] = json.dumps(document)
    program.save(path, external_data=False)


def _check_outputs(module: Any, network: OnnxNetwork, dims: int, path: Path) -> None:  # noqa: ANN401
    """Compare on images of other sizes and numbers than the export saw."""
    import torch

    random = np.random.default_rng(0)
    # Other batch sizes and other, unequal sides than in the export.
    for n, sides in ((1, [3, 2, 5][:dims]), (3, [2, 5, 3][:dims])):
        shape = (n, 1, *(k * module.multiple for k in sides))
        image = random.standard_normal(shape, dtype=np.float32)
        with torch.inference_mode():
            expected = module(torch.from_numpy(image)).numpy()
        difference = float(np.abs(network(image) - expected).max())
        if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
            raise InputError(
                f"{path}: its outputs differ from those of the network by {difference:.1e} "
                f"(largest output {np.abs(expected).max():.1e}); it was not kept: use the model "
                "folder"
            )


def _check_packages() -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(name) is None:
            raise InputError(
                f"ONNX export needs the package {name}, which is not installed; run "
                "`pip install tomodist[onnx-export]`"
            )


@contextmanager
def quiet() -> Iterator[None]:
    """Export without what the exporter has to say to its own developers."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)  # "torchvision is not installed. Skipping ..."
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`isinstance\\(treespec, LeafSpec\\)`", FutureWarning)
            yield
    finally:
        logger.setLevel(level)

"""Models as folders: what a network is, what it was trained on, and its weights.

    granules/
        model.json            architecture, classes, pixel size, normalisation, training, metrics
        model.safetensors     the weights

A network from elsewhere is one file, ``granules.onnx``, and the same document beside it,
``granules.json`` (an ONNX file that tomodist wrote holds it).

One rule: nothing in a model folder is code and nothing is pickled, so opening one that came by mail
runs nothing. The document holds the hash of the weights; a folder appears by one rename, complete.
"""

from __future__ import annotations

import hashlib
import math
import shutil
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from tomodist.errors import ExistsError, InputError
from tomodist.io.documents import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT = 1
DOCUMENT, WEIGHTS = "model.json", "model.safetensors"
Task = Literal["segment", "boxes"]
Activation = Literal["sigmoid", "softmax", "none"]
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)
Weights = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class ModelCard:
    """What a model folder says about its network.

    Parameters
    ----------
    task : {"segment", "boxes"}
        What comes out: probabilities per pixel and class, or boxes.
    dims : {2, 3}
        Of what goes in.
    architecture : str
        Name of the network (see `tomodist.networks.spec`), or ``"file"``: the file is a whole one.
    options : dict
        Of the network.
    classes : tuple of str
        Names of the outputs, in their order.
    pixel_size : float
        Of the images that it was trained on, in Å; others are resampled to it.
    thresholds : tuple of float
        Per class: a probability above is structure; a box of a higher score is one.
    normalisation : dict
        ``clip``: images have zero mean and unit deviation, and are cut off at so many of it.
    activation : {"sigmoid", "softmax", "none"}
        What makes probabilities of the outputs; softmax has another output, the first, for nothing.
    tiling : dict
        Of a network from a file: ``multiple`` of which the sides of an image must be multiples, and
        ``radius``, how far, in pixels, an output looks.
    training, metrics, versions : dict
        Where it comes from and how good it was, as plain values.
    sha256 : str
        Of the weights; empty until they are written.

    Raises
    ------
    InputError
        If something is missing or contradicts itself.
    """

    task: Task
    dims: Literal[2, 3]
    architecture: str
    options: dict[str, Any]
    classes: tuple[str, ...]
    pixel_size: float
    thresholds: tuple[float, ...]
    normalisation: dict[str, Any] = field(default_factory=lambda: {"clip": 8.0})
    activation: Activation = "sigmoid"
    tiling: dict[str, int] = field(default_factory=lambda: {"multiple": 16, "radius": 128})
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    sha256: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "thresholds", tuple(float(t) for t in self.thresholds))
        problems = []
        if self.task not in ("segment", "boxes"):
            problems.append(f"task is {self.task!r}, not segment or boxes")
        if self.dims not in (2, 3):
            problems.append(f"dims is {self.dims!r}, not 2 or 3")
        if not self.classes or len(set(self.classes)) != len(self.classes):
            problems.append(f"classes are {list(self.classes)}, not one or more different names")
        if len(self.thresholds) != len(self.classes):
            problems.append(f"{len(self.thresholds)} thresholds for {len(self.classes)} classes")
        if not (isinstance(self.pixel_size, int | float) and 0 < self.pixel_size < math.inf):
            problems.append(f"pixel_size is {self.pixel_size!r}, not a positive number of Å")
        if not self.normalisation.get("clip", 0) > 0:
            problems.append(f"normalisation is {self.normalisation}, without a positive clip")
        if self.activation not in ACTIVATIONS:
            problems.append(f"activation is {self.activation!r}, not {', '.join(ACTIVATIONS)}")
        if any(self.tiling.get(name, 0) < 1 for name in ("multiple", "radius")):
            problems.append(f"tiling is {self.tiling}, without a positive multiple and radius")
        if problems:
            raise InputError(f"a model cannot be so: {'; '.join(problems)}")


def write_model(
    folder: Path, card: ModelCard, weights: Weights, *, overwrite: bool = False
) -> ModelCard:
    """Write a model folder; it appears complete or not at all.

    Parameters
    ----------
    folder : Path
        To be made.
    card : ModelCard
        What it is; its hash is filled in.
    weights : dict of str to ndarray
        Of the network, by name.
    overwrite : bool
        Replace a model that is there.

    Returns
    -------
    ModelCard
        With the hash of the weights.

    Raises
    ------
    ExistsError
        If there is something at `folder`, and `overwrite` is false.
    InputError
        If what is there is no model, or the folder cannot be written.
    """
    import safetensors.numpy

    check_model_target(folder, overwrite=overwrite)
    draft = folder.with_name(f".{folder.name}.draft")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        safetensors.numpy.save_file(
            {name: np.asarray(value, order="C") for name, value in weights.items()}, draft / WEIGHTS
        )
        hashed = ModelCard(**{**vars(card), "sha256": sha256_of(draft / WEIGHTS)})
        write_json(draft / DOCUMENT, {"tomodist_model": FORMAT, **asdict(hashed)})
        if folder.exists():
            shutil.rmtree(folder)
        draft.rename(folder)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written: {error.strerror or error}; give another --output"
        ) from error
    return hashed


def check_model_target(folder: Path, *, overwrite: bool) -> None:
    """Refuse a place where a model cannot or must not be written, before the work for it starts.

    Raises
    ------
    ExistsError, InputError
    """
    if not folder.exists():
        return
    if not (folder / DOCUMENT).is_file():
        raise InputError(f"{folder} exists and is not a model; give another --output")
    if not overwrite:
        raise ExistsError(f"{folder} exists; use --overwrite to replace it, or another --output")


def is_model(path: Path) -> bool:
    """Whether a folder holds a model."""
    return (path / DOCUMENT).is_file()


def read_card(folder: Path) -> ModelCard:
    """Read what a model is; the weights are looked at by `read_weights`.

    Raises
    ------
    InputError
        If there is no model, of another format, or its document is damaged.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such model folder; `tomodist train` makes one")
    if not is_model(folder):
        raise InputError(f"{folder} has no {DOCUMENT}; a model is a folder that holds one")
    content = read_json(folder / DOCUMENT)
    found = content.pop("tomodist_model", None)
    if found != FORMAT:
        raise InputError(f"{folder} is of model format {found}; this tomodist reads {FORMAT}")
    try:
        return ModelCard(**content)
    except (TypeError, InputError) as error:
        raise InputError(f"{folder / DOCUMENT} is damaged: {error}") from error


def read_weights(folder: Path, card: ModelCard) -> Weights:
    """Read the weights of a model, and make sure that they are the ones that it names.

    Raises
    ------
    InputError
        If they are missing, damaged, another's, or not finite; names the array.
    """
    import safetensors
    import safetensors.numpy

    path = folder / WEIGHTS
    if not path.is_file():
        raise InputError(f"{folder} has no {WEIGHTS}; copy the whole folder again")
    found = sha256_of(path)
    if found != card.sha256:
        raise InputError(
            f"{path} has the hash {found[:12]}..., but {DOCUMENT} names "
            f"{card.sha256[:12] or 'none'}...: it is damaged or of another model; copy the whole folder again"
        )
    try:
        weights: Weights = safetensors.numpy.load_file(path)
    except safetensors.SafetensorError as error:
        raise InputError(f"{path} is damaged ({error}); copy the whole folder again") from error
    for name, values in weights.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise InputError(f"{path}: {name} holds values that are not finite; train it again")
    return weights


def sha256_of(path: Path) -> str:
    """Hash of a whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def card_summary(card: ModelCard) -> Mapping[str, Any]:
    """What determines a model's results, for fingerprints."""
    return {
        "model": card.sha256,
        "architecture": card.architecture,
        "classes": list(card.classes),
        "pixel_size": card.pixel_size,
    }

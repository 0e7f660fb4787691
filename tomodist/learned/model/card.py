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

import json
import math
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from tomodist.errors import ExistsError, InputError
from tomodist.formats.files import read_json, restore_folder, sha256_of, whole_folder, write_json
from tomodist.learned.model.file_card import file_hash, read_document
from tomodist.values.arrays import AnyArray

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


FORMAT = 1
DOCUMENT, WEIGHTS = "model.json", "model.safetensors"
Task = Literal["segment", "boxes"]
Activation = Literal["sigmoid", "softmax", "none"]
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)
Weights = dict[str, AnyArray]

_LISTS = ("classes", "thresholds")  # of the document, by the kinds that JSON knows
_OBJECTS = ("options", "normalisation", "tiling", "training", "metrics", "versions")
_TEXTS = ("architecture", "sha256")


@dataclass(frozen=True)
class ModelCard:
    """Description of a network in a model folder.

    Parameters
    ----------
    task : {"segment", "boxes"}
        What comes out: probabilities per pixel and class, or boxes.
    dims : {2, 3}
        Of what goes in.
    architecture : str
        Name of the network (see `tomodist.learned.networks.spec`), or ``"file"``: the file is a
        whole one.
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
            problems.append(f"task is {self.task!r}; it must be segment or boxes")
        if self.dims not in (2, 3):
            problems.append(f"dims is {self.dims!r}; it must be 2 or 3")
        if not self.classes or len(set(self.classes)) != len(self.classes):
            problems.append(
                f"classes are {list(self.classes)}; they must be different names, at least one"
            )
        if len(self.thresholds) != len(self.classes):
            problems.append(f"{len(self.thresholds)} thresholds for {len(self.classes)} classes")
        if not all(0 <= t <= 1 for t in self.thresholds):
            problems.append(f"thresholds are {list(self.thresholds)}; they must be between 0 and 1")
        if not (isinstance(self.pixel_size, int | float) and 0 < self.pixel_size < math.inf):
            problems.append(f"pixel_size is {self.pixel_size!r}; it must be a positive number (Å)")
        if not self.normalisation.get("clip", 0) > 0:
            problems.append(f"normalisation is {self.normalisation}; it must have a positive clip")
        if self.activation not in ACTIVATIONS:
            problems.append(
                f"activation is {self.activation!r}; it must be one of {', '.join(ACTIVATIONS)}"
            )
        if any(self.tiling.get(name, 0) < 1 for name in ("multiple", "radius")):
            problems.append(f"tiling is {self.tiling}; it must have a positive multiple and radius")
        if problems:
            raise InputError(f"invalid model: {'; '.join(problems)}")


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
    restore_folder(folder)  # before the check: a killed writer may have left the old model aside
    check_model_target(folder, overwrite=overwrite)
    safetensors = _safetensors()
    with whole_folder(folder) as draft:
        draft.mkdir(parents=True)
        # safetensors stores memory as it lies: only C order is safe.
        plain = {name: np.asarray(value, order="C") for name, value in weights.items()}
        safetensors.numpy.save_file(plain, draft / WEIGHTS)
        hashed = ModelCard(**{**vars(card), "sha256": sha256_of(draft / WEIGHTS)})
        write_json(draft / DOCUMENT, {"tomodist_model": FORMAT, **asdict(hashed)})
    return hashed


def check_model_target(folder: Path, *, overwrite: bool) -> None:
    """Refuse a place where a model cannot or must not be written, before the work for it starts.

    Parameters
    ----------
    folder : Path
        Where the model is to be written.
    overwrite : bool
        Whether an existing model may be replaced.

    Raises
    ------
    ExistsError, InputError
    """
    if not folder.exists():
        return
    if not (folder / DOCUMENT).is_file():
        raise InputError(f"{folder} exists and is not a model; use another `output`")
    if not overwrite:
        raise ExistsError(f"{folder} exists; use `overwrite` to replace it, or another `output`")


def is_model(path: Path) -> bool:
    """Whether a folder holds a model."""
    return (path / DOCUMENT).is_file()


def read_card(path: Path) -> ModelCard:
    """Read the description of a model; `read_weights` reads and checks the weights.

    Parameters
    ----------
    path : Path
        A model folder, or an ONNX file (see `tomodist.learned.model.file_card`).

    Raises
    ------
    InputError
        If there is no model, of another format, or its document is damaged; if a file is not the
        one that its document names.
    """
    if path.is_file():
        return _card_of_file(path)
    if not path.is_dir():
        raise InputError(f"{path}: model not found; make one with `tomodist train`")
    if not is_model(path):
        raise InputError(f"{path} is not a model: it has no {DOCUMENT}; use a model folder")
    return card_of(read_json(path / DOCUMENT), str(path / DOCUMENT))


def _card_of_file(path: Path) -> ModelCard:
    """Description of an ONNX file, with the hash of the actual file."""
    content, name = read_document(path)
    defaults = {"tomodist_model": FORMAT, "architecture": "file", "options": {}}
    card = card_of({**defaults, **content}, name)
    sha256 = file_hash(path)
    if card.sha256 not in ("", sha256):
        raise InputError(
            f"{path} has the hash {sha256[:12]}..., but {name} names {card.sha256[:12]}...: it is "
            "damaged or a different network; copy both again, or remove sha256 from the document"
        )
    return replace(card, sha256=sha256)


def card_of(content: Mapping[str, Any], name: str) -> ModelCard:
    """Description from the content of a document.

    Parameters
    ----------
    content : dict
        The document.
    name : str
        Of the document, for messages.

    Returns
    -------
    ModelCard

    Raises
    ------
    InputError
        If it is of another format, or something in it is missing, unknown, or makes no sense.
    """
    document = dict(content)
    version = document.pop("tomodist_model", None)
    if version != FORMAT:
        raise InputError(
            f"{name} has the model format {version}, but this version of tomodist reads {FORMAT}; "
            "use the version that made the model, or a newer one"
        )
    problems = [*_strange_fields(document), *_strange_kinds(document)]
    if problems:
        raise InputError(f"{name} is damaged: {'; '.join(problems)}")
    try:
        return ModelCard(**document)
    except (TypeError, ValueError) as error:  # an InputError is a ValueError
        raise InputError(f"{name} is damaged: {error}") from error


def _strange_fields(document: Mapping[str, Any]) -> Iterator[str]:
    """Unknown and missing fields of a document."""
    known = {field.name: field for field in fields(ModelCard)}
    yield from (f"field {name!r} is unknown" for name in document if name not in known)
    for name, one in known.items():
        if name not in document and one.default is MISSING and one.default_factory is MISSING:
            yield f"{name} is missing"


def _strange_kinds(document: Mapping[str, Any]) -> Iterator[str]:
    """Fields of a wrong type, such as a text where a list of texts is expected."""
    for names, kind, word in (
        (_LISTS, list, "a list"),
        (_OBJECTS, dict, "an object"),
        (_TEXTS, str, "a text"),
    ):
        for name in names:
            if name in document and not isinstance(document[name], kind):
                yield f"{name} is {json.dumps(document[name])}; it must be {word}"


def read_weights(folder: Path, card: ModelCard) -> Weights:
    """Read the weights of a model, and make sure that they are the ones that it names.

    Parameters
    ----------
    folder : Path
        The model folder.
    card : ModelCard
        Its description, with the hash of the weights.

    Returns
    -------
    dict of str to ndarray
        Weights by name.

    Raises
    ------
    InputError
        If they are missing, damaged, another's, or not finite; names the array.
    """
    safetensors = _safetensors()
    path = folder / WEIGHTS
    if not path.is_file():
        raise InputError(f"{folder} has no {WEIGHTS}; copy the whole folder again")
    sha256 = sha256_of(path)
    if sha256 != card.sha256:
        raise InputError(
            f"{path} has the hash {sha256[:12]}..., but {DOCUMENT} names "
            f"{card.sha256[:12] or 'none'}...: it is damaged or belongs to another model; "
            "copy the whole folder again"
        )
    try:
        weights: Weights = safetensors.numpy.load_file(path)
    except safetensors.SafetensorError as error:
        raise InputError(f"{path} is damaged ({error}); copy the whole folder again") from error
    for name, values in weights.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise InputError(
                f"{path}: {name} holds values that are not finite; train the model again"
            )
    return weights


def _safetensors() -> Any:  # noqa: ANN401 -- a module
    """The safetensors library, or an error that says how to install it."""
    try:
        import safetensors
        import safetensors.numpy
    except ImportError as error:
        raise InputError(
            "models need the package safetensors, which is not installed; run "
            "`pip install tomodist[torch]`"
        ) from error
    return safetensors


def card_summary(card: ModelCard) -> Mapping[str, Any]:
    """Values that determine a model's results, for fingerprints."""
    return {
        "model": card.sha256,
        "architecture": card.architecture,
        "model_classes": list(card.classes),
        "model_options": dict(card.options),
        "model_pixel_size": card.pixel_size,
        "normalisation": dict(card.normalisation),
        "activation": card.activation,
        "tiling": dict(card.tiling),
    }

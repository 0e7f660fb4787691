"""Networks that come as one file: what they are stands in a document beside it.

    granules.onnx     the network
    granules.json     the document, of the same fields as a model folder's
    granules.onnx.data  weights that exporters put into a file of their own, if there are any

An ONNX file that tomodist wrote holds its document, and needs none beside it; where there is one,
it counts. One rule: the hash is of the file that is there, whatever the document says of it.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tomodist.errors import InputError
from tomodist.formats.files import read_json
from tomodist.learned.model.card import FORMAT, ModelCard, card_of, sha256_of
from tomodist.learned.model.onnx_metadata import read_metadata

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = (".onnx", ".pt", ".pth", ".ts", ".pt2")
METADATA = "tomodist"
"""Name under which an ONNX file holds its document."""

EXAMPLE: dict[str, Any] = {
    "task": "segment",
    "dims": 2,
    "classes": ["granule"],
    "pixel_size": 20.0,
    "thresholds": [0.5],
    "activation": "sigmoid",
    "tiling": {"multiple": 16, "radius": 128},
}


def read_file_card(path: Path) -> ModelCard:
    """What the network in a file is.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    ModelCard
        With the hash of the file.

    Raises
    ------
    InputError
        If it is no file of a network, has no document, the document is damaged, or names another
        file's hash.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(
            f"{path} is no model: give a model folder, or a file that ends in {', '.join(SUFFIXES)}"
        )
    content, place = _document(path)
    defaults = {"tomodist_model": FORMAT, "architecture": "file", "options": {}}
    card = card_of({**defaults, **content}, place)
    found = file_hash(path)
    if card.sha256 not in ("", found):
        raise InputError(
            f"{path} has the hash {found[:12]}..., but {place} names {card.sha256[:12]}...: it is "
            "damaged or another network; copy both again, or remove sha256 from the document"
        )
    return replace(card, sha256=found)


def file_hash(path: Path) -> str:
    """Hash of a network's file, and of the weights beside it if they have a file of their own."""
    try:
        own = sha256_of(path)
        beside = path.with_name(f"{path.name}.data")
        _check_places(path, beside.name)
        if not beside.is_file():
            return own
        return hashlib.sha256(f"{own} {sha256_of(beside)}".encode()).hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


_LOCATION = re.compile(rb"\x0a\x08location\x12(.)(.{1,255})", re.DOTALL)


def _check_places(path: Path, known: str) -> None:
    """Refuse an ONNX file whose weights lie in a file that is not hashed."""
    if path.suffix != ".onnx":
        return
    found = {text[: size[0]] for size, text in _LOCATION.findall(path.read_bytes())}
    others = sorted(found - {known.encode()})
    if others:
        raise InputError(
            f"{path} keeps weights in {others[0].decode(errors='replace')!r}; save it with its "
            f"weights inside, or in {known}"
        )


def _document(path: Path) -> tuple[dict[str, Any], str]:
    """The document of a file, and where it stands."""
    beside = path.with_suffix(".json")
    if beside.is_file():
        return read_json(beside), str(beside)
    text = read_metadata(path).get(METADATA) if path.suffix == ".onnx" else None
    if text is None:
        raise InputError(
            f"{path} does not say what it is: write {beside.name} beside it, such as "
            f"{json.dumps(EXAMPLE)}"
        )
    try:
        content = json.loads(text)
    except ValueError as error:
        content = error
    if not isinstance(content, dict):
        raise InputError(
            f"{path}: its metadata entry {METADATA!r} is no JSON object; write {beside.name} beside"
        )
    return content, f"{path} (metadata)"

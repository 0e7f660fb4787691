"""Networks that come as one ONNX file: what they are stands in a document beside it.

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
from typing import TYPE_CHECKING, Any

from tomodist.errors import InputError
from tomodist.formats.files import read_json, sha256_of
from tomodist.learned.model.onnx_metadata import read_metadata

if TYPE_CHECKING:
    from pathlib import Path

SUFFIX = ".onnx"
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


def read_document(path: Path) -> tuple[dict[str, Any], str]:
    """The document of an ONNX file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    dict
        The document, as it stands.
    str
        Its name, for messages.

    Raises
    ------
    InputError
        If the file is no ONNX file, has no document, or its document is no JSON object.
    """
    if path.suffix != SUFFIX:
        raise InputError(
            f"{path} is not a model; use a model folder (from `tomodist train`), an ONNX file "
            f"({SUFFIX}; PyTorch networks are exported with torch.onnx.export), or a function as "
            "package.module:function"
        )
    beside = path.with_suffix(".json")
    if beside.is_file():
        return read_json(beside), str(beside)
    text = read_metadata(path).get(METADATA)
    if text is None:
        raise InputError(
            f"{path} has no description; write {beside.name} next to it, such as "
            f"{json.dumps(EXAMPLE)}"
        )
    try:
        content = json.loads(text)
    except ValueError as error:
        content = error
    if not isinstance(content, dict):
        raise InputError(
            f"{path}: its metadata entry {METADATA!r} is not a JSON object; write {beside.name} "
            "next to it"
        )
    return content, f"{path} (metadata)"


def file_hash(path: Path) -> str:
    """Hash of a network's file, and of the weights beside it if they have a file of their own."""
    try:
        own = sha256_of(path)
        beside = path.with_name(f"{path.name}.data")
        _check_weight_files(path, beside.name)
        if not beside.is_file():
            return own
        return hashlib.sha256(f"{own} {sha256_of(beside)}".encode()).hexdigest()
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror or error}; check the file"
        ) from error


_LOCATION = re.compile(rb"\x0a\x08location\x12(.)(.{1,255})", re.DOTALL)


def _check_weight_files(path: Path, known: str) -> None:
    """Refuse an ONNX file whose weights lie in a file that is not hashed."""
    # A length-prefixed string: key "location", then one byte of length, then the name.
    names = {text[: size[0]] for size, text in _LOCATION.findall(path.read_bytes())}
    others = sorted(names - {known.encode()})
    if others:
        raise InputError(
            f"{path} keeps weights in {others[0].decode(errors='replace')!r}; save the weights "
            f"inside it, or in {known}"
        )

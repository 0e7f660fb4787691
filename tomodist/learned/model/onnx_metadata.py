"""What an ONNX file says about itself, read without any library for ONNX.

An ONNX file is one protocol buffer [1]_: fields one after the other, each a key (number and kind)
and a value. Of the outermost message only field 14 is wanted, pairs of strings; the network itself
(field 7) is stepped over unread, so a large file takes no memory.

    key = number << 3 | kind;   kind 0: varint,  1: 8 bytes,  2: length and bytes,  5: 4 bytes

References
----------
.. [1] https://protobuf.dev/programming-guides/encoding/ and
   https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3 (``ModelProto.metadata_props``)
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, BinaryIO

from tomodist.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_METADATA = 14  # ModelProto.metadata_props
_NAME, _VALUE = 1, 2  # of StringStringEntryProto
_FIXED = {1: 8, 5: 4}  # bytes of a value, by kind
_LARGEST = 2**24  # bytes of an entry that is read: a document has some thousands


def read_metadata(path: Path) -> dict[str, str]:
    """Pairs of names and texts that an ONNX file holds beside its network.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    dict of str to str
        Empty if it holds none.

    Raises
    ------
    InputError
        If the file cannot be read, or is no protocol buffer.
    """
    texts = {}
    try:
        with path.open("rb") as file:
            for number, value in _fields(file, {_METADATA}):
                if number == _METADATA:
                    entry = dict(_fields(io.BytesIO(value), {_NAME, _VALUE}))
                    texts[entry[_NAME].decode()] = entry.get(_VALUE, b"").decode()
    except (OSError, ValueError, KeyError) as error:  # a UnicodeDecodeError is a ValueError
        raise InputError(
            f"{path} cannot be read as an ONNX file ({error}); copy or export it again"
        ) from error
    return texts


def _fields(file: BinaryIO, numbers: set[int]) -> Iterator[tuple[int, bytes]]:
    """Numbers and bytes of the wanted fields of a message."""
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    while file.tell() < end:
        key = _varint(file)
        number, kind = key >> 3, key & 7
        if kind == 0:
            _varint(file)
            continue
        length = _varint(file) if kind == 2 else _FIXED.get(kind, -1)
        # Kinds 3 and 4 (groups) do not occur in ONNX; a length beyond the end means damage.
        if length < 0 or file.tell() + length > end:
            raise ValueError(f"field {number} at byte {file.tell()} is invalid")
        if kind == 2 and number in numbers and length <= _LARGEST:
            yield number, file.read(length)
        else:
            file.seek(length, os.SEEK_CUR)


def _varint(file: BinaryIO) -> int:
    """A number in groups of seven bits, the lowest first; the eighth bit says that more follow."""
    total = 0
    for shift in range(0, 70, 7):
        (byte,) = file.read(1) or (None,)
        if byte is None:
            raise ValueError("the file ends inside a number")
        # Seven bits of value; the eighth says whether another byte follows.
        total |= (byte & 0x7F) << shift
        if byte < 0x80:
            return total
    raise ValueError("a number has more than 64 bits")

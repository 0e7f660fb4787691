"""Files and folders that appear complete or not at all; JSON that every program reads."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tomodist.errors import ExistsError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator


def check_target(path: Path, *, overwrite: bool) -> None:
    """Refuse a file that cannot or must not be written, before the work for it starts.

    Parameters
    ----------
    path : Path
        The file to write.
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    ExistsError
        If it exists, and `overwrite` is false.
    InputError
        If there is no folder for it, or nothing can be written there.
    """
    if not path.parent.is_dir():
        raise InputError(f"{path}: folder {path.parent} not found; create it first")
    if path.is_dir():
        raise InputError(f"{path} is a folder; use the name of a file to write")
    if path.exists() and not overwrite:
        raise ExistsError(f"{path} exists; use `overwrite` to replace it")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path} cannot be written: no permission; use another `output`")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write a file whole or not at all: under a temporary name beside its own, then renamed.

    Parameters
    ----------
    path : Path
        Of the file; one that is there is replaced.

    Yields
    ------
    Path
        Where to write.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    # In the same folder, because a rename is atomic only within one file system.
    draft = path.with_name(f".{path.name}.draft{path.suffix}")
    try:
        yield draft
        draft.replace(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror or error}; use another `output`"
        ) from error
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Write a folder whole or not at all: under a temporary name beside its own, then renamed.

    What was there goes last, so that a kill at any moment leaves a complete folder: between the two
    renames the old one stands under another name, from which `restore_folder` brings it back.

    Parameters
    ----------
    path : Path
        Of the folder; one that is there is replaced.

    Yields
    ------
    Path
        A folder that does not exist yet: to be created and filled.

    Raises
    ------
    InputError
        If the folder cannot be written.
    """
    restore_folder(path)
    draft, old = path.with_name(f".{path.name}.draft"), _replaced(path)
    shutil.rmtree(draft, ignore_errors=True)
    try:
        yield draft
        shutil.rmtree(old, ignore_errors=True)
        if path.exists():
            path.rename(old)
        draft.rename(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror or error}; use another `output`"
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def restore_folder(path: Path) -> None:
    """Bring back a folder whose writer was killed between two renames of `whole_folder`."""
    if _replaced(path).is_dir() and not path.exists():
        _replaced(path).rename(path)


def _replaced(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write plain values under a temporary name, then rename; NaN and infinity become null.

    Parameters
    ----------
    path : Path
        The file; replaced if it exists.
    content : dict
        Plain values.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    with whole_file(path) as draft:
        draft.write_text(json.dumps(_valid(content), indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    InputError
        If the file holds none.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read ({error}); remove it, or use another file"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__}; expected a JSON object")
    return content


def _valid(value: Any) -> Any:  # noqa: ANN401 -- any plain value
    if isinstance(value, dict):
        return {key: _valid(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_valid(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def file_fingerprint(path: str | Path) -> dict[str, Any]:
    """Size of a file, and a hash of its first and last MiB."""
    size, sample = Path(path).stat().st_size, hashlib.sha256()
    with Path(path).open("rb") as file:
        sample.update(file.read(2**20))
        file.seek(max(size - 2**20, 0))
        sample.update(file.read(2**20))
    return {"bytes": size, "sha256_of_ends": sample.hexdigest()[:16]}


def sha256_of(path: Path) -> str:
    """Hash of a whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

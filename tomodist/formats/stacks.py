"""Stacks of images made elsewhere, read one image at a time: MRC, TIFF, NPY or Zarr."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import tifffile
import zarr
from numpy.lib.format import open_memmap

from tomodist.errors import InputError
from tomodist.formats.mrc.read import MrcStack, open_mrc
from tomodist.formats.zarr import ArrayHandle

if TYPE_CHECKING:
    from tomodist.values.arrays import AnyArray


class ImageStack(Protocol):
    """Images (section, y, x) of which one is read at a time."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n_sections, height, width)."""

    def read(self, section: int) -> AnyArray:
        """One image, shape (height, width)."""

    def fingerprint(self) -> dict[str, Any]:
        """Identity of the stack, as plain values."""


@dataclass(frozen=True)
class _File:
    """A stack in one file (or folder), by its path and shape."""

    path: str
    shape: tuple[int, int, int]

    def fingerprint(self) -> dict[str, Any]:
        """Shape and a hash of every image."""
        total = hashlib.sha256()
        for k in range(self.shape[0]):
            total.update(np.ascontiguousarray(self.read(k)).tobytes())
        return {"shape": list(self.shape), "sha256": total.hexdigest()[:16]}

    def read(self, section: int) -> AnyArray:
        """One image."""
        raise NotImplementedError


@dataclass(frozen=True)
class _Mrc(_File):
    stack: MrcStack

    def read(self, section: int) -> AnyArray:
        """One image."""
        return self.stack.read(section)


@dataclass(frozen=True)
class _Tiff(_File):
    def read(self, section: int) -> AnyArray:
        """One page."""
        return np.asarray(tifffile.imread(self.path, key=section))


@dataclass(frozen=True)
class _Npy(_File):
    def read(self, section: int) -> AnyArray:
        """One image, memory-mapped."""
        return np.array(open_memmap(self.path, mode="r")[section])


@dataclass(frozen=True)
class _Zarr(_File):
    def read(self, section: int) -> AnyArray:
        """One image."""
        return np.asarray(ArrayHandle(self.path).read((section, section + 1))[0])


def open_stack(path: str | Path) -> ImageStack:
    """Open a stack of images.

    Parameters
    ----------
    path : str or Path
        ``.mrc`` (and its kin), ``.tif``/``.tiff`` with one page per image, ``.npy``, or a Zarr
        array, of shape (n_sections, height, width).

    Returns
    -------
    ImageStack

    Raises
    ------
    InputError
        If it is none of these, damaged, or not three-dimensional.
    """
    path = Path(path).absolute()  # workers may have another working folder
    if not path.exists():
        raise InputError(f"{path}: file not found; check the path")
    try:
        return _open(path)
    except (ValueError, OSError, KeyError, tifffile.TiffFileError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} is not a readable stack of images ({error}); use MRC, TIFF, NPY or Zarr"
        ) from error


def _open(path: Path) -> ImageStack:
    suffix = path.suffix.lower()
    if suffix in (".tif", ".tiff"):
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            return _Tiff(str(path), _three((len(file.pages), *page.shape), path))
    if suffix == ".npy":
        return _Npy(str(path), _three(open_memmap(path, mode="r").shape, path))
    if path.is_dir():
        return _Zarr(str(path), _three(zarr.open_array(str(path), mode="r").shape, path))
    stack = open_mrc(path)
    return _Mrc(str(path), stack.shape, stack)


def _three(shape: tuple[int, ...], path: Path) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise InputError(f"{path} has shape {shape}; a stack of images has (section, y, x)")
    return shape[0], shape[1], shape[2]

"""Zarr arrays and groups as handles: small values that travel, opened where they are used.

One rule: a task writes whole shards and no two tasks write the same one (zarr-python issue 3682:
two writers of one shard lose data silently). zarr's local store writes a temporary file and
renames it, so a shard file of non-zero size is a finished brick, and that is how a run resumes.
"""

from __future__ import annotations

import functools
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from tomodist.errors import StoreError
from tomodist.planning.plan import INNER
from tomodist.values.windows import Index, Window, brick_indices, brick_window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tomodist.values.arrays import AnyArray


@dataclass(frozen=True)
class ArrayHandle:
    """Path of a Zarr array, opened at every use.

    Parameters
    ----------
    path : str
        Folder of the array.
    """

    path: str

    @property
    def shape(self) -> Index:
        """Shape of the array."""
        return tuple(self._open().shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        return self._open().dtype

    @property
    def brick(self) -> Index:
        """Shape of one shard: the unit of work and of writing."""
        array = self._open()
        return tuple(array.shards or array.chunks)

    @property
    def chunk(self) -> Index:
        """Shape of one chunk: what is unpacked at a time."""
        return tuple(self._open().chunks)

    def read(self, *window: tuple[int, int]) -> AnyArray:
        """Read a window.

        Parameters
        ----------
        *window : tuple of int
            (start, stop) along each axis; axes left out are read whole.

        Returns
        -------
        ndarray

        Raises
        ------
        StoreError
            If the stored bytes are damaged.
        """
        array = self._open()
        try:
            return np.asarray(array[tuple(slice(*w) for w in window)])
        except (ValueError, RuntimeError) as error:
            raise StoreError(
                f"{self.path}: the stored data of window {window} are damaged ({error}); remove "
                f"the folder {_made_as_a_whole(Path(self.path))} and run the command that made it"
            ) from error

    def write(self, brick: Index, data: AnyArray) -> None:
        """Write one whole brick (shard).

        Parameters
        ----------
        brick : tuple of int
            Index of the brick in the grid of bricks.
        data : ndarray
            Its elements; cut off where the array ends.
        """
        array = zarr.open_array(self.path, mode="r+").with_config(_WRITE_EMPTY)
        array[tuple(slice(*w) for w in self.window(brick))] = data

    def window(self, brick: Index) -> Window:
        """Elements (start, stop along every axis) of a brick."""
        array = self._open()
        return brick_window(brick, tuple(array.shards or array.chunks), tuple(array.shape))

    def bricks(self) -> list[Index]:
        """Indices of all bricks, in C order."""
        return list(brick_indices(self.shape, self.brick))

    def missing(self) -> list[Index]:
        """Indices of the bricks that are not written yet; a file of size 0 counts as missing."""
        folder = Path(self.path) / "c"
        return [index for index in self.bricks() if not _has_bytes(folder, index)]

    def _open(self) -> zarr.Array[Any]:
        try:
            folder = Path(self.path)
            document = folder / ".zarray"  # of Zarr 2, which others write
            if not document.is_file():
                document = folder / "zarr.json"
            # The time of the metadata is part of the cache key, so a re-created array is opened
            # again.
            return _opened(self.path, document.stat().st_mtime_ns)
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.path} is not a readable Zarr array: {error}") from error


@dataclass(frozen=True)
class Group:
    """Path of a Zarr group, opened at every use.

    Parameters
    ----------
    path : str
        Folder of the group.
    """

    path: str

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes of the group; empty if it does not exist or cannot be read."""
        try:
            return dict(zarr.open_group(self.path, mode="r").attrs)
        except (FileNotFoundError, ValueError, KeyError, NotADirectoryError):
            return {}

    def array(self, name: str) -> ArrayHandle:
        """Handle of an array in the group."""
        return ArrayHandle(f"{self.path}/{name}")

    def group(self, name: str) -> Group:
        """Subgroup of this name."""
        return Group(f"{self.path}/{name}")

    def has(self, name: str) -> bool:
        """Whether an array or a group of this name exists."""
        return Path(self.path, name, "zarr.json").is_file()

    def create(
        self,
        name: str,
        shape: Sequence[int],
        dtype: npt.DTypeLike,
        *,
        dims: Sequence[str],
        brick: Sequence[int],
        chunk: Sequence[int] | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> ArrayHandle:
        """Create a chunked array, zstd-compressed and checksummed, without writing any element.

        Parameters
        ----------
        name : str
            Of the array; must not exist.
        shape, dtype
            Of the array.
        dims : sequence of str
            Dimension names.
        brick : sequence of int
            Shard shape; a multiple of `chunk` along every axis.
        chunk : sequence of int, optional
            Shape of the inner chunks; by default that of `inner_chunk`.
        attributes : mapping, optional
            Attributes of the array.

        Returns
        -------
        ArrayHandle
        """
        dtype = np.dtype(dtype)
        inner = tuple(chunk) if chunk else inner_chunk(brick, dtype)
        array = self.array(name)
        zarr.create_array(
            store=array.path,
            shape=tuple(shape),
            chunks=inner,
            shards=tuple(brick),
            dtype=dtype,
            compressors=codecs(dtype),
            fill_value=np.nan if dtype.kind == "f" else 0,
            dimension_names=tuple(dims),
            attributes=dict(attributes or {}),
            config=_WRITE_EMPTY,
        )
        return array

    def write_column(
        self,
        name: str,
        data: npt.ArrayLike,
        dims: Sequence[str],
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a small array (a coordinate, a table column) whole, in one chunk.

        Parameters
        ----------
        name : str
            Name of the array; must not exist.
        data : array_like
            Its values.
        dims : sequence of str
            Dimension names.
        attributes : mapping, optional
            Attributes of the array.
        """
        values = np.asarray(data)
        array = zarr.create_array(
            store=self.array(name).path,
            shape=values.shape,
            chunks=tuple(max(n, 1) for n in values.shape),
            dtype=values.dtype,
            compressors=[ZstdCodec(level=1), Crc32cCodec()],
            fill_value=np.nan if values.dtype.kind == "f" else 0,
            dimension_names=tuple(dims),
            attributes=dict(attributes or {}),
            config=_WRITE_EMPTY,
        )
        if values.size:
            array[...] = values

    @contextmanager
    def whole(self, name: str) -> Iterator[Group]:
        """Create a group that appears only when it is complete.

        Yields
        ------
        Group
            Where to write; it gets its name at the end.
        """
        draft = self.group(f"{name}.draft")
        zarr.create_group(draft.path, overwrite=True)
        yield draft
        # The rename is the commit: before it, readers see nothing.
        Path(draft.path).rename(self.group(name).path)

    def remove(self, name: str) -> None:
        """Remove an array or a group, if it exists."""
        shutil.rmtree(Path(self.path, name), ignore_errors=True)

    def clear(self) -> None:
        """Remove everything but the group's own attributes."""
        for path in Path(self.path).iterdir():
            if path.is_dir():
                shutil.rmtree(path)

    def set_attributes(self, **attributes: Any) -> None:  # noqa: ANN401 -- any JSON value
        """Replace attributes of the group; others stay."""
        zarr.open_group(self.path, mode="r+").attrs.update(attributes)


@dataclass(frozen=True)
class SomeTilts:
    """Selected images of a stored stack (tilt, y, x), renumbered from 0.

    A series without some of its tilts is lifted like any other: its geometry is
    `TiltGeometry.select(tilts)`, its images are these.

    Parameters
    ----------
    stack : ArrayHandle
        All images.
    tilts : tuple of int
        Which of them, in this order.
    """

    stack: ArrayHandle
    tilts: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        return self.stack.dtype

    def read(self, *window: tuple[int, int]) -> AnyArray:
        """Read a window, as `ArrayHandle.read` does."""
        chosen = self.tilts[slice(*window[0])] if window else self.tilts
        return np.concatenate([self.stack.read((t, t + 1), *window[1:]) for t in chosen])


class Stack(Protocol):
    """Images (tilt, y, x) that are read by windows."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""

    def read(self, *window: tuple[int, int]) -> AnyArray:
        """Read a window, as `ArrayHandle.read` does."""


def inner_chunk(brick: Sequence[int], dtype: np.dtype[Any]) -> Index:
    """Shape of the inner chunks: 64 along every axis, 128 along the last two for small elements.

    zarr-python takes 0.2 to 0.3 ms per chunk whatever its size, as long as decoding 256 KiB. With
    64 x 128 x 128 votes are written 1.4 to 1.8 times as fast as with 64 x 64 x 64.

    Parameters
    ----------
    brick : sequence of int
        Shard shape.
    dtype : dtype
        Type of the elements.

    Returns
    -------
    tuple of int
        Chunk shape; divides the brick.

    Examples
    --------
    >>> inner_chunk((256, 512, 192), np.dtype("u1"))
    (64, 128, 64)
    """
    wide = 2 * INNER if dtype.itemsize <= 2 else INNER
    last = len(brick) - 2
    sides = [wide if k >= last and b % wide == 0 else INNER for k, b in enumerate(brick)]
    return tuple(min(side, b) for side, b in zip(sides, brick, strict=True))


def codecs(dtype: np.dtype[Any]) -> list[Any]:
    """Compression by zstd with a checksum, as quick as it pays.

    Measured on one core, writing: noisy float32 at level 1 570 MB/s and 1.1 times smaller, at -1
    1210 MB/s; mostly empty float32 1.4 and 1.6 GB/s, 32 and 28 times smaller. Whole numbers shrink
    better at level 1 (votes 2.2 instead of 1.8 times), in the same time.
    """
    return [ZstdCodec(level=-1 if dtype.kind == "f" else 1), Crc32cCodec()]


@functools.lru_cache(maxsize=32)
def _opened(path: str, changed: int) -> zarr.Array[Any]:  # noqa: ARG001 -- part of the key
    """An array; opening one takes as long as reading a chunk, and a brick's task reads dozens."""
    return zarr.open_array(path, mode="r")


_WRITE_EMPTY: Any = {"write_empty_chunks": True, "order": "C"}


def _made_as_a_whole(array: Path) -> Path:
    """Folder to remove and re-create: the nearest group that has a fingerprint."""
    for folder in array.parents:
        try:
            if '"fingerprint"' in (folder / "zarr.json").read_text():
                return folder
        except OSError:
            break
    return array


def _has_bytes(folder: Path, index: Index) -> bool:
    try:
        return folder.joinpath(*map(str, index)).stat().st_size > 0
    except FileNotFoundError:
        return False

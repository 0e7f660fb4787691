"""What a result is compared with, and results made elsewhere: volumes and tables.

A file is what its content or name says: a folder is Zarr (an array, or an OME-Zarr image of which
the full-size level is read), ``.csv`` and ``.star`` are tables, everything else must be MRC.

One rule: a volume is a handle. Everything that can be wrong with it is found when it is opened, a
read brings a window of a mask and holds one section or one window of what is stored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.errors import InputError, StoreError
from tomodist.formats.mrc.read import MrcStack, open_mrc
from tomodist.formats.zarr import ArrayHandle, Group
from tomodist.sources.tables import Table, read_csv, read_star
from tomodist.store.maps import stored_classes
from tomodist.store.tomogram import is_store
from tomodist.values.maps import class_words
from tomodist.values.windows import Window, brick_windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.store.tomogram import Label
    from tomodist.values.arrays import AnyArray, BoolArray

SAME_SIZE = 1e-3  # voxel sizes that differ by less, relatively, are the same
_ANGSTROM = {"angstrom": 1.0, "nanometer": 10.0, "micrometer": 1e4, "picometer": 0.01}
_AT_A_TIME = 4  # see worker_environment of tomodist.runtime.cluster
_SCANNED = (64, 256, 512)  # voxels at a time, in search of the first one inside


@dataclass(frozen=True)
class MaskVolume:
    """Mask (z, y, x) in a file, read window by window.

    Parameters
    ----------
    path : str
        As the user knows it, for messages.
    source : MrcStack or ArrayHandle
        What is stored.
    shape : tuple of int
        (nz, ny, nx).
    voxel_size : float, optional
        In Å; None where the file does not say.
    value : float, optional
        Which value is inside; by default anything but 0. NaN is outside.
    """

    path: str
    source: MrcStack | ArrayHandle
    shape: tuple[int, int, int]
    voxel_size: float | None
    value: float | None = None

    @property
    def itemsize(self) -> int:
        """Bytes per voxel that a read holds beside the mask."""
        return 0 if isinstance(self.source, MrcStack) else self.source.dtype.itemsize

    @property
    def unpacked(self) -> int:
        """Bytes of the chunks that a read unpacks at the same time."""
        if isinstance(self.source, MrcStack):
            return 0
        return _AT_A_TIME * math.prod(self.source.chunk) * self.itemsize

    def read(self, window: Window) -> BoolArray:
        """Read a window of the mask.

        Parameters
        ----------
        window : tuple of tuple of int
            (start, stop) along z, y and x.

        Returns
        -------
        ndarray, shape of the window, bool

        Raises
        ------
        InputError, StoreError
            If the file has changed, or is damaged.
        """
        if isinstance(self.source, ArrayHandle):
            return self._inside(self.source.read(*window))
        (start, stop), rows, columns = window
        # Section by section, so that only one section is held beside the mask.
        mask = np.empty([b - a for a, b in window], dtype=np.bool_)
        for k in range(start, stop):
            mask[k - start] = self._inside(
                self.source.read_native(k, slice(*rows), slice(*columns))
            )
        return mask

    def _inside(self, stored: AnyArray) -> BoolArray:
        if self.value is not None:
            return np.asarray(stored == self.value)
        if stored.dtype.kind == "f":
            return np.asarray(np.abs(stored) > 0)
        return np.asarray(stored != 0)

    def check_content(self) -> None:
        """Refuse an empty mask; reading stops at the first voxel inside.

        Raises
        ------
        InputError
        """
        if any(self.read(window).any() for window in brick_windows(self.shape, _SCANNED)):
            return
        what = "anything but 0" if self.value is None else f"the value {self.value:g}"
        raise InputError(f"{self.path} has no voxel of {what}: there is nothing to compare with")


def open_truth(
    path: str | Path,
    *,
    value: float | None = None,
    pixel_size: float | None = None,
    tomogram: str | None = None,
) -> MaskVolume | Table:
    """Open a volume or a table.

    Parameters
    ----------
    path : str or Path
        MRC file, Zarr array, OME-Zarr image, or ``.star`` or ``.csv`` table.
    value : float, optional
        Of a volume, which value is inside; by default anything but 0.
    pixel_size : float, optional
        In Å, where the file does not say; of STAR coordinates in pixels, it wins.
    tomogram : str, optional
        Name of the tomogram whose rows are taken of a STAR file with several.

    Returns
    -------
    MaskVolume or Table

    Raises
    ------
    InputError, StoreError
        If it is none of these, damaged, or lacks what a comparison needs.
    """
    path = Path(path).absolute()  # workers may have another working folder
    if not path.exists():
        raise InputError(f"{path}: file not found; check the path")
    suffix = path.suffix.lower()
    if path.is_file() and suffix in (".csv", ".star"):
        if value is not None:
            raise InputError(
                f"{path} is a table, but `value` selects a class of a volume; remove `value`"
            )
        return read_csv(path) if suffix == ".csv" else read_star(path, tomogram, pixel_size)
    volume = _open_zarr(path) if path.is_dir() else _open_mrc(path)
    size = volume.voxel_size or pixel_size
    return replace(volume, value=value, voxel_size=size)


def stored_mask(label: Label, value: float | None = None) -> MaskVolume:
    """The mask of a label of a store: its numbered structures, or one of its classes.

    Parameters
    ----------
    label : Label
        Which label.
    value : float, optional
        Which class, where the label is several classes put together; by default all.

    Returns
    -------
    MaskVolume

    Raises
    ------
    InputError
        If the label has no classes, or not this one.
    StoreError
        If there is no such label; the message lists what is.
    """
    unit, tomogram = label.labels, label.tomogram
    handle, grid = unit.volume, tomogram.grid
    classes = stored_classes(unit)
    if value is not None and value not in classes:
        what = f"has the classes {class_words(classes)}" if classes else "is one class"
        raise InputError(
            f"{tomogram}: `found_value` {value:g} selects a class, but {unit} {what}; "
            f"{'use one of these' if classes else 'remove it'}"
        )
    return MaskVolume(f"{tomogram}: {unit}", handle, grid.shape, grid.voxel_size, value)


def check_grid(
    volume: MaskVolume, other: str, shape: Sequence[int], voxel_size: float | None
) -> None:
    """Refuse a volume of which the voxels do not lie on those of another.

    Parameters
    ----------
    volume : MaskVolume
        The volume.
    other : str
        Name of the other one.
    shape, voxel_size
        Of the other one: (nz, ny, nx), and in Å or None where it does not say.

    Raises
    ------
    InputError
        Names both shapes and both voxel sizes.
    """
    a, b = volume.voxel_size, voxel_size
    # An unknown voxel size is taken as equal: the shapes decide.
    same_size = a is None or b is None or abs(a - b) <= SAME_SIZE * max(a, b)
    if volume.shape == tuple(shape) and same_size:
        return
    raise InputError(
        f"{volume.path} has {_voxels(volume.shape, a)}, but {other} has {_voxels(shape, b)}; "
        "both must have the same voxels: use the volume that belongs to it"
    )


def _voxels(shape: Sequence[int], voxel_size: float | None) -> str:
    size = "unknown size" if voxel_size is None else f"{voxel_size:g} Å"
    return f"{' x '.join(map(str, shape))} voxels (z, y, x) of {size}"


def _open_mrc(path: Path) -> MaskVolume:
    stack = open_mrc(path)
    return MaskVolume(str(path), stack, stack.shape, stack.pixel_size)


def _open_zarr(path: Path) -> MaskVolume:
    if is_store(path):
        raise InputError(
            f"{path} is a tomogram store; use a volume in it, such as {path.name}/labels/gold"
        )
    attributes = Group(str(path)).attributes
    scales = attributes.get("ome", attributes).get("multiscales")
    array, voxel_size = path, None
    if scales:
        array, voxel_size = _full_size(path, scales[0])
    handle = ArrayHandle(str(array))
    try:
        shape = handle.shape
    except StoreError as error:
        raise InputError(
            f"{path} is neither a Zarr array nor an OME-Zarr image; use MRC, Zarr, STAR or CSV"
        ) from error
    if len(shape) != 3:
        raise InputError(f"{path} has shape {shape}; a volume has (z, y, x)")
    return MaskVolume(str(path), handle, (shape[0], shape[1], shape[2]), voxel_size)


def _full_size(path: Path, scales: dict[str, Any]) -> tuple[Path, float | None]:
    """Array of level 0 of an OME-Zarr image, and its voxel size in Å (None without a unit)."""
    try:
        level = scales["datasets"][0]
        units = [axis.get("unit") for axis in scales["axes"]][-3:]
        steps = [t for t in level["coordinateTransformations"] if t["type"] == "scale"]
        sizes = [float(s) for s in steps[0]["scale"]][-3:]
        array = path / level["path"]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path} has damaged OME-Zarr metadata ({type(error).__name__}: {error}); use the "
            "array inside it"
        ) from error
    if not all(unit in _ANGSTROM for unit in units):
        return array, None
    return array, _cubic(path, [s * _ANGSTROM[u] for s, u in zip(sizes, units, strict=True)])


def _cubic(path: Path, sizes: Sequence[float]) -> float:
    if not min(sizes) > 0 or max(sizes) - min(sizes) > SAME_SIZE * max(sizes):
        voxel = " x ".join(f"{s:g}" for s in sizes)
        raise InputError(
            f"{path} has voxels of {voxel} Å (z, y, x); only cubic voxels are supported"
        )
    return float(sizes[-1])

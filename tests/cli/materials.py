"""Small files and stores that the tests of the command line share."""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING

import numpy as np

from tomodist.cli import run
from tomodist.io.imod import write_xf
from tomodist.io.mrc_write import create_mrc

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

N_TILTS, HEIGHT, WIDTH, PIXEL = 9, 40, 48, 10.0
ANGLES = np.linspace(-48, 48, N_TILTS)
BEADS = ((11, 30, 14), (4, 12, 33))  # z, y, x of a volume of 16 x 40 x 48 voxels
NAME = "TS_01"


def bead_images() -> npt.NDArray[np.float32]:
    """Dark beads of 6 pixels at `BEADS`, on a little noise, single axis."""
    images = np.random.default_rng(4).normal(100, 0.5, (N_TILTS, HEIGHT, WIDTH))
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    for t, angle in enumerate(np.deg2rad(ANGLES)):
        for z, y, x in BEADS:
            column = (
                (x - (WIDTH - 1) / 2) * np.cos(angle) + (z - 7.5) * np.sin(angle) + (WIDTH - 1) / 2
            )
            distance = np.hypot(rows - y, columns - column)
            images[t] -= 30 * np.clip(3.5 - distance, 0, 1)
    return images.astype(np.float32)


def write_series(folder: Path, images: npt.NDArray[np.float32] | None = None) -> Path:
    """Write a stack, its angles and its (identity) alignment; returns the stack."""
    images = bead_images() if images is None else images
    stack = folder / f"{NAME}.mrc"
    write_stack(stack, images)
    stack.with_suffix(".tlt").write_text("".join(f"{angle:8.2f}\n" for angle in ANGLES))
    write_xf(stack.with_suffix(".xf"), np.tile(np.eye(2, 3), (N_TILTS, 1, 1)))
    return stack


def write_stack(path: Path, images: npt.NDArray[np.generic], pixel_size: float = PIXEL) -> Path:
    """Write images as an MRC stack."""
    with create_mrc(path, images.shape, images.dtype, pixel_size, kind="stack") as file:
        for k, image in enumerate(images):
            file.write(k, image)
    return path


def patched(stack: Path, target: Path, offset: int, *values: float, code: str = "i") -> Path:
    """Copy a stack with some numbers of its header replaced."""
    content = bytearray(stack.read_bytes())
    struct.pack_into(f"<{len(values)}{code}", content, offset, *values)
    target.write_bytes(content)
    return target


def ingest(stack: Path, store: Path, thickness: int = 16, *more: object) -> int:
    """Exit status of ``tomodist ingest`` with the angles beside the stack."""
    angles = ("--tilt-angles", stack.with_suffix(".tlt"))
    rest = ("--thickness", thickness, "-o", store, *THREADS)
    return tomodist("ingest", stack, *angles, *rest, *more)


def tomodist(*arguments: object) -> int:
    """Exit status of a command."""
    return run([str(argument) for argument in arguments])


def tree(folder: Path, skip: str = ".lock") -> dict[str, tuple[int, str]]:
    """Everything below a folder: when each file was written, and a hash of what is in it.

    Left out are paths with `skip` in them; by default the empty files by which a store is locked.
    """
    found = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*"))}
    return {name: _state(path) for name, path in found.items() if skip not in name}


def _state(path: Path) -> tuple[int, str]:
    if not path.is_file():
        return 0, "folder"
    return path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest()


THREADS: Sequence[str] = ("--cluster", "threads")

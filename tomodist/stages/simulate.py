"""Step: a simulated scene as files: a stack, its angles, and the truth in 2D and 3D.

<name>.mrc, <name>.tlt           what a microscope would give (dark structures)
<name>_<label>_maps.mrc          true 2D masks, int8 (tilt, y, x)
<name>_<label>_boxes.csv         true 2D boxes per tilt
<name>_<label>_truth.mrc         numbered structures in 3D (z, y, x)
<name>_<label>_truth.csv         their centres and boxes
<name>_density.mrc               on request
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tomodist.errors import ExistsError
from tomodist.io.arrays import Window, brick_indices, brick_window
from tomodist.io.mrc_write import create_mrc
from tomodist.simulate import Acquisition, Scene, acquire, boxes, silhouette

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tomodist.geometry import TiltGeometry, VolumeGrid
    from tomodist.stages.execute import Session

_BRICK = (64, 256, 256)


def write_simulation(
    session: Session,
    folder: Path,
    name: str,
    scene: Scene,
    geometry: TiltGeometry,
    grid: VolumeGrid,
    acquisition: Acquisition | None = None,
    *,
    density: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write a simulated tilt series and its truth.

    Parameters
    ----------
    session : Session
        Told of the progress.
    folder : Path
        Made if missing.
    name : str
        Stem of the files.
    scene : Scene
        The specimen.
    geometry : TiltGeometry
        What the user is told; misalignment comes on top of it.
    grid : VolumeGrid
        Of the true volumes.
    acquisition : Acquisition, optional
        Dose, noise, contrast transfer and misalignment.
    density : bool
        Write the true density, too.
    overwrite : bool
        Replace files.

    Returns
    -------
    Path
        The stack.

    Raises
    ------
    ExistsError
        If the stack exists and `overwrite` is false.
    """
    stack = folder / f"{name}.mrc"
    if stack.exists() and not overwrite:
        raise ExistsError(f"{stack} exists; use --overwrite to replace it")
    folder.mkdir(parents=True, exist_ok=True)
    _write_truth(session, folder / name, scene, geometry, grid)
    if density:
        path = folder / f"{name}_density.mrc"
        with create_mrc(path, grid.shape, np.float32, grid.voxel_size, overwrite=True) as mrc:
            for place, window in _bricks(grid):
                mrc.write(place, scene.density(grid, *zip(*window, strict=True)))
    lines = "".join(f"{angle:8.2f}\n" for angle in geometry.tilt_angles)
    (folder / f"{name}.tlt").write_text(lines)
    session.progress.start(f"simulate {name}", geometry.n_tilts)
    with _stack(stack, geometry, np.float32) as mrc:
        for tilt in range(geometry.n_tilts):
            mrc.write(tilt, acquire(scene, geometry, tilt, acquisition))
            session.progress.advance()
    return stack


def _write_truth(
    session: Session, stem: Path, scene: Scene, geometry: TiltGeometry, grid: VolumeGrid
) -> None:
    for label in scene.names:
        session.progress.start(f"truth of {label}", geometry.n_tilts)
        with _stack(stem.with_name(f"{stem.name}_{label}_maps.mrc"), geometry, np.int8) as mrc:
            for tilt in range(geometry.n_tilts):
                mrc.write(tilt, silhouette(scene, label, geometry, tilt))
                session.progress.advance()
        _write_boxes(stem.with_name(f"{stem.name}_{label}_boxes.csv"), scene, label, geometry)
        _write_structures(stem.with_name(f"{stem.name}_{label}_truth.csv"), scene, label, grid)
        path = stem.with_name(f"{stem.name}_{label}_truth.mrc")
        with create_mrc(path, grid.shape, np.int16, grid.voxel_size, overwrite=True) as mrc:
            for place, window in _bricks(grid):
                mrc.write(place, scene.labels(label, grid, *zip(*window, strict=True)))


def _write_boxes(path: Path, scene: Scene, label: str, geometry: TiltGeometry) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["tilt", "id", "y", "x", "height", "width"])
        for tilt in range(geometry.n_tilts):
            found = boxes(scene, label, geometry, tilt)
            for number, center, size in zip(found.ids, found.centers, found.sizes, strict=True):
                writer.writerow([tilt, number, *_rounded(center), *_rounded(size)])


def _write_structures(path: Path, scene: Scene, label: str, grid: VolumeGrid) -> None:
    """Centres in Å from the centre of voxel 0, as everywhere in files."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        names = [f"{name}_angstrom" for name in ("z", "y", "x", "size_z", "size_y", "size_x")]
        writer.writerow(["id", *names])
        for structure in scene.structures(label):
            center = np.array(structure.center) + np.array(grid.center) * grid.voxel_size
            writer.writerow([structure.id, *_rounded(center), *_rounded(structure.size)])


def _rounded(values: npt.ArrayLike) -> list[str]:
    return [f"{v:.3f}" for v in np.asarray(values).tolist()]


def _stack(path: Path, geometry: TiltGeometry, dtype: npt.DTypeLike) -> Any:  # noqa: ANN401
    shape = (geometry.n_tilts, *geometry.image_shape)
    return create_mrc(path, shape, dtype, geometry.pixel_size, kind="stack", overwrite=True)


def _bricks(grid: VolumeGrid) -> Iterator[tuple[tuple[slice, ...], Window]]:
    for index in brick_indices(grid.shape, _BRICK):
        window = brick_window(index, _BRICK, grid.shape)
        yield tuple(slice(*w) for w in window), window

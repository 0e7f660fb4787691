"""Step: a stack on disk becomes `tilt_series`, in the aligned frame or raw with its geometry.

Everything about the input is checked in `describe_series`, before a store is made or a task runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np

from tomodist.algorithms.resample import aligned_shape, resample
from tomodist.errors import InputError
from tomodist.formats.files import file_fingerprint
from tomodist.formats.imod.alignment import alignment_geometry, read_tilt_angles, read_xf
from tomodist.formats.mrc.read import MrcStack, open_mrc
from tomodist.planning.tiles import plan_of_images
from tomodist.runtime.runner import task_of
from tomodist.steps.parts.filling import fill
from tomodist.store.place import LocalFolder
from tomodist.store.tomogram import Tomogram
from tomodist.store.volumes import create_stack
from tomodist.values.geometry import TiltGeometry, VolumeGrid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.formats.zarr import ArrayHandle, Group
    from tomodist.planning.plan import Plan, Resources
    from tomodist.runtime.runner import Session, Task, Work
    from tomodist.values.arrays import Float32Array, FloatArray
    from tomodist.values.windows import Index

VERSION = 1


@dataclass(frozen=True)
class Series:
    """A checked description of what is to be ingested.

    Parameters
    ----------
    stack : MrcStack
        The images.
    sections : tuple of int
        Which sections (0-based) become tilts, in the order of the file.
    geometry : TiltGeometry
        Of the images as they will be stored.
    grid : VolumeGrid
        Of the volumes.
    transforms : tuple
        Per tilt, the raw-to-stored transform ((a11, a12, dx), (a21, a22, dy)) in raw pixels.
    binning : int
        Pixels averaged along each side.
    resampled : bool
        Whether the images are resampled into the aligned frame.
    alignment : str, optional
        Path of the alignment.
    """

    stack: MrcStack
    sections: tuple[int, ...]
    geometry: TiltGeometry
    grid: VolumeGrid
    transforms: tuple[tuple[tuple[float, ...], ...], ...]
    binning: int
    resampled: bool = True
    alignment: str | None = None


def describe_series(
    path: str | Path,
    *,
    tilt_angles: str | Path | Sequence[float] | None = None,
    alignment: str | Path | None = None,
    x_tilt: str | Path | float = 0.0,
    tilt_axis_angle: float | None = None,
    pixel_size: float | None = None,
    thickness: int | None = None,
    binning: int = 1,
    resampled: bool = True,
    exclude: Sequence[int] = (),
) -> Series:
    """Read and check everything about a tilt series but its pixels.

    Parameters
    ----------
    path : str or Path
        MRC stack, raw or aligned.
    tilt_angles : path or sequence of float, optional
        ``.tlt`` or ``.rawtlt``; by default from the header.
    alignment : path, optional
        IMOD ``.xf``; without it the stack is taken to be aligned.
    x_tilt : path or float
        ``.xtilt`` or one value in degrees.
    tilt_axis_angle : float, optional
        From vertical, counter-clockwise, in degrees, for stacks without an alignment: 90 is an
        axis along x.
    pixel_size : float, optional
        In Å; by default from the header.
    thickness : int, optional
        Of the volume, in voxels after binning; by default half its width.
    binning : int
        Pixels averaged along each side.
    resampled : bool
        Resample into the aligned frame; else keep the raw images and their geometry.
    exclude : sequence of int
        Sections to leave out (0-based).

    Returns
    -------
    Series

    Raises
    ------
    InputError
        If anything is missing or contradicts something else; names file, value and remedy.
    """
    stack = open_mrc(Path(path).absolute())  # workers may have another working folder
    n = stack.shape[0]
    angles = _angles(stack, tilt_angles)
    transforms = _transforms(stack, alignment, tilt_axis_angle)
    pitch = _per_section(x_tilt, n, stack, "x_tilt")
    if binning < 1 or binning > min(stack.shape[1:]) // 8:
        raise InputError(f"`binning` is {binning}; it must be 1 to {min(stack.shape[1:]) // 8}")
    if thickness is not None and thickness < 1:
        raise InputError(f"`thickness` is {thickness} voxels; it must be 1 or more")
    size = _pixel_size(stack, pixel_size) * binning
    sections = _kept(n, exclude)
    frame = aligned_shape(stack.shape[1:], transforms, binning)
    pick = list(sections)
    grid = VolumeGrid((thickness or max(frame[1] // 2, 1), *frame), size)
    chosen = [angles[k] for k in pick]
    pitches = [pitch[k] for k in pick]
    if resampled:
        geometry = TiltGeometry(chosen, frame, size, x_tilt=pitches)
    else:
        raw = _raw_geometry(transforms[pick], size / binning, alignment)
        identity = np.tile(np.eye(2, 3), (n, 1, 1))
        frame = aligned_shape(stack.shape[1:], identity, binning)
        geometry = TiltGeometry(chosen, frame, size, x_tilt=pitches, **raw)
        transforms = identity
    plain = tuple(tuple(tuple(row) for row in transforms[k].tolist()) for k in pick)
    source = None if alignment is None else str(Path(alignment).absolute())
    return Series(stack, sections, geometry, grid, plain, binning, resampled, source)


@dataclass(frozen=True)
class Ingest:
    """Step: the `tilt_series` of a store, which is created if it is not there.

    Parameters
    ----------
    path : Path
        Of the store.
    series : Series
        From `describe_series`.
    """

    path: Path
    series: Series

    def plans(self, resources: Resources) -> tuple[Plan, ...]:
        """One task per image."""
        stack = (len(self.series.sections), *self.series.stack.shape[1:])
        return (plan_of_images("ingest", stack, resources),)

    def is_current(self, *, overwrite: bool) -> bool:
        """Whether the tilt series is there, made just so."""
        if LocalFolder(self.path.absolute()).is_empty():
            return False
        series = Tomogram.open(self.path).series
        return series.is_current(self._fingerprint(), overwrite=overwrite)

    def work(self, session: Session, plans: Sequence[Plan]) -> Work[None]:  # noqa: ARG002
        """Resample and store every image; leave no empty store behind if the input is bad."""
        tomogram = Tomogram.create(self.path)
        session.check_sees(str(tomogram), tomogram.place.exists)
        try:
            yield from self._fill(tomogram)
        except InputError:
            tomogram.place.remove_if_without_units()
            raise

    def _fill(self, tomogram: Tomogram) -> Work[None]:
        series = self.series
        with tomogram.series.stage(self._fingerprint()) as staging:
            images = staging.array("images")
            if not staging.has("images"):
                source = {"source": series.stack.path}
                create_stack(staging, "images", series.geometry, np.float32, source)

            def task(brick: Index) -> Task:
                return task_of(_ingest_tilt, series, images, brick[0])

            yield from fill("ingest", images, task)
            for name in ("tilt", "section", "tilt_angle", "y", "x"):
                staging.remove(name)
            _write_coordinates(staging, series)
            staging.describe(
                geometry=series.geometry.to_dict(),
                grid=series.grid.to_dict(),
                transforms=series.transforms,
                binning=series.binning,
                resampled=series.resampled,
                alignment=series.alignment,
                raw_shape=series.stack.shape,
                source=str(Path(series.stack.path).resolve()),
            )

    def _fingerprint(self) -> dict[str, Any]:
        """What determines the tilt series."""
        series = self.series
        return {
            "step": "ingest",
            "version": VERSION,
            "source": file_fingerprint(series.stack.path),
            "sections": series.sections,
            "geometry": series.geometry.to_dict(),
            "grid": series.grid.to_dict(),
            "transforms": series.transforms,
            "binning": series.binning,
        }


def lazy_images(series: Series) -> da.Array:
    """Images as they would be stored, lazy, one tilt per chunk: (n_tilts, height, width)."""
    shape = series.geometry.image_shape
    tilts = [
        da.from_delayed(task_of(_stored_image, series, tilt), shape, np.float32)
        for tilt in range(series.geometry.n_tilts)
    ]
    return da.stack(tilts)


def _ingest_tilt(series: Series, images: ArrayHandle, tilt: int) -> None:
    images.write((tilt, 0, 0), _stored_image(series, tilt)[None])


def _stored_image(series: Series, tilt: int) -> Float32Array:
    section = series.sections[tilt]
    image = series.stack.read(section)
    if not np.isfinite(image).any():
        raise InputError(
            f"{series.stack.path}: section {section} holds no finite pixel; "
            f"exclude it (`exclude` {section})"
        )
    transform = np.asarray(series.transforms[tilt])
    return resample(image, transform, series.geometry.image_shape, series.binning)


def _write_coordinates(group: Group, series: Series) -> None:
    geometry = series.geometry
    ny, nx = geometry.image_shape
    group.write_column("tilt", np.arange(geometry.n_tilts), ["tilt"])
    group.write_column("section", np.array(series.sections), ["tilt"])
    group.write_column("tilt_angle", geometry.tilt_angles, ["tilt"], {"units": "degree"})
    group.write_column("y", np.arange(ny) * geometry.pixel_size, ["y"], {"units": "angstrom"})
    group.write_column("x", np.arange(nx) * geometry.pixel_size, ["x"], {"units": "angstrom"})


def _angles(stack: MrcStack, given: str | Path | Sequence[float] | None) -> Sequence[float]:
    if given is None:
        if stack.tilt_angles is None:
            raise InputError(f"{stack.path}: its header has no tilt angles; set `tilt_angles`")
        return stack.tilt_angles
    if isinstance(given, str | Path):
        angles: Sequence[float] = read_tilt_angles(given)
        what = str(given)
    else:
        angles, what = given, "tilt_angles"
    _check_count(len(angles), stack, what, "angles")
    return angles


def _per_section(given: str | Path | float, n: int, stack: MrcStack, name: str) -> Sequence[float]:
    if isinstance(given, str | Path):
        values = read_tilt_angles(given)
        _check_count(len(values), stack, str(given), "angles")
        return values
    if not abs(given) <= 180:
        raise InputError(f"{name} is {given}; it must be an angle of -180 to 180 degrees")
    return [float(given)] * n


def _transforms(
    stack: MrcStack, alignment: str | Path | None, tilt_axis_angle: float | None
) -> FloatArray:
    n = stack.shape[0]
    if alignment is not None:
        if tilt_axis_angle is not None:
            raise InputError(
                f"`tilt_axis_angle` {tilt_axis_angle} and `alignment` {alignment} both give the "
                "axis; remove one of them"
            )
        transforms = read_xf(alignment)
        _check_count(len(transforms), stack, str(alignment), "transforms")
        return transforms
    angle = np.deg2rad(tilt_axis_angle or 0.0)
    if not np.isfinite(angle):
        raise InputError(f"`tilt_axis_angle` is {tilt_axis_angle}; it must be a finite angle")
    c, s = np.cos(angle), np.sin(angle)
    return np.tile(np.array([[c, s, 0.0], [-s, c, 0.0]]), (n, 1, 1))


def _raw_geometry(
    transforms: FloatArray, pixel_size: float, alignment: str | Path | None
) -> dict[str, tuple[float, ...]]:
    try:
        return alignment_geometry(transforms, pixel_size)
    except InputError as error:
        raise InputError(f"{alignment}: {error}") from error


def _check_count(found: int, stack: MrcStack, path: str, what: str) -> None:
    if found != stack.shape[0]:
        raise InputError(
            f"{path} holds {found} {what}, but {stack.path} has {stack.shape[0]} images; "
            "use the files of the same series"
        )


def _pixel_size(stack: MrcStack, given: float | None) -> float:
    if given is not None and not (np.isfinite(given) and given > 0):
        raise InputError(f"`pixel_size` is {given} Å; it must be a positive number")
    size = given or stack.pixel_size
    if not size:
        raise InputError(f"{stack.path}: its header has no pixel size; set `pixel_size` (Å)")
    return size


def _kept(n: int, exclude: Sequence[int]) -> tuple[int, ...]:
    for section in exclude:
        if not 0 <= section < n:
            raise InputError(
                f"`exclude` names section {section}, but the stack has sections 0 to {n - 1}"
            )
    kept = tuple(k for k in range(n) if k not in set(exclude))
    if not kept:
        raise InputError(f"`exclude` leaves none of the {n} tilts; exclude fewer")
    return kept

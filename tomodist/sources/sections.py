"""Stacks made elsewhere beside a tilt series: which section is of which tilt, and how it lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tomodist.errors import InputError
from tomodist.formats.stacks import ImageStack, open_stack

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.store.tomogram import Tomogram

FrameName = Literal["aligned", "raw"]


class Sections(NamedTuple):
    """The sections of a stack that belong to the tilts of a series.

    Parameters
    ----------
    stack : ImageStack
        The stack.
    numbers : tuple of int
        Its section for every tilt.
    transforms : tuple, optional
        If it lies on the raw images: per tilt, how those were resampled.
    binning : int
        Likewise.
    """

    stack: ImageStack
    numbers: tuple[int, ...]
    transforms: tuple[Any, ...] | None = None
    binning: int = 1


def fitting_sections(
    tomogram: Tomogram, path: str | Path, frame: FrameName = "aligned"
) -> Sections:
    """Check that a stack fits a tilt series.

    Parameters
    ----------
    tomogram : Tomogram
        The store with the tilt series.
    path : str or Path
        MRC, TIFF, NPY or Zarr (tilt, y, x).
    frame : {"aligned", "raw"}
        Whether it lies on the stored images, or on the raw ones as they were ingested.

    Returns
    -------
    Sections

    Raises
    ------
    InputError
        If shapes or numbers of tilts differ.
    """
    stack = open_stack(path)
    attributes = tomogram.series.attributes
    n_raw, *raw = attributes["raw_shape"]
    shape = tomogram.geometry.image_shape
    expected = tuple(raw) if frame == "raw" else shape
    section = tomogram.series.array("section").read().tolist()
    # A stack with one map per stored tilt, or with all raw sections (excluded ones are skipped).
    kept = range(len(section)) if stack.shape[0] == len(section) != n_raw else section
    if stack.shape[0] not in (len(section), n_raw) or stack.shape[1:] != expected:
        raw_maps = stack.shape[1:] == tuple(raw) != expected
        remedy = (
            "they fit the raw images: set `frame` to raw"
            if raw_maps
            else "use one map per tilt, of the size of its image"
        )
        raise InputError(
            f"{path}: maps of shape {stack.shape} do not fit the {len(section)} tilts of "
            f"{expected[0]} x {expected[1]} pixels (rows x columns) in {tomogram}; {remedy}"
        )
    if frame == "aligned":
        return Sections(stack, tuple(kept))
    return Sections(stack, tuple(kept), tuple(attributes["transforms"]), attributes["binning"])

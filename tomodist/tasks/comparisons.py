"""What is compared with what, everything checked before work starts.

truth is      kind      result: of a store         result: a file
a volume      mask      labels/<label> above 0     a volume
edges     the same                   a volume
a table       boxes     structures/<label>         a table with sizes
points    the same                   a table
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tomodist.errors import InputError
from tomodist.sources.tables import Table, stored_table
from tomodist.sources.truth import MaskVolume, check_grid, open_truth, stored_mask
from tomodist.steps.compare import Objects, VolumePair, objects_within
from tomodist.store.maps import stored_classes
from tomodist.store.tomogram import Tomogram, check_label, is_store
from tomodist.values.geometry import VolumeGrid

if TYPE_CHECKING:
    from collections.abc import Sequence

Kind = Literal["mask", "edges", "boxes", "points"]
_ORIGINS = {
    "voxel 0": "the centre of the first voxel",
    "centre": "the volume centre",
    "corner": "the corner of the first pixel",
}
_FARTHEST = 255  # voxels of --max-distance: memory and time grow with it


@dataclass(frozen=True)
class Pair:
    """A result and its truth, as the user names them.

    Parameters
    ----------
    truth : Path
        File or folder of the truth.
    label : str, optional
        Which result of a store; none if the result is a file.
    kind : {"mask", "edges", "boxes", "points"}, optional
        How they are compared; by default what the truth is.
    value, found_value : float, optional
        Which value of the true volume, or of the result (a file, or a label that is several
        classes put together), is the class; by default all but 0.
    """

    truth: Path
    label: str | None = None
    kind: Kind | None = None
    value: float | None = None
    found_value: float | None = None


@dataclass(frozen=True)
class Rules:
    """What holds for all comparisons of a call.

    Parameters
    ----------
    max_distance : int
        Surface distances up to so many voxels are told apart.
    distance : float, optional
        How far in Å a point may be from the true one.
    within : Path, optional
        A volume; only what lies in it counts.
    pixel_size : float, optional
        In Å, of files that do not say it.

    Raises
    ------
    InputError
        If a number is out of range.
    """

    max_distance: int = 32
    distance: float | None = None
    within: Path | None = None
    pixel_size: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.max_distance <= _FARTHEST:
            raise InputError(
                f"`max_distance` is {self.max_distance} voxels; it must be 1 to {_FARTHEST}"
            )
        for name, value in (("distance", self.distance), ("pixel_size", self.pixel_size)):
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"`{name}` is {value} Å; it must be a positive number")


@dataclass(frozen=True, eq=False)
class Comparison:
    """A pair that was found sound.

    Parameters
    ----------
    label : str
        Name of the structures.
    kind : {"mask", "edges", "boxes", "points"}
        How they are compared.
    found, truth : str
        Where they are.
    value : float, optional
        Which class of the true volume.
    voxel_size : float, optional
        In Å, where it is known.
    sides : VolumePair or tuple of Objects
        What is compared.
    distance : float, optional
        Of points, in Å.
    """

    label: str
    kind: Kind
    found: str
    truth: str
    value: float | None
    voxel_size: float | None
    sides: VolumePair | tuple[Objects, Objects]
    distance: float | None = None


def prepare(result: Path, pairs: Sequence[Pair], rules: Rules) -> list[Comparison]:
    """Open and check everything that is to be compared.

    Parameters
    ----------
    result : Path
        A store, or a file.
    pairs : sequence of Pair
        Of a store, each with a label; of a file, none with one.
    rules : Rules
        Of all comparisons.

    Returns
    -------
    list of Comparison

    Raises
    ------
    InputError, StoreError
        Of the first pair that cannot be compared.
    """
    within = None
    if rules.within is not None:
        opened = open_truth(rules.within, pixel_size=rules.pixel_size)
        if isinstance(opened, Table):
            raise InputError(f"`within` {rules.within} is a table; use a volume")
        within = opened
    tomogram = _store_of(result, pairs)
    comparisons = [_prepared(result, tomogram, pair, rules, within) for pair in pairs]
    if rules.distance is not None and all(c.kind != "points" for c in comparisons):
        raise InputError(
            "`distance` applies only to points, but nothing is compared as points; remove it, or "
            "use the `kind` points"
        )
    truths = [c.sides.truth for c in comparisons if isinstance(c.sides, VolumePair)]
    for volume in dict.fromkeys([*truths, *([] if within is None else [within])]):
        volume.check_content()
    return comparisons


def _store_of(result: Path, pairs: Sequence[Pair]) -> Tomogram | None:
    """The store that the labels are of; None if the result is a file."""
    if any(pair.label is not None for pair in pairs):
        tomogram = Tomogram.open(result)
        for pair in pairs:
            check_label(pair.label or "")
        return tomogram
    if is_store(result):
        there = ", ".join(Tomogram.open(result).names("labels")) or "none yet"
        raise InputError(
            f"{result} is a tomogram store; say which of its results (`label`; available: {there})"
        )
    return None


def _prepared(
    result: Path, tomogram: Tomogram | None, pair: Pair, rules: Rules, within: MaskVolume | None
) -> Comparison:
    name = None if tomogram is None else tomogram.name
    truth = open_truth(pair.truth, value=pair.value, pixel_size=rules.pixel_size, tomogram=name)
    kind = pair.kind or _kind_of(truth)
    label = _name_of(tomogram, pair) or Path(truth.path).name.partition(".")[0]
    if isinstance(truth, MaskVolume):
        if kind not in ("mask", "edges"):
            raise InputError(
                f"{truth.path} is a volume, but the `kind` {kind} compares tables; use STAR or "
                "CSV, or the kind mask"
            )
        found = _found_volume(result, tomogram, pair, rules)
        for volume in (truth, *([] if within is None else [within])):
            check_grid(volume, found.path, found.shape, found.voxel_size)
        size = found.voxel_size or truth.voxel_size
        sides = VolumePair(
            found, truth, "mask" if kind == "mask" else "edges", rules.max_distance, within
        )
        return Comparison(label, kind, found.path, truth.path, pair.value, size, sides)
    if kind not in ("boxes", "points"):
        raise InputError(
            f"{truth.path} is a table, but the `kind` {kind} compares volumes; use MRC or Zarr, "
            "or the kind points"
        )
    return _of_tables(
        label, kind, _found_table(result, tomogram, pair, rules), truth, rules, tomogram, within
    )


def _name_of(tomogram: Tomogram | None, pair: Pair) -> str | None:
    """The label of a pair, and which of its classes."""
    if tomogram is None or pair.label is None or pair.found_value is None:
        return pair.label
    classes = stored_classes(tomogram.label(pair.label).labels)
    name = classes.get(int(pair.found_value))
    return f"{pair.label}/{name}" if name else pair.label


def _kind_of(truth: MaskVolume | Table) -> Kind:
    if isinstance(truth, MaskVolume):
        return "mask"
    return "points" if truth.sizes is None else "boxes"


def _found_volume(result: Path, tomogram: Tomogram | None, pair: Pair, rules: Rules) -> MaskVolume:
    if tomogram is not None and pair.label is not None:
        tomogram.label(pair.label).labels.check_current()
        return stored_mask(tomogram.label(pair.label), pair.found_value)
    found = open_truth(result, value=pair.found_value, pixel_size=rules.pixel_size)
    if isinstance(found, Table):
        raise InputError(
            f"{found.path} is a table, but its truth {pair.truth} is a volume; both must be one "
            "or the other"
        )
    return found


def _found_table(result: Path, tomogram: Tomogram | None, pair: Pair, rules: Rules) -> Table:
    if tomogram is not None and pair.label is not None:
        if pair.found_value is not None:
            raise InputError("`found_value` selects a class of a volume; remove it for a table")
        tomogram.label(pair.label).structures.check_current()
        return stored_table(tomogram.label(pair.label))
    found = open_truth(result, value=pair.found_value, pixel_size=rules.pixel_size)
    if isinstance(found, MaskVolume):
        raise InputError(
            f"{found.path} is a volume, but its truth {pair.truth} is a table; both must be one "
            "or the other"
        )
    return found


def _of_tables(
    label: str,
    kind: Kind,
    found: Table,
    truth: Table,
    rules: Rules,
    tomogram: Tomogram | None,
    within: MaskVolume | None,
) -> Comparison:
    if not len(truth):
        raise InputError(f"{truth.path} has no structures: there is nothing to compare with")
    for table in (found, truth):
        if kind == "boxes" and table.sizes is None:
            raise InputError(f"{table.path} has no sizes of boxes; use the `kind` points")
    if kind == "points" and rules.distance is None:
        raise InputError(
            "points need `distance`: how far (Å) from the true one a point may be, such as the "
            "radius of the objects"
        )
    grid = _grid_of(tomogram, within)
    if found.frame != truth.frame and grid is None:
        raise InputError(
            f"{found.path} is measured from {_ORIGINS[found.frame]}, but {truth.path} from "
            f"{_ORIGINS[truth.frame]}; to compare them the volume must be known: give a store as "
            "the result"
        )
    distance = rules.distance if kind == "points" else None
    sides = _objects(found, grid, within), _objects(truth, grid, within)
    size = None if grid is None else grid.voxel_size
    return Comparison(label, kind, found.path, truth.path, None, size, sides, distance)


def _grid_of(tomogram: Tomogram | None, within: MaskVolume | None) -> VolumeGrid | None:
    """Voxels of the volume that tables belong to, where it is known."""
    if tomogram is not None:
        grid = tomogram.grid
        if within is not None:
            check_grid(within, str(tomogram), grid.shape, grid.voxel_size)
        return grid
    if within is None:
        return None
    if within.voxel_size is None:
        raise InputError(f"{within.path} says no voxel size; set `pixel_size`")
    return VolumeGrid(within.shape, within.voxel_size)


def _objects(table: Table, grid: VolumeGrid | None, within: MaskVolume | None) -> Objects:
    if grid is None:
        return Objects(table.centers, table.sizes)
    centers = table.on(grid)
    counted = None if within is None else objects_within(centers, grid.voxel_size, within)
    return Objects(centers, table.sizes, counted)

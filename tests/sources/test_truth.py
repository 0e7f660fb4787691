from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr

from tests.sources.truths import VOXEL, labels, write_mrc, write_ome, write_zarr
from tomodist.errors import InputError, StoreError
from tomodist.formats.zarr import ArrayHandle
from tomodist.sources.tables import Table
from tomodist.sources.truth import MaskVolume, check_grid, open_truth
from tomodist.store.tomogram import Tomogram

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WINDOW = ((3, 12), (0, 17), (5, 11))
PLACE = tuple(slice(*w) for w in WINDOW)


def volume_at(path: Path, **options: Any) -> MaskVolume:
    found = open_truth(path, **options)
    assert isinstance(found, MaskVolume)
    return found


FORMATS: dict[str, Callable[[Path, Any], Path]] = {
    "mrc": lambda folder, volume: write_mrc(folder / "t.mrc", volume),
    "zarr": lambda folder, volume: write_zarr(folder / "t.zarr", volume),
    "zarr 2": lambda folder, volume: write_zarr(folder / "t.zarr", volume, 2),
    "ome-zarr 0.4": lambda folder, volume: write_ome(folder / "t.zarr", volume, "0.4"),
    "ome-zarr 0.5": lambda folder, volume: write_ome(folder / "t.zarr", volume, "0.5"),
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("dtype", ["i1", "i2", "f4", "u2", "f2"])
def test_a_window_of_every_format_and_type_is_the_mask(
    tmp_path: Path, form: str, dtype: str
) -> None:
    volume = labels().astype(dtype)
    path = FORMATS[form](tmp_path, volume)
    for value, expected in ((None, volume != 0), (2, volume == 2)):
        found = pickle.loads(pickle.dumps(volume_at(path, value=value)))  # as workers get it
        assert found.shape == volume.shape
        np.testing.assert_array_equal(found.read(WINDOW), expected[PLACE])
        assert found.read(WINDOW).dtype == np.bool_


@pytest.mark.parametrize("form", FORMATS)
def test_the_voxel_size_is_what_the_file_says(tmp_path: Path, form: str) -> None:
    path = FORMATS[form](tmp_path, labels())
    plain = form.startswith("zarr")
    assert volume_at(path).voxel_size == (None if plain else pytest.approx(VOXEL))
    assert volume_at(path, pixel_size=9.0).voxel_size == pytest.approx(9 if plain else VOXEL)


def test_negative_is_inside_and_nan_is_not(tmp_path: Path) -> None:
    volume = np.array([[[-1, 0, np.nan, 0.5]]], dtype=np.float32)
    for path in (write_mrc(tmp_path / "t.mrc", volume), write_zarr(tmp_path / "t.zarr", volume)):
        mask = volume_at(path).read(((0, 1), (0, 1), (0, 4)))
        assert mask.ravel().tolist() == [True, False, False, True]
    small = np.array([[[-128, 0, 127, 1]]], dtype=np.int8)  # abs(-128) is -128
    mask = volume_at(write_mrc(tmp_path / "i.mrc", small)).read(((0, 1), (0, 1), (0, 4)))
    assert mask.ravel().tolist() == [True, False, True, True]


@pytest.mark.parametrize(
    ("unit", "scale", "size"),
    [("angstrom", 8, 8.0), ("nanometer", 0.8, 8.0), ("micrometer", 8e-4, 8.0), (None, 8, None)],
)
def test_units_of_ome_zarr_are_taken_at_their_word(
    tmp_path: Path, unit: str | None, scale: float, size: float | None
) -> None:
    path = write_ome(tmp_path / "t.zarr", labels(), scale=[scale] * 3, unit=unit)
    found = volume_at(path).voxel_size
    assert found == (None if size is None else pytest.approx(size))


def test_a_mask_with_something_far_off_is_not_empty(tmp_path: Path) -> None:
    volume = np.zeros((70, 3, 600), np.int16)
    volume[-1, -1, -1] = 5
    path = write_mrc(tmp_path / "t.mrc", volume)
    for value in (None, 5):
        volume_at(path, value=value).check_content()
    with pytest.raises(InputError, match=r"no voxel of the value 4: .*nothing to compare"):
        volume_at(path, value=4).check_content()
    volume[...] = 0
    with pytest.raises(InputError, match="no voxel of anything but 0"):
        volume_at(write_zarr(tmp_path / "t.zarr", volume)).check_content()


@pytest.mark.parametrize(
    ("shape", "size", "fits"),
    [
        ((13, 17, 12), VOXEL, True),
        ((13, 17, 12), VOXEL * 1.0009, True),
        ((13, 17, 12), VOXEL * 1.002, False),
        ((13, 17, 12), None, True),
        ((12, 17, 13), VOXEL, False),
        ((13, 17), VOXEL, False),
    ],
)
def test_volumes_of_other_voxels_are_refused(
    tmp_path: Path, shape: tuple[int, ...], size: float | None, *, fits: bool
) -> None:
    volume = volume_at(write_mrc(tmp_path / "t.mrc", labels()))
    if fits:
        check_grid(volume, "other.mrc", shape, size)
        return
    with pytest.raises(InputError) as error:
        check_grid(volume, "other.mrc", shape, size)
    said = str(error.value)
    assert "t.mrc has 13 x 17 x 12 voxels (z, y, x) of 13.5 Å, but other.mrc has" in said
    assert f"{' x '.join(map(str, shape))} voxels (z, y, x) of {size:g} Å" in said


def test_a_read_unpacks_no_more_than_it_says(tmp_path: Path) -> None:
    stored = volume_at(write_zarr(tmp_path / "t.zarr", labels()))
    assert (stored.itemsize, stored.unpacked) == (2, 4 * 11 * 11 * 11 * 2)
    mapped = volume_at(write_mrc(tmp_path / "t.mrc", labels()))
    assert (mapped.itemsize, mapped.unpacked) == (0, 0)


def test_tables_are_told_by_their_names(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("z_angstrom,y_angstrom,x_angstrom\n1,2,3\n")
    found = open_truth(path)
    assert isinstance(found, Table)
    assert found.centers.tolist() == [[1, 2, 3]]


def broken_ome(folder: Path) -> Path:
    group = zarr.create_group(str(folder / "t.zarr"))
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": [], "datasets": []}]}
    return folder / "t.zarr"


def group(folder: Path) -> Path:
    zarr.create_group(str(folder / "t.zarr"))
    return folder / "t.zarr"


def cut_short(folder: Path) -> Path:
    path = write_mrc(folder / "t.mrc", labels())
    path.write_bytes(path.read_bytes()[:-500])
    return path


def lost_level(folder: Path) -> Path:
    path = write_ome(folder / "t.zarr", labels())
    (path / "0" / "zarr.json").unlink()
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "no.mrc", "no.mrc: file not found; check the path"),
        (cut_short, r"t.mrc is cut short: 13 sections of 17 x 12"),
        (group, "neither a Zarr array nor an OME-Zarr image; use MRC, Zarr, STAR or CSV"),
        (lambda folder: folder, "neither a Zarr array nor an OME-Zarr image"),
        (lost_level, "neither a Zarr array nor an OME-Zarr image"),
        (broken_ome, r"damaged OME-Zarr metadata \(IndexError"),
        (lambda folder: write_zarr(folder / "t.zarr", labels((4, 5))), r"shape \(4, 5\); a volume"),
        (
            lambda folder: write_ome(folder / "t.zarr", labels(), scale=(2, 1, 1)),
            r"voxels of 20 x 10 x 10 Å \(z, y, x\); only cubic voxels",
        ),
        (
            lambda folder: Tomogram.create(folder / "t.zarr").place.path,
            "is a tomogram store; .* such as t.zarr/labels/gold",
        ),
    ],
    ids=["missing", "cut short", "group", "folder", "lost", "metadata", "2D", "slabs", "store"],
)
def test_what_is_no_volume_is_refused(
    tmp_path: Path, make: Callable[[Path], Path], message: str
) -> None:
    with pytest.raises((InputError, StoreError), match=message):
        open_truth(make(tmp_path))


def test_a_value_of_a_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("z_angstrom,y_angstrom,x_angstrom\n1,2,3\n")
    with pytest.raises(InputError, match=r"is a table, but `value` selects a class of a volume"):
        open_truth(path, value=2)


def test_arrays_of_zarr_2_are_read_by_their_handles(tmp_path: Path) -> None:
    volume = labels()
    handle = ArrayHandle(str(write_zarr(tmp_path / "t.zarr", volume, 2)))
    assert (handle.shape, handle.chunk, handle.brick) == (volume.shape, (11,) * 3, (11,) * 3)
    np.testing.assert_array_equal(handle.read(*WINDOW), volume[PLACE])

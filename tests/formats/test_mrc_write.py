from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

import mrcfile
import numpy as np
import pytest

from tomodist.errors import ExistsError, InputError
from tomodist.formats.mrc.read import open_mrc
from tomodist.formats.mrc.write import create_mrc

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = (4, 5, 7)


@pytest.mark.parametrize("kind", ["volume", "stack"])
@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "float16", "float32"])
def test_windows_give_back_the_volume_and_the_file_is_valid(
    tmp_path: Path, dtype: str, kind: Literal["volume", "stack"]
) -> None:
    volume = (np.arange(140).reshape(SHAPE) % 9).astype(
        dtype
    )  # mrcfile's check of float16 overflows early
    path = tmp_path / "v.mrc"
    with create_mrc(path, SHAPE, dtype, 10.5, origin=(1, 2, 3), kind=kind) as file:
        for z in range(0, 4, 2):
            for x in (slice(0, 3), slice(3, 7)):
                file.write((slice(z, z + 2), slice(None), x), volume[z : z + 2, :, x])
    assert mrcfile.validate(path)
    with mrcfile.open(path) as mrc:
        np.testing.assert_array_equal(mrc.data, volume)
        assert mrc.voxel_size.tolist() == (10.5, 10.5, 10.5)
        assert mrc.header.origin.tolist() == (3, 2, 1)
        assert mrc.is_volume() == (kind == "volume")
        assert int(mrc.header.ispg) == (1 if kind == "volume" else 0)
    stack = open_mrc(path)
    assert (stack.shape, stack.pixel_size) == (SHAPE, 10.5)
    np.testing.assert_array_equal(stack.read(3), volume[3].astype(np.float32))


def test_statistics_are_those_of_the_whole_volume(tmp_path: Path) -> None:
    volume = np.random.default_rng(1).normal(1000, 3, SHAPE).astype(np.float32)
    path = tmp_path / "v.mrc"
    with create_mrc(path, SHAPE, np.float32, 10) as file:
        file.write(0, volume[0])
        file.write(slice(1, 4), volume[1:])
    header = mrcfile.open(path).header
    found = [float(header[name]) for name in ("dmin", "dmax", "dmean", "rms")]
    wide = volume.astype(np.float64)
    np.testing.assert_allclose(found, [wide.min(), wide.max(), wide.mean(), wide.std()], rtol=1e-6)


def test_what_is_not_written_is_zero_and_counts(tmp_path: Path) -> None:
    path = tmp_path / "v.mrc"
    with create_mrc(path, SHAPE, np.int16, 10) as file:
        file.write(slice(0, 2), np.full((2, 5, 7), 8))
    header = mrcfile.open(path).header
    assert (header.dmin, header.dmax, header.dmean, header.rms) == (0, 8, 4, 4)
    assert mrcfile.validate(path)


def test_statistics_leave_out_what_was_not_measured(tmp_path: Path) -> None:
    image = np.full((1, 2, 2), 5, np.float32)
    image[0, 0, 0] = np.nan
    with create_mrc(tmp_path / "v.mrc", (1, 2, 2), np.float32, 10) as file:
        file.write(0, image[0])
    header = mrcfile.open(tmp_path / "v.mrc").header
    assert (header.dmin, header.dmax, header.dmean, header.rms) == (5, 5, 5, 0)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8"])
def test_masks_are_int8(tmp_path: Path, dtype: str) -> None:
    mask = np.eye(5, dtype=dtype)[None]
    path = tmp_path / "mask.mrc"
    with create_mrc(path, mask.shape, dtype, 10) as file:
        file.write(slice(None), mask)
    assert int(mrcfile.open(path).header.mode) == 0
    assert path.stat().st_size == 1024 + 25
    np.testing.assert_array_equal(open_mrc(path).read(0), mask[0])


@pytest.mark.parametrize(
    ("dtype", "value"), [("int8", 128), ("int8", -129), ("uint16", -1), ("int16", np.nan)]
)
def test_values_that_do_not_fit_are_refused(tmp_path: Path, dtype: str, value: float) -> None:
    with (
        pytest.raises(InputError, match=f"do not fit {dtype}"),
        create_mrc(tmp_path / "v.mrc", (1, 2, 2), dtype, 10) as file,
    ):
        file.write(0, np.full((2, 2), value))
    assert list(tmp_path.iterdir()) == []


def test_failure_leaves_nothing_and_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "v.mrc"
    path.write_bytes(b"precious")

    def write_and_stop() -> None:
        with create_mrc(path, SHAPE, np.int8, 10, overwrite=True) as file:
            file.write(0, np.ones((5, 7)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_stop()
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("v.mrc", b"precious")]


def test_existing_file_is_kept_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "v.mrc"
    path.write_bytes(b"precious")
    with pytest.raises(ExistsError, match="exists"), create_mrc(path, SHAPE, np.int8, 10):
        pass
    with create_mrc(path, SHAPE, np.int8, 10, overwrite=True) as file:
        file.write(slice(None), np.ones(SHAPE))
    assert mrcfile.validate(path)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "complex": ({"dtype": np.complex64}, "cannot hold complex64"),
    "float64": ({"dtype": np.float64}, "cannot hold float64"),
    "2D": ({"shape": (4, 5)}, r"`shape` is \(4, 5\)"),
    "empty": ({"shape": (4, 0, 5)}, r"`shape` is \(4, 0, 5\)"),
    "voxel size 0": ({"voxel_size": 0}, "`voxel_size` is 0 Å"),
    "voxel size NaN": ({"voxel_size": np.nan}, "`voxel_size` is nan Å"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments(tmp_path: Path, name: str) -> None:
    changed, message = BAD[name]
    arguments: dict[str, Any] = {"shape": SHAPE, "dtype": np.int8, "voxel_size": 10.0, **changed}
    with pytest.raises(InputError, match=message), create_mrc(tmp_path / "v.mrc", **arguments):
        pass
    assert list(tmp_path.iterdir()) == []


def test_wrong_window_and_missing_folder(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=r"shape \(3, 3\) do not fit the window of shape \(5, 7\)"),
        create_mrc(tmp_path / "v.mrc", SHAPE, np.int8, 10) as file,
    ):
        file.write(0, np.zeros((3, 3)))
    with (
        pytest.raises(InputError, match="check that the folder exists"),
        create_mrc(tmp_path / "missing" / "v.mrc", SHAPE, np.int8, 10),
    ):
        pass


def test_full_disk_is_an_error_not_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with (
        pytest.raises(InputError, match="No space left"),
        create_mrc(tmp_path / "v.mrc", SHAPE, np.int8, 10),
    ):
        pass
    assert list(tmp_path.iterdir()) == []

from __future__ import annotations

import pickle
import re
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import mrcfile
import numpy as np
import pytest
from mrcfile.dtypes import HEADER_DTYPE, get_ext_header_dtype

from tomodist.errors import InputError
from tomodist.formats.mrc.read import MrcStack, open_mrc

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MODE_TYPES = [(0, "i1"), (1, "i2"), (2, "f4"), (6, "u2"), (12, "f2")]
SHAPE = (3, 5, 7)  # sections, rows, columns: all different


def ramp(dtype: str, shape: tuple[int, ...] = SHAPE) -> np.ndarray[Any, Any]:
    """Every value different, both signs where the type has them."""
    values = np.arange(np.prod(shape)).reshape(shape) - (52 if "u" not in dtype else 0)
    return values.astype(dtype)


def mrc_bytes(
    data: np.ndarray[Any, Any],
    mode: int,
    order: str = "<",
    extended: bytes = b"",
    pixel_size: float = 2.5,
    n_ints: int = 0,
    n_reals: int = 0,
    imod_flags: int | None = None,
    **fields: Any,
) -> bytes:
    """An MRC file written field by field, as another program would."""
    header = np.zeros((), HEADER_DTYPE.newbyteorder(order))
    for axis, n in zip("zyx", data.shape, strict=True):
        header[f"n{axis}"] = header[f"m{axis}"] = n
        header["cella"][axis] = n * pixel_size
    header["mode"], header["nsymbt"] = mode, len(extended)
    header["map"], header["machst"] = (
        b"MAP ",
        (0x44, 0x44, 0, 0) if order == "<" else (17, 17, 0, 0),
    )
    header["mapc"], header["mapr"], header["maps"] = 1, 2, 3
    for name, value in fields.items():
        header[name] = value
    raw = bytearray(header.tobytes())
    raw[128:132] = np.array([n_ints, n_reals], f"{order}i2").tobytes()
    if imod_flags is not None:
        raw[152:160] = np.array([1146047817, imod_flags], f"{order}i4").tobytes()
    return bytes(raw) + extended + data.astype(data.dtype.newbyteorder(order)).tobytes()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def to_file(content: bytes, name: str = "stack.mrc") -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return to_file


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("mode", "code"), MODE_TYPES)
def test_values_of_every_mode_and_byte_order(
    write: Callable[..., Path], mode: int, code: str, order: str
) -> None:
    data = ramp(code)
    stack = open_mrc(write(mrc_bytes(data, mode, order)))
    assert (stack.shape, len(stack), stack.pixel_size) == (SHAPE, 3, 2.5)
    for section in range(3):
        image = stack.read(section)
        assert image.dtype == np.float32
        np.testing.assert_array_equal(image, data[section].astype(np.float32))
        native = stack.read_native(section)
        assert native.dtype == np.dtype(code)
        np.testing.assert_array_equal(native, data[section])


def test_window_equals_the_slice_of_the_section(write: Callable[..., Path]) -> None:
    data = ramp("i2")
    stack = open_mrc(write(mrc_bytes(data, 1, extended=bytes(37))))  # data not aligned
    window = stack.read(2, slice(1, 4), slice(2, 7))
    np.testing.assert_array_equal(window, data[2, 1:4, 2:7])
    assert window.base is None  # nothing keeps the file open


@pytest.mark.parametrize(
    ("stamp_flags", "expected"),
    [(None, "i1"), (1, "i1"), (0, "u1"), (4, "u1"), (5, "i1")],
    ids=["no stamp: MRC2014", "signed", "unsigned", "unsigned, origin flag", "signed, origin flag"],
)
def test_bytes_are_unsigned_only_by_imods_stamp(
    write: Callable[..., Path], stamp_flags: int | None, expected: str
) -> None:
    data = np.full((1, 2, 2), 200, np.uint8)
    stack = open_mrc(write(mrc_bytes(data, 0, imod_flags=stamp_flags)))
    np.testing.assert_array_equal(stack.read(0), data[0].astype(expected))


def test_file_without_map_stamp_is_read(write: Callable[..., Path]) -> None:
    for order in "<>":
        content = mrc_bytes(ramp("i2"), 1, order, map=b"", machst=(0, 0, 0, 0))
        np.testing.assert_array_equal(open_mrc(write(content)).read(1), ramp("i2")[1])


def test_file_longer_than_needed_is_read(write: Callable[..., Path]) -> None:
    stack = open_mrc(write(mrc_bytes(ramp("i2"), 1) + b"trailing"))
    np.testing.assert_array_equal(stack.read(2), ramp("i2")[2])


def test_handle_survives_pickling(write: Callable[..., Path]) -> None:
    stack = open_mrc(write(mrc_bytes(ramp("f4"), 2)))
    again = pickle.loads(pickle.dumps(stack))
    assert again == stack
    np.testing.assert_array_equal(again.read(1), ramp("f4")[1])
    assert eval(repr(stack)) == stack


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ((0, 0, 0), None),
        ((7, 5, 3), None),
        ((14, 10, 3), 2.0),
        ((14, 10, 0), 2.0),
        ((14, 20, 3), None),
        ((-14, -10, 3), None),
        ((np.nan, 10, 3), None),
    ],
    ids=["unset", "unset 1 Å", "z of 1 Å", "z of 0", "x and y differ", "negative", "NaN"],
)
def test_pixel_size(
    write: Callable[..., Path], cell: tuple[float, ...], expected: float | None
) -> None:
    assert open_mrc(write(mrc_bytes(ramp("i2"), 1, cella=cell))).pixel_size == expected


def test_serialem_angles_with_other_values_between(write: Callable[..., Path]) -> None:
    # flags 1 + 4 + 8: tilt (int16), stage position (2 int16), magnification (int16): 8 bytes
    extended = np.array([[-6000, 1, 2, 3], [50, 4, 5, 6], [5712, 7, 8, 9]], "<i2").tobytes()
    content = mrc_bytes(ramp("i2"), 1, extended=extended, exttyp=b"SERI", n_ints=8, n_reals=13)
    assert open_mrc(write(content)).tilt_angles == (-60.0, 0.5, 57.12)
    # the same without its name, as old SerialEM wrote it
    content = mrc_bytes(ramp("i2"), 1, extended=extended, n_ints=8, n_reals=13)
    assert open_mrc(write(content)).tilt_angles == (-60.0, 0.5, 57.12)


def test_serialem_header_without_angles(write: Callable[..., Path]) -> None:
    content = mrc_bytes(
        ramp("i2"), 1, extended=bytes(12), exttyp=b"SERI", n_ints=4, n_reals=4
    )  # stage position only
    assert open_mrc(write(content)).tilt_angles is None


@pytest.mark.parametrize("order", ["<", ">"])
def test_agard_angles_follow_the_integers(write: Callable[..., Path], order: str) -> None:
    record = np.dtype([("ints", f"{order}i4", 2), ("reals", f"{order}f4", 5)])
    records = np.zeros(1024, record)
    records["ints"] = 77
    records["reals"][:3, 0] = (-3.5, 0, 3.5)
    content = mrc_bytes(
        ramp("i2"), 1, order, records.tobytes(), exttyp=b"AGAR", n_ints=2, n_reals=5
    )
    assert open_mrc(write(content)).tilt_angles == (-3.5, 0.0, 3.5)


def old_fei(first_angle: float = -2.0) -> bytes:
    records = np.zeros((1024, 32), "<f4")
    records[:3, 0] = (first_angle, 0, 2)
    records[:, 10], records[:, 11] = 86.5, 3.4e-10
    return records.tobytes()


@pytest.mark.parametrize(("header", "expected"), [(1.0, 3.4), (0.0, 3.4), (6.8, 6.8)])
def test_old_fei_pixel_size_only_where_the_header_has_none(
    write: Callable[..., Path], header: float, expected: float
) -> None:
    content = mrc_bytes(
        ramp("i2"), 1, extended=old_fei(), pixel_size=header, map=b"", n_ints=0, n_reals=32
    )
    stack = open_mrc(write(content))
    assert stack.pixel_size == expected
    assert stack.tilt_angles == (-2.0, 0.0, 2.0)
    assert stack.tilt_axis_angle == 86.5


@pytest.mark.parametrize("kind", [b"FEI1", b"FEI2"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_fei_fields(write: Callable[..., Path], kind: bytes, order: str) -> None:
    layout = get_ext_header_dtype(kind, order)
    records = np.zeros(3, layout)
    records["Metadata size"] = layout.itemsize
    records["Alpha tilt"] = (-12.25, 0, 12.25)
    records["Pixel size X"], records["Tilt axis angle"] = 2.1e-10, -94.7
    content = mrc_bytes(
        ramp("i2"), 1, order, records.tobytes() + bytes(5), pixel_size=0, exttyp=kind
    )
    stack = open_mrc(write(content))
    assert stack.tilt_angles == (-12.25, 0.0, 12.25)
    assert (stack.pixel_size, stack.tilt_axis_angle) == (2.1, -94.7)


@pytest.mark.parametrize("extended", [old_fei(np.nan), old_fei(999), old_fei()[:200], b""])
def test_extended_header_of_nonsense_says_nothing(
    write: Callable[..., Path], extended: bytes
) -> None:
    content = mrc_bytes(ramp("i2"), 1, extended=extended, n_reals=32)
    assert open_mrc(write(content)).tilt_angles is None


def test_tilt_axis_of_serialems_label(write: Callable[..., Path]) -> None:
    labels = [b"SerialEM: lab", b"    Tilt axis angle = 84.8, binning = 1  spot = 8"] + [b""] * 8
    assert open_mrc(write(mrc_bytes(ramp("i2"), 1, label=labels))).tilt_axis_angle == 84.8


GOOD = mrc_bytes(ramp("i2"), 1)
BAD_FILES = {
    "empty": (b"", "is empty"),
    "gzip": (b"\x1f\x8b\x08" + GOOD, "gzip"),
    "bzip2": (b"BZh9" + GOOD, "bzip2"),
    "xz": (b"\xfd7zXZ\0" + GOOD, "unxz"),
    "zip": (b"PK\x03\x04" + GOOD, "zip archive"),
    "TIFF": (b"II*\0" + GOOD, "TIFF"),
    "big-endian TIFF": (b"MM\0*" + GOOD, "TIFF"),
    "PNG": (b"\x89PNG\r\n\x1a\n" + GOOD, "PNG"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + GOOD, "HDF5"),
    "HTML": (b"\n<!DOCTYPE html><html>" + GOOD, "HTML"),
    "text": (b"-60.0\n-57.0\n" * 200, "text file ('-60.0')"),
    "short header": (GOOD[:500], "500 bytes"),
    "short data": (GOOD[:-1], "need 1234 bytes, the file has 1233 (2 whole sections)"),
    "no data": (GOOD[:1024], "(0 whole sections)"),
    "nx = 0": (mrc_bytes(ramp("i2"), 1, nx=0), "nx is 0"),
    "ny < 0": (mrc_bytes(ramp("i2"), 1, ny=-5), "ny is -5"),
    "nz absurd": (mrc_bytes(ramp("i2"), 1, nz=2**31 - 1), "nz is 2147483647"),
    "too many sections": (mrc_bytes(ramp("i2"), 1, nz=999_999), "need 70000954 bytes"),
    "nsymbt < 0": (mrc_bytes(ramp("i2"), 1, nsymbt=-8), "nsymbt (extended header) is -8"),
    "nsymbt beyond": (mrc_bytes(ramp("i2"), 1, nsymbt=2**31 - 1), "is 2147483647 bytes"),
    "complex int16": (mrc_bytes(ramp("i2"), 3), "mode is 3 (complex int16)"),
    "complex float32": (mrc_bytes(ramp("i2"), 4), "mode is 4 (complex float32)"),
    "4 bits": (mrc_bytes(ramp("i2"), 101), "mode is 101 (4-bit integers)"),
    "unknown mode": (mrc_bytes(ramp("i2"), 77), "mode is 77 (unknown)"),
    "axes": (mrc_bytes(ramp("i2"), 1, mapc=3, maps=1), "[3, 2, 1]"),
    "noise": (bytes(range(256)) * 8, "no 'MAP ' stamp either"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_refused_with_their_name_and_at_once(
    write: Callable[..., Path], name: str
) -> None:
    content, message = BAD_FILES[name]
    path = write(content)
    start = time.process_time()
    tracemalloc.start()
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        open_mrc(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert time.process_time() - start < 2
    assert peak < 200_000  # bytes
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_and_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="file not found"):
        open_mrc(tmp_path / "TS_01.mrc")
    with pytest.raises(InputError, match="is a directory"):
        open_mrc(tmp_path)


def test_unreadable_file(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = write(GOOD)
    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(InputError, match="Permission denied; check its permissions"):
        open_mrc(path)


def test_section_out_of_range_and_file_changed(write: Callable[..., Path]) -> None:
    path = write(GOOD)
    stack = open_mrc(path)
    for section in (3, -1):
        with pytest.raises(InputError, match=rf"sections 0\.\.2; section {section} was requested"):
            stack.read(section)
    path.write_bytes(GOOD[:1100])
    with pytest.raises(InputError, match="changed or removed"):
        stack.read(2)


def test_real_cryo_series(data_dir: Path) -> None:
    stack = open_mrc(data_dir / "empiar10499" / "10499_bin2.mrc")
    assert (stack.shape, stack.pixel_size, stack.tilt_angles) == ((41, 315, 326), 20.0, None)
    np.testing.assert_allclose(
        stack.read(20).mean(), mrcfile.read(stack.path)[20].mean(), rtol=1e-5
    )


def test_real_old_fei_series(data_dir: Path) -> None:
    stack = open_mrc(data_dir / "etspy_haadf" / "HAADF.mrc")
    assert (stack.shape, stack.pixel_size) == ((77, 256, 256), 33.6)
    assert stack.tilt_angles == tuple(range(-76, 77, 2))
    values = [stack.read_native(section) for section in range(77)]
    assert (np.min(values), np.max(values)) == (-31908, 32325)  # as its header says


def test_real_serialem_series_agrees_with_its_mdoc(data_dir: Path) -> None:
    folder = data_dir / "etspy_haadf" / "SerialEM_MultiTilt_Test"
    mdoc = (folder / "test_000.mdoc").read_text()
    stack = open_mrc(folder / "test_000.mrc")
    angles = [float(a) for a in re.findall(r"TiltAngle = (.*)", mdoc)]
    assert stack.tilt_angles == pytest.approx(angles, abs=0.005)  # stored as hundredths
    assert (stack.pixel_size, stack.tilt_axis_angle) == (7.88, -90.0)
    limits = [(int(a), int(b)) for a, b in re.findall(r"MinMaxMean = (\d+) (\d+)", mdoc)]
    images = [stack.read_native(k) for k in range(2)]
    assert [(i.min(), i.max()) for i in images] == limits


def test_unset_header_of_a_real_dummy(data_dir: Path) -> None:
    stack = open_mrc(data_dir / "metadata" / "etomofiles" / "TS_001.st")
    assert stack == MrcStack(stack.path, (40, 1, 1), "<f4", 1024)

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tomodist.errors import InputError
from tomodist.formats.imod.alignment import (
    alignment_geometry,
    read_tilt_angles,
    read_xf,
    write_xf,
)
from tomodist.values.geometry import TiltGeometry, VolumeGrid
from tomodist.values.projection import project_points

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

XF_LINE = "0.9971855  -0.0749783   0.0749783   0.9971855     -13.547      -1.095\n"


def transform(
    rotation: float, magnification: float, dx: float, dy: float
) -> npt.NDArray[np.float64]:
    """Raw to aligned: undo a rotation of the axis and a magnification, then shift."""
    c, s = np.cos(np.radians(rotation)), np.sin(np.radians(rotation))
    a = np.array([[c, s], [-s, c]]) / magnification
    return np.column_stack([a, [dx, dy]])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-60.01\n0.0\n60\n", (-60.01, 0.0, 60.0)),
        ("\n  -3\n\n3.5  \n\n", (-3.0, 3.5)),
        ("-3\r\n3\r\n", (-3.0, 3.0)),
        ("\ufeff1e1\n-180", (10.0, -180.0)),
    ],
    ids=["plain", "blank lines", "Windows", "byte order mark, no last line end"],
)
def test_angles(tmp_path: Path, text: str, expected: tuple[float, ...]) -> None:
    path = tmp_path / "a.tlt"
    path.write_bytes(text.encode())
    assert read_tilt_angles(path) == expected


ALN = "# AreTomo Alignment / Priims bprmMn\n# RawSize = 512 512 61\n"
MDOC = "PixelSpacing = 5.4\nImageFile = TS_01.mrc\n\n[ZValue = 0]\nTiltAngle = 0.001\n"
BAD_ANGLES = {
    "decimal comma": (b"-60\n-57,5\n", "line 2: '-57,5' has a decimal comma"),
    "NaN": (b"-60\nnan\n", "line 2: 'nan' is not finite"),
    "inf": (b"-inf\n", "line 1: '-inf' is not finite"),
    "word": (b"-60\n\n-57 deg\n", "line 3: '-57 deg' is not a tilt angle (1 numbers)"),
    "xf": (XF_LINE.encode(), "has 6 numbers; a tilt angle has 1: is this an .xf? Use the .tlt"),
    "two columns": (b"-60 3\n", "has 2 numbers; a tilt angle has 1"),
    "beyond": (b"0\n360\n", "line 2: tilt angle 360 is outside -180..180"),
    "aln": (ALN.encode(), "is an AreTomo .aln file; use its .tlt instead"),
    "mdoc": (MDOC.encode(), "is an mdoc file; extract its tilt angles"),
    "mdoc of frames": (b"[FrameSet = 0]\n", "is an mdoc"),
    "HTML": (b"<!DOCTYPE html>", "is an HTML page"),
    "binary": (bytes(2048), "is a binary file"),
    "empty": (b"", "is empty"),
    "blank": (b"\n \n", "holds no tilt angle"),
}


@pytest.mark.parametrize("name", BAD_ANGLES)
def test_bad_angle_files(tmp_path: Path, name: str) -> None:
    content, message = BAD_ANGLES[name]
    path = tmp_path / "bad.tlt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read_tilt_angles(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_directory_and_huge(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="file not found"):
        read_tilt_angles(tmp_path / "missing.tlt")
    with pytest.raises(InputError, match="is a directory"):
        read_xf(tmp_path)
    huge = tmp_path / "stack.st"
    with huge.open("wb") as file:
        file.truncate(10**9)  # sparse: nothing is allocated
    with pytest.raises(InputError, match="is it the stack"):
        read_xf(huge)


def test_xf_is_rows_of_the_matrix_then_the_shift(tmp_path: Path) -> None:
    path = tmp_path / "a.xf"
    path.write_text("1 2 3 4 5 6\n\n 0 -1 1 0 -2.5 3\n")
    np.testing.assert_array_equal(
        read_xf(path), [[[1, 2, 5], [3, 4, 6]], [[0, -1, -2.5], [1, 0, 3]]]
    )


BAD_XF = {
    "tlt": (b"-60.0\n", "has 1 numbers; a transform has 6: is this a .tlt? Use the .xf"),
    "five": (b"1 0 0 1 0\n", "has 5 numbers; a transform has 6"),
    "singular": (XF_LINE.encode() + b"1 2 2 4 0 0\n", "line 2: matrix [1 2; 2 4] is singular"),
    "not finite": (b"1 0 0 1 nan 0\n", "is not finite"),
    "decimal comma": (b"1,0 0 0 1,0 0 0\n", "has a decimal comma"),
    "aln": (ALN.encode(), "is an AreTomo .aln file; use its .xf instead"),
    "word": (b"A11 A12 A21 A22 DX DY\n", "is not a transform (6 numbers)"),
}


@pytest.mark.parametrize("name", BAD_XF)
def test_bad_xf_files(tmp_path: Path, name: str) -> None:
    content, message = BAD_XF[name]
    path = tmp_path / "bad.xf"
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read_xf(path)
    assert str(path) in str(caught.value)


def test_xf_round_trip_to_printed_precision(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    written = np.stack([transform(*v) for v in random.uniform(0.5, 300, (20, 4))])
    write_xf(tmp_path / "a.xf", written)
    found = read_xf(tmp_path / "a.xf")
    np.testing.assert_allclose(found[:, :, :2], written[:, :, :2], rtol=0, atol=0.51e-7)
    np.testing.assert_allclose(found[:, :, 2], written[:, :, 2], rtol=0, atol=0.51e-3)
    write_xf(tmp_path / "b.xf", found)
    assert (tmp_path / "a.xf").read_text() == (tmp_path / "b.xf").read_text()


@pytest.mark.parametrize("shape", [(40, 51), (41, 50), (40, 50)], ids=str)
def test_geometry_of_an_xf_is_its_inverse_after_the_single_axis_projection(
    shape: tuple[int, int],
) -> None:
    random = np.random.default_rng(5)
    angles = [-60.0, -13.0, 0.0, 47.0, 12.0]
    rotations = (-94.7, -4.3, 30.0, 84.8, 179.0)
    transforms = np.stack(
        [
            transform(r, m, *d)
            for r, m, d in zip(
                rotations,
                random.uniform(0.95, 1.05, 5),
                random.uniform(-20, 20, (5, 2)),
                strict=True,
            )
        ]
    )
    pixel = 3.4
    grid = VolumeGrid((20, 33, 46), voxel_size=pixel)
    points = random.uniform(0, 20, (30, 3))

    raw = TiltGeometry(angles, shape, pixel, **alignment_geometry(transforms, pixel))
    found = project_points(raw.matrices(grid), points)

    aligned = project_points(TiltGeometry(angles, (33, 46), pixel).matrices(grid), points)
    aligned_center, raw_center = np.array([16.0, 22.5]), (np.array(shape) - 1) / 2
    for t, (a, d) in enumerate(zip(transforms[:, :, :2], transforms[:, :, 2], strict=True)):
        aligned_xy = (aligned[t] - aligned_center)[:, ::-1]
        raw_xy = (np.linalg.inv(a) @ (aligned_xy - d).T).T
        np.testing.assert_allclose(found[t], raw_xy[:, ::-1] + raw_center, atol=1e-9)


def test_decomposition_gives_the_parts_back() -> None:
    parts = [(-94.7, 1.02, 3.0, -4.0), (0.0, 1.0, 0.0, 0.0), (179.5, 0.9, -7.0, 1.0)]
    found = alignment_geometry(np.stack([transform(*p) for p in parts]), pixel_size=2.0)
    np.testing.assert_allclose(found["tilt_axis_angle"], [p[0] for p in parts], atol=1e-9)
    np.testing.assert_allclose(found["magnification"], [p[1] for p in parts], rtol=1e-12)
    # a pure shift of the aligned image by +x comes from content at -x
    shifted = alignment_geometry(transform(0, 1, 5, 7)[None], pixel_size=2.0)
    assert (shifted["shift_x"], shifted["shift_y"]) == ((-10.0,), (-14.0,))


@pytest.mark.parametrize(
    "matrix",
    [[[1, 0.003], [0.0, 1]], [[1.003, 0], [0, 1]], [[-1, 0], [0, 1]]],
    ids=["skew", "stretch", "mirror"],
)
def test_what_no_viewing_direction_describes_is_refused(matrix: list[list[float]]) -> None:
    good, bad = np.eye(2, 3), np.column_stack([matrix, [0, 0]])
    with pytest.raises(InputError, match=r"transform 2 of 3 .* resample"):
        alignment_geometry(np.stack([good, bad, good]), 10.0)


def test_real_alignment(data_dir: Path) -> None:
    folder = data_dir / "empiar10499"
    angles = read_tilt_angles(folder / "10499_bin2.tlt")
    np.testing.assert_allclose(angles, np.arange(-60, 61, 3), atol=0.03)
    geometry = alignment_geometry(read_xf(folder / "10499_bin2.xf"), 20.0)
    assert {round(a, 2) for a in geometry["tilt_axis_angle"]} == {-4.3}
    np.testing.assert_allclose(geometry["magnification"], 1, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "axis"), [("cryoet-alignment/tilt_1", -100.0), ("etomofiles/TS_001", 84.1)]
)
def test_other_programs_files(data_dir: Path, name: str, axis: float) -> None:
    path = data_dir / "metadata" / name
    transforms = read_xf(path.with_name(path.name + ".xf"))
    geometry = alignment_geometry(transforms, 1.0)
    np.testing.assert_allclose(geometry["tilt_axis_angle"], axis, atol=0.6)
    for suffix in (".tlt", ".xtilt"):
        assert len(read_tilt_angles(path.with_name(path.name + suffix))) == len(transforms)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mdocfile/tilt_series.mdoc", "is an mdoc"),
        ("mdocfile/frame_set_single.mdoc", "is an mdoc"),
        ("cryoet-alignment/test.aln", "is an AreTomo .aln"),
        ("cryoet-alignment/tilt_1.xf", "is this an .xf"),
        ("imodmodel/meshed_contour_example.mod", "binary file"),
    ],
)
def test_real_files_of_another_kind(data_dir: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_tilt_angles(data_dir / "metadata" / name)

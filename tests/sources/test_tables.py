from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import starfile
import xarray as xr

from tomodist.errors import InputError
from tomodist.formats.particles import write_csv, write_star
from tomodist.sources.tables import read_csv, read_star
from tomodist.values.geometry import VolumeGrid

if TYPE_CHECKING:
    from pathlib import Path

GRID = VolumeGrid((20, 31, 40), 12.0)
CENTERS = np.array([[10.0, 20.0, 30.0], [120.5, 0.0, 77.25], [220.0, 340.0, 450.0]])
SIZES = np.array([[24.0, 36.0, 48.0], [12.0, 12.0, 12.0], [60.0, 24.0, 12.0]])
HEAD = "id,z_angstrom,y_angstrom,x_angstrom,size_z_angstrom,size_y_angstrom,size_x_angstrom"


def structures(n: int = 3) -> xr.Dataset:
    """A table as `tomodist locate` stores it."""
    columns = {"id": np.arange(1, n + 1), "mean_score": np.ones(n)}
    for k, axis in enumerate("zyx"):
        columns |= {axis: CENTERS[:n, k], f"size_{axis}": SIZES[:n, k]}
    data = {name: ("structure", values) for name, values in columns.items()}
    table = xr.Dataset(data)
    for axis in "zyx":
        table[axis].attrs["units"] = table[f"size_{axis}"].attrs["units"] = "angstrom"
    return table


def in_pixels(**blocks: dict[str, object]) -> dict[str, pd.DataFrame]:
    """Three particles in pixels of 3 Å of the same field, and more columns or blocks."""
    pixels = (CENTERS + GRID.voxel_size / 2) / 3.0 - 0.5
    particles = {f"rlnCoordinate{a.upper()}": pixels[:, k] for k, a in enumerate("zyx")}
    own = blocks.pop("particles", {})
    found = {name: pd.DataFrame(block) for name, block in blocks.items()}
    return found | {"particles": pd.DataFrame({**particles, **own})}


def write(path: Path, blocks: dict[str, pd.DataFrame]) -> Path:
    starfile.write(blocks, path)
    return path


@pytest.mark.parametrize("n", [3, 1, 0])
def test_exported_tables_come_back(tmp_path: Path, n: int) -> None:
    write_csv(tmp_path / "t.csv", structures(n))
    found = read_csv(tmp_path / "t.csv")
    np.testing.assert_allclose(found.on(GRID), CENTERS[:n], atol=1e-3)
    assert found.sizes is not None
    np.testing.assert_allclose(found.sizes, SIZES[:n])
    write_star(tmp_path / "t.star", structures(n), GRID, "TS_01")
    star = read_star(tmp_path / "t.star")
    np.testing.assert_allclose(star.on(GRID), CENTERS[:n], atol=1e-3)
    assert star.sizes is None


@pytest.mark.parametrize(
    "blocks",
    [
        in_pixels(particles={"rlnTomoTiltSeriesPixelSize": [3.0] * 3}),
        in_pixels(particles={"rlnPixelSize": [3.0] * 3}),
        in_pixels(particles={"rlnDetectorPixelSize": [3.0] * 3}),
        in_pixels(optics={"rlnOpticsGroup": [1], "rlnTomoTiltSeriesPixelSize": [3.0]}),
        in_pixels(
            optics={"rlnTomoTiltSeriesPixelSize": [3.0], "rlnImagePixelSize": [12.0]},
        ),
        in_pixels(
            optics={"rlnOpticsGroup": [1, 2], "rlnImagePixelSize": [99.0, 3.0]},
            particles={"rlnOpticsGroup": [2, 2, 2]},
        ),
    ],
    ids=["tilt series", "plain", "detector", "optics", "not the image's", "optics group"],
)
def test_pixels_become_angstrom_by_the_size_that_is_stated(
    tmp_path: Path, blocks: dict[str, pd.DataFrame]
) -> None:
    """Pixels of 3 Å, voxels of 12 Å, one field: pixel 0 lies 4.5 Å before voxel 0."""
    found = read_star(write(tmp_path / "t.star", blocks))
    np.testing.assert_allclose(found.on(GRID), CENTERS, atol=1e-4)


def test_a_given_pixel_size_wins(tmp_path: Path) -> None:
    path = write(tmp_path / "t.star", in_pixels(particles={"rlnPixelSize": [7.0] * 3}))
    np.testing.assert_allclose(read_star(path, pixel_size=3.0).on(GRID), CENTERS, atol=1e-4)


def test_the_particles_of_one_tomogram_are_taken(tmp_path: Path) -> None:
    names = {"rlnTomoName": ["TS_02", "TS_01", "TS_02"], "rlnPixelSize": [5.0, 3.0, 3.0]}
    path = write(tmp_path / "t.star", in_pixels(particles=names))
    np.testing.assert_allclose(read_star(path, "TS_01").on(GRID), CENTERS[1:2], atol=1e-4)
    assert len(read_star(path, "TS_02")) == 2
    for name, shown in (("TS_03", "'TS_03'"), (None, "None")):
        with pytest.raises(InputError, match=rf"2 tomograms \(TS_01, TS_02\), none .* {shown}"):
            read_star(path, name)


def test_the_only_tomogram_may_have_any_name(tmp_path: Path) -> None:
    names = {"rlnTomoName": ["cell 7"] * 3, "rlnPixelSize": [3.0] * 3}
    assert len(read_star(write(tmp_path / "t.star", in_pixels(particles=names)), "TS_01")) == 3


def test_columns_in_any_order_with_blank_lines_and_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "\ufeffnote,x_angstrom, z_angstrom,y_angstrom\r\na,3,1,2\r\n\r\nb,6,4,5\r\n",
        encoding="utf-8",
    )
    found = read_csv(path)
    assert found.centers.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert found.sizes is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\n", "no column z_angstrom, y_angstrom, x_angstrom"),
        ("a,b\n1,2\n", "no column z_angstrom, .*; its columns are a, b"),
        ("z,y,x\n1,2,3\n", r"\(z has no unit: name it z_angstrom if it is in Å\)"),
        ("z_angstrom,y_angstrom\n1,2\n", "no column x_angstrom;"),
        (f"{HEAD[:60]}\n", "no column size_y_angstrom, size_x_angstrom"),
        (f"{HEAD}\n1,2,3,4,5,6,7\n2,nan,3,4,5,6,7\n", "line 3: z_angstrom is 'nan'"),
        (f"{HEAD}\n\n1,2,3,four,5,6,7\n", "line 3: x_angstrom is 'four', which is not a finite"),
        (f"{HEAD}\n1,2,,4,5,6,7\n", "line 2: y_angstrom is ''"),
        (f"{HEAD}\n1,2,3,inf,5,6,7\n", "line 2: x_angstrom is 'inf'"),
        (f"{HEAD}\n1,2,3,4,5,0,7\n", "size_y_angstrom is '0', which is not a finite positive"),
        (f"{HEAD}\n1,2,3,4,5,6,7\n2,3,4\n", "line 3 has 3 of 7 columns; the file is truncated"),
        ("<!DOCTYPE html><html>404</html>", "HTML"),
        ("\x00\x01\x02", "binary"),
    ],
    ids=["empty", "blank", "foreign", "unit", "axis", "size", "nan", "word", "hole", "infinite",
         "no size", "cut short", "html", "binary"],
)  # fmt: skip
def test_a_bad_csv_is_refused_by_its_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_csv(path)


STAR = "data_particles\n\nloop_\n"
XYZ = "".join(f"_rlnCenteredCoordinate{a}Angst #{k}\n" for k, a in enumerate("XYZ", 1))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (STAR + "_rlnTomoName #1\n_rlnMicrographName #2\na b\n", "neither rlnCenteredCoordinateX"),
        (STAR + XYZ + "1 2 3\n4 nan 6\n", "row 2: rlnCenteredCoordinateYAngst is 'nan'"),
        (STAR + XYZ + "1 2 3\n4 5\n", "row 2: rlnCenteredCoordinateZAngst|not a readable STAR"),
        (STAR + XYZ.replace("Z", "W") + "1 2 3\n", "no column rlnCenteredCoordinateZAngst"),
        (STAR + XYZ.replace("Centered", "").replace("Angst", "") + "1 2 3\n",
         r"no pixel size, such as rlnTomoTiltSeriesPixelSize; set `pixel_size`"),
        (STAR + XYZ.replace("Centered", "").replace("Angst", "") + "_rlnPixelSize #4\n1 2 3 -1\n",
         "row 1: rlnPixelSize is '-1', which is not a finite positive number"),
        ("some text\n", "not a readable STAR|neither"),
        ("", "is empty"),
        ("\x00\x01\x02", "binary"),
    ],
    ids=["names only", "nan", "short row", "axis", "no size", "negative size", "text", "empty",
         "binary"],
)  # fmt: skip
def test_a_bad_star_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "t.star"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_star(path)

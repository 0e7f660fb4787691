"""What users get wrong: each is one line that names the thing, what was found, and the remedy."""

# ruff: noqa: E501 -- one row of a table is one line

from __future__ import annotations

import bz2
import gzip
import re
import shutil
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
import zarr

from tests.cli.materials import (
    ANGLES,
    HEIGHT,
    N_TILTS,
    THREADS,
    WIDTH,
    bead_images,
    ingest,
    patched,
    tomodist,
    tree,
    write_series,
    write_stack,
)
from tomodist.store.tomogram import Tomogram

if TYPE_CHECKING:
    from collections.abc import Callable

ALN = """# AreTomo Alignment / Priims bprmMn
# RawSize = 48 40 9
# NumPatches = 0
# AlphaOffset =     0.00
# SEC     ROT         GMAG       TX          TY      SMEAN     SFIT    SCALE     BASE     TILT
    1    -5.0000    1.00000      0.000      0.000     1.00     1.00     1.00     0.00    -48.00
"""


class Place(NamedTuple):
    """Where a bad input is made, and what good there is beside it."""

    here: Path  # empty
    stack: Path
    store: Path  # with a finished localisation of "bead"

    @property
    def out(self) -> Path:
        return self.here / "out.zarr"

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.here / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def copied_store(self) -> Path:
        return Path(shutil.copytree(self.store, self.here / "copy.zarr"))


Arguments = list[object]


class Bad(NamedTuple):
    """An input that cannot be used, and what must be said about it."""

    name: str
    arguments: Callable[[Place], Arguments]
    words: tuple[str, ...]
    status: int = 1
    resumes: bool = False  # what is unfinished stays in the store's .staging for the next run


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("good")
    stack, store = write_series(folder), folder / "TS_01.zarr"
    assert ingest(stack, store) == 0
    assert tomodist(*locate(store, "bead")) == 0
    return stack, store


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tomodist.runtime.cluster._PATIENCE", "1s")


@pytest.fixture
def place(good: tuple[Path, Path], tmp_path: Path) -> Place:
    return Place(tmp_path, *good)


def locate(store: Path, label: str = "new", *more: object) -> Arguments:
    detector = ("--detector", "blobs", "--diameter", 60)
    return ["locate", store, "--label", label, "--method", "votes", *detector, *THREADS, *more]


def segment(store: Path, maps: Path, *more: object) -> Arguments:
    return ["segment", store, "--label", "new", "--maps", maps, *THREADS, *more]


def edges(place: Place, *more: object) -> Arguments:
    return ["edges", place.store, "--label", "new", *THREADS, *more]


def reconstruct(place: Place, *more: object) -> Arguments:
    return ["reconstruct", place.store, *THREADS, *more]


def empty_store(place: Place) -> Path:
    return Tomogram.create(place.here / "empty.zarr").place.path


def export(store: Path, output: Path, *more: object) -> Arguments:
    return ["export", store, "--label", "bead", "--format", "csv", "-o", output, *more]


def ingested(place: Place, stack: Path, *more: object, angles: Path | None = None) -> Arguments:
    given = angles or place.stack.with_suffix(".tlt")
    rest = ("--thickness", 16, "-o", place.out, *THREADS)
    return ["ingest", stack, "--tilt-angles", given, *rest, *more]


def stack_of(content: bytes) -> Callable[[Place], Arguments]:
    """Ingest a file with this content under the name of a stack."""
    return lambda p: ingested(p, p.write("bad.mrc", content))


def cut_at(n_bytes: int) -> Callable[[Place], Arguments]:
    return lambda p: ingested(p, p.write("bad.mrc", p.stack.read_bytes()[:n_bytes]))


def header(offset: int, *values: float, code: str = "i") -> Callable[[Place], Arguments]:
    """Ingest a stack of which some numbers of the header are replaced."""
    return lambda p: ingested(p, patched(p.stack, p.here / "bad.mrc", offset, *values, code=code))


def angles_of(content: str | bytes) -> Callable[[Place], Arguments]:
    return lambda p: ingested(p, p.stack, angles=p.write("bad.tlt", content))


def angle_lines(*changed: str) -> Callable[[Place], Arguments]:
    """Angles of which the first lines are replaced."""
    return angles_of("\n".join([*changed, *(f"{a:.2f}" for a in ANGLES[len(changed) :])]) + "\n")


def alignment_of(content: str | bytes) -> Callable[[Place], Arguments]:
    return lambda p: ingested(p, p.stack, "--alignment", p.write("bad.xf", content))


def series_with(*options: object) -> Callable[[Place], Arguments]:
    return lambda p: ingested(p, p.stack, *options)


def maps_of(*shape: int) -> Callable[[Place], Arguments]:
    def arguments(place: Place) -> Arguments:
        maps = write_stack(place.here / "maps.mrc", np.zeros(shape, np.int8))
        return segment(place.store, maps)

    return arguments


def xf_rows(n: int, row: str = "1 0 0 1 0 0") -> str:
    return "\n".join(["1 0 0 1 0 0"] * (n - 1) + [row]) + "\n"


def unmeasured_section(place: Place) -> Arguments:
    images = bead_images()
    images[3] = np.nan
    return ingested(place, write_stack(place.here / "holes.mrc", images))


def plain_zarr(place: Place) -> Path:
    path = place.here / "plain.zarr"
    zarr.create_array(str(path), shape=(4,), dtype="u1")
    return path


def damaged_maps(place: Place) -> Arguments:
    store = place.copied_store()
    shard = store / "maps" / "bead" / "maps" / "c" / "4" / "0" / "0"
    content = bytearray(shard.read_bytes())
    content[20] ^= 0xFF
    shard.write_bytes(content)
    shutil.rmtree(store / "scores" / "bead")
    return locate(store, "bead")


def made_differently(place: Place) -> Arguments:
    store = place.copied_store()
    return ["ingest", place.stack, "--tilt-angles", place.stack.with_suffix(".tlt"),
            "--thickness", 20, "-o", store, *THREADS]  # fmt: skip


BAR = re.compile(r"\d+/\d+ .*\d:\d\d:\d\d [-\d]:[-\d]{2}:[-\d]{2}")
TIFF, PNG = b"II*\x00" + bytes(2000), b"\x89PNG\r\n\x1a\n" + bytes(2000)
HTML = b"<!DOCTYPE html><html><body>404</body></html>"
NX, NY, NZ, MODE, CELL, EXTENDED = 0, 4, 8, 12, 40, 92  # bytes of the header

BAD_STACKS = [
    Bad("missing stack", lambda p: ingested(p, p.here / "no.mrc"), ("no.mrc", "file not found", "check the path")),
    Bad("folder as stack", lambda p: ingested(p, p.here), ("directory", "use the MRC file")),
    Bad("empty stack", stack_of(b""), ("bad.mrc", "empty (0 bytes)", "copy it again")),
    Bad("gzip", stack_of(gzip.compress(bytes(3000))), ("bad.mrc", "gzip", "gunzip")),
    Bad("bzip2", stack_of(bz2.compress(bytes(3000))), ("bad.mrc", "bzip2", "bunzip2")),
    Bad("HTML page", stack_of(HTML), ("bad.mrc", "HTML", "repeat")),
    Bad("TIFF named .mrc", stack_of(TIFF), ("bad.mrc", "TIFF", "tif2mrc")),
    Bad("PNG named .mrc", stack_of(PNG), ("bad.mrc", "PNG", "use the MRC stack")),
    Bad("text named .mrc", stack_of(b"-60\n-57\n"), ("bad.mrc", "text", "-60", "use the stack")),
    Bad("header cut short", cut_at(500), ("bad.mrc", "500 bytes", "1024", "copy it again")),
    Bad("data cut short", cut_at(20000), ("bad.mrc", "cut short", "20000", "2 whole sections", "copy")),
    Bad("negative width", header(NX, -48), ("bad.mrc", "nx is -48", "damaged")),
    Bad("no sections", header(NZ, 0), ("bad.mrc", "nz is 0", "damaged")),
    Bad("absurd height", header(NY, 2**31 - 1), ("bad.mrc", "ny is 2147483647", "damaged")),
    Bad("absurd but legal size", header(NX, 10**6, 10**6, 10**6), ("bad.mrc", "cut short", "copy")),
    Bad("absurd extended header", header(EXTENDED, 2**30), ("nsymbt", "1073741824", "damaged")),
    Bad("negative extended header", header(EXTENDED, -4), ("nsymbt", "-4", "damaged")),
    Bad("complex mode", header(MODE, 4), ("mode is 4", "complex", "newstack -mode 2")),
    Bad("unknown mode", header(MODE, 77), ("mode is 77", "unknown", "newstack -mode 2")),
    Bad("no pixel size", header(CELL, 0.0, 0.0, 0.0, code="f"), ("bad.mrc", "no pixel size", "--pixel-size")),
    Bad("section without a finite pixel", unmeasured_section, ("holes.mrc", "section 3", "--exclude-tilts 3")),
]  # fmt: skip
BAD_ANGLES = [
    Bad("no angles at all", lambda p: ["ingest", p.stack, "-o", p.out, *THREADS], ("TS_01.mrc", "no tilt angles", "--tilt-angles")),
    Bad("missing .tlt", lambda p: ingested(p, p.stack, angles=p.here / "no.tlt"), ("no.tlt", "file not found", "check the path")),
    Bad("too few angles", angles_of("-3\n0\n3\n"), ("bad.tlt", "3 ", "9 ", "TS_01.mrc", "same series")),
    Bad("too many angles", angles_of("1\n" * 10), ("bad.tlt", "10 ", "9 ", "same series")),
    Bad("NaN angle", angle_lines("-48", "nan"), ("bad.tlt, line 2", "nan", "not finite", "correct")),
    Bad("decimal commas", angle_lines("-48,00"), ("bad.tlt, line 1", "-48,00", "decimal comma", "point")),
    Bad("words for angles", angle_lines("-48", "minus 36"), ("bad.tlt, line 2", "minus 36", "correct")),
    Bad("angle beyond 180", angle_lines("-48", "-36", "248"), ("bad.tlt, line 3", "248", "-180..180", "correct")),
    Bad("blank .tlt", angles_of("\n\n"), ("bad.tlt", "blank", "another file")),
    Bad("binary .tlt", angles_of(bytes(range(256))), ("bad.tlt", "binary", "use the text file")),
    Bad("HTML .tlt", angles_of(HTML), ("bad.tlt", "HTML", "repeat")),
    Bad(".xf given as .tlt", lambda p: ingested(p, p.stack, angles=p.stack.with_suffix(".xf")), ("TS_01.xf, line 1", "6 numbers", "Use the .tlt")),
    Bad(".tlt given as .xf", lambda p: ingested(p, p.stack, "--alignment", p.stack.with_suffix(".tlt")), ("TS_01.tlt, line 1", "1 number", "Use the .xf")),
    Bad("AreTomo .aln given as .xf", alignment_of(ALN), ("bad.xf", "AreTomo .aln", "use its .xf")),
    Bad("too few transforms", alignment_of(xf_rows(8)), ("bad.xf", "8 transforms", "9 images", "same series")),
    Bad("singular transform", alignment_of(xf_rows(N_TILTS, "1 2 2 4 0 0")), ("bad.xf, line 9", "singular", "exclude this tilt")),
    Bad("NaN transform", alignment_of(xf_rows(N_TILTS, "1 0 0 1 nan 0")), ("bad.xf, line 9", "not finite", "repeat")),
    Bad("binary .xf", alignment_of(bytes(range(256))), ("bad.xf", "binary", "use the text file")),
    Bad("missing x-tilt", series_with("--x-tilt", "no.xtilt"), ("no.xtilt", "file not found", "check the path")),
    Bad("x-tilt of NaN", series_with("--x-tilt", "nan"), ("x_tilt", "nan", "an angle")),
    Bad("stretched raw images kept", lambda p: [*alignment_of(xf_rows(N_TILTS, "1 0 0 1.1 0 0"))(p), "--no-resample"], ("bad.xf", "transform 9", "stretches", "resample")),
]  # fmt: skip
BAD_OPTIONS = [
    Bad("negative pixel size", series_with("--pixel-size", -1.35), ("--pixel-size", "-1.35", "positive")),
    Bad("no thickness", series_with("--thickness", 0), ("--thickness", "0 voxels", "1 or more")),
    Bad("bin 0", series_with("--bin", 0), ("--bin is 0", "1 to 5")),
    Bad("bin too large", series_with("--bin", 40), ("--bin is 40", "1 to 5")),
    Bad("exclude beyond the stack", series_with("--exclude", "2,9"), ("--exclude-tilts names section 9", "0 to 8")),
    Bad("exclude all", series_with("--exclude", "0 1 2 3 4 5 6 7 8"), ("--exclude", "none of the 9 tilts", "fewer")),
    Bad("exclude words", series_with("--exclude", "first"), ("--exclude", "first", "0,3-5,38"), 2),
    Bad("axis and alignment", lambda p: ingested(p, p.stack, "--alignment", p.stack.with_suffix(".xf"), "--tilt-axis-angle", 3), ("--tilt-axis-angle 3", "--alignment", "remove one of them")),
    Bad("output in a missing folder", series_with("-o", "/no/such/out.zarr"), ("--output /no/such/out.zarr", "folder /no/such not found")),
    Bad("output below a file", lambda p: ingested(p, p.stack, "-o", p.stack / "out.zarr"), ("TS_01.mrc/out.zarr", "not found")),
    Bad("output is a file", lambda p: ingested(p, p.stack, "-o", p.stack.with_suffix(".tlt")), ("TS_01.tlt", "not a tomogram store", "another path")),
    Bad("output is a plain zarr", lambda p: ingested(p, p.stack, "-o", plain_zarr(p)), ("plain.zarr", "not a tomogram store", "another path")),
    Bad("output is a full folder", lambda p: ingested(p, p.stack, "-o", p.write("notes.txt", "mine").parent), ("not a tomogram store", "another path")),
    Bad("output where nothing can be made", series_with("-o", "/proc/out.zarr"), ("/proc/out.zarr", "cannot be created", "--output")),
    Bad("memory that is no number", series_with("--memory", "1..2G"), ("--memory", "1..2G", "2GiB"), 2),
    Bad("x-tilt beyond 180", series_with("--x-tilt", 1e9), ("x_tilt", "1000000000", "-180 to 180")),
    Bad("output made differently", made_differently, ("copy.zarr", "tilt_series", "made differently", "grid", "--overwrite", "another --output")),
    Bad("garbage cluster", series_with("--cluster", "slurmy"), ("--cluster", "slurmy", "local, threads")),
    Bad("no workers", series_with("--workers", 0), ("--workers is 0", "1 or more")),
    Bad("no such scheduler", series_with("--cluster", "tcp://127.0.0.1:1"), ("--cluster tcp://127.0.0.1:1", "no dask scheduler", "--cluster to local")),
    Bad("scheduler of no protocol", series_with("--cluster", "tpc://127.0.0.1:1"), ("--cluster tpc://127.0.0.1:1", "no dask scheduler", "--cluster to local")),
    Bad("memory in words", series_with("--memory", "plenty"), ("--memory", "plenty", "2GiB"), 2),
    Bad("memory too small", series_with("--memory", "100MiB"), ("ingest", "100.0 MiB", "--memory")),
]  # fmt: skip
BAD_TASKS = [
    Bad("unknown store", lambda p: ["info", p.here / "no.zarr"], ("no.zarr", "no such tomogram store", "tomodist ingest")),
    Bad("plain zarr as store", lambda p: locate(plain_zarr(p)), ("plain.zarr", "not a tomogram store", "tomodist ingest")),
    Bad("stack as store", lambda p: locate(p.stack), ("TS_01.mrc", "not a tomogram store", "tomodist ingest")),
    Bad("label with a slash", lambda p: locate(p.store, "a/b"), ("'a/b'", "letters, digits")),
    Bad("label that starts with a dot", lambda p: locate(p.store, "..") , ("'..'", "letters, digits")),
    Bad("empty label", lambda p: locate(p.store, ""), ("''", "letters, digits")),
    Bad("maps of another size", maps_of(N_TILTS, HEIGHT, WIDTH + 1), ("maps.mrc", "(9, 40, 49)", "40 x 48", "one map per tilt")),
    Bad("maps of other tilts", maps_of(N_TILTS - 1, HEIGHT, WIDTH), ("maps.mrc", "(8, 40, 48)", "9 tilts", "one map per tilt")),
    Bad("missing maps", lambda p: segment(p.store, p.here / "no.mrc"), ("no.mrc", "file not found", "check the path")),
    Bad("HTML maps", lambda p: segment(p.store, p.write("bad.mrc", HTML)), ("bad.mrc", "HTML", "repeat")),
    Bad("HTML maps named .tif", lambda p: segment(p.store, p.write("bad.tif", HTML)), ("bad.tif", "not a readable stack", "use MRC")),
    Bad("HTML maps named .npy", lambda p: segment(p.store, p.write("bad.npy", HTML)), ("bad.npy", "not a readable stack", "magic", "use MRC")),
    Bad("folder as maps", lambda p: segment(p.store, p.here), ("not a readable stack", "use MRC")),
    Bad("maps and detector", lambda p: locate(p.store, "new", "--maps", p.stack), ("--maps", "--detector", "exactly one of")),
    Bad("neither maps nor detector", lambda p: ["segment", p.store, "--label", "new"], ("--maps", "--detector", "exactly one of")),
    Bad("blobs of no diameter", lambda p: ["locate", p.store, "--label", "new", "--detector", "blobs"], ("--detector blobs", "--diameter")),
    Bad("negative diameter", lambda p: locate(p.store, "new", "--diameter", -60), ("diameter", "-60", "positive")),
    Bad("diameter of NaN", lambda p: locate(p.store, "new", "--diameter", "nan"), ("diameter", "nan", "positive")),
    Bad("diameter under two pixels", lambda p: locate(p.store, "new", "--diameter", 15), ("15 Å", "1.5 pixels", "larger diameter")),
    Bad("negative sensitivity", lambda p: locate(p.store, "new", "--sensitivity", -6), ("threshold", "-6", "positive")),
    Bad("negative smoothing", lambda p: ["segment", p.store, "--label", "new", "--detector", "threshold", "--smooth", -1, *THREADS], ("sigma", "-1", "0 or more")),
    Bad("brick of odd size", lambda p: locate(p.store, "new", "--brick", "100,128,128"), ("--brick", "100,128,128", "multiples of 64"), 2),
    Bad("no tilts per task", lambda p: locate(p.store, "new", "--tilts-per-task", 0), ("--tilts-per-task is 0", "1 or more")),
    Bad("edges of some tilts", lambda p: edges(p, "--tilts-per-task", 3), ("--tilts-per-task is 3", "all 9 tilts", "remove it")),
    Bad("threshold of NaN", lambda p: locate(p.store, "new", "--threshold", "nan"), ("--threshold", "nan", "number")),
    Bad("memory too small for a task", lambda p: locate(p.store, "new", "--memory", "100MiB"), ("100.0 MiB", "--memory")),
    Bad("support beyond reach", lambda p: edges(p, "--reach", 1, "--support", 5), ("--support is 5", "reach of 1", "1 to 3")),
    Bad("label too long for a folder", lambda p: locate(p.store, "x" * 300), ("label", "300 characters", "at most 100")),
    Bad("negative threshold", lambda p: locate(p.store, "new", "--threshold", -2), ("--threshold is -2", "0 or more")),
    Bad("diameter beyond the image", lambda p: locate(p.store, "new", "--diameter", 1e9), ("--diameter is 1e+09 Å", "40 x 48", "smaller diameter")),
    Bad("endless rounds", lambda p: edges(p, "--rounds", 10**6), ("--rounds is 1000000", "at most 1000")),
    Bad("endless sigma", lambda p: edges(p, "--sigma", 1e9), ("sigma", "1000000000", "at most 1000")),
    Bad("sensitivity of NaN", lambda p: ["segment", p.store, "--label", "new", "--detector", "threshold", "--sensitivity", "nan", *THREADS], ("threshold", "nan", "a number or 'otsu'")),
    Bad("label of a path", lambda p: ["export", p.store, "--label", "bead/../bead", "--format", "csv", "-o", p.here / "x.csv"], ("'bead/../bead'", "letters, digits")),
    Bad("negative reach", lambda p: edges(p, "--reach", -1), ("reach is -1", "0 to 31")),
    Bad("fraction of a percent", lambda p: edges(p, "--fraction", 70), ("threshold", "70", "between 0 and 1")),
    Bad("falling percentiles", lambda p: edges(p, "--clip", 99, 1), ("clip", "99", "rising percentiles")),
    Bad("no sigma", lambda p: edges(p, "--sigma", 0), ("sigma", "0.0", "positive")),
    Bad("damaged maps", damaged_maps, ("maps/bead/maps", "damaged", "remove the folder", "copy.zarr/maps/bead and run"), resumes=True),
    Bad("same label, other parameters", lambda p: locate(p.store, "bead", "--sensitivity", 7), ("maps/bead", "threshold was 6.0, now 7.0", "--overwrite", "--label")),
    Bad("unknown method", lambda p: reconstruct(p, "--method", "art"), ("--method", "'art'", "wbp", "sirt"), 2),
    Bad("cutoff beyond Nyquist", lambda p: reconstruct(p, "--radial", 0.6, 0.03), ("cutoff of --radial is 0.6", "at most 0.5")),
    Bad("negative falloff", lambda p: reconstruct(p, "--radial", 0.3, -0.1), ("falloff of --radial is -0.1", "0 or more")),
    Bad("cutoff of NaN", lambda p: reconstruct(p, "--radial", "nan", 0), ("cutoff of --radial is nan", "above 0")),
    Bad("no iterations", lambda p: reconstruct(p, "--method", "sirt", "--iterations", 0), ("--iterations is 0", "1 to 1000")),
    Bad("iterations of wbp", lambda p: reconstruct(p, "--iterations", 5), ("--iterations", "--method sirt", "wbp", "remove one of them")),
    Bad("filter of sirt", lambda p: reconstruct(p, "--method", "sirt", "--filter", "exact"), ("--filter", "--method wbp", "remove one of them")),
    Bad("non-negative about a mean", lambda p: reconstruct(p, "--method", "sirt", "--non-negative"), ("--non-negative", "--background to none")),
    Bad("name of a path", lambda p: reconstruct(p, "--name", "../wbp"), ("'../wbp'", "letters, digits")),
    Bad("memory too small for a filter", lambda p: reconstruct(p, "--memory", "100MiB"), ("100.0 MiB", "--memory")),
    Bad("memory too small for a tile", lambda p: reconstruct(p, "--method", "sirt", "--memory", "470MiB", "--workers", 1), ("470.0 MiB", "--memory")),
    Bad("reconstruction without a series", lambda p: ["reconstruct", empty_store(p), *THREADS], ("empty.zarr", "no tilt series", "tomodist ingest")),
    Bad("reconstruction by no tilts", lambda p: reconstruct(p, "--tilts-per-task", 0), ("--tilts-per-task is 0", "1 or more")),
    Bad("export of an unknown reconstruction", lambda p: ["export", p.store, "--reconstruction", "wbp", "--format", "mrc", "-o", p.here / "x.mrc"], ("no reconstructions", "'wbp'", "available: none")),
    Bad("export of nothing", lambda p: ["export", p.store, "--format", "mrc", "-o", p.here / "x.mrc"], ("--label", "--reconstruction", "either")),
    Bad("reconstruction as a table", lambda p: ["export", p.store, "--reconstruction", "wbp", "--format", "csv", "-o", p.here / "x.csv"], ("reconstruction", "csv", "use mrc or zarr")),
    Bad("labels as zarr", lambda p: [*export(p.store, p.here / "x.zarr"), "--format", "zarr"], ("--volume 'mask'", "zarr", "use mrc")),
    Bad("zarr over a folder", lambda p: ["export", p.store, "--label", "bead", "--volume", "scores", "--format", "zarr", "-o", p.write("notes.txt", "mine").parent, "--overwrite"], ("not an exported volume", "another --output")),
    Bad("zarr over a store", lambda p: ["export", p.store, "--label", "bead", "--volume", "scores", "--format", "zarr", "-o", p.store, "--overwrite"], ("is a tomogram store", "another --output")),
    Bad("zarr into a store", lambda p: ["export", p.store, "--label", "bead", "--volume", "scores", "--format", "zarr", "-o", p.store / "scores" / "bead", "--overwrite"], ("lies in a tomogram store", "another --output")),
    Bad("export of an unknown label", lambda p: ["export", p.store, "--label", "gold", "--format", "star", "-o", p.here / "gold.star"], ("TS_01.zarr", "'gold'", "available: bead")),
    Bad("mask of an unknown label", lambda p: ["export", p.store, "--label", "gold", "--format", "mrc", "-o", p.here / "gold.mrc"], ("TS_01.zarr", "'gold'", "available: bead")),
    Bad("export over a file", lambda p: export(p.store, p.write("bead.csv", "precious")), ("bead.csv", "exists", "--overwrite")),
    Bad("export over a folder", lambda p: export(p.store, p.here, "--overwrite"), ("folder", "file")),
    Bad("export into a missing folder", lambda p: export(p.store, p.here / "no" / "bead.csv"), ("bead.csv", "folder", "not found", "create it first")),
    Bad("plan of no workers", lambda p: ["plan", p.store, "--workers", 0], ("--workers is 0", "1 or more")),
    Bad("plan that cannot fit", lambda p: ["plan", p.store, "--memory", "400MiB", "--workers", 1], ("400.0 MiB", "--memory")),
    Bad("simulation over files", lambda p: ["simulate", "sphere", "--width", 24, "--name", "TS_01", "-o", p.stack.parent], ("TS_01.mrc", "exists", "--overwrite")),
    Bad("simulation without tilts", lambda p: ["simulate", "sphere", "--tilts=60,-60,3", "-o", p.here / "s"], ("60", "-60")),
    Bad("simulation into a file", lambda p: ["simulate", "sphere", "--width", 24, "-o", p.stack], ("TS_01.mrc", "exists")),
    Bad("simulation below a file", lambda p: ["simulate", "sphere", "--width", 24, "-o", p.stack / "s"], ("TS_01.mrc/s", "Not a directory")),
    Bad("simulation of tilts in words", lambda p: ["simulate", "sphere", "--tilts", "all", "-o", p.here / "s"], ("--tilts", "'all'", "-60,60,3"), 2),
    Bad("simulation of endless tilts", lambda p: ["simulate", "sphere", "--tilts=-60,60,1e-9", "-o", p.here / "s"], ("more than 10000 tilts", "1e-09")),
    Bad("simulation of endless defocus", lambda p: ["simulate", "sphere", "--defocus", "inf", "-o", p.here / "s"], ("defocus", "inf", "finite")),
    Bad("simulation of no width", lambda p: ["simulate", "sphere", "--width", 0, "-o", p.here / "s"], ("0",)),
    Bad("simulation without room", lambda p: ["simulate", "cell", "--width", 40, "--granules", 4000, "-o", p.here / "s"], ("room",)),
]  # fmt: skip


@pytest.mark.parametrize(
    "bad", [*BAD_STACKS, *BAD_ANGLES, *BAD_OPTIONS, *BAD_TASKS], ids=lambda bad: bad.name
)
def test_one_line_says_what_and_nothing_is_left_behind(
    bad: Bad, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = bad.arguments(place)
    skip = ".staging/" if bad.resumes else ".lock"
    before = tree(place.here, skip), tree(place.stack.parent, skip)
    start = time.process_time()
    status = tomodist(*arguments)
    elapsed = time.process_time() - start
    lines = error_lines(capsys)
    assert status == bad.status, lines
    said = lines[-1]
    if status == 1:
        assert lines == [said]
        assert said.startswith("tomodist: ")
    assert [word for word in bad.words if word not in said] == [], said
    assert (tree(place.here, skip), tree(place.stack.parent, skip)) == before
    assert elapsed < 30


def error_lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Lines on stderr, the progress bars and blank ones left out."""
    lines = capsys.readouterr().err.splitlines()
    return [line for line in lines if line.strip() and not BAR.search(line)]


@pytest.mark.parametrize("maps", [False, True], ids=["detector", "imported maps"])
def test_nothing_found_says_so_and_publishes_no_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, maps: bool
) -> None:
    stack = write_series(tmp_path, np.full((N_TILTS, HEIGHT, WIDTH), 7, np.float32))
    store = tmp_path / "blank.zarr"
    assert ingest(stack, store) == 0
    blank = write_stack(tmp_path / "maps.mrc", np.zeros((N_TILTS, HEIGHT, WIDTH), np.int8))
    arguments = segment(store, blank) if maps else locate(store)
    capsys.readouterr()
    assert tomodist(*arguments) == 1
    (said,) = error_lines(capsys)
    assert said.startswith("tomodist: no map marks any pixel")
    assert "--threshold" in said
    assert sorted(p.name for p in store.iterdir() if not p.name.startswith(".")) == [
        "maps", "scores", "tilt_series", "zarr.json",
    ]  # fmt: skip
    assert list(tree(store / ".staging")) == []  # and nothing half-made
    assert not list(tmp_path.glob("*.png"))
    least = 0.5 if maps else 3  # a share, or votes
    assert tomodist(*arguments, "--threshold", least) == 0  # what the message advises works
    assert "0 structures of new" in capsys.readouterr().out


def test_a_failed_ingest_leaves_the_series_that_was_there(place: Place) -> None:
    store = place.copied_store()
    before = tree(store)
    arguments = unmeasured_section(place)
    arguments[arguments.index(place.out)] = store
    assert tomodist(*arguments, "--overwrite") == 1
    assert tree(store) == before


def test_dry_run_finds_the_same_faults(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (locate(place.store, "new", "--diameter", 15), angles_of("1\n2\n")(place)):
        assert tomodist(*arguments, "--dry-run") == 1
        assert len(error_lines(capsys)) == 1


@pytest.mark.parametrize("n", [10**6, 2**31 - 1], ids=["legal", "absurd"])
def test_absurd_headers_cost_neither_memory_nor_time(place: Place, n: int) -> None:
    assert tomodist(*header(NX, 48)(place)) == 0  # loads what is needed
    bad = patched(place.stack, place.here / "bad.mrc", NX, n, n, n)
    tracemalloc.start()
    start = time.process_time()
    status = tomodist(*ingested(place, bad))
    elapsed = time.process_time() - start
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert status == 1
    assert peak < 2**21
    assert elapsed < 5

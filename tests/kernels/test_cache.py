"""Compiled code is kept where this user alone can write, whatever cannot be written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from numba import config

import tomodist
from tomodist.kernels import cache
from tomodist.kernels.cache import choose_cache, is_private, is_writable, temporary_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PACKAGE = Path(tomodist.__file__).parent
NOBODY = 65534
# Permissions do not hold root, unless it gives up CAP_DAC_OVERRIDE before the program starts.
BOUND = """
import ctypes, os, sys
if os.getuid() == 0 and sys.platform == "linux":
    PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
PROGRAM = """
import os, sys
import tomodist
if os.access(os.path.dirname(tomodist.__file__), os.W_OK):
    print("may write")
    sys.exit()
import numpy as np
from numba import config
from tomodist.kernels.rows import add_rows
out, rows = np.zeros(5, np.float32), np.ones((8, 5), np.float32)
add_rows(out, rows, np.arange(8, dtype=np.uint64), np.arange(8, dtype=np.float32))
print(tomodist.__file__, config.CACHE_DIR, add_rows._cache.cache_path, out.sum())
"""


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A temporary folder of this test, and numba's setting as it was after it."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(config, "CACHE_DIR", "")


def writable(*folders: Path) -> Callable[[Path], bool]:
    """What `is_writable` says if only these folders can be written."""
    return lambda folder: folder in folders


BESIDE = PACKAGE / "kernels" / "__pycache__"


@pytest.mark.parametrize(
    ("home", "may_write", "temporary"),
    [
        ("home", ("beside", "home"), False),
        ("home", ("beside",), False),
        ("home", ("home",), False),
        ("home", (), True),
        (None, ("home",), True),
    ],
    ids=["both", "package only", "home only", "neither", "no home and no account"],
)
def test_the_temporary_folder_is_the_last_resort(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    home: str | None,
    may_write: tuple[str, ...],
    *,
    temporary: bool,
) -> None:
    # What expanduser gives for "~/.cache" without HOME and without an account.
    of_user = Path("~/.cache/numba") if home is None else tmp_path / home / "numba"
    monkeypatch.setattr(cache, "AppDirs", lambda **_: type("", (), {"user_cache_dir": of_user}))
    places = {"beside": BESIDE, "home": of_user}
    monkeypatch.setattr(cache, "is_writable", writable(*(places[name] for name in may_write)))
    choose_cache()
    expected = str(tmp_path / "tmp" / f"tomodist-numba-{os.getuid()}") if temporary else ""
    assert expected == config.CACHE_DIR


def test_the_user_s_setting_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(cache, "is_writable", writable())
    choose_cache()
    assert str(tmp_path) == config.CACHE_DIR


def test_it_is_this_user_s_alone_and_is_found_again() -> None:
    folder = temporary_folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert temporary_folder() == folder


def _open_to_all(place: Path) -> None:
    place.mkdir()
    place.chmod(0o777)


def _of_another(place: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a folder away")
    place.mkdir(mode=0o700)
    os.chown(place, NOBODY, NOBODY)


def _link(place: Path) -> None:
    aim = place.with_name("aim")
    aim.mkdir(mode=0o700)
    place.symlink_to(aim)


def _file(place: Path) -> None:
    place.write_text("")


@pytest.mark.parametrize("plant", [_open_to_all, _of_another, _link, _file])
def test_a_folder_that_others_made_is_not_used(plant: Callable[[Path], None]) -> None:
    place = Path(tempfile.gettempdir()) / f"tomodist-numba-{os.getuid()}"
    plant(place)
    other = temporary_folder()
    assert other != place
    assert is_private(other)


def test_writable_is_asked_by_writing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert is_writable(tmp_path / "new" / "one")
    assert not is_writable(tmp_path / "file" / "below")


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A copy of the package, and a home, that cannot be written."""
    place = tmp_path / "installed"
    shutil.copytree(PACKAGE, place / "tomodist", ignore=shutil.ignore_patterns("__pycache__"))
    (place / "home").mkdir()
    folders = [place, *(p for p in place.rglob("*") if p.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    yield place
    for folder in folders:
        folder.chmod(0o755)


@pytest.mark.parametrize("home", ["home", "home/none"], ids=["home read-only", "home missing"])
def test_the_kernels_run_from_a_read_only_installation(
    tmp_path: Path, read_only: Path, home: str
) -> None:
    temporary = tmp_path / "tmp"
    done = subprocess.run(
        [sys.executable, "-c", BOUND, "-c", PROGRAM],
        cwd=temporary,
        env={
            "PYTHONPATH": str(read_only),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(temporary),
            "HOME": str(read_only / home),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if done.stdout == "may write\n":
        pytest.skip("this user may write everywhere")
    package, chosen, used, total = done.stdout.split()
    assert Path(package).parent == read_only / "tomodist"
    assert chosen == str(temporary / f"tomodist-numba-{os.getuid()}")
    assert list((Path(chosen) / Path(used).name).glob("rows.add_rows*.nbi"))
    assert float(total) == 5 * sum(range(8))

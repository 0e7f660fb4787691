"""Where numba keeps what it has compiled, where neither the package nor the home can be written.

numba writes beside the sources or, if it may not, into the user's cache folder; if it may write to
neither (a container, a shared module on a cluster), it refuses to import the kernels. Then the
cache is a folder of this user in the system's temporary folder.

One rule: what is read from the cache is run, so the temporary folder belongs to this user and no
one else can write to it; a folder of that name that others made is left alone.
"""

from __future__ import annotations

import atexit
import os
import shutil
import stat
import tempfile
from pathlib import Path

from numba import config
from numba.misc.appdirs import AppDirs


def choose_cache() -> None:
    """Give numba a temporary folder if its own two cannot be written; see the module.

    ``NUMBA_CACHE_DIR``, where it is set, has the last word.
    """
    beside_sources = Path(__file__).parent / "__pycache__"
    of_user = Path(AppDirs(appname="numba", appauthor=False).user_cache_dir)
    if config.CACHE_DIR or is_writable(beside_sources):
        return
    # Without HOME and account it is "~/...": numba would make a folder of that name right here.
    if not (of_user.is_absolute() and is_writable(of_user)):
        config.CACHE_DIR = str(temporary_folder())


def is_writable(folder: Path) -> bool:
    """Whether a file can be made in a folder, which is made if it is missing (as numba asks)."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def temporary_folder() -> Path:
    """Folder of this user alone, the same in every process.

    Returns
    -------
    Path
        ``tomodist-numba-UID`` in the temporary folder; if that name is taken by something that
        others own or may write to, a new folder that is removed when this process ends.
    """
    folder = Path(tempfile.gettempdir()) / f"tomodist-numba-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if is_private(folder):
            return folder
    except OSError:  # a file or a dangling link of that name
        pass
    own = tempfile.mkdtemp(prefix="tomodist-numba-")
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    return Path(own)


def is_private(folder: Path) -> bool:
    """Whether it is a folder (not a link to one) that this user owns and no one else may enter."""
    found = folder.lstat()
    of_others = stat.S_IMODE(found.st_mode) & 0o077
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not of_others

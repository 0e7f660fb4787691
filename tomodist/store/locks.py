"""Locks between processes: the system frees them when a process ends, however it ends."""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tomodist.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def locked(path: Path, refuse: str | None = None) -> Iterator[None]:
    """Hold a lock that the system frees when the process ends, however it ends.

    Where another process holds it, wait, or if `refuse` names what is wanted, raise.

    Parameters
    ----------
    path : Path
        File that carries the lock; created where it is missing.
    refuse : str, optional
        What is refused, as the message names it; None: wait.
    """
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (fcntl.LOCK_NB if refuse else 0))
        except BlockingIOError as error:
            raise StoreError(
                f"{refuse} is being made by another process; wait for it, or stop it first"
            ) from error
        yield

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest


def pytest_configure() -> None:
    """Let Ctrl-C be tested where SIGINT is ignored, as by what a script starts with ``&``."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of real data: TOMODIST_TEST_DATA, else ../shared/data beside the repository."""
    named = os.environ.get("TOMODIST_TEST_DATA")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real data are not at {folder}; set TOMODIST_TEST_DATA to their folder")
    return folder

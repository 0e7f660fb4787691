from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_configure() -> None:
    """Let Ctrl-C be tested where SIGINT is ignored, as by what a script starts with ``&``."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _dashboards_on_any_port() -> Iterator[None]:
    """As several processes run tests: two that find port 8787 free at once would both take it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tomodist.runtime.cluster._dashboard_address", lambda: "127.0.0.1:0")
        yield


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of real data: TOMODIST_TEST_DATA, else ../shared/data beside the repository."""
    named = os.environ.get("TOMODIST_TEST_DATA")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real data are not at {folder}; set TOMODIST_TEST_DATA to their folder")
    return folder

from __future__ import annotations

import pytest


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take half of the time of a small run."""
    monkeypatch.setattr("tomodist.pictures.draw_all", lambda *_: [])

"""Which arithmetic networks are computed in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from tomodist.errors import InputError
from tomodist.learned.networks import device

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    """One that is quick at bfloat16, or not."""
    monkeypatch.setattr(device, "device", lambda: torch.device("cpu"))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": request.param})
    device.has_fast_bf16.cache_clear()
    yield
    device.has_fast_bf16.cache_clear()


def computed_in() -> torch.dtype:
    """What the product of two float32 matrices comes out as."""
    one = torch.ones(2, 2)
    with device.autocast():
        return (one @ one).dtype


@pytest.mark.parametrize(
    ("processor", "wanted", "expected"),
    [
        (True, None, torch.bfloat16),
        (True, "", torch.bfloat16),
        (True, "1", torch.bfloat16),
        (True, "0", torch.float32),
        (False, None, torch.float32),
        (False, "1", torch.float32),
    ],
    indirect=["processor"],
)
@pytest.mark.usefixtures("processor")
def test_bfloat16_is_used_where_it_is_quick_and_not_switched_off(
    monkeypatch: pytest.MonkeyPatch, wanted: str | None, expected: torch.dtype
) -> None:
    monkeypatch.delenv("TOMODIST_BFLOAT16", raising=False)
    if wanted is not None:
        monkeypatch.setenv("TOMODIST_BFLOAT16", wanted)
    assert computed_in() == expected


def test_other_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOMODIST_BFLOAT16", "off")
    with pytest.raises(InputError, match="TOMODIST_BFLOAT16 is 'off'; set it to 0"):
        device.uses_bf16()

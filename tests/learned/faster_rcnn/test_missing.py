"""Without a torchvision that can be used, asking for a Faster R-CNN says what to do."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tomodist.errors import InputError
from tomodist.learned.networks.spec import Architecture

pytest.importorskip("torch")

from tomodist.learned.networks.build import build, filled
from tomodist.learned.networks.faster_rcnn import is_available

if TYPE_CHECKING:
    from pathlib import Path

WANTED = Architecture("faster-rcnn", 2, 5)


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)


def test_a_missing_torchvision_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    forget(monkeypatch)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(InputError, match=r"tomodist\[fasterrcnn\].*residual-unet"):
        build(WANTED)
    assert not is_available()


def test_a_torchvision_of_another_build_is_told_alike(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    forget(monkeypatch)
    (tmp_path / "torchvision").mkdir()
    broken = "raise RuntimeError('operator torchvision::nms does not exist')"
    (tmp_path / "torchvision" / "__init__.py").write_text(broken)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"nms does not exist.*tomodist\[fasterrcnn\]"):
        filled(WANTED, {}, "a model")


def test_it_makes_boxes_in_images_and_nothing_else() -> None:
    for architecture in (Architecture("faster-rcnn", 3, 5), Architecture("faster-rcnn", 2, 4)):
        with pytest.raises(InputError, match="is only for boxes in 2D images"):
            build(architecture)

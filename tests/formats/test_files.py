from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest

from tomodist.errors import ExistsError, InputError
from tomodist.formats.files import check_target, write_json

if TYPE_CHECKING:
    from pathlib import Path


def refused(constant: str) -> None:
    raise AssertionError(constant)


def test_what_is_written_is_json_for_every_program(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": [1, 2.5, math.nan, (math.inf, "x")], "b": {"c": None}, "d": True})
    found = json.loads(path.read_text(), parse_constant=refused)
    assert found == {"a": [1, 2.5, None, [None, "x"]], "b": {"c": None}, "d": True}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_file_stays_as_it_was_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("precious")
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    with pytest.raises(InputError, match="cannot be written"):
        write_json(tmp_path / "no" / "a.json", {})
    assert path.read_text() == "precious"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_target_is_checked_beforehand(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    check_target(path, overwrite=False)
    path.write_text("precious")
    with pytest.raises(ExistsError, match=r"a.json exists; use `overwrite`"):
        check_target(path, overwrite=False)
    check_target(path, overwrite=True)
    with pytest.raises(InputError, match="is a folder"):
        check_target(tmp_path, overwrite=True)
    with pytest.raises(InputError, match=r"folder .*no not found; create it first"):
        check_target(tmp_path / "no" / "a.json", overwrite=False)

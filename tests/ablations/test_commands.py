"""The ablations from the command line, as a person calls them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.ablations.commands import group
from tomodist.cli import run
from tomodist.formats.files import read_json

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["segmentation", "tilts", "edges", "localisation"])
def test_help_of_an_ablation_shows_an_example(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([name, "--help"], group) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"Example: python -m tests.ablations {name} " in said
    assert run(["--help"], group) == 0
    assert f"  {name} " in capsys.readouterr().out
    assert run(["nothing"], group) == 2


def test_worker_processes_find_the_ablations(tmp_path: Path) -> None:
    small = ("--part", "detector", "--size", "32", "--snr", "1", "--step", "10", "--seeds", "1")
    command = (sys.executable, "-m", "tests.ablations", "edges", *small, "-o", str(tmp_path))
    done = subprocess.run(
        [*command, "--workers", "1"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    variants = {row["variant"] for row in read_json(tmp_path / "edges_detector.json")["rows"]}
    assert len(variants) == 12
    assert "sigma 2, fraction 0.7" in variants

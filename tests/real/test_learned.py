"""A learned detector on a real cell: gold beads of EMPIAR-10499; skipped without the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.cli.materials import THREADS
from tests.cli.materials import tomodist as command
from tests.real.test_real_data import existing
from tomodist.store.tomogram import Tomogram

if TYPE_CHECKING:
    from pathlib import Path

LEARNT = [*range(4, 37, 4)]  # nine tilts of 41


@pytest.mark.long
def test_beads_learnt_from_nine_tilts_are_found_on_the_others(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """22 beads, 6 Å (median) from those of the classical detector; 0.7 px from their boxes."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    stack = existing(data_dir / "empiar10499" / "10499_bin2.mrc")
    store = tmp_path / "TS.zarr"
    files = ("--tilt-angles", stack.with_suffix(".tlt"), "--alignment", stack.with_suffix(".xf"))
    assert command("ingest", stack, *files, "--thickness", 200, "-o", store, *THREADS) == 0
    blobs = ("--detector", "blobs", "--diameter", 100, "--label", "gold", *THREADS)
    assert command("locate", store, *blobs) == 0
    tilts = ",".join(map(str, LEARNT))
    taken = ("--from", "gold", "--tilts", tilts, "--label", "marked", *THREADS)
    assert command("annotate", store, *taken) == 0
    model = ("-o", tmp_path / "model", "--steps", 350)
    assert command("train", "boxes", store, "--label", "marked=gold", *model) == 0
    found = ("--model", tmp_path / "model", "--label", "learned", "--exclude-tilts", tilts)
    assert command("locate", store, *found, *THREADS) == 0
    tomogram = Tomogram.open(store)
    tables = [tomogram.label(label).structures.dataset().load() for label in ("gold", "learned")]
    gold, learned = (np.stack([t[axis].values for axis in "zyx"], axis=1) for t in tables)
    apart = np.linalg.norm(gold[:, None] - learned[None], axis=2)
    assert (apart.min(axis=1) < 40).sum() >= len(gold) - 2
    assert (apart.min(axis=0) < 40).sum() >= len(learned) - 2
    assert np.median(apart.min(axis=1)) < 12
    assert float(tables[1]["residual"].median()) < 1.2
    used = np.isfinite(tables[1]["residual_per_tilt"].values).any(axis=0)
    assert not used[LEARNT].any()

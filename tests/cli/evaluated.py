"""A simulated cell in which granules and gold were found, with its truth, to be evaluated."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from tests.cli.materials import THREADS, ingest, tomodist
from tests.cli.simulated import locate
from tomodist.store.tomogram import Tomogram

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

SHAPE = (56, 70, 74)


class Story(NamedTuple):
    """A simulated cell, its truth, and its store with granules and gold found."""

    folder: Path
    store: Path

    def truth(self, label: str, suffix: str = "mrc") -> Path:
        return self.folder / f"TS_01_{label}_truth.{suffix}"

    def found(self, label: str) -> npt.NDArray[np.bool_]:
        array = Tomogram.open(self.store).label(label).labels.volume.read()
        return np.asarray(array > 0)


def make_story(folder: Path) -> Story:
    """Simulate, ingest, locate gold, segment granules."""
    store = folder / "TS_01.zarr"
    size = ("--width", SHAPE[2], "--height", SHAPE[1], "--thickness", SHAPE[0])
    content = ("--mitochondria", 1, "--granules", 2, "--gold", 4, "--seed", 1)
    tilts = ("--tilts=-60,60,6", "--name", "TS_01")
    assert tomodist("simulate", "cell", *size, *content, *tilts, "-o", folder) == 0
    assert ingest(folder / "TS_01.mrc", store, SHAPE[0]) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tomodist.pictures.draw_all", lambda *_: [])
        assert tomodist(*locate(store)) == 0
        maps = folder / "TS_01_granule_maps.mrc"
        assert tomodist("segment", store, "--label", "granule", "--maps", maps, *THREADS) == 0
    return Story(folder, store)

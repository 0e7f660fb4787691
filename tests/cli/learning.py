"""Simulated tomograms with annotations, and models trained on them, small and quick."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.cli.materials import THREADS, tomodist

if TYPE_CHECKING:
    from pathlib import Path

LABEL = "granule"
SHORT = ("--steps", 60, "--side", 64)


def simulate(folder: Path, seed: int) -> Path:
    """A store of 21 tilts of 128 x 128 pixels of 40 Å, with the truth beside it."""
    name = f"cell{seed}"
    scheme = ("--width", 128, "--thickness", 60, "--pixel-size", 40, "--tilts=-60,60,6")
    what = ("--gold", 0, "--granules", 4, "--dose", 3, "--seed", seed, "--name", name)
    assert tomodist("simulate", "cell", *scheme, *what, "-o", folder) == 0
    store, stack = folder / f"{name}.zarr", folder / f"{name}.mrc"
    angles = ("--tilt-angles", stack.with_suffix(".tlt"), "--thickness", 60)
    assert tomodist("ingest", stack, *angles, "-o", store, *THREADS) == 0
    return store


def beside(store: Path, what: str) -> Path:
    """A file of the truth, such as ``granule_maps.mrc``."""
    return store.with_name(f"{store.stem}_{what}")


def annotate(store: Path, *more: object, label: str = LABEL) -> int:
    """Put the true masks into a store."""
    maps = ("--maps", beside(store, f"{label}_maps.mrc"))
    return tomodist("annotate", store, *maps, "--label", f"true-{label}", *THREADS, *more)


def train(store: Path, output: Path, *more: object) -> int:
    """Train on the true granules, a little."""
    label = ("--label", f"true-{LABEL}={LABEL}")
    return tomodist("train", "segment", store, *label, "-o", output, *SHORT, *more)

"""Simulated series: what was found in them against the truth beside them."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tests.cli.materials import THREADS
from tomodist.store.tomogram import Tomogram

if TYPE_CHECKING:
    from pathlib import Path

VOXEL = 20.0
GOLD_DIAMETER = 60  # Å; the beads have 40, which 20 Å pixels blur
AXES = ("z", "y", "x")
Points = npt.NDArray[np.float64]


def locate(store: Path, diameter: float = GOLD_DIAMETER, *more: object) -> list[object]:
    """Arguments of ``tomodist locate --method votes`` for gold."""
    detector = ("--detector", "blobs", "--diameter", diameter)
    label = ("--label", "gold", "--method", "votes")
    return ["locate", store, *label, *detector, *THREADS, *more]


def found_centers(store: Path, label: str = "gold") -> Points:
    """z, y, x of the structures in Å from the centre of voxel 0."""
    table = Tomogram.open(store).label(label).structures.dataset().load()
    return np.stack([table[axis].values for axis in AXES], axis=1)


def true_centers(path: Path) -> Points:
    """z, y, x of a table of the truth, in Å from the centre of voxel 0."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return np.array([[float(row[f"{axis}_angstrom"]) for axis in AXES] for row in rows])


def farthest(truth: Points, found: Points) -> float:
    """How far the worst of the true points is from the nearest found one, in voxels."""
    distances = np.linalg.norm(truth[:, None] - found[None], axis=2)
    return float(distances.min(axis=1).max()) / VOXEL

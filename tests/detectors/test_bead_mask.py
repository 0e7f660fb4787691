from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from tomodist.detectors.bead_mask import BeadsMasked
from tomodist.detectors.classical import Blobs, DogEdges
from tomodist.errors import InputError

BEADS = ((20, 25), (50, 70))


def membrane_with_beads() -> npt.NDArray[np.float32]:
    """A dark line, and beads that are eight times as dark."""
    rows, columns = np.indices((80, 90))
    image = np.random.default_rng(0).normal(0, 0.2, rows.shape)
    image -= 2.0 * (np.abs(columns - 45) < 2)
    for row, column in BEADS:
        image -= 16.0 * (np.hypot(rows - row, columns - column) < 4)
    return image.astype(np.float32)


def test_beads_take_the_place_of_the_membrane_unless_they_are_hidden() -> None:
    edges = DogEdges(sigma=1.5)
    plain = edges(membrane_with_beads(), 10.0)
    hidden = BeadsMasked(edges, Blobs(diameter=80.0))(membrane_with_beads(), 10.0)
    line = np.s_[5:75, 44:47]
    assert np.mean(plain[line] == 1) == 0
    assert np.mean(hidden[line] == 1) > 0.9
    for row, column in BEADS:
        around = np.s_[row - 12 : row + 13, column - 12 : column + 13]
        assert np.any(plain[around] == 1)
        assert not np.any(hidden[around] == 1)
        assert hidden[row, column] == 2


def test_parameters_tell_what_is_hidden() -> None:
    edges, beads = DogEdges(), Blobs(diameter=100.0)
    told = BeadsMasked(edges, beads, margin=1.5).parameters()
    assert told == {**edges.parameters(), "hidden": {**beads.parameters(), "margin": 1.5}}
    with pytest.raises(InputError, match="`margin` is 0; it must be positive"):
        BeadsMasked(edges, beads, margin=0)

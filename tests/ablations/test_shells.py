from __future__ import annotations

import numpy as np
import pytest

from tests.ablations.shells import draw_shells
from tomodist.experiments.shells import VOXEL


@pytest.mark.parametrize("seed", range(8))
def test_shells_are_apart_and_inside(seed: int) -> None:
    size = 80
    shells = draw_shells(seed, size)
    assert len(shells) == 1 + seed % 2
    assert shells == draw_shells(seed, size)
    for shell in shells:
        assert np.all(np.abs(shell.center) + shell.radius < size * VOXEL / 2)
        assert 0 < shell.thickness <= shell.radius / 2
    if len(shells) == 2:
        apart = np.linalg.norm(np.subtract(shells[0].center, shells[1].center))
        assert apart > shells[0].radius + shells[1].radius

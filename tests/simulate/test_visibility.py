from __future__ import annotations

import numpy as np

from tomodist.simulate.visibility import touched_by_rays
from tomodist.values.geometry import VolumeGrid


def test_what_is_shown_is_where_some_ray_touches_the_surface() -> None:
    """By brute force: n . d = 0 for the direction d of some tilt, to half a step."""
    grid, angles = VolumeGrid((21, 3, 21), 20.0), np.arange(-50, 51)
    shown = touched_by_rays(grid, angles.tolist(), (10, 1, 10))
    t = np.deg2rad(angles)
    for z, x in np.ndindex(21, 21):
        dot = (z - 10) * np.cos(t) + (x - 10) * np.sin(t)
        touched = bool(dot.min() <= 0 <= dot.max())
        assert shown[z, 1, x] == touched

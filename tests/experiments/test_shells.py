from __future__ import annotations

import numpy as np
import pytest

from tests.ablations.shells import draw_shells, tilt_angles
from tomodist.errors import InputError
from tomodist.experiments.shells import (
    LABEL,
    VOXEL,
    Shell,
    make_specimen,
    scene_of,
)
from tomodist.simulate import project_scene
from tomodist.values.geometry import TiltGeometry, VolumeGrid


@pytest.mark.parametrize(("steepest", "share"), [(30.0, 1 / 3), (50.0, 5 / 9), (60.0, 2 / 3)])
def test_tilts_show_as_much_of_a_sphere_as_their_range(steepest: float, share: float) -> None:
    shell = Shell((40.0, -20.0, 60.0), 560.0, 60.0)
    angles = tilt_angles(2.0, steepest)
    specimen = make_specimen([shell], 64, angles, np.inf, 0)
    assert specimen.shown.sum() / specimen.truth.sum() == pytest.approx(share, abs=0.02)
    assert not np.any(specimen.shown & ~specimen.truth)


def test_the_projected_rim_lies_where_rays_touch_the_shell() -> None:
    """The sign of the tilt does not matter for the wedge, but the geometry is the package's own."""
    shell = Shell((0.0, 0.0, 0.0), 500.0, 60.0)
    geometry = TiltGeometry([35.0], (64, 64), VOXEL)
    row = project_scene(scene_of([shell]), geometry, 0)[32]
    rim = np.abs(np.arange(64) - 31.5)[row > 0.8 * row.max()] * VOXEL
    assert 430 < rim.min() <= rim.max() < 500


@pytest.mark.parametrize("snr", [1.0, 0.1])
def test_the_signal_to_noise_ratio_is_what_was_asked_for(snr: float) -> None:
    shells, angles = draw_shells(2, 64), tilt_angles(25.0)
    clean = make_specimen(shells, 64, angles, np.inf, 0).images.astype(np.float64)
    images = make_specimen(shells, 64, angles, snr, 5).images.astype(np.float64)
    gain = images.mean() / clean.mean()
    noise = images / gain - clean
    assert clean.var() / noise.var() == pytest.approx(snr, rel=0.05)
    other = make_specimen(shells, 64, angles, snr, 6).images
    assert np.corrcoef(noise.ravel(), (other / gain - clean).ravel())[0, 1] < 0.02


def test_labels_are_shells() -> None:
    scene = scene_of(draw_shells(1, 80))
    grid = VolumeGrid((80, 80, 80), VOXEL)
    labels = scene.labels(LABEL, grid, (0, 0, 0), grid.shape)
    assert set(np.unique(labels)) == {0, 1, 2}
    for k, shell in enumerate(draw_shells(1, 80), start=1):
        z, y, x = (round(v) for v in grid.indices(shell.center))
        assert labels[z, y, x] == 0
        hollow = 4 / 3 * np.pi * (shell.radius**3 - (shell.radius - shell.thickness) ** 3)
        assert np.count_nonzero(labels == k) * VOXEL**3 == pytest.approx(hollow, rel=0.06)


def test_a_ratio_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="`snr` is 0; it must be positive"):
        make_specimen(draw_shells(0, 32), 32, (0.0,), 0, 0)

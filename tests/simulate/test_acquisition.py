from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from tests.simulate.scenes import chiral_scene, skew_geometry
from tomodist.errors import InputError
from tomodist.simulate import (
    Acquisition,
    Ctf,
    Scene,
    TiltScheme,
    acquire,
    cell,
    hollow_sphere,
    project_scene,
)
from tomodist.values.geometry import TiltGeometry

EMPTY = Scene(())


@pytest.mark.parametrize(
    ("scheme", "angles"),
    [
        (TiltScheme(-60, 60, 3), tuple(range(-60, 61, 3))),
        (TiltScheme(0, 1, 0.1), tuple(k * 0.1 for k in range(11))),
        (TiltScheme(50, -50, -25), (50, 25, 0, -25, -50)),
        (TiltScheme(0, 10, 4), (0, 4, 8)),
        (TiltScheme(7, 7, 1), (7,)),
    ],
)
def test_a_scheme_runs_from_start_to_stop(scheme: TiltScheme, angles: tuple[float, ...]) -> None:
    assert scheme.angles == pytest.approx(angles)


@pytest.mark.parametrize("step", [0, -3, np.nan])
def test_a_scheme_must_lead_to_its_stop(step: float) -> None:
    with pytest.raises(InputError, match="the step does not lead from start to stop"):
        TiltScheme(-60, 60, step)


def test_without_effects_an_image_is_the_transmitted_fraction() -> None:
    scene, geometry = hollow_sphere(150, 50, 1e-3), skew_geometry()
    expected = np.exp(-project_scene(scene, geometry, 2, supersample=2))
    assert np.array_equal(acquire(scene, geometry, 2), expected)


def test_dense_structures_are_dark_with_and_without_a_ctf() -> None:
    geometry = TiltGeometry([0.0], (96, 96), 10.0)
    scene = hollow_sphere(300, 290, 3e-4)
    for ctf in (None, Ctf(defocus=20_000, amplitude_contrast=0.1)):
        image = acquire(scene, geometry, 0, Acquisition(ctf=ctf))
        assert image[40:56, 40:56].mean() < image[:8].mean()


def test_counts_have_the_mean_and_the_variance_of_the_dose() -> None:
    geometry = TiltGeometry([-10, 0, 10, 20], (400, 400), 5.0)
    image = acquire(EMPTY, geometry, 1, Acquisition(dose=40.0))
    expected = 40 / 4 * 5.0**2  # electrons per pixel and tilt
    assert image.mean() == pytest.approx(expected, rel=5 / np.sqrt(expected * image.size))
    assert image.var() == pytest.approx(expected, rel=0.02)
    assert np.array_equal(image, np.round(image))


def test_matter_absorbs_electrons() -> None:
    geometry = TiltGeometry([0.0], (100, 100), 10.0)
    scene, acquisition = hollow_sphere(400, 399, 5e-4), Acquisition(dose=30.0)
    image = acquire(scene, geometry, 0, acquisition)
    expected = 3000 * acquire(scene, geometry, 0)
    assert image[45:55, 45:55].mean() == pytest.approx(expected[45:55, 45:55].mean(), rel=0.01)
    assert np.mean((image - expected) ** 2 / expected) == pytest.approx(1, abs=0.05)


def test_read_noise_adds_its_variance() -> None:
    geometry = TiltGeometry([0.0], (300, 300), 2.0)
    image = acquire(EMPTY, geometry, 0, Acquisition(dose=2.5, read_noise=4.0))
    assert image.var() == pytest.approx(10 + 16, rel=0.03)
    assert image.mean() == pytest.approx(10, abs=0.1)


def test_jitter_has_the_given_rms_and_moves_the_image_by_what_it_says() -> None:
    acquisition = Acquisition(jitter=20.0, seed=1)
    moves = np.array([acquisition.misalignment(t) for t in range(2000)])
    assert np.sqrt(np.mean(np.sum(moves**2, axis=1))) == pytest.approx(20.0, rel=0.05)
    assert np.abs(moves.mean(axis=0)).max() < 1.5
    scene, geometry = chiral_scene(), skew_geometry()
    y, x = acquisition.misalignment(3)
    moved = dataclasses.replace(
        geometry.select([3]),
        shift_y=np.add(geometry.select([3]).shift_y, y).tolist(),
        shift_x=np.add(geometry.select([3]).shift_x, x).tolist(),
    )
    expected = np.exp(-project_scene(scene, moved, 0, supersample=2))
    assert acquire(scene, geometry, 3, acquisition) == pytest.approx(expected, rel=1e-5)
    assert acquisition.true_geometry(geometry).select([3]) == moved


def test_without_jitter_the_geometry_is_true() -> None:
    assert Acquisition().true_geometry(skew_geometry()) == skew_geometry()


def test_an_image_depends_on_seed_and_tilt_alone() -> None:
    geometry = TiltGeometry([0, 0, 0], (32, 40), 10.0)
    scene, first = cell((400, 400, 400), n_mitochondria=0, n_gold=3), Acquisition(20, 1, jitter=5)
    forward = [acquire(scene, geometry, t, first) for t in (0, 1, 2)]
    backward = [acquire(scene, geometry, t, first) for t in (2, 1, 0)][::-1]
    assert np.array_equal(forward, backward)
    assert not np.array_equal(forward[0], forward[1])
    other = acquire(scene, geometry, 0, dataclasses.replace(first, seed=1))
    assert not np.array_equal(forward[0], other)


def test_noise_does_not_depend_on_whether_there_is_jitter() -> None:
    geometry = TiltGeometry([0.0], (20, 20), 10.0)
    still, moved = (acquire(EMPTY, geometry, 0, Acquisition(20, jitter=j)) for j in (0, 50))
    assert np.array_equal(still, moved)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dose": -1.0}, "must be finite and 0 or more"),
        ({"dose": 1.0, "read_noise": -1.0}, "must be finite and 0 or more"),
        ({"dose": np.nan}, "must be finite"),
        ({"jitter": -1.0}, "must be finite and 0 or more"),
        ({"seed": -1}, "must be finite and 0 or more"),
        ({"supersample": 0}, "`supersample` must be 1 or more"),
        ({"read_noise": 1.0}, "needs a `dose`"),
    ],
)
def test_bad_acquisitions_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Acquisition(**arguments)


def test_no_image_without_its_tilt() -> None:
    with pytest.raises(InputError, match="`tilt` is 4"):
        acquire(EMPTY, skew_geometry(), 4)

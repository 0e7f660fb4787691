from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.simulate.scenes import chiral_scene, skew_geometry
from tomodist.errors import InputError
from tomodist.simulate import Acquisition, Ctf, acquire, project_scene
from tomodist.values.geometry import TiltGeometry


@pytest.mark.parametrize(
    ("voltage", "wavelength"), [(100, 0.03701), (200, 0.02508), (300, 0.01969)]
)
def test_wavelength_is_that_of_relativistic_electrons(voltage: float, wavelength: float) -> None:
    assert Ctf(1e4, voltage=voltage).wavelength == pytest.approx(wavelength, abs=1e-5)


@pytest.mark.parametrize("amplitude", [0.0, 0.07, 0.4, 1.0])
def test_value_at_zero_is_minus_the_amplitude_contrast(amplitude: float) -> None:
    assert Ctf(3e4, amplitude_contrast=amplitude)(0.0) == pytest.approx(-amplitude)


@pytest.mark.parametrize(("amplitude", "cs"), [(0.0, 0.0), (0.07, 0.0), (0.07, 2.7), (0.3, 2.0)])
def test_first_zero_is_where_theory_puts_it(amplitude: float, cs: float) -> None:
    ctf = Ctf(defocus=40_000, cs=cs, amplitude_contrast=amplitude)
    # sin(chi + asin A) = 0 first at chi = pi - asin A, a quadratic equation in k²
    phase = 1 - np.arcsin(amplitude) / np.pi
    a, b = -(ctf.wavelength**3) * cs * 1e7 / 2, ctf.wavelength * ctf.defocus
    k_sq = phase / b if cs == 0 else (-b + np.sqrt(b**2 + 4 * a * phase)) / (2 * a)
    zero = np.sqrt(k_sq)
    assert ctf(zero) == pytest.approx(0, abs=1e-9)
    before = ctf(np.linspace(1e-4, 0.999 * zero, 500))
    assert np.all(before < 0)
    assert ctf(1.01 * zero) > 0
    assert 0.03 < zero < 0.04


def test_overfocus_turns_the_contrast() -> None:
    k = np.linspace(0.001, 0.02, 20)
    under, over = (Ctf(d, cs=0.0, amplitude_contrast=0.0)(k) for d in (2e4, -2e4))
    assert np.array_equal(under, -over)


def test_a_wave_is_scaled_by_the_value_at_its_frequency() -> None:
    ctf, n, pixel_size = Ctf(25_000), 64, 6.0
    columns = np.arange(n)
    for cycles in (0, 1, 7, 20):
        wave = np.cos(2 * np.pi * cycles * columns / n)
        image = np.tile(wave, (48, 1)).astype(np.float32)
        expected = ctf(cycles / (n * pixel_size)) * image
        assert ctf.apply(image, pixel_size) == pytest.approx(expected, abs=1e-5)
        assert ctf.apply(image.T, pixel_size) == pytest.approx(expected.T, abs=1e-5)


def test_an_image_is_one_plus_the_filtered_projection() -> None:
    scene, ctf = chiral_scene(), Ctf(15_000)
    geometry = TiltGeometry([20.0], (128, 160), 8.0)
    expected = 1 + 1e-2 * ctf.apply(project_scene(scene, geometry, 0, supersample=2), 8.0)
    weak = dataclasses.replace(
        scene,
        ellipsoids=tuple(
            dataclasses.replace(e, density=1e-2 * e.density) for e in scene.ellipsoids
        ),
    )
    found = acquire(weak, geometry, 0, Acquisition(ctf=ctf))
    assert np.abs(found - expected).max() < 0.02 * np.ptp(expected)


def test_a_crop_sees_what_lies_beyond_it() -> None:
    scene, acquisition = chiral_scene(), Acquisition(ctf=Ctf(15_000, amplitude_contrast=0.2))
    whole = dataclasses.replace(skew_geometry(), image_shape=(151, 144), image_center=(74.0, 73.5))
    large = acquire(scene, whole, 1, acquisition)[50:101, 50:94]
    small = acquire(scene, skew_geometry(), 1, acquisition)
    assert np.abs(small - large).max() < 0.05 * np.ptp(large)


def test_intensity_is_never_negative() -> None:
    image = acquire(chiral_scene(), skew_geometry(), 1, Acquisition(ctf=Ctf(30_000)))
    assert image.min() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"voltage": 0.0}, "`voltage` must be positive"),
        ({"amplitude_contrast": 1.1}, "`amplitude_contrast` must be 0 to 1; found 1.1"),
    ],
)
def test_bad_microscopes_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Ctf(defocus=1e4, **arguments)

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tomodist.detectors.classical import Blobs, DogEdges, GlobalThreshold
from tomodist.detectors.denoise import METHODS, Denoised, Method, denoise, noise_of
from tomodist.errors import InputError

if TYPE_CHECKING:
    from tomodist.values.arrays import Image

CHANGING = tuple(method for method in METHODS if method != "none")
NOISE = 0.7


def clean(shape: tuple[int, int] = (72, 80)) -> Image:
    """A bright disk with a ring in it: edges in every direction, and flat parts."""
    rows, columns = np.indices(shape)
    radius = np.hypot(rows - shape[0] / 2, columns - shape[1] / 2)
    image: Image = np.float32(3) * (radius < 28) - np.float32(2) * ((radius > 10) & (radius < 16))
    return image


def noisy(seed: int = 0, noise: float = NOISE) -> Image:
    image = clean()
    return image + np.random.default_rng(seed).normal(0, noise, image.shape).astype(np.float32)


def error(image: Image) -> float:
    return float(np.sqrt(np.nanmean((image - clean()) ** 2)))


@pytest.mark.parametrize("noise", [0.1, NOISE, 3.0])
def test_noise_is_measured_beside_edges_and_gaps(noise: float) -> None:
    image = clean((240, 250))
    image += np.random.default_rng(1).normal(0, noise, image.shape).astype(np.float32)
    image[:, 200:] = np.nan
    assert noise_of(image) == pytest.approx(noise, rel=0.05)


def test_what_has_no_noise_or_no_room_has_noise_0() -> None:
    assert noise_of(np.full((10, 10), 4, np.float32)) == 0
    assert noise_of(np.full((10, 10), np.nan, np.float32)) == 0
    assert noise_of(np.ones((2, 9), np.float32)) == 0


@pytest.mark.parametrize("method", CHANGING)
def test_the_image_comes_closer_to_the_truth(method: Method) -> None:
    limit = {"wavelet": 0.95}.get(method, 0.75)
    assert error(denoise(noisy(), method)) < limit * error(noisy())


@pytest.mark.parametrize("method", CHANGING)
def test_what_was_not_measured_stays_so_and_does_not_leak(method: Method) -> None:
    """Beside a gap a constant stays a constant, and far from it nothing changes."""
    image = noisy()
    cut = image.copy()
    cut[:, 60:] = np.nan
    found = denoise(cut, method)
    assert np.array_equal(np.isnan(found), np.isnan(cut))
    beside = np.s_[:, 50:60]
    assert np.sqrt(np.mean((found - clean())[beside] ** 2)) < 1.1 * NOISE
    whole = denoise(image, method)
    far = np.s_[:, :30]
    assert np.sqrt(np.mean((found - whole)[far] ** 2)) < 0.12 * NOISE
    flat = np.full((40, 40), 5, np.float32)
    flat[::2] += np.float32(1e-3)  # not quite without noise
    flat[10:30, 10:30] = np.nan
    assert np.nanmax(np.abs(denoise(flat, method) - 5)) < 2e-3


@pytest.mark.parametrize("method", CHANGING)
def test_gain_and_offset_do_not_matter(method: Method) -> None:
    image = noisy()
    expected = denoise(image, method) * 40 - 300
    assert np.allclose(denoise(image * 40 - 300, method), expected, atol=0.05)


def test_the_gaussian_widens_with_the_noise() -> None:
    roughness = [np.std(np.diff(denoise(noisy(2, n), "gaussian") / n)) for n in (0.3, 1.0, 4.0)]
    assert roughness[0] > roughness[1] > roughness[2]


def test_the_bilateral_filter_equals_its_definition() -> None:
    image = noisy()[20:32, 20:33]
    image[3, 4] = np.nan
    found = denoise(image, "bilateral")
    sigma = 3.0 * noise_of(image)
    rows, columns = np.indices(image.shape)
    for place in ((0, 0), (5, 6), (3, 5)):
        near = (np.abs(rows - place[0]) <= 4) & (np.abs(columns - place[1]) <= 4)
        apart = ((rows - place[0]) ** 2 + (columns - place[1]) ** 2) / 4
        weight = near * np.exp(-0.5 * (((image - image[place]) / sigma) ** 2 + apart))
        assert found[place] == pytest.approx(
            np.nansum(weight * image) / np.nansum(weight), rel=1e-4
        )


def test_nothing_to_do_is_no_change() -> None:
    image = noisy()
    assert denoise(image, "none") is image
    flat = np.ones((9, 9), np.float32)
    assert denoise(flat, "tv") is flat


@pytest.mark.parametrize(
    "detector",
    [DogEdges(sigma=1.0), Blobs(diameter=60.0), GlobalThreshold()],
    ids=["edges", "blobs", "threshold"],
)
def test_a_detector_sees_the_denoised_image(detector: DogEdges | Blobs | GlobalThreshold) -> None:
    seen: Any = Denoised(detector, "tv")(noisy(), 10.0)
    expected: Any = detector(denoise(noisy(), "tv"), 10.0)
    names = ("center", "score") if isinstance(detector, Blobs) else ("data",)
    for name in names:
        assert np.array_equal(getattr(seen, name), getattr(expected, name))
    assert Denoised(detector, "tv").parameters() == {**detector.parameters(), "denoise": "tv"}
    assert Denoised(detector, "none").parameters() == detector.parameters()


def test_false_edges_of_noise_become_fewer() -> None:
    """With a detector that is too fine for the noise."""
    near = np.isfinite(clean()) & (DogEdges(sigma=2.0)(clean(), 1.0) == 1)
    fine = DogEdges(sigma=0.7, threshold=0.6)
    share = [np.mean(near[m(noisy(3, 1.5), 1.0) == 1]) for m in (fine, Denoised(fine, "tv"))]
    assert share[1] > 1.8 * share[0]


def test_an_unknown_method_is_refused() -> None:
    wrong: Method = "median"  # type: ignore[assignment]
    with pytest.raises(InputError, match="`denoise` is 'median'; it must be one of none, gaussian"):
        denoise(noisy(), wrong)
    with pytest.raises(InputError, match="`denoise` is 'median'"):
        Denoised(DogEdges(), wrong)

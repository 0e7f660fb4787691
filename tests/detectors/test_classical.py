from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tomodist.algorithms.resample import resample
from tomodist.detectors.base import BoxDetector, MapDetector
from tomodist.detectors.classical import Blobs, DogEdges, GlobalThreshold
from tomodist.detectors.filters import smooth
from tomodist.detectors.peaks import keep_apart
from tomodist.errors import InputError
from tomodist.formats.imod.alignment import read_xf
from tomodist.formats.mrc.read import open_mrc
from tomodist.values.maps import UNMEASURED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tomodist.values.arrays import Image


PIXEL = 20.0
DETECTORS: list[Blobs | DogEdges | GlobalThreshold] = [
    Blobs(100),
    DogEdges(),
    DogEdges(clip=(1, 99)),
    GlobalThreshold(),
    GlobalThreshold(3.0),
]


def disks(
    shape: tuple[int, int],
    centers: list[tuple[float, float]],
    diameter: float = 5.0,
    height: float = -8.0,
    noise: float = 1.0,
) -> Image:
    """Soft disks on noise, drawn with sub-pixel positions."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    image = np.random.default_rng(7).normal(100, noise, shape) if noise else np.full(shape, 100.0)
    for y, x in centers:
        distance = np.hypot(rows - y, columns - x)
        image = image + height * np.clip(diameter / 2 + 0.5 - distance, 0, 1)
    return image.astype(np.float32)


def n_found(result: Any) -> int:
    return int((result == 1).sum()) if isinstance(result, np.ndarray) else len(result)


CENTERS = [(12.3, 15.8), (30.0, 40.0), (45.5, 20.5), (20.7, 50.1)]


@pytest.mark.parametrize("dark", [True, False])
@pytest.mark.parametrize("shape", [(60, 70), (61, 71), (60, 71)], ids=str)
@pytest.mark.parametrize("diameter", [5.0, 9.0])
def test_blobs_are_found_where_they_are(
    shape: tuple[int, int], diameter: float, *, dark: bool
) -> None:
    image = disks(shape, CENTERS, diameter, -12 if dark else 12, noise=0.5)
    boxes = Blobs(diameter * PIXEL, dark=dark)(image, PIXEL)
    order = np.lexsort(boxes.center.T[::-1])
    np.testing.assert_allclose(boxes.center[order], sorted(CENTERS), atol=0.2)
    np.testing.assert_array_equal(boxes.size, diameter)
    assert boxes.score.min() > 10


@pytest.mark.parametrize("noise", [0, 1.0])
def test_dark_and_bright_are_not_confused(noise: float) -> None:
    image = disks((60, 70), CENTERS[:2], height=-20, noise=noise)
    image += disks((60, 70), CENTERS[2:], height=20, noise=0) - 100
    for dark, expected in ((True, CENTERS[:2]), (False, CENTERS[2:])):
        boxes = Blobs(100, dark=dark)(image, PIXEL)
        found = sorted(map(tuple, boxes.center.tolist()))
        np.testing.assert_allclose(found, sorted(expected), atol=0.2)


def test_lines_and_edges_are_not_blobs() -> None:
    image = np.random.default_rng(0).normal(100, 1, (80, 90)).astype(np.float32)
    image[:, 30:] -= 30
    image[50:53] -= 30
    assert len(Blobs(100, min_roundness=0)(image, PIXEL)) > 20
    boxes = Blobs(100)(image, PIXEL)
    crossing = np.hypot(*(boxes.center - [51, 30]).T) < 6  # a corner is round enough
    assert len(boxes) - crossing.sum() <= 3


def test_touching_blobs_stay_two_and_one_blob_stays_one() -> None:
    image = disks((40, 60), [(20, 20), (20, 26), (20, 45)], noise=0.5)
    assert len(Blobs(100, max_overlap=0.3)(image, PIXEL)) == 3
    assert len(Blobs(100, max_overlap=0.0)(image, PIXEL)) == 3
    near = disks((40, 60), [(20, 20), (20, 24.4)], noise=0.5)
    assert len(Blobs(100, max_overlap=0.5)(near, PIXEL)) == 2
    assert len(Blobs(100, max_overlap=0.0)(near, PIXEL)) == 1


def test_of_near_peaks_the_higher_is_kept() -> None:
    center = np.array([[0, 0], [0, 3], [0, 6], [9, 9.0]])
    assert keep_apart(center, np.array([3.0, 2, 1, 5]), 4).tolist() == [3, 0, 2]
    assert keep_apart(center[:0], np.empty(0), 4).tolist() == []


@pytest.mark.parametrize("detector", DETECTORS, ids=repr)
@pytest.mark.parametrize(("gain", "offset"), [(1000, 0), (0.01, 50), (3, -4000)])
def test_gain_and_offset_change_nothing(
    detector: Callable[..., Any], gain: float, offset: float
) -> None:
    image = disks((60, 70), CENTERS)
    changed = (image * gain + offset).astype(np.float32)
    before, after = detector(image, PIXEL), detector(changed, PIXEL)
    assert n_found(before) > 0
    if isinstance(before, np.ndarray):
        assert np.mean(before != after) < 0.001  # pixels at the threshold, by rounding
    else:
        np.testing.assert_allclose(after.center, before.center, atol=0.01)


@pytest.mark.parametrize("detector", DETECTORS, ids=repr)
@pytest.mark.parametrize("shape", [(50, 61), (1, 7), (1, 1)], ids=str)
@pytest.mark.parametrize("value", [0.0, 1e6, -3.3, np.nan])
def test_nothing_in_images_without_content(
    detector: Callable[..., Any], shape: tuple[int, int], value: float
) -> None:
    image = np.full(shape, value, np.float32)
    result = detector(image, PIXEL)
    assert n_found(result) == 0
    if isinstance(result, np.ndarray):
        assert ((result == UNMEASURED) == np.isnan(image)).all()
        image[0, 0] = np.nan
        assert detector(image, PIXEL)[0, 0] == UNMEASURED


@pytest.mark.parametrize("level", [0.0, 1000.0])
@pytest.mark.parametrize("dark", [True, False])
def test_unmeasured_border_makes_no_detection(level: float, *, dark: bool) -> None:
    rows, columns = np.mgrid[:90, :100]
    image = np.random.default_rng(3).normal(level, 1, (90, 100)).astype(np.float32)
    outside = (rows + 0.3 * columns < 25) | (columns > 80) | (rows > 84)
    image[outside] = np.nan
    assert len(Blobs(100, dark=dark)(image, PIXEL)) == 0
    edges = DogEdges(dark=dark, threshold=0.9)(image, PIXEL)
    np.testing.assert_array_equal(edges == UNMEASURED, outside)
    # a border would draw a line of hundreds of pixels; noise draws specks, and everywhere
    assert (edges == 1).sum() < 40
    constant = np.where(outside, np.nan, level + 5).astype(np.float32)
    for detector in DETECTORS:
        assert n_found(detector(constant, PIXEL)) == 0


def test_blob_beside_the_border_is_found_and_one_beyond_is_not() -> None:
    image = disks((60, 70), [(30, 10), (30, 40)], noise=0.5)
    image[:, :6] = np.nan
    boxes = Blobs(100)(image, PIXEL)
    assert len(boxes) == 2
    image[:, :14] = np.nan
    np.testing.assert_allclose(Blobs(100)(image, PIXEL).center, [[30, 40]], atol=0.2)


def test_smoothing_keeps_a_constant_and_leaves_out_what_is_unmeasured() -> None:
    image = np.full((20, 30), 7, np.float32)
    image[5:9] = np.nan
    found = smooth(image, 2.0)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(image))
    np.testing.assert_allclose(found[np.isfinite(found)], 7, rtol=1e-6)
    # against the definition, at one pixel
    image[:] = np.random.default_rng(0).normal(size=image.shape)
    image[3, 4] = np.nan
    rows, columns = np.mgrid[:20, :30]
    weight = np.exp(-((rows - 4) ** 2 + (columns - 5) ** 2) / (2 * 1.5**2))
    weight[np.isnan(image) | (abs(rows - 4) > 6) | (abs(columns - 5) > 6)] = 0
    expected = (weight * np.nan_to_num(image)).sum() / weight.sum()
    np.testing.assert_allclose(smooth(image, 1.5)[4, 5], expected, rtol=1e-5)


def test_edges_of_a_disk_are_a_ring_on_the_asked_side() -> None:
    image = disks((64, 65), [(31.5, 32.0)], diameter=30, height=-10, noise=0)
    radius = np.hypot(*(np.mgrid[:64, :65] - np.array([31.5, 32.0])[:, None, None]))
    inner = radius[DogEdges(dark=True)(image, PIXEL) == 1]
    outer = radius[DogEdges(dark=False)(image, PIXEL) == 1]
    assert 11.0 < inner.min() < inner.max() < 15.3
    assert 14.7 < outer.min() < outer.max() < 19.6
    ring = DogEdges(dark=True)(image, PIXEL) == 1
    angles = np.linspace(0, 2 * np.pi, 100)
    on_ring = [
        ring[np.rint(31.5 + 14 * np.sin(a)).astype(int), np.rint(32 + 14 * np.cos(a)).astype(int)]
        for a in angles
    ]
    assert np.mean(on_ring) > 0.95  # closed


def test_edge_threshold_lies_between_minimum_and_maximum_of_the_response() -> None:
    image = disks((64, 65), [(31.5, 32.0)], diameter=30, noise=1)
    counts = [int((DogEdges(threshold=t)(image, PIXEL) == 1).sum()) for t in (0.01, 0.5, 0.7, 0.99)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 0.95 * image.size
    assert counts[-1] >= 1


def test_clip_keeps_a_bead_from_hiding_the_edges() -> None:
    image = disks((64, 65), [(31.5, 32.0)], diameter=30, noise=0.2)
    image[5:9, 5:9] -= 500
    ring = np.s_[10:]
    assert (DogEdges(threshold=0.5)(image, PIXEL)[ring] == 1).sum() == 0
    assert (DogEdges(threshold=0.5, clip=(1, 99))(image, PIXEL)[ring] == 1).sum() > 100


@pytest.mark.parametrize("threshold", ["otsu", 20.0])
@pytest.mark.parametrize("dark", [True, False])
def test_threshold_gives_the_disks(threshold: Any, *, dark: bool) -> None:
    image = disks((60, 70), CENTERS, diameter=10, height=-20 if dark else 20)
    found = GlobalThreshold(threshold, sigma=0.8, dark=dark)(image, PIXEL) == 1
    truth = disks((60, 70), CENTERS, diameter=10, height=1, noise=0) > 100.5
    assert (found & truth).sum() / (found | truth).sum() > 0.9


BAD: list[tuple[Callable[[], object], str]] = [
    (lambda: Blobs(0), "Blobs: diameter is 0; it must be a positive length in Å"),
    (lambda: Blobs(float("nan")), "diameter is nan"),
    (lambda: Blobs(100, threshold=-1), "threshold is -1"),
    (lambda: Blobs(100, max_overlap=1), "max_overlap is 1"),
    (lambda: Blobs(100, min_roundness=2), "min_roundness is 2"),
    (lambda: Blobs(30)(np.zeros((9, 9), np.float32), 20.0), "diameter 30 Å is 1.5 pixels"),
    (lambda: DogEdges(sigma=0), "DogEdges: sigma is 0; it must be positive"),
    (lambda: DogEdges(ratio=1), "ratio is 1"),
    (lambda: DogEdges(threshold=1), "threshold is 1"),
    (lambda: DogEdges(clip=(99, 1)), "clip is (99, 1)"),
    (lambda: GlobalThreshold(sigma=-1), "sigma is -1"),
    (lambda: GlobalThreshold("auto"), "threshold is 'auto'; it must be a number or 'otsu'"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("make", "message"), BAD, ids=[m[:30] for _, m in BAD])
def test_settings_that_make_no_sense(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert message in str(caught.value)


def test_parameters_are_plain_and_complete() -> None:
    found = DogEdges(clip=(1, 99)).parameters()
    assert json.loads(json.dumps(found)) == found
    assert found == {
        "detector": "DogEdges",
        "sigma": 1.5,
        "ratio": 1.6,
        "threshold": 0.7,
        "dark": True,
        "clip": [1, 99],
    }
    assert Blobs(100).parameters() != Blobs(101).parameters()
    for detector in DETECTORS:
        assert eval(repr(detector)) == detector
        assert isinstance(detector, BoxDetector if isinstance(detector, Blobs) else MapDetector)


def test_gold_beads_of_a_real_series(data_dir: Path) -> None:
    stack = open_mrc(data_dir / "empiar10499" / "10499_bin2.mrc")
    counts = [len(Blobs(100)(stack.read(k), PIXEL)) for k in range(len(stack))]
    assert min(counts) >= 20  # 22 beads at 0 degrees, more come into the field at high tilt
    assert max(counts) <= 30
    for k in (0, 20, 40):
        image = stack.read(k)
        boxes = Blobs(100)(image, PIXEL)
        rows, columns = np.rint(boxes.center).astype(int).T
        darkness = (np.median(image) - image[rows, columns]) / image.std()
        assert np.mean(darkness > 1.5) > 0.85


def test_gold_beads_keep_their_row_in_the_aligned_frame(data_dir: Path) -> None:
    """The tilt axis is vertical after alignment, so beads move along x only."""
    folder = data_dir / "empiar10499"
    stack, transforms = open_mrc(folder / "10499_bin2.mrc"), read_xf(folder / "10499_bin2.xf")
    rows = []
    for k in (14, 20, 26):
        aligned = resample(stack.read(k), transforms[k], (315, 326))
        boxes = Blobs(100)(aligned, PIXEL)
        assert 18 <= len(boxes) <= 25  # the unmeasured border adds none
        rows.append(boxes.center[:, 0])
    for other in (rows[0], rows[2]):
        distance = np.abs(rows[1][:, None] - other).min(axis=1)
        assert np.mean(distance < 1.0) > 0.8
        assert np.median(distance) < 0.4

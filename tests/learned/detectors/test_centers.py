"""The learned detector of boxes: outputs made by hand, and a network that sees bright squares."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tomodist.errors import InputError
from tomodist.learned.model.card import ModelCard, write_model
from tomodist.values.boxes import Boxes, boxes_of, fill

pytest.importorskip("torch")

from tomodist.learned.detectors.centers import LearnedBoxes, decode, rescaled_boxes
from tomodist.learned.model.opened import Model
from tomodist.learned.networks.build import seeded
from tomodist.learned.training.centers import center_architecture
from tomodist.learned.training.heatmaps import targets_of
from tomodist.learned.training.patches import Patch

if TYPE_CHECKING:
    from tomodist.values.arrays import Float32Array


STRIDE = 4


def outputs_of(image: Float32Array, *boxes: Boxes) -> Float32Array:
    """What a perfect network says of boxes per class."""
    known = np.zeros((len(boxes), *image.shape), np.uint8)
    targets = targets_of(Patch(image, known, boxes), STRIDE)
    heat = np.clip(targets.heat, 1e-4, 1 - 1e-4)
    return np.concatenate([np.log(heat / (1 - heat)), targets.regression])


class Seeing:
    """Says where bright parts are."""

    multiple, radius, output_stride = 16, 64, STRIDE

    def __call__(self, batch: Float32Array) -> Float32Array:
        return np.stack([outputs_of(x[0], boxes_of(x[0] > 0.5)) for x in batch])


@dataclass(frozen=True)
class Made:
    """Stands for a model whose network is made by hand."""

    card: ModelCard
    path: str = "made"

    def network(self) -> Seeing:
        return Seeing()

    def parameters(self) -> dict[str, Any]:
        return {"model": "made"}


def card(*classes: str, **changed: Any) -> ModelCard:
    of: dict[str, Any] = {"task": "boxes", "dims": 2, "architecture": "residual-unet"}
    of |= {"options": {"output_stride": STRIDE}, "classes": classes or ("square",)}
    of |= {"pixel_size": 20.0, "thresholds": (0.5,) * max(len(classes), 1)}
    return ModelCard(**{**of, **changed})


def detector(**options: Any) -> LearnedBoxes:
    made: Any = Made(card())
    return LearnedBoxes(made, **options)


def squares() -> tuple[Float32Array, Boxes]:
    """A bright image that is wider than high: boxes of odd, even, high and broad form."""
    true = Boxes(
        [[20.0, 30.0], [60.5, 40.5], [31.5, 100.0], [90.0, 150.5]],
        [[9, 9], [12, 12], [18, 7], [5, 24]],
        np.ones(4),
    )
    return fill(true, (110, 182)).astype(np.float32), true


def in_order(boxes: Boxes) -> Boxes:
    return boxes.select(np.lexsort((boxes.center[:, 1], boxes.center[:, 0])))


def test_a_single_peak_is_where_cell_and_offset_say() -> None:
    outputs = np.zeros((5, 6, 9), np.float32)
    outputs[0] = -9
    outputs[0, 2, 7] = np.log(3)  # of 0.75
    outputs[1:, 2, 7] = 0.25, -0.5, np.log(3), np.log(5)
    found = decode(outputs, 4, 0.5, 0)
    # (2 + 1/2 + 1/4) 4 - 1/2 and (7 + 1/2 - 1/2) 4 - 1/2
    np.testing.assert_allclose(found.center, [[10.5, 27.5]])
    np.testing.assert_allclose(found.size, [[12, 20]], rtol=1e-6)
    np.testing.assert_allclose(found.score, [0.75], rtol=1e-6)


def test_targets_come_back_as_the_boxes_that_they_were_made_of() -> None:
    image, true = squares()
    by = np.array([[0.3, -0.2], [0.1, 1.7], [-1.4, 0.0], [0.0, 0.6]])
    shifted = Boxes(true.center + by, true.size, true.score)
    for boxes in (true, shifted):
        found = in_order(decode(outputs_of(image, boxes), STRIDE, 0.5, 0))
        np.testing.assert_allclose(found.center, in_order(boxes).center, atol=1e-3)
        np.testing.assert_allclose(found.size, in_order(boxes).size, atol=1e-3)


def test_neighbours_of_a_peak_lead_back_to_the_same_box() -> None:
    image, _true = squares()
    outputs = outputs_of(image, Boxes([[50, 80]], [[40, 60]], [1]))
    for cell in ((12, 19), (13, 20), (12, 21)):
        moved = outputs.copy()
        moved[(0, *cell)] = 20.0
        found = decode(moved, STRIDE, 0.5, 0)
        np.testing.assert_allclose(found.center[0], [50, 80], atol=1e-3)
        np.testing.assert_allclose(found.size[0], [40, 60], atol=1e-3)


def test_a_flat_top_is_one_box_and_two_cells_apart_are_two() -> None:
    outputs = np.zeros((5, 8, 8), np.float32)
    outputs[0] = -9
    outputs[0, 3, 2:5] = 2.0
    assert len(decode(outputs, STRIDE, 0.5, 0)) == 1
    outputs[0, 3, 3] = 1.0
    assert len(decode(outputs, STRIDE, 0.5, 0)) == 2


def test_each_class_has_its_heat_map_and_its_threshold() -> None:
    image, true = squares()
    outputs = outputs_of(image, true.select([0, 2]), true.select([1, 3]))
    outputs[1] -= 9.2  # peaks at a probability of about 1/2
    np.testing.assert_allclose(
        in_order(decode(outputs, STRIDE, 0.9, 0)).center, [[20.0, 30.0], [31.5, 100.0]], atol=1e-3
    )
    assert len(decode(outputs, STRIDE, 0.4, 1)) == 2
    assert len(decode(outputs, STRIDE, 0.6, 1)) == 0


def test_an_untrained_network_says_nothing_sure_and_nothing_infinite() -> None:
    outputs = np.full((5, 4, 4), 1e4, np.float32)
    found = decode(outputs, STRIDE, 0.5, 0)
    assert len(found) == 1
    assert np.isfinite(found.size).all()
    assert len(decode(-outputs, STRIDE, 0.5, 0)) == 0


def test_boxes_are_found_where_they_are() -> None:
    image, true = squares()
    found = in_order(detector()(image, 20.0))
    np.testing.assert_allclose(found.center, in_order(true).center, atol=1e-3)
    np.testing.assert_allclose(found.size, in_order(true).size, atol=1e-3)


@pytest.mark.parametrize("factor", [2, 3])
def test_another_pixel_size_gives_the_same_boxes(factor: int) -> None:
    image, true = squares()
    fine = np.kron(image, np.ones((factor, factor), np.float32))
    found = in_order(detector()(fine, 20.0 / factor))
    expected = in_order(rescaled_boxes(true, image.shape, fine.shape))
    np.testing.assert_allclose(found.center, expected.center, atol=0.5 * factor)
    np.testing.assert_allclose(found.size, expected.size, atol=2 * factor)
    inner, outer = expected.center - expected.size / 2, expected.center + expected.size / 2
    for low, high, (y, x) in zip(inner, outer, found.center, strict=True):
        assert low[0] < y < high[0]
        assert low[1] < x < high[1]


def test_coordinates_scale_about_the_outer_edge_and_back() -> None:
    boxes = Boxes([[-0.5, 3], [9.5, 0]], [[2, 4], [1, 1]], [0.5, 0.5])
    larger = rescaled_boxes(boxes, (10, 20), (30, 40))
    np.testing.assert_allclose(larger.center, [[-0.5, 6.5], [29.5, 0.5]])
    np.testing.assert_allclose(larger.size, [[6, 8], [3, 2]])
    np.testing.assert_allclose(rescaled_boxes(larger, (30, 40), (10, 20)).center, boxes.center)


def test_nothing_is_found_where_nothing_was_measured() -> None:
    image, true = squares()
    image[:, :60] = np.nan
    found = in_order(detector()(image, 20.0))
    np.testing.assert_allclose(found.center, in_order(true).center[[1, 3]], atol=1e-3)


def test_tiles_do_not_change_the_boxes_of_a_real_network(tmp_path: Path) -> None:
    found = card(thresholds=(0.03,))
    module = seeded(center_architecture(1), 0)
    write_model(tmp_path / "m", found, {k: v.numpy() for k, v in module.state_dict().items()})
    model = Model.at(tmp_path / "m")
    model.check()
    random = np.random.default_rng(0)
    image = random.normal(size=(400, 600)).astype(np.float32)
    whole = LearnedBoxes(model)(image, 20.0)
    parts = LearnedBoxes(model, tile=128)(image, 20.0)
    assert len(whole) > 20
    same = np.linalg.norm(whole.center[:, None] - parts.center, axis=2).min(axis=1) < 0.05
    assert same.mean() > 0.95  # a peak may change its place where neighbours are almost equal


def test_a_detector_says_what_it_is() -> None:
    said = detector(threshold=0.25).parameters()
    assert (said["detector"], said["mapped"], said["threshold"]) == (
        "LearnedBoxes",
        ["square"],
        0.25,
    )
    assert detector().lowest == 0.5
    assert detector().folders() == (Path("made"),)


def test_memory_grows_with_the_image_until_it_is_cut_into_tiles() -> None:
    of = detector(tile=512).memory
    assert of((4096, 4096), 20.0) > of((1024, 1024), 20.0) > of((256, 256), 20.0)
    whole = detector(tile=4096).memory((4096, 4096), 20.0)
    assert of((4096, 4096), 20.0) < 0.7 * whole
    assert of((4096, 4096), 10.0) == of((2048, 2048), 20.0)  # as the model of 20 Å sees it


@pytest.mark.parametrize(
    ("of", "options", "message"),
    [
        ({"task": "segment"}, {}, "is not a model for boxes"),
        ({}, {"name": "circle"}, "no class 'circle'"),
        ({"classes": ("a", "b"), "thresholds": (0.5, 0.5)}, {}, r"several classes \(a, b\)"),
        ({}, {"threshold": 1.5}, "is 1.5; it must be between 0 and 1"),
        ({}, {"tile": 0}, "`tile` is 0"),
    ],
)
def test_what_makes_no_sense_is_refused(
    of: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    made: Any = Made(card(**of))
    with pytest.raises(InputError, match=message):
        LearnedBoxes(made, **options)

"""The Faster R-CNN of torchvision: trains, finds bright rectangles, and is a model like others."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.learned.faster_rcnn import shim
from tests.learned.training.toys import rectangles
from tomodist.learned.model.card import ModelCard, write_model
from tomodist.values.boxes import Boxes

torch = pytest.importorskip("torch")
if importlib.util.find_spec("torchvision") is None:
    pytest.skip("torchvision is not installed; `make test-fasterrcnn`", allow_module_level=True)
if problem := shim.load():
    pytest.skip(f"torchvision cannot be used: {problem}", allow_module_level=True)

from tomodist.errors import InputError  # noqa: E402
from tomodist.learned.detectors.centers import LearnedBoxes  # noqa: E402
from tomodist.learned.detectors.faster_rcnn import boxes_of_rows  # noqa: E402
from tomodist.learned.model.opened import Model  # noqa: E402
from tomodist.learned.model.torch_network import TorchNetwork  # noqa: E402
from tomodist.learned.networks.build import seeded  # noqa: E402
from tomodist.learned.networks.device import use_threads  # noqa: E402
from tomodist.learned.networks.faster_rcnn import BACKBONES, is_available  # noqa: E402
from tomodist.learned.networks.spec import Architecture  # noqa: E402
from tomodist.learned.training.examples import IGNORED, Pool  # noqa: E402
from tomodist.learned.training.faster_rcnn import FasterRCNNJob, corners_of  # noqa: E402
from tomodist.learned.training.loop import Trained, train  # noqa: E402
from tomodist.learned.training.patches import Patch  # noqa: E402
from tomodist.learned.training.schedule import Schedule  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

SMALL = Architecture("faster-rcnn", 2, 5, {"backbone": "residual-unet"})
NAMES = ("rectangle",)


@pytest.fixture(scope="module")
def trained() -> tuple[Trained, Any]:
    use_threads(1)
    schedule = Schedule(steps=70, every=35, side=96, batch=4, learning_rate=1e-3)
    job, module = FasterRCNNJob(schedule, NAMES), seeded(SMALL, 0)
    training, held_out = [rectangles(k) for k in range(12)], [rectangles(k) for k in range(90, 94)]
    before = job.score(TorchNetwork(module), held_out)
    assert before.value < 0.05
    found = train(job, module, Pool(training, 2**30, 0), held_out, schedule)
    module.load_state_dict({k: torch.from_numpy(v) for k, v in found.weights.items()})
    return found, module


def test_the_missing_operator_is_as_torchvision_defines_it() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 1, 10, 11], [20, 20, 30, 30], [0, 0, 10, 10]])
    scores = torch.tensor([0.5, 0.9, 0.1, 0.7])
    assert shim.nms(boxes, scores, 0.5).tolist() == [1, 2]
    assert shim.nms(boxes, scores, 0.9).tolist() == [1, 3, 2]
    assert shim.nms(boxes[:0], scores[:0], 0.5).tolist() == []


def test_corners_are_those_of_the_pixels_and_end_at_the_patch() -> None:
    one, other = Boxes([[9.5, 20.0]], [[4, 7]], [1]), Boxes([[1.0, 29.0]], [[6, 8]], [1])
    patch = Patch(np.zeros((20, 32), np.float32), np.zeros((2, 20, 32), np.uint8), (one, other))
    # Pixels 8 to 11 and 17 to 23; the other reaches from row -1.5 to 4.5 and column 25.5 to 33.5.
    expected = [[17.0, 8.0, 24.0, 12.0, 1.0], [25.5, 0.0, 32.0, 4.5, 2.0]]
    np.testing.assert_allclose(corners_of(patch), expected)


def test_it_is_there_with_the_operator_supplied() -> None:
    assert is_available()


def test_it_finds_rectangles_after_a_short_training(trained: tuple[Trained, Any]) -> None:
    found, _ = trained
    assert found.score.details["f1"]["rectangle"] > 0.7
    assert found.score.details["ap50"]["rectangle"] > 0.7


def test_boxes_are_neither_shifted_nor_turned(trained: tuple[Trained, Any]) -> None:
    network, errors = TorchNetwork(trained[1]), []
    for seed in range(80, 86):
        example = rectangles(seed).example
        found = boxes_of_rows(network(example.image[None, None])[0], 0.3, 0)
        for center, size in zip(example.boxes[0].center, example.boxes[0].size, strict=True):
            apart = np.abs(found.center - center).max(axis=1)
            if len(found) and apart.min() < 5:
                k = apart.argmin()
                errors.append([*(found.center[k] - center), *np.log(found.size[k] / size)])
    assert len(errors) > 12
    assert np.abs(np.median(errors, axis=0)[:2]).max() < 1.0
    assert np.abs(np.median(errors, axis=0)[2:]).max() < 0.2


def test_a_model_folder_gives_the_same_boxes(trained: tuple[Trained, Any], tmp_path: Path) -> None:
    found, module = trained
    card = ModelCard(
        "boxes", 2, "faster-rcnn", SMALL.options, NAMES, 20.0, found.score.details["thresholds"]
    )
    write_model(tmp_path / "m", card, found.weights)
    model = Model.at(tmp_path / "m")
    model.check()
    image = rectangles(95).example.image
    detector = LearnedBoxes(model)
    boxes = detector(image, 20.0)
    direct = boxes_of_rows(TorchNetwork(module)(image[None, None])[0], detector.lowest, 0)
    assert len(boxes) > 1
    np.testing.assert_allclose(boxes.center, direct.center, atol=0.05)
    np.testing.assert_allclose(boxes.size, direct.size, atol=0.1)


def test_images_are_not_enlarged_but_as_far_as_asked() -> None:
    module = seeded(SMALL, 0).eval()
    seen: list[tuple[int, ...]] = []
    module.detector.backbone.stem.register_forward_hook(lambda _, x, __: seen.append(x[0].shape))
    with torch.inference_mode():
        module(torch.zeros(1, 1, 96, 160))
        module.min_size = 192
        module(torch.zeros(1, 1, 96, 160))
    assert [shape[2:] for shape in seen] == [(96, 160), (192, 320)]


def test_what_is_ignored_is_not_seen() -> None:
    example = rectangles(0).example
    example.target[0, :, :64] = IGNORED
    job = FasterRCNNJob(Schedule(side=96, batch=8), NAMES)
    images = job.batch([example], np.random.default_rng(0))["image"]
    assert 0.3 < (images == 0).mean() < 0.9


def test_other_backbones_are_refused_by_name() -> None:
    with pytest.raises(InputError, match=f"use one of {', '.join(BACKBONES)}"):
        seeded(Architecture("faster-rcnn", 2, 5, {"backbone": "vgg"}), 0)

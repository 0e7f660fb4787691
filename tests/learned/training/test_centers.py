from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.learned.training.toys import rectangles
from tomodist.learned.training.examples import IGNORED, Example, Loaded, Pool
from tomodist.learned.training.patches import Patch
from tomodist.learned.training.schedule import Schedule
from tomodist.values.boxes import Boxes

torch = pytest.importorskip("torch")

from tomodist.learned.detectors.centers import decode  # noqa: E402
from tomodist.learned.model.torch_network import TorchNetwork  # noqa: E402
from tomodist.learned.networks.device import use_threads  # noqa: E402
from tomodist.learned.training.centers import CentersJob, first_network, mean_log_size, score_of  # noqa: E402
from tomodist.learned.training.heatmaps import SIGMA, targets_of  # noqa: E402
from tomodist.learned.training.loop import train  # noqa: E402

STRIDE = 4


def patch(*boxes: Boxes, shape: tuple[int, int] = (64, 96)) -> Patch:
    target = np.zeros((len(boxes), *shape), np.uint8)
    return Patch(np.zeros(shape, np.float32), target, boxes)


def test_the_heat_map_is_one_in_the_cell_of_the_centre_and_as_wide_as_the_box() -> None:
    found = targets_of(patch(Boxes([[29.0, 50.0]], [[20.0, 80.0]], [1])), STRIDE)
    assert found.heat.shape == (1, 16, 24)
    assert np.argwhere(found.heat[0] == 1).tolist() == [[7, 12]]  # pixels 28 to 31, 48 to 51
    down, right = found.heat[0, 8, 12], found.heat[0, 7, 13]
    assert down == pytest.approx(np.exp(-0.5 / (SIGMA * 20 / 4) ** 2), rel=1e-5)
    assert right == pytest.approx(np.exp(-0.5 / (SIGMA * 80 / 4) ** 2), rel=1e-5)


def test_offsets_and_sizes_are_those_of_the_box_wherever_they_count() -> None:
    found = targets_of(patch(Boxes([[29.0, 50.0]], [[20.0, 80.0]], [1])), STRIDE)
    rows, columns = np.nonzero(found.weight[0])
    assert len(rows) > 5
    y = (rows + 0.5 + found.regression[0][rows, columns]) * STRIDE - 0.5
    x = (columns + 0.5 + found.regression[1][rows, columns]) * STRIDE - 0.5
    np.testing.assert_allclose(y, 29.0, atol=1e-4)
    np.testing.assert_allclose(x, 50.0, atol=1e-4)
    sides = np.exp(found.regression[2:, rows, columns]) * STRIDE
    np.testing.assert_allclose(sides, np.broadcast_to([[20.0], [80.0]], sides.shape), rtol=1e-5)


def test_where_boxes_overlap_each_keeps_its_middle() -> None:
    close = Boxes([[30.0, 40.0], [30.0, 52.0]], [[40.0, 40.0], [20.0, 20.0]], [1, 1])
    found = targets_of(patch(close), STRIDE)
    assert np.argwhere(found.heat[0] == 1).tolist() == [[7, 10], [7, 13]]
    np.testing.assert_allclose(
        np.exp(found.regression[2, 7, [10, 13]]) * STRIDE, [40, 20], rtol=1e-5
    )


def test_cells_with_an_ignored_pixel_are_not_learnt_from() -> None:
    one = patch(Boxes([[10.0, 10.0], [40.0, 70.0]], [[16.0, 16.0]] * 2, [1, 1]))
    one.target[0, 9, 9] = IGNORED
    found = targets_of(one, STRIDE)
    assert found.known[0, 2, 2] == 0
    assert found.known.sum() == found.known.size - 1
    assert found.weight[0, 2, 2] == 0
    assert found.weight[0, 10, 17] == 1


def test_the_loss_is_least_for_what_is_true_and_blind_to_what_is_ignored() -> None:
    job = CentersJob(Schedule(side=64), ("a",))
    one = patch(Boxes([[29.0, 50.0]], [[20.0, 40.0]], [1]))
    one.target[0, :, 80:] = IGNORED
    targets = targets_of(one, STRIDE)
    batch = {n: torch.from_numpy(v)[None] for n, v in targets._asdict().items()}
    heat = np.clip(targets.heat, 1e-4, 1 - 1e-4)
    perfect = np.concatenate([np.log(heat / (1 - heat)), targets.regression])

    def loss(outputs: Any) -> float:
        given = torch.from_numpy(outputs[None])
        return float(job.loss(lambda _: given, {**batch, "image": given}))

    wrong_there = perfect.copy()
    wrong_there[:, :, 20:] += 5
    # Columns of cells from 20 on are ignored, and no box is there.
    assert loss(wrong_there) == pytest.approx(loss(perfect))
    for channel, by in ((0, 6.0), (1, 0.5), (2, 0.5), (3, 0.2), (4, 0.2)):
        worse = perfect.copy()
        worse[channel] += by
        assert loss(worse) > loss(perfect) + 0.01, channel


def test_batches_hold_what_is_in_the_patches() -> None:
    job = CentersJob(Schedule(side=64, batch=6), ("a",))
    batch = job.batch([rectangles(0).example], np.random.default_rng(1))
    assert batch["image"].shape == (6, 1, 64, 64)
    assert batch["heat"].shape == (6, 1, 16, 16)
    assert (batch["heat"] == 1).sum() > 3
    for image, heat in zip(batch["image"][:, 0], batch["heat"][:, 0], strict=True):
        for row, column in np.argwhere(heat == 1):
            window = image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            assert window.mean() > image.mean() + 0.5  # turned and mirrored as the image is


def test_a_score_knows_classes_thresholds_and_what_is_ignored() -> None:
    true = Boxes([[20.0, 20.0], [20.0, 60.0]], [[10.0, 10.0]] * 2, [1, 1])
    target = np.zeros((2, 40, 80), np.uint8)
    target[0, :, 40:] = IGNORED
    example = Example.of(np.zeros((40, 80), np.float32), target, [true, true])
    first = Boxes([[20.0, 21.0], [5.0, 70.0]], [[10.0, 10.0]] * 2, [0.8, 0.9])
    second = Boxes([[20.0, 60.0], [5.0, 5.0]], [[10.0, 10.0]] * 2, [0.4, 0.6])
    score = score_of(("a", "b"), [Loaded("one", example)], lambda _: [first, second])
    # a: one of one, as the rest is ignored; b: the second of two is right, of two that are there.
    assert score.details["ap50"] == {"a": 1.0, "b": 0.25}
    assert score.details["f1"] == {"a": 1.0, "b": 0.5}
    # An IoU of 9/11 is enough at 0.75, too.
    assert score.value == pytest.approx((1 + 1 + 0.25 + 0.25) / 4)
    assert 0.1 <= score.details["thresholds"][0] < 0.8
    assert 0.1 <= score.details["thresholds"][1] < 0.4


def test_the_first_network_says_what_it_was_told() -> None:
    size = mean_log_size([Boxes([[9, 9]], [[20, 40]], [1]), Boxes.empty()])
    assert np.exp(size) == pytest.approx(np.sqrt(20 * 40))
    module = first_network(2, 0, size).eval()
    with torch.no_grad():
        module.head.weight.zero_()
        outputs = module(torch.zeros(1, 1, 64, 64))[0].numpy()
    found = decode(outputs, module.output_stride, 0.04, 1)
    np.testing.assert_allclose(found.score, 0.05, rtol=1e-4)
    np.testing.assert_allclose(found.size, np.exp(size), rtol=1e-5)
    np.testing.assert_allclose((found.center - 1.5) % 4, 0)
    assert mean_log_size([]) == pytest.approx(np.log(16))


def test_a_short_training_finds_rectangles_in_noise() -> None:
    """Of three seeds in bfloat16 and in float32, AP50 and F1 were 0.82 to 1."""
    use_threads(1)
    training, held_out = [rectangles(k) for k in range(12)], [rectangles(k) for k in range(90, 96)]
    schedule = Schedule(steps=140, every=140, side=64, batch=8, learning_rate=3e-3)
    job = CentersJob(schedule, ("rectangle",))
    sizes = mean_log_size([e.example.boxes[0] for e in training])
    module = first_network(1, 0, sizes)
    before = job.score(TorchNetwork(module), held_out)
    trained = train(job, module, Pool(training, 2**30, 0), held_out, schedule)
    assert before.value < 0.05
    assert trained.score.details["ap50"]["rectangle"] > 0.6
    assert trained.score.details["f1"]["rectangle"] > 0.6
    assert 0.1 <= trained.score.details["thresholds"][0] <= 0.9

"""The learned detector of masks: what it must not depend on, and what it refuses."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

from tomodist.detectors.base import MapDetector
from tomodist.errors import InputError
from tomodist.learned.model.card import ModelCard, read_card, read_weights, write_model
from tomodist.learned.model.opened import Model
from tomodist.learned.networks.spec import Architecture

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.values.arrays import Image

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from tomodist.learned.detectors.segmentation import LearnedSegmentation, probabilities_of  # noqa: E402
from tomodist.learned.model.torch_network import TorchNetwork  # noqa: E402
from tomodist.learned.networks.build import seeded  # noqa: E402
from tomodist.learned.networks.device import use_threads  # noqa: E402

PIXEL = 20.0
LEVEL = -3.1  # half of what the disk is in a normalised image
DISK = (40.0, 52.0, 7.0)  # row, column, radius in pixels of PIXEL Å


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    use_threads(1)


def disk_image(
    shape: tuple[int, int] = (96, 112), size: float = PIXEL, noise: float = 0.3
) -> Image:
    """A dark disk of fixed size and place in Å, in noise."""
    y, x = (np.arange(n) * size / PIXEL + (size / PIXEL - 1) / 2 for n in shape)
    inside = np.hypot(y[:, None] - DISK[0], x[None] - DISK[1]) < DISK[2]
    random = np.random.default_rng(0)
    image = noise * random.standard_normal(shape, dtype=np.float32) - 3 * inside
    return np.asarray(image, np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A network that finds what is dark, made by hand: an average of the image, negated.

    Logits of "dark" are 8 (LEVEL - mean of 5 x 5 pixels), those of "rare" are 3 less.
    """
    architecture = Architecture(n_outputs=2, options={"widths": (16,), "stem_stride": 1})
    weights = {k: v.numpy().copy() for k, v in seeded(architecture, 0).state_dict().items()}
    for name, values in weights.items():
        if name.endswith("conv.weight"):
            values[:] = 0
    weights["stem.conv.weight"][0] = -1 / 25
    weights["head.weight"][:] = 0
    weights["head.weight"][:, 0] = 8
    weights["head.bias"][:] = (8 * LEVEL, 8 * LEVEL - 3)
    options = dict(architecture.options)
    card = ModelCard("segment", 2, architecture.name, options, ("dark", "rare"), PIXEL, (0.5, 0.9))
    folder = tmp_path_factory.mktemp("models") / "dark"
    write_model(folder, card, weights)
    return Model.at(folder)


@pytest.fixture(scope="module")
def random_network() -> TorchNetwork:
    return TorchNetwork(seeded(Architecture(), 1).eval(), half=False)


def detect(model: Model, image: Image, size: float = PIXEL, **settings: Any) -> npt.NDArray[Any]:
    return LearnedSegmentation(model, **{"name": "dark", **settings})(image, size)


def middle(mask: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float64], float]:
    """Centre and area of what is found."""
    found = np.argwhere(mask == 1)
    return found.mean(axis=0), float(len(found))


# ------------------------------------------------------------------------------- what it finds


def test_it_finds_the_disk(model: Model) -> None:
    center, area = middle(detect(model, disk_image()))
    np.testing.assert_allclose(center, DISK[:2], atol=0.3)
    assert area == pytest.approx(np.pi * DISK[2] ** 2, rel=0.1)


def test_what_was_not_measured_stays_unmeasured(model: Model) -> None:
    image = disk_image()
    image[:, :10] = np.nan
    image[38:43, 50:55] = np.nan  # within the disk
    found = detect(model, image)
    np.testing.assert_array_equal(found == 2, np.isnan(image))
    probabilities = LearnedSegmentation(model).probabilities(image, PIXEL)
    assert (probabilities[:, np.isnan(image)] == 0).all()
    assert np.isfinite(probabilities).all()


def test_an_image_of_nothing(model: Model) -> None:
    assert (detect(model, np.full((40, 30), np.nan, np.float32)) == 2).all()
    assert (detect(model, np.zeros((40, 30), np.float32)) == 0).all()


def test_gain_and_offset_change_nothing(model: Model) -> None:
    image, detector = disk_image(), LearnedSegmentation(model)
    expected = detector.probabilities(image, PIXEL)
    for gain, offset in ((100, 0), (0.01, 0), (1, 1000), (3, -50)):
        changed = (gain * image + offset).astype(np.float32)
        np.testing.assert_allclose(detector.probabilities(changed, PIXEL), expected, atol=0.01)


def test_a_hot_pixel_is_no_structure_and_hides_none(model: Model) -> None:
    image = disk_image()
    image[5, 5], image[90, 100] = 30, -9  # the second is as dark as the disk, but alone
    found = detect(model, image)
    assert not found[:12].any()
    assert not found[85:].any()
    np.testing.assert_allclose(middle(found)[0], DISK[:2], atol=0.3)


@pytest.mark.parametrize("size", [PIXEL / 2, PIXEL / 1.3, PIXEL * 1.01, PIXEL * 1.5])
def test_an_image_of_other_pixels_shows_the_same(size: float, model: Model) -> None:
    shape = (round(96 * PIXEL / size), round(112 * PIXEL / size))
    found = detect(model, disk_image(shape, size), size)
    assert found.shape == shape
    center, area = middle(found)
    in_angstrom = (center + 0.5) * size
    np.testing.assert_allclose(in_angstrom, (np.array(DISK[:2]) + 0.5) * PIXEL, atol=0.5 * PIXEL)
    assert area * size**2 == pytest.approx(np.pi * (DISK[2] * PIXEL) ** 2, rel=0.2)


def test_nan_in_an_image_of_other_pixels(model: Model) -> None:
    image = disk_image((192, 224), PIXEL / 2)
    image[:21] = np.nan
    found = detect(model, image, PIXEL / 2)
    np.testing.assert_array_equal(found == 2, np.isnan(image))
    np.testing.assert_allclose(middle(found)[0] / 2, DISK[:2], atol=0.6)


# ------------------------------------------------------------------------- classes and settings


def test_classes_by_name(model: Model) -> None:
    detector = LearnedSegmentation(model)
    assert detector.classes == ("dark", "rare")
    np.testing.assert_allclose(detector.thresholds, [0.5, 0.9])
    both = detector.probabilities(disk_image(), PIXEL)
    for k, name in enumerate(detector.classes):
        alone = LearnedSegmentation(model, name)
        assert alone.classes == (name,)
        np.testing.assert_array_equal(alone.probabilities(disk_image(), PIXEL), both[k : k + 1])
    assert (both[1] < both[0]).any()


def test_a_threshold_of_ones_own(model: Model) -> None:
    areas = [middle(detect(model, disk_image(), threshold=t))[1] for t in (0.05, 0.5, 0.95)]
    assert areas == sorted(areas, reverse=True)
    assert areas[0] > areas[2]
    np.testing.assert_array_equal(
        detect(model, disk_image(), threshold=0.5), detect(model, disk_image())
    )


def test_softmax_has_an_output_for_nothing(random_network: TorchNetwork) -> None:
    class Two(TorchNetwork):
        def __call__(self, batch: Image) -> Image:
            logits = random_network(batch)
            return np.concatenate([np.zeros_like(logits), logits], axis=1)

    image = np.random.default_rng(0).standard_normal((48, 32), dtype=np.float32)
    two = Two(seeded(Architecture(), 1))
    by_softmax = probabilities_of(two, image, "softmax")
    np.testing.assert_allclose(by_softmax, probabilities_of(random_network, image), atol=1e-5)
    assert by_softmax.shape == (1, 48, 32)
    whole = probabilities_of(random_network, image, "none")
    assert whole.min() >= 0
    assert whole.max() <= 1


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_the_average_turns_with_the_image(
    turns: int,
    mirrored: bool,  # noqa: FBT001
    random_network: TorchNetwork,
) -> None:
    def turned(values: Any) -> Any:
        return np.rot90(values[..., ::-1] if mirrored else values, turns, axes=(-2, -1))

    image = np.random.default_rng(0).standard_normal((48, 64), dtype=np.float32)
    expected = turned(probabilities_of(random_network, image, average=True))
    found = probabilities_of(random_network, np.ascontiguousarray(turned(image)), average=True)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_one_look_does_not_turn_with_the_image(random_network: TorchNetwork) -> None:
    image = np.random.default_rng(0).standard_normal((48, 64), dtype=np.float32)
    one = np.rot90(probabilities_of(random_network, image), axes=(1, 2))
    other = probabilities_of(random_network, np.ascontiguousarray(np.rot90(image)))
    assert np.abs(one - other).max() > 0.01


def test_settings_are_in_the_fingerprint(model: Model) -> None:
    base = LearnedSegmentation(model, "dark")
    assert base.parameters() == LearnedSegmentation(model, "dark").parameters()
    for changed in (
        replace(base, name="rare"),
        replace(base, threshold=0.3),
        replace(base, tile=64),
        replace(base, average=True),
    ):
        assert changed.parameters() != base.parameters()
    assert base.parameters()["model"] == model.sha256
    assert model.path not in str(base.parameters())  # the same model elsewhere is the same


def test_it_is_a_detector(model: Model) -> None:
    detector = LearnedSegmentation(model, "dark")
    assert isinstance(detector, MapDetector)
    assert len(pickle.dumps(detector)) < 1000  # no weights travel
    assert pickle.loads(pickle.dumps(detector)) == detector


# --------------------------------------------------------------------------- threads, processes


def test_threads_give_the_same_bit_by_bit(model: Model) -> None:
    detector, images = LearnedSegmentation(model), [disk_image(noise=n) for n in (0.1, 0.3, 0.5)]
    alone = [detector.probabilities(image, PIXEL) for image in images]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda image: detector.probabilities(image, PIXEL), images * 3))
    for found, expected in zip(together, alone * 3, strict=True):
        np.testing.assert_array_equal(found, expected)


def in_a_worker(detector: LearnedSegmentation, image: Image) -> Image:
    return detector.probabilities(image, PIXEL)


def test_processes_give_the_same_bit_by_bit(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    detector, image = LearnedSegmentation(model), disk_image()
    expected = detector.probabilities(image, PIXEL)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(in_a_worker, [detector] * 2, [image] * 2))
    for one in found:
        np.testing.assert_array_equal(one, expected)


# --------------------------------------------------------------------------------------- errors


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "class": ({"name": "bright"}, "dark has no class 'bright'; use one of dark, rare"),
    "threshold": ({"threshold": 1.5}, "`probability` is 1.5; it must be between 0 and 1"),
    "no threshold": ({"threshold": 0.0}, "`probability` is 0; it must be between 0 and 1"),
    "tile": ({"tile": 0}, "`tile` is 0; it must be 1 or more"),
}


@pytest.mark.parametrize("name", BAD)
def test_settings_that_make_no_sense(name: str, model: Model) -> None:
    settings, message = BAD[name]
    with pytest.raises(InputError) as caught:
        LearnedSegmentation(model, **settings)
    assert message in str(caught.value)


def test_one_class_must_be_named(model: Model) -> None:
    with pytest.raises(InputError, match=r"dark has several classes; select one"):
        LearnedSegmentation(model)(disk_image(), PIXEL)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"dims": 3}, "is a model for volumes"), ({"task": "boxes"}, "is a model for boxes")],
)
def test_models_for_something_else(
    change: dict[str, Any], message: str, model: Model, tmp_path: Path
) -> None:
    card = replace(model.card, **change)
    write_model(tmp_path / "other", card, {"a": np.zeros(1, np.float32)})
    with pytest.raises(InputError) as caught:
        LearnedSegmentation(Model.at(tmp_path / "other"))
    assert message in str(caught.value)


def test_a_model_that_gives_nan_is_refused_before_work_starts(model: Model, tmp_path: Path) -> None:
    weights = read_weights_of(model)
    weights["head.weight"][0] = 3e38
    weights["stem.conv.weight"] *= 1000
    write_model(tmp_path / "huge", model.card, weights)
    with pytest.raises(InputError, match="the network returned values that are not finite"):
        Model.at(tmp_path / "huge").check()
    model.check()


def test_a_model_that_was_replaced_during_a_run(model: Model, tmp_path: Path) -> None:
    write_model(tmp_path / "m", model.card, read_weights_of(model))
    begun = Model.at(tmp_path / "m")
    weights = read_weights_of(model)
    weights["head.bias"][:] = 0
    write_model(tmp_path / "m", model.card, weights, overwrite=True)
    with pytest.raises(InputError, match="was changed after the run began; restart the run"):
        begun.network()


def read_weights_of(model: Model) -> dict[str, npt.NDArray[Any]]:
    from pathlib import Path

    folder = Path(model.path)
    return {k: v.copy() for k, v in read_weights(folder, read_card(folder)).items()}

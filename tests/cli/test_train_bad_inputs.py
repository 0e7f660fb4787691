"""What is wrong is told before anything is trained or detected."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.cli.learning import annotate, beside, simulate
from tests.cli.materials import THREADS, tomodist
from tomodist.errors import InputError
from tomodist.learned.model.card import ModelCard, write_model
from tomodist.learned.model.opened import Model
from tomodist.learned.networks.build import seeded
from tomodist.learned.networks.spec import Architecture
from tomodist.store.locks import locked
from tomodist.store.tomogram import Tomogram

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = simulate(tmp_path_factory.mktemp("bad"), 3)
    assert annotate(found) == 0
    return found


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Untrained, of two classes."""
    module = seeded(Architecture(n_outputs=2), 0)
    weights = {name: value.numpy() for name, value in module.state_dict().items()}
    card = ModelCard("segment", 2, "residual-unet", {}, ("a", "b"), 40.0, (0.5, 0.5))
    write_model(tmp_path / "model", card, weights)
    return tmp_path / "model"


def error_of(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 1) -> str:
    """The one line that a command says before it ends."""
    capsys.readouterr()
    assert tomodist(*arguments) == status
    return capsys.readouterr().err


TRAIN = {
    "no such store": (("nowhere.zarr",), ("--label", "x"), "no such tomogram store"),
    "no such label": ((), ("--label", "x"), "has no maps labelled 'x' (available: true-granule)"),
    "no such network": ((), ("--network", "vgg"), "network 'vgg' is unknown; it must be one of"),
    "no such option": ((), ("--option", "depth=3"), "has no option 'depth'; use one of widths"),
    "narrow": ((), ("--option", "widths=8,16"), "each must be a multiple of 16"),
    "torchvision": (
        (),
        ("--network", "faster-rcnn"),
        "network faster-rcnn is only for boxes in 2D images",
    ),
    "side": ((), ("--side", 100), "--side is 100; it must be a multiple of 16"),
    "steps": ((), ("--steps", 0), "--steps is 0; it must be 1 or more"),
    "learning rate": ((), ("--learning-rate", -1), "--learning-rate is -1"),
    "3D without volume": (
        (),
        ("--3d",),
        "reconstruction 'wbp' not found (available: none)",
    ),
}


@pytest.mark.parametrize(("stores", "more", "message"), TRAIN.values(), ids=TRAIN)
def test_training_says_what_is_wrong(
    store: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    stores: tuple[str, ...],
    more: tuple[object, ...],
    message: str,
) -> None:
    given = ("--label", "true-granule") if "--label" not in more else ()
    where = stores or (store,)
    error = error_of(capsys, "train", "segment", *where, *given, *more, "-o", tmp_path / "m")
    assert message in error
    assert not (tmp_path / "m").exists()


def test_a_folder_that_is_no_model_is_not_replaced(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "notes.txt").write_text("mine")
    arguments = ("train", "segment", store, "--label", "true-granule", "-o", tmp_path / "m")
    assert "exists and is not a model" in error_of(capsys, *arguments, "--overwrite")
    assert (tmp_path / "m" / "notes.txt").read_text() == "mine"


def test_nothing_marked_is_nothing_to_learn(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "empty.npy", np.zeros((21, 128, 128), np.uint8))
    empty = ("--maps", tmp_path / "empty.npy", "--label", "empty", *THREADS)
    assert tomodist("annotate", store, *empty) == 0
    arguments = ("train", "segment", store, "--label", "empty", "-o", tmp_path / "m")
    assert "label empty has nothing marked on any tilt" in error_of(capsys, *arguments)


ANNOTATE = {
    "nothing": ((), "exactly one of --maps, --boxes, --volume and --from"),
    "auto": (("--maps", "x", "--tilts", "auto"), "auto does not apply"),
    "beyond": (("--maps", "MAPS", "--tilts", "3,40"), "--tilts names 40; tilts are 0 to 20"),
    "other grid": (("--volume", "MAPS"), "both must have the same voxels"),
    "from nothing": (("--from", "x"), "has no maps labelled 'x' (available: "),
    "missing": (("--volume", "nowhere.mrc"), "file not found"),
}


@pytest.mark.parametrize(("given", "message"), ANNOTATE.values(), ids=ANNOTATE)
def test_annotating_says_what_is_wrong(
    store: Path, capsys: pytest.CaptureFixture[str], given: tuple[str, ...], message: str
) -> None:
    maps = str(beside(store, "granule_maps.mrc"))
    words = [maps if word == "MAPS" else word for word in given]
    error = error_of(capsys, "annotate", store, "--label", "new", *words, *THREADS)
    assert message in error
    assert "maps/new" not in [f"maps/{label}" for label in Tomogram.open(store).names("maps")]


def _spoil(model: Path, how: str) -> None:
    weights, document = model / "model.safetensors", model / "model.json"
    if how == "flipped byte":
        content = bytearray(weights.read_bytes())
        content[-1000] ^= 0x40
        weights.write_bytes(content)
    elif how == "truncated":
        weights.write_bytes(weights.read_bytes()[:-500])
    elif how == "other network":
        found = json.loads(document.read_text())
        document.write_text(json.dumps({**found, "classes": ["a"], "thresholds": [0.5]}))
    else:
        document.unlink()


SPOILT = {
    "flipped byte": "damaged or belongs to another model",
    "truncated": "damaged or belongs to another model",
    "other network": "the weights do not match the network residual-unet: head.",
    "no document": "model.json",
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_spoilt_model_is_refused_before_anything_starts(
    store: Path, model: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    _spoil(model, how)
    error = error_of(capsys, "segment", store, "--model", model, "--label", "a", *THREADS)
    assert SPOILT[how] in error
    assert "a" not in Tomogram.open(store).names("maps")


def test_a_model_that_changes_during_a_run_is_another(model: Path) -> None:
    travelled = Model.at(model)
    shutil.rmtree(model)
    module = seeded(Architecture(n_outputs=2), 7)
    weights = {name: value.numpy() for name, value in module.state_dict().items()}
    card = ModelCard("segment", 2, "residual-unet", {}, ("a", "b"), 40.0, (0.5, 0.5))
    write_model(model, card, weights)
    with pytest.raises(InputError, match="was changed after the run began"):
        travelled.network()


SEGMENT = {
    "no such model": (("--model", "nowhere"), "there is no such model; give blobs, threshold"),
    "no such class": (("--model", "MODEL", "--label", "c"), "has the classes a, b, and --label"),
    "denoised": (
        ("--model", "MODEL", "--label", "a", "--denoise", "tv"),
        "--denoise does not apply to",
    ),
    "probability": (
        ("--model", "MODEL", "--label", "a", "--probability", 2),
        "--probability is 2",
    ),
    "of blobs": (
        ("--detector", "blobs", "--diameter", 100, "--label", "a", "--probability", 0.5),
        "apply only to models, but --detector is blobs",
    ),
    "classes": (("--model", "MODEL", "--classes", "x,y", "--label", "q"), "has a, b; give these"),
    "two sources": (
        ("--model", "MODEL", "--maps", "x.mrc", "--label", "a"),
        "exactly one of --maps",
    ),
}


@pytest.mark.parametrize(("given", "message"), SEGMENT.values(), ids=SEGMENT)
def test_detection_says_what_is_wrong(
    store: Path,
    model: Path,
    capsys: pytest.CaptureFixture[str],
    given: tuple[object, ...],
    message: str,
) -> None:
    words = [model if word == "MODEL" else word for word in given]
    assert message in error_of(capsys, "segment", store, *words, *THREADS)


@pytest.mark.parametrize("command", ["segment", "locate", "model"])
def test_a_file_of_torch_is_told_which_forms_work(
    command: str, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "granules.pt2"
    path.write_bytes(b"PK\x03\x04")
    words = ("check", path) if command == "model" else (store, "--model", path, "--label", "a")
    error = error_of(capsys, command, *words)
    assert "granules.pt2 is not a model; use a model folder" in error
    assert "an ONNX file (.onnx; PyTorch networks are exported with torch.onnx.export)" in error


def test_a_worker_too_small_for_the_network_is_told_first(
    store: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ("--memory", "600MiB", *THREADS)
    error = error_of(capsys, "segment", store, "--model", model, "--label", "a", *small)
    assert "(1, 128, 128) needs" in error


def named(folder: Path, names: tuple[str, ...], dims: int = 2) -> Path:
    """An untrained model with such classes."""
    module = seeded(Architecture("residual-unet", dims, len(names)), 0)  # type: ignore[arg-type]
    weights = {name: value.numpy() for name, value in module.state_dict().items()}
    thresholds = (0.5,) * len(names)
    card = ModelCard("segment", dims, "residual-unet", {}, names, 40.0, thresholds)  # type: ignore[arg-type]
    write_model(folder, card, weights)
    return folder


@pytest.mark.parametrize("dims", [2, 3])
def test_a_model_that_comes_by_mail_writes_nowhere_else(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], dims: int
) -> None:
    model = named(tmp_path / "mail", ("../../precious", "b"), dims)
    precious = store.parent / "precious"
    precious.mkdir(exist_ok=True)
    (precious / "thesis.txt").write_text("mine")
    if dims == 3:
        assert tomodist("reconstruct", store, *THREADS) == 0
    ways = [("--classes", "auto", "--label", "all"), ()] if dims == 2 else [()]
    for more in ways:
        error = error_of(capsys, "segment", store, "--model", model, *more, *THREADS)
        assert "cannot name a folder" in error
    with pytest.raises(InputError, match="cannot name a folder"):
        Tomogram.open(store).label("../../precious")
    assert (precious / "thesis.txt").read_text() == "mine"


def test_more_classes_than_maps_can_hold_are_refused(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = named(tmp_path / "many", tuple(f"c{k}" for k in range(260)))
    arguments = ("--model", model, "--classes", "auto", "--label", "all", *THREADS)
    assert "has 260 classes; maps hold 254" in error_of(capsys, "segment", store, *arguments)


def test_a_changed_threshold_is_another_model(model: Path) -> None:
    before = Model.at(model)
    document = model / "model.json"
    found = json.loads(document.read_text())
    document.write_text(json.dumps({**found, "thresholds": [0.9, 0.5]}))
    assert Model.at(model).card.thresholds == (0.9, 0.5)
    assert Model.at(model) != before
    with pytest.raises(InputError, match="was changed after the run began"):
        before.network()


VOLUME = {
    "--maps": ("--maps", "x.mrc"),
    "--average": ("--average",),
    "--min-size": ("--min-size", 50),
    "--votes plain": ("--votes", "plain"),
    "--classes": ("--classes", "a,b"),
    "--exclude-tilts": ("--exclude-tilts", "3"),
}


@pytest.mark.parametrize(("name", "more"), VOLUME.items(), ids=VOLUME)
def test_options_of_lifting_are_not_of_a_model_of_volumes(
    store: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    more: tuple[object, ...],
) -> None:
    model = named(tmp_path / "solid", ("a", "b"), 3)
    assert f"{name} does not apply to a 3D model" in error_of(
        capsys, "segment", store, "--model", model, *more, *THREADS
    )


def test_a_store_is_not_judged_by_what_it_teaches(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same = tmp_path / "link.zarr"
    same.symlink_to(store)
    label = ("--label", "true-granule", "-o", tmp_path / "m")
    for given in ((store, "--validation", same), (store, same)):
        error = error_of(capsys, "train", "segment", *given, *label)
        assert "is given twice; what is learnt from cannot be judged by" in error


def test_pixels_too_coarse_for_what_is_marked_are_told_before_training(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    points = np.zeros((21, 128, 128), np.uint8)
    points[:, 10::20, 15::20] = 1
    np.save(tmp_path / "points.npy", points)
    marked = ("--maps", tmp_path / "points.npy", "--label", "points", *THREADS)
    assert tomodist("annotate", store, *marked) == 0
    label = ("--label", "points", "-o", tmp_path / "m", "--pixel-size", 120)
    error = error_of(capsys, "train", "segment", store, *label)
    assert "nothing of points is left in what is learnt from at pixels of 120 Å" in error
    assert not (tmp_path / "m.training").exists()
    for size, words in ((4000, "have 1 x 1 pixels"), (0.01, "pixels; use a size at which")):
        given = (*label[:-1], size)
        assert words in error_of(capsys, "train", "segment", store, *given)


def test_two_trainings_of_one_model_are_not_mixed(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.training").mkdir()
    with locked(tmp_path / "m.training" / "lock"):
        label = ("--label", "true-granule", "-o", tmp_path / "m")
        error = error_of(capsys, "train", "segment", store, *label)
    assert "is being made by another process; wait for it, or stop it first" in error
    assert not (tmp_path / "m").exists()

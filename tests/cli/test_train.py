"""Annotate, train, detect, lift: as a user gives the commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.cli.learning import LABEL, SHORT, annotate, beside, simulate, train
from tests.cli.materials import THREADS, tomodist
from tomodist.formats.mrc.read import open_mrc
from tomodist.learned.detectors.segmentation import LearnedSegmentation
from tomodist.learned.model.opened import Model
from tomodist.store.tomogram import Tomogram

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("without_pictures")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """As two threads of torch on cores that other tests use wait for each other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("learning")


@pytest.fixture(scope="module")
def known(folder: Path) -> Path:
    store = simulate(folder, 1)
    assert annotate(store) == 0
    return store


@pytest.fixture(scope="module")
def unknown(folder: Path) -> Path:
    return simulate(folder, 2)


@pytest.fixture(scope="module")
def model(folder: Path, known: Path) -> Path:
    assert train(known, folder / "granules") == 0
    return folder / "granules"


def iou(store: Path, label: str, truth: str, report: Path) -> float:
    """Of a label with a volume of the truth."""
    pair = ("--label", label, "--truth", beside(store, truth), "--json", report, "--overwrite")
    assert tomodist("evaluate", store, *pair, *THREADS) == 0
    return float(json.loads(report.read_text())["results"][0]["iou"])


def card(model: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((model / "model.json").read_text())
    return found


def test_a_model_finds_in_another_tomogram_what_it_learnt(
    model: Path, unknown: Path, tmp_path: Path
) -> None:
    """In bfloat16 and float32: IoU 0.53 and 0.55 in 3D, 0.69 in 2D; 0.71 in validation."""
    assert tomodist("segment", unknown, "--model", model, *THREADS) == 0
    assert iou(unknown, LABEL, "granule_truth.mrc", tmp_path / "r.json") > 0.25
    maps = Tomogram.open(unknown).label(LABEL).maps.dataset().load()
    truth = np.stack([open_mrc(beside(unknown, "granule_maps.mrc")).read(t) for t in range(21)])
    found = maps["maps"].values == 1
    assert (found & (truth > 0)).sum() / (found | (truth > 0)).sum() > 0.4
    threshold, kept = card(model)["thresholds"][0], maps["probabilities"].values
    assert found[kept > threshold + 1 / 255].all()  # kept in steps of 1 / 255
    assert not found[kept < threshold - 1 / 255].any()


def test_a_model_says_what_it_is(model: Path, known: Path) -> None:
    found = card(model)
    assert (found["classes"], found["pixel_size"], found["task"]) == ([LABEL], 40.0, "segment")
    data = found["training"]["data"]
    assert [entry["role"] for entry in data] == ["training"]
    assert data[0]["fingerprints"]["tilt_series"] == Tomogram.open(known).series.digest
    assert found["training"]["examples"] + found["training"]["validation_examples"] == 21 - 2
    assert found["metrics"]["validation"]["iou"][LABEL] > 0.4
    assert (model / "training.png").stat().st_size > 5000
    assert not model.with_name("granules.training").exists()


def test_a_second_run_does_nothing_and_another_refuses(
    model: Path, known: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (model / "model.safetensors").stat().st_mtime_ns
    assert train(known, model) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert train(known, model, "--seed", 5) == 1
    assert "was trained differently (seed was 0, now 5); use --overwrite" in capsys.readouterr().err
    assert (model / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.long
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_a_killed_training_gives_the_same_model(
    model: Path, known: Path, tmp_path: Path, how: signal.Signals
) -> None:
    output = tmp_path / "again"
    label = ("--label", f"true-{LABEL}={LABEL}")
    words = map(str, ("train", "segment", known, *label, "-o", output, *SHORT))
    arguments = [sys.executable, "-m", "tomodist", *words]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as first:
        checkpoint = output.with_name("again.training") / "checkpoint.pt"
        while not checkpoint.exists() and first.poll() is None:
            time.sleep(0.05)
        first.send_signal(how)
        _, error = first.communicate()
    if first.returncode == 0:
        pytest.skip("training was over before it could be killed")
    if how == signal.SIGINT:
        assert "interrupted; run the same command again to continue" in error
        assert card(output)["training"]["stopped"] == "interrupted"
    else:
        assert not output.exists()
    assert train(known, output) == 0
    assert card(output)["sha256"] == card(model)["sha256"]
    assert card(output)["training"]["stopped"] == "steps"


def test_sparse_annotations_are_learnt_from_alone(
    known: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maps = ("--maps", beside(known, "granule_maps.mrc"), "--label", "sparse", *THREADS)
    assert tomodist("annotate", known, *maps, "--tilts", "2-6,9-16") == 0
    stored = Tomogram.open(known).label("sparse").maps.dataset().load()
    marked = [t for t in range(21) if (stored["maps"][t] < 2).any()]
    assert marked == [*range(2, 7), *range(9, 17)]
    assert np.isfinite(stored["boxes"].values[0]).sum() == 0
    dry = ("--label", "sparse", "-o", tmp_path / "m", "--dry-run")
    capsys.readouterr()
    assert tomodist("train", "segment", known, *dry) == 0
    out = capsys.readouterr().out
    assert "tilt 2;" in out.replace("\n", " ")
    assert "tilt 7" not in out
    assert "residual-unet in 2D at 40 Å, classes sparse; 1000 steps of 8 patches" in out
    assert not (tmp_path / "m").exists()


def test_unknown_pixels_of_a_mask_say_nothing(known: Path, tmp_path: Path) -> None:
    source = open_mrc(beside(known, "granule_maps.mrc"))
    masks = np.stack([source.read(t) for t in range(21)]).astype(np.uint8)
    masks[:, :, 100:] = 255
    np.save(tmp_path / "m.npy", masks)
    label = ("--label", "half", "--unknown", 255, *THREADS)
    assert tomodist("annotate", known, "--maps", tmp_path / "m.npy", *label) == 0
    stored = Tomogram.open(known).label("half").maps.dataset().load()["maps"].values
    assert (stored[:, :, 100:] == 2).all()
    np.testing.assert_array_equal(stored[:, :, :100], masks[:, :, :100])


def test_a_3d_annotation_is_projected_to_the_tilts(known: Path) -> None:
    volume = ("--volume", beside(known, "granule_truth.mrc"), "--label", "solid")
    assert tomodist("annotate", known, *volume, *THREADS) == 0
    stored = Tomogram.open(known)
    projected = stored.label("solid").maps.dataset().load()["maps"].values == 1
    source = open_mrc(beside(known, "granule_maps.mrc"))
    drawn = np.stack([source.read(t) for t in range(21)]) > 0
    both = (projected & drawn).sum(axis=(1, 2)) / (projected | drawn).sum(axis=(1, 2))
    assert both.min() > 0.8  # voxels are coarser than outlines; mirrored, it would be 0.3
    assert (both > np.array([_mirrored(projected, drawn, t) for t in range(21)]) + 0.2).all()
    labels = stored.label("solid").labels.dataset().load()["labels"].values
    truth = open_mrc(beside(known, "granule_truth.mrc"))
    np.testing.assert_array_equal(labels > 0, np.stack([truth.read(k) for k in range(60)]) > 0)


def _mirrored(projected: Any, drawn: Any, tilt: int) -> float:
    other = projected[tilt, :, ::-1]
    return float((other & drawn[tilt]).sum() / (other | drawn[tilt]).sum())


@pytest.mark.long
def test_a_3d_network_is_trained_and_finds_granules(
    known: Path, unknown: Path, tmp_path: Path
) -> None:
    volume = ("--volume", beside(known, "granule_truth.mrc"), "--label", "solid")
    assert tomodist("annotate", known, *volume, *THREADS) == 0
    for store in (known, unknown):
        assert tomodist("reconstruct", store, *THREADS) == 0
    model = ("-o", tmp_path / "m3", "--3d", "--side", 32, "--steps", 100)
    assert tomodist("train", "segment", known, "--label", f"solid={LABEL}", *model) == 0
    found = ("--model", tmp_path / "m3", "--label", "by-3d")
    assert tomodist("segment", unknown, *found, *THREADS) == 0
    assert iou(unknown, "by-3d", "granule_truth.mrc", tmp_path / "r.json") > 0.4


def test_several_classes_are_found_in_one_pass(known: Path, unknown: Path, folder: Path) -> None:
    """Whatever was learnt of them: thresholds are set by what the network says of the images."""
    assert annotate(known, label="mitochondrion") == 0
    labels = ("--label", "true-granule=granule", "--label", "true-mitochondrion=mitochondrion")
    assert tomodist("train", "segment", known, *labels, "-o", folder / "two", *SHORT) == 0
    assert card(folder / "two")["classes"] == ["granule", "mitochondrion"]
    store = Tomogram.open(unknown)
    said = probabilities_of(folder / "two", store)
    thresholds = np.quantile(said, (0.95, 0.9), axis=(0, 2, 3)).diagonal()
    edited = {**card(folder / "two"), "thresholds": thresholds.tolist()}
    (folder / "two" / "model.json").write_text(json.dumps(edited))
    found = ("--model", folder / "two", "--classes", "auto", "--label", "cell")
    assert tomodist("segment", unknown, *found, "--overwrite", *THREADS) == 0
    values = store.label("cell").maps.array("maps").read()
    assert store.label("cell").labels.attributes["classes"] == {
        "1": "granule",
        "2": "mitochondrion",
    }
    over = said / thresholds[:, None, None]
    expected = np.where(over.max(axis=1) > 1, 1 + over.argmax(axis=1), 0)
    assert (values == expected).mean() > 0.999  # but for rounding
    assert (np.bincount(expected.ravel(), minlength=3) > expected.size / 100).all()
    kept = store.label("cell").maps.array("probabilities_mitochondrion").read()
    np.testing.assert_allclose(kept / 255, said[:, 1], atol=1 / 255)


def probabilities_of(model: Path, store: Tomogram) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Of every class on every image of a store, shape (tilt, class, y, x)."""
    detector = LearnedSegmentation(Model.at(model))
    images, pixel_size = store.series.array("images").read(), store.geometry.pixel_size
    return np.stack([detector.probabilities(image, pixel_size) for image in images])


@pytest.mark.long
def test_boxes_are_learnt_and_lifted(known: Path, unknown: Path, tmp_path: Path) -> None:
    boxes = ("--boxes", beside(known, "mitochondrion_boxes.csv"), "--label", "boxed", *THREADS)
    assert tomodist("annotate", known, *boxes) == 0
    model = ("-o", tmp_path / "boxes", "--steps", 100, "--side", 64)
    assert tomodist("train", "boxes", known, "--label", "boxed=mitochondrion", *model) == 0
    found = card(tmp_path / "boxes")
    assert (found["task"], found["options"]) == ("boxes", {"output_stride": 4})
    assert found["metrics"]["validation"]["ap50"]["mitochondrion"] > 0.6  # 1 in either arithmetic
    located = ("locate", unknown, "--model", tmp_path / "boxes", "--overwrite")
    assert tomodist(*located, *THREADS) == 0
    report = tmp_path / "r.json"
    truth = beside(unknown, "mitochondrion_truth.csv")
    pair = ("--label", "mitochondrion", "--truth", truth, "--json", report)
    assert tomodist("evaluate", unknown, *pair, *THREADS) == 0
    assert json.loads(report.read_text())["results"][0]["matches"][0]["f1"] > 0.6


def test_a_detection_becomes_an_annotation(known: Path, model: Path) -> None:
    assert tomodist("segment", known, "--model", model, *THREADS) == 0
    taken = ("--from", LABEL, "--tilts", "3-9", "--label", "looked-at", *THREADS)
    assert tomodist("annotate", known, *taken) == 0
    store = Tomogram.open(known)
    before, after = (store.label(n).maps.dataset().load() for n in (LABEL, "looked-at"))
    np.testing.assert_array_equal(after["maps"][3:10], before["maps"][3:10])
    np.testing.assert_array_equal(after["boxes"][3:10, :, :4], before["boxes"][3:10, :, :4])
    assert (after["maps"].values[[*range(3), *range(10, 21)]] == 2).all()


@pytest.mark.long
def test_distributed_training_under_torchrun(known: Path, tmp_path: Path) -> None:
    output = tmp_path / "ddp"
    label = ("--label", f"true-{LABEL}={LABEL}")
    words = map(str, ("train", "segment", known, *label, "-o", output, *SHORT))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    local = ["--master-addr", "127.0.0.1", "--master-port", "0", "--rdzv-backend", "c10d"]
    done = subprocess.run(
        [*torchrun, *local, "--rdzv-endpoint", "127.0.0.1:0", "-m", "tomodist", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert card(output)["metrics"]["validation"]["iou"][LABEL] > 0.4
    assert done.stdout.count("model:") == 1

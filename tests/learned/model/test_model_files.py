"""Networks that come as files: what is opened, what is refused, and what ONNX files must keep."""

from __future__ import annotations

import builtins
import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tomodist.errors import ExistsError, InputError
from tomodist.formats.files import sha256_of
from tomodist.learned.model.card import ModelCard, read_card, write_model
from tomodist.learned.model.file_card import EXAMPLE
from tomodist.learned.model.onnx_metadata import read_metadata
from tomodist.learned.model.onnx_network import OnnxNetwork
from tomodist.learned.model.opened import Model
from tomodist.learned.model.trial import stride_of
from tomodist.learned.networks.spec import Architecture

if TYPE_CHECKING:
    from collections.abc import Callable

    Batch = np.ndarray[Any, np.dtype[np.float32]]

torch = pytest.importorskip("torch")
for library in ("safetensors", "onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(library)

from tomodist.learned.detectors.segmentation import LearnedSegmentation  # noqa: E402
from tomodist.learned.model.network import dense_output  # noqa: E402
from tomodist.learned.model.onnx_export import quiet, write_onnx  # noqa: E402
from tomodist.learned.model.opened import module_of  # noqa: E402
from tomodist.learned.model.torch_network import TorchNetwork  # noqa: E402
from tomodist.learned.networks.build import seeded  # noqa: E402
from tomodist.learned.networks.device import use_threads  # noqa: E402

SMALL = {"widths": (16, 32)}
KINDS: dict[str, tuple[Any, Architecture]] = {
    "flat": ("segment", Architecture(options=SMALL)),
    "boxes": ("boxes", Architecture(n_outputs=5, options={"output_stride": 4})),
    "solid": ("segment", Architecture("residual-unet", 3, 1, SMALL)),
}


class Plain(torch.nn.Module):  # type: ignore[name-defined]
    """A network from elsewhere: two convolutions, at half the size if told so."""

    def __init__(self, stride: int = 1, n_in: int = 1) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(n_in, 4, 3, stride, 1)
        self.second = torch.nn.Conv2d(4, 1, 1)

    def forward(self, x: Any) -> Any:
        return self.second(torch.relu(self.first(x)))


def made(folder: Path, task: Any, architecture: Architecture) -> Path:
    """A model folder of random weights."""
    name, dims, options = architecture.name, architecture.dims, dict(architecture.options)
    card = ModelCard(task, dims, name, options, ("granule",), 20.0, (0.4,), metrics={"iou": 0.8})
    weights = {k: v.numpy() for k, v in seeded(architecture, 3).state_dict().items()}
    write_model(folder, card, weights)
    return folder


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    use_threads(1)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders and the ONNX files that were made of them; exporting takes seconds."""
    folder = tmp_path_factory.mktemp("models")
    for name, (task, architecture) in KINDS.items():
        write_onnx(made(folder / name, task, architecture), folder / f"{name}.onnx")
    return folder


@pytest.fixture
def onnx_file(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(exported / "flat.onnx", tmp_path / "flat.onnx"))


def beside(path: Path, **fields: Any) -> None:
    """Write a document beside a file; None takes a field away."""
    content = {name: value for name, value in {**EXAMPLE, **fields}.items() if value is not None}
    path.with_suffix(".json").write_text(json.dumps(content))


def error_of(function: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        function()
    return str(caught.value)


def noise(*sides: int, n: int = 1) -> Batch:
    return np.random.default_rng(0).standard_normal((n, 1, *sides), dtype=np.float32)


# ------------------------------------------------------------------------------------------- ONNX


@pytest.mark.parametrize("name", KINDS)
def test_an_exported_network_gives_the_same(name: str, exported: Path) -> None:
    folder, file = Model.at(exported / name), Model.at(exported / f"{name}.onnx")
    ours = TorchNetwork(module_of(Path(folder.path), folder.card), half=False)
    theirs = file.network()
    assert isinstance(theirs, OnnxNetwork)
    for attribute in ("multiple", "radius", "output_stride"):
        assert getattr(theirs, attribute) == getattr(ours, attribute)
    for n, times in ((1, (1, 2, 3)), (3, (4, 3, 2))):
        images = noise(*(k * ours.multiple for k in times[: folder.card.dims]), n=n)
        np.testing.assert_allclose(theirs(images), ours(images), atol=1e-4)
    folder.check()
    file.check()


def test_an_exported_network_tells_what_it_is(exported: Path) -> None:
    card, of = read_card(exported / "flat.onnx"), read_card(exported / "flat")
    kept = ("task", "dims", "classes", "pixel_size", "thresholds", "normalisation", "activation")
    for name in (*kept, "metrics", "versions"):
        assert getattr(card, name) == getattr(of, name)
    assert card.architecture == "file"
    assert card.options == {"exported_from": "residual-unet", "widths": [16, 32]}
    assert card.tiling == {"multiple": 4, "radius": seeded(KINDS["flat"][1], 0).radius}
    assert card.training["weights"] == of.sha256
    assert card.sha256 == sha256_of(exported / "flat.onnx")
    assert list(read_metadata(exported / "flat.onnx")) == ["tomodist"]


def test_masks_are_the_same(exported: Path) -> None:
    image = noise(90, 77)[0, 0]
    image[:3] = np.nan
    maps = [
        LearnedSegmentation(Model.at(exported / name), threshold=0.05)(image, 20.0)
        for name in ("flat", "flat.onnx")
    ]
    assert (maps[0] != maps[1]).mean() < 0.01  # the folder's network may run in bf16
    assert (maps[1][:3] == 2).all()
    assert 0 < (maps[1] == 1).mean() < 1


def test_onnx_needs_no_torch(exported: Path) -> None:
    lines = [
        "import sys; from pathlib import Path; from tomodist.learned.model.opened import Model",
        f"model = Model.at({str(exported / 'flat.onnx')!r}); model.check()",
        "print('torch' in sys.modules, 'onnx' in sys.modules)",
    ]
    words = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(words, capture_output=True, check=True, text=True)
    assert done.stdout == "False False\n"


def test_a_file_is_replaced_only_if_told(exported: Path, onnx_file: Path) -> None:
    before = onnx_file.read_bytes()
    with pytest.raises(ExistsError, match=r"flat\.onnx exists; use `overwrite` to replace it"):
        write_onnx(exported / "flat", onnx_file)
    assert onnx_file.read_bytes() == before


BAD_EXPORTS: dict[str, tuple[str, str, str]] = {
    "other ending": ("flat", "a.pt", "a.pt does not end in .onnx; use another `output`"),
    "no folder for it": ("flat", "no/a.onnx", "create it first"),
    "no such model": ("nothing", "a.onnx", "nothing: model not found"),
    "a file already": ("flat.onnx", "a.onnx", "flat.onnx is a file; only a model folder can"),
}


@pytest.mark.parametrize("name", BAD_EXPORTS)
def test_what_cannot_be_exported(name: str, exported: Path, tmp_path: Path) -> None:
    model, to, message = BAD_EXPORTS[name]
    assert message in error_of(lambda: write_onnx(exported / model, tmp_path / to))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_differs_is_not_kept(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = OnnxNetwork.__call__
    monkeypatch.setattr(OnnxNetwork, "__call__", lambda self, batch: run(self, batch) + 0.01)
    monkeypatch.setattr("tomodist.learned.model.onnx_export._export", fake_export(exported))
    message = error_of(lambda: write_onnx(exported / "flat", tmp_path / "a.onnx"))
    assert "its outputs differ from those of the network by 1.0e-02" in message
    assert list(tmp_path.iterdir()) == []


def fake_export(exported: Path) -> Callable[..., None]:
    def copied(_: Any, __: Any, ___: Any, path: Path) -> None:
        shutil.copy(exported / "flat.onnx", path)

    return copied


@pytest.mark.parametrize("name", ["onnx", "onnxscript", "onnxruntime"])
def test_exporting_names_the_package_that_it_lacks(
    name: str, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n == name else find(n))
    message = error_of(lambda: write_onnx(exported / "flat", tmp_path / "a.onnx"))
    assert f"needs the package {name}, which is not installed; run `pip install tomo" in message
    assert "[onnx-export]" in message


def test_opening_names_the_extra_that_it_lacks(
    onnx_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = builtins.__import__

    def without(wanted: str, *rest: Any) -> Any:
        if wanted == "onnxruntime":
            raise ImportError(wanted)
        return load(wanted, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    message = error_of(lambda: Model.at(onnx_file).network())
    assert message.endswith(
        "needs onnxruntime, which is not installed; run `pip install tomodist[onnx]`"
    )


# -------------------------------------------------------------------------------- ONNX, of others


def save_onnx(path: Path, module: Any, *, free: bool = True, n_in: int = 1) -> None:
    """A network as a user's script would export it, with nothing of tomodist's in it."""
    dims = {axis: torch.export.Dim(name) for axis, name in ((0, "n"), (2, "y"), (3, "x"))}
    example = (torch.zeros(2, n_in, 64, 64),)
    shapes = (dims if free else {},)
    with quiet():
        made = torch.onnx.export(
            module.eval(), example, dynamo=True, dynamic_shapes=shapes, verbose=False
        )
    made.save(path)


def test_a_network_from_elsewhere(tmp_path: Path) -> None:
    module, path = Plain(stride=2), tmp_path / "other.onnx"
    save_onnx(path, module)
    assert read_metadata(path) == {}
    beside(path, tiling={"multiple": 2, "radius": 2})
    network = Model.at(path).network()
    assert (network.multiple, network.radius, network.output_stride) == (2, 2, 2)
    image = noise(70, 66)
    with torch.inference_mode():
        expected = module(torch.from_numpy(image)).numpy()
    np.testing.assert_allclose(network(image), expected, atol=1e-5)
    np.testing.assert_allclose(dense_output(network, image[0, 0], 16), expected[0], atol=1e-5)


def test_weights_beside_an_onnx_file_belong_to_it(onnx_file: Path) -> None:
    import onnx

    data = onnx_file.with_name("flat.onnx.data")
    where = {"save_as_external_data": True, "location": data.name, "size_threshold": 1024}
    onnx.save_model(onnx.load(onnx_file), onnx_file, **where)
    before = Model.at(onnx_file)
    before.check()
    content = bytearray(data.read_bytes())
    content[5] ^= 1
    data.write_bytes(content)
    assert Model.at(onnx_file).sha256 != before.sha256


def test_a_network_of_one_size(tmp_path: Path) -> None:
    path = tmp_path / "fixed.onnx"
    save_onnx(path, Plain(), free=False)
    beside(path)
    message = error_of(lambda: Model.at(path).network())
    assert "fixed.onnx cannot be applied to one grey image of 64 x 80 pixels (" in message
    assert "export it with variable image sizes" in message


def test_a_network_of_colours(tmp_path: Path) -> None:
    path = tmp_path / "rgb.onnx"
    save_onnx(path, Plain(n_in=3), n_in=3)
    beside(path)
    message = error_of(lambda: Model.at(path).network())
    assert "rgb.onnx cannot be applied to one grey image of 64 x 80 pixels (" in message


def test_another_number_of_outputs_than_classes(onnx_file: Path) -> None:
    beside(onnx_file, classes=["a", "b"], thresholds=[0.5, 0.5])
    message = error_of(lambda: Model.at(onnx_file).check())
    assert "returned shape (1, 1, 64, 64)" in message


@pytest.mark.parametrize("content", [b"", b"not a network", b"\x08" * 100])
def test_what_is_no_onnx_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    beside(path)
    message = error_of(lambda: Model.at(path).network())
    assert "bad.onnx is damaged, or onnxruntime" in message


# -------------------------------------------------------------------------------------- documents


def test_a_document_beside_counts(onnx_file: Path) -> None:
    beside(onnx_file, pixel_size=10.0, tiling={"multiple": 32, "radius": 64})
    assert read_card(onnx_file).pixel_size == 10.0
    assert Model.at(onnx_file).network().multiple == 32


def test_a_file_without_a_document_shows_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(b"")
    message = error_of(lambda: read_card(path))
    assert "mine.onnx has no description; write mine.json next to it, such as {" in message
    example = json.loads(message[message.index("{") :])
    path.with_suffix(".json").write_text(json.dumps(example))  # the example is a document
    assert read_card(path).classes == ("granule",)
    assert read_card(path).architecture == "file"


def test_an_onnx_file_without_a_document(tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    save_onnx(path, Plain())
    assert "mine.onnx has no description; write mine.json" in error_of(lambda: read_card(path))


def test_the_hash_of_a_file_is_checked(onnx_file: Path) -> None:
    beside(onnx_file, sha256=sha256_of(onnx_file))
    assert read_card(onnx_file).sha256 == sha256_of(onnx_file)
    beside(onnx_file, sha256="0" * 64)
    message = error_of(lambda: read_card(onnx_file))
    assert "but flat.json names" not in message
    assert "flat.json names 000000000000...: it is damaged or a different network" in message


def test_a_file_that_changed_since_the_run_began(onnx_file: Path) -> None:
    model = Model.at(onnx_file)
    onnx_file.write_bytes(onnx_file.read_bytes() + b"\x08\x00")
    assert "was changed after the run began" in error_of(model.network)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"classes": None}, "mine.json is damaged: classes is missing"),
        ({"colour": 1}, "mine.json is damaged: field 'colour' is unknown"),
        (
            {"tomodist_model": 9},
            "mine.json has the model format 9, but this version of tomodist reads 1",
        ),
    ],
)
def test_damaged_documents(fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(b"")
    beside(path, **fields)
    assert message in error_of(lambda: read_card(path))


def test_metadata_that_are_no_document(onnx_file: Path) -> None:
    text = b"\x0a\x08tomodist\x12\x05[1,2]"  # fields 1 and 2: name and value
    onnx_file.write_bytes(bytes([14 << 3 | 2, len(text)]) + text)
    message = error_of(lambda: read_card(onnx_file))
    assert (
        "its metadata entry 'tomodist' is not a JSON object; write flat.json next to it" in message
    )


@pytest.mark.parametrize("content", [b"hello", b"\x80" * 12, b"\x72\x7f"])
def test_metadata_of_damaged_files(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(content)
    message = error_of(lambda: read_metadata(tmp_path / "a.onnx"))
    assert "a.onnx cannot be read as an ONNX file (" in message


# --------------------------------------------------------------------------------- other networks


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ts", ".pt2", ".h5"])
def test_what_is_no_file_of_a_network(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"mine{suffix}"
    torch.save({"weight": torch.zeros(2)}, path)
    beside(path)
    message = error_of(lambda: Model.at(path))
    assert f"mine{suffix} is not a model; use a model folder" in message
    assert "an ONNX file (.onnx; PyTorch networks are exported with torch.onnx.export)" in message
    assert "or a function as package.module:function" in message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "model not found" in error_of(lambda: read_card(tmp_path / "b.onnx"))


def test_any_image_is_padded_to_what_a_network_takes(exported: Path) -> None:
    outputs = dense_output(Model.at(exported / "flat.onnx").network(), noise(61, 83)[0, 0])
    assert outputs.shape == (1, 61, 83)
    assert np.isfinite(outputs).all()


STRANGE: dict[str, Callable[[Batch], Batch]] = {
    "flat": lambda images: images.mean((2, 3)),
    "uneven": lambda images: images[:, :, ::2],
    "none": lambda images: images[:, :, :60],
}


@pytest.mark.parametrize("shape", STRANGE)
def test_outputs_of_strange_shapes(shape: str) -> None:
    message = error_of(lambda: stride_of(STRANGE[shape], Path("mine.onnx"), 2, 16))
    assert "mine.onnx returned shape (1, 1" in message
    assert "for an image of 64 x 80 pixels; it must be (1, outputs, ...)" in message


def test_replaced_cards_are_still_cards() -> None:
    card = ModelCard("segment", 2, "file", {}, ("a",), 1.0, (0.5,))
    assert replace(card, sha256="1").tiling == {"multiple": 16, "radius": 128}

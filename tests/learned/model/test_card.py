from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tomodist.errors import ExistsError, InputError
from tomodist.learned.model.card import (
    DOCUMENT,
    FORMAT,
    WEIGHTS,
    ModelCard,
    card_summary,
    is_model,
    read_card,
    read_weights,
    write_model,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytest.importorskip("safetensors")

CARD = ModelCard(
    "segment",
    2,
    "residual-unet",
    {"widths": [16, 32]},
    ("granule", "membrane"),
    20.0,
    (0.5, 0.4),
    training={"tomograms": ["a"], "steps": 100},
    metrics={"iou": {"granule": 0.8}},
    versions={"tomodist": "0"},
)
VALUES: dict[str, np.ndarray[Any, Any]] = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "transposed": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    "strided": np.arange(10, dtype=np.float32)[::3],
    "norm.num_batches_tracked": np.array(7, np.int64),  # no dimensions, as batch norm has it
    "scale": np.array(0.5, np.float32),
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_model(tmp_path / "granules", CARD, VALUES)
    return tmp_path / "granules"


def change(model: Path, **fields: Any) -> None:
    """Change fields of a document; None takes one away."""
    content = {**json.loads((model / DOCUMENT).read_text()), **fields}
    content = {name: value for name, value in content.items() if value is not None}
    (model / DOCUMENT).write_text(json.dumps(content))


def error_of(function: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        function()
    return str(caught.value)


# ------------------------------------------------------------------------------------ round trip


def test_what_is_written_is_read(model: Path) -> None:
    card = read_card(model)
    assert len(card.sha256) == 64
    assert replace(card, sha256="") == replace(CARD, options={"widths": [16, 32]})
    weights = read_weights(model, card)
    assert list(weights) == sorted(VALUES) or set(weights) == set(VALUES)
    for name, value in VALUES.items():
        assert weights[name].dtype == value.dtype
        assert weights[name].shape == value.shape
        np.testing.assert_array_equal(weights[name], value)


def test_nothing_else_is_in_the_folder(model: Path) -> None:
    assert sorted(p.name for p in model.iterdir()) == [DOCUMENT, WEIGHTS]
    assert [p.name for p in model.parent.iterdir()] == ["granules"]
    content = json.loads((model / DOCUMENT).read_text())
    assert content["tomodist_model"] == FORMAT
    assert content["classes"] == ["granule", "membrane"]


def test_the_hash_is_of_the_weights(model: Path) -> None:
    again = write_model(model.with_name("again"), CARD, VALUES)
    assert again.sha256 == read_card(model).sha256
    other = write_model(
        model.with_name("other"), CARD, {**VALUES, "scale": np.array(0.25, np.float32)}
    )
    assert other.sha256 != again.sha256


@pytest.mark.parametrize(
    "changed",
    [
        {"sha256": "0"},
        {"pixel_size": 10.0},
        {"activation": "softmax"},
        {"normalisation": {"clip": 4.0}},
        {"tiling": {"multiple": 32, "radius": 64}},
        {"classes": ("a", "b")},
    ],
    ids=lambda changed: str(next(iter(changed))),
)
def test_the_summary_tells_what_changes_results(changed: dict[str, Any]) -> None:
    assert card_summary(replace(CARD, **changed)) != card_summary(CARD)
    json.dumps(dict(card_summary(CARD)))


# ------------------------------------------------------------------------------------- overwrite


def test_a_model_is_replaced_only_if_told(model: Path) -> None:
    first = read_card(model)
    with pytest.raises(ExistsError, match="granules exists; use `overwrite` to replace it"):
        write_model(model, CARD, {"new": np.zeros(3, np.float32)})
    assert read_card(model) == first
    write_model(model, CARD, {"new": np.zeros(3, np.float32)}, overwrite=True)
    assert list(read_weights(model, read_card(model))) == ["new"]
    assert [p.name for p in model.parent.iterdir()] == ["granules"]


def test_what_is_no_model_is_never_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "precious.txt").write_text("years of work")
    for overwrite in (False, True):
        message = error_of(lambda o=overwrite: write_model(folder, CARD, VALUES, overwrite=o))  # type: ignore[misc]
        assert "thesis exists and is not a model; use another `output`" in message
    assert (folder / "precious.txt").read_text() == "years of work"


def test_what_a_kill_left_disturbs_nothing(model: Path) -> None:
    for name in (".granules.draft", ".granules.old"):
        left = model.with_name(name)
        left.mkdir()
        (left / WEIGHTS).write_bytes(b"half")
    assert read_card(model).classes == CARD.classes
    write_model(model, CARD, VALUES, overwrite=True)
    assert set(read_weights(model, read_card(model))) == set(VALUES)
    assert [p.name for p in model.parent.iterdir()] == ["granules"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    message = error_of(lambda: write_model(tmp_path / "file" / "model", CARD, VALUES))
    assert "cannot be written: Not a directory; use another `output`" in message


# ------------------------------------------------------------------------------- damaged weights


def test_one_flipped_bit_is_found(model: Path) -> None:
    content = bytearray((model / WEIGHTS).read_bytes())
    content[-3] ^= 1
    (model / WEIGHTS).write_bytes(content)
    message = error_of(lambda: read_weights(model, read_card(model)))
    assert "it is damaged or belongs to another model; copy the whole folder again" in message


def test_weights_of_another_model(model: Path) -> None:
    write_model(model.with_name("other"), CARD, {"other": np.zeros(2, np.float32)})
    shutil.copy(model.with_name("other") / WEIGHTS, model / WEIGHTS)
    message = error_of(lambda: read_weights(model, read_card(model)))
    assert (
        f"names {read_card(model).sha256[:12]}...: it is damaged or belongs to another model"
        in message
    )


def test_weights_without_a_hash(model: Path) -> None:
    change(model, sha256="")
    message = error_of(lambda: read_weights(model, read_card(model)))
    assert "but model.json names none...: it is damaged" in message


def test_missing_weights(model: Path) -> None:
    (model / WEIGHTS).unlink()
    message = error_of(lambda: read_weights(model, read_card(model)))
    assert message.endswith("granules has no model.safetensors; copy the whole folder again")


def test_what_is_no_safetensors_file(model: Path) -> None:
    import hashlib

    (model / WEIGHTS).write_bytes(b"not weights at all")
    change(model, sha256=hashlib.sha256(b"not weights at all").hexdigest())
    message = error_of(lambda: read_weights(model, read_card(model)))
    assert "model.safetensors is damaged (" in message


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(value: float, tmp_path: Path) -> None:
    bad = np.array([1, value], np.float32)
    write_model(tmp_path / "m", CARD, {"good": np.zeros(2, np.float32), "head.bias": bad})
    message = error_of(lambda: read_weights(tmp_path / "m", read_card(tmp_path / "m")))
    assert "head.bias holds values that are not finite; train the model again" in message


# ---------------------------------------------------------------------------- damaged documents


def test_there_is_no_such_model(tmp_path: Path) -> None:
    message = error_of(lambda: read_card(tmp_path / "nothing"))
    assert message.endswith("nothing: model not found; make one with `tomodist train`")


def test_a_folder_without_a_document(model: Path) -> None:
    (model / DOCUMENT).unlink()
    assert not is_model(model)
    message = error_of(lambda: read_card(model))
    assert message.endswith("is not a model: it has no model.json; use a model folder")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "model.json cannot be read (Expecting property name"),
        ("[1]", "model.json holds a list; expected a JSON object"),
        ("{}", "has the model format None, but this version of tomodist reads 1"),
    ],
)
def test_documents_that_are_none(text: str, message: str, model: Path) -> None:
    (model / DOCUMENT).write_text(text)
    assert message in error_of(lambda: read_card(model))


def test_a_document_from_the_future(model: Path) -> None:
    change(model, tomodist_model=FORMAT + 1, new_field={"of": "then"})
    message = error_of(lambda: read_card(model))
    assert (
        f"has the model format {FORMAT + 1}, but this version of tomodist reads {FORMAT}" in message
    )
    assert message.endswith("use the version that made the model, or a newer one")


DAMAGED: dict[str, tuple[dict[str, Any], str]] = {
    "a field too many": ({"colour": "red"}, "field 'colour' is unknown"),
    "no task": ({"task": None}, "task is missing"),
    "no classes, no pixel size": (
        {"classes": None, "pixel_size": None},
        "classes is missing; pixel_size is missing",
    ),
    "other task": ({"task": "count"}, "task is 'count'; it must be segment or boxes"),
    "four dimensions": ({"dims": 4}, "dims is 4; it must be 2 or 3"),
    "a text for a list": ({"classes": "granule"}, 'classes is "granule"; it must be a list'),
    "a number for a list": ({"thresholds": 0.5}, "thresholds is 0.5; it must be a list"),
    "no class": ({"classes": []}, "classes are []; they must be different names"),
    "one class twice": ({"classes": ["a", "a"]}, "classes are ['a', 'a']; they must be"),
    "a threshold too few": ({"thresholds": [0.5]}, "1 thresholds for 2 classes"),
    "a threshold in per cent": (
        {"thresholds": [50, 40]},
        "thresholds are [50.0, 40.0]; they must be between 0 and 1",
    ),
    "a threshold of text": ({"thresholds": ["high", 0.5]}, "could not convert string to float"),
    "no pixel size": ({"pixel_size": 0}, "pixel_size is 0; it must be a positive number"),
    "a pixel size of text": ({"pixel_size": "20 Å"}, "pixel_size is '20 Å'; it must be a positive"),
    "no clip": ({"normalisation": {}}, "normalisation is {}; it must have a positive clip"),
    "normalisation of text": (
        {"normalisation": "zscore"},
        'normalisation is "zscore"; it must be an obj',
    ),
    "a clip of text": ({"normalisation": {"clip": "8"}}, "is damaged: "),
    "other activation": (
        {"activation": "tanh"},
        "activation is 'tanh'; it must be one of sigmoid, softmax, none",
    ),
    "no radius": ({"tiling": {"multiple": 16}}, "must have a positive multiple and radius"),
    "a number for a text": ({"sha256": 7}, "sha256 is 7; it must be a text"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_documents(name: str, model: Path) -> None:
    fields, message = DAMAGED[name]
    change(model, **fields)
    found = error_of(lambda: read_card(model))
    assert message in found
    assert found.startswith(f"{model / DOCUMENT} is damaged: ")


def test_all_that_is_wrong_is_told_at_once(model: Path) -> None:
    change(model, task="count", dims=1, pixel_size=-1)
    message = error_of(lambda: read_card(model))
    assert all(word in message for word in ("task is", "dims is 1", "pixel_size is -1"))


def test_a_card_that_cannot_be() -> None:
    message = error_of(lambda: ModelCard(**{**asdict(CARD), "dims": 1, "thresholds": (1.5, 0.5)}))
    assert message.startswith("invalid model: dims is 1; it must be 2 or 3; thresholds are")

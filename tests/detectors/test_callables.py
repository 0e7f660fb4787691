from __future__ import annotations

import importlib
import pickle
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tomodist.detectors.callables import CallableDetector, imported
from tomodist.errors import InputError
from tomodist.sources.base import DetectorMaps
from tomodist.values.boxes import Boxes

if TYPE_CHECKING:
    from pathlib import Path

HERE = "tests.detectors.functions"


def of(name: str, **settings: Any) -> CallableDetector:
    return CallableDetector(f"{HERE}:{name}", **settings)


@pytest.fixture
def image() -> np.ndarray[Any, np.dtype[np.float32]]:
    made = np.zeros((5, 7), np.float32)
    made[2, 3], made[4, 1], made[1, 6] = 9, 6, np.nan
    return made


MASKS: dict[str, tuple[dict[str, Any], dict[tuple[int, int], int]]] = {
    "bright": ({}, {(2, 3): 1, (4, 1): 1, (1, 6): 2}),
    "bright_map": ({}, {(2, 3): 1, (4, 1): 1, (1, 6): 2, (0, 0): 2}),
    "likely": ({"threshold": 0.7}, {(2, 3): 1, (1, 6): 2}),
    "one_class": ({"threshold": 0.7}, {(2, 3): 1, (1, 6): 2}),
    "classes": ({"channel": 2}, {(2, 3): 1, (4, 1): 1, (1, 6): 2}),
    "detector": ({}, {(2, 3): 1, (4, 1): 1, (1, 6): 2}),
    "brighter": ({}, {(2, 3): 1, (4, 1): 1, (1, 6): 2}),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks(name: str, image: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    settings, values = MASKS[name]
    expected = np.zeros(image.shape, np.uint8)
    for place, value in values.items():
        expected[place] = value
    found = of(name, **settings)(image, 10.0)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["boxes", "rows"])
def test_boxes(name: str, image: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    found = of(name)(image, 10.0)
    assert isinstance(found, Boxes)
    for given, expected in ((found.center, [[2, 3]]), (found.size, [[4, 6]]), (found.score, [9])):
        np.testing.assert_array_equal(given, expected)
    assert of(name).check() == "boxes"


def test_no_rows_are_no_boxes(image: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    assert len(of("no_rows")(image, 10.0)) == 0


def test_nan_is_no_fault_where_nothing_was_measured(
    image: np.ndarray[Any, np.dtype[np.float32]],
) -> None:
    np.testing.assert_array_equal(
        of("likely_everywhere")(image, 10.0), np.where(np.isfinite(image), 1, 2)
    )


def test_the_image_stays_as_it_was(image: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    before = image.copy()
    assert of("greedy")(image, 10.0)[0, 0] == 1
    np.testing.assert_array_equal(image, before)


def test_a_source_of_maps_takes_it(image: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    found = DetectorMaps(of("bright")).detect(image, 10.0)
    assert np.argwhere(found.map).tolist() == [[2, 3], [4, 1]]
    drawn = DetectorMaps(of("rows"), form="box").detect(image, 10.0)
    assert drawn.map.sum() == 4 * 6
    assert len(drawn.boxes) == 1


def test_what_travels_is_the_text() -> None:
    there = of("likely", threshold=0.25)
    assert len(pickle.dumps(there)) < 200
    assert pickle.loads(pickle.dumps(there)) == there


def test_a_detector_tells_its_own_settings() -> None:
    assert of("detector").parameters()["of"] == {"detector": "Threshold", "level": 1.5}
    assert "of" not in of("bright").parameters()


def test_an_edited_function_counts_as_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "edited_detector.py"
    path.write_text("LEVEL = 1\ndef find(image, pixel_size):\n    return image > LEVEL\n")
    detector = CallableDetector("edited_detector:find")
    try:
        before, pinned = detector.parameters(), detector.pinned()
        path.write_text(path.read_text().replace("LEVEL = 1", "LEVEL = 2"))  # beside the function
        assert detector.parameters() == before  # as the code that this process runs is the old one
        pinned(np.zeros((8, 9), np.float32), 10.0)
        sys.modules.pop("edited_detector")
        importlib.invalidate_caches()
        imported.cache_clear()  # another process
        assert detector.parameters()["source"] != before["source"]
        with pytest.raises(InputError, match="was edited after this process imported it"):
            pinned(np.zeros((8, 9), np.float32), 10.0)
    finally:
        sys.modules.pop("edited_detector", None)
        imported.cache_clear()


def test_what_has_no_source_has_no_hash() -> None:
    assert CallableDetector("operator:truediv").parameters()["source"] is None
    assert of("brighter").parameters()["source"] == of("bright").parameters()["source"]


def test_it_is_imported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[str] = []
    load = importlib.import_module

    def counting(name: str) -> Any:
        counted.append(name)
        return load(name)

    imported.cache_clear()
    monkeypatch.setattr(importlib, "import_module", counting)
    for _ in range(3):
        of("bright").check()
    assert counted == [HERE]


BAD: dict[str, str] = {
    "nothing": "tests.detectors.functions has no 'nothing' (available: ",
    "not_callable": "tests.detectors.functions:not_callable is a float; it must be callable",
    "transposed": "returned an array of shape (80, 96), bool, for an image of shape (96, 80)",
    "integers": "returned an array of shape (96, 80), int64",
    "too_large": "returned a mask with the value 255; return 0, 1",
    "logits": "probabilities lie between 0 and 1 (apply a sigmoid to logits)",
    "blurred": "not finite where the image was measured; fill NaN before you filter",
    "a_list": "returned a list; return a mask (bool or uint8)",
    "broken": "raised ZeroDivisionError: of its own; it is called with an image of shape (96, 80)",
    "negative_boxes": "returned invalid boxes: box size is -3 pixels",
    "classes": "probabilities of 3 classes, but `channel` is None; set it to 0 to 2",
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_found_before_work_starts(name: str) -> None:
    with pytest.raises(InputError) as caught:
        of(name).check()
    assert BAD[name] in str(caught.value)


def test_a_class_beyond_the_last_is_refused() -> None:
    with pytest.raises(InputError, match="of 3 classes, but `channel` is 3"):
        of("classes", channel=3).check()


TEXTS: dict[str, str] = {
    "no.such.module:find": "module no not found; add its folder to PYTHONPATH",
    "tests.detectors.nothing:find": "module tests.detectors.nothing not found; add its folder to "
    "PYTHONPATH",
    "numpy:linalg.nothing": "numpy has no 'nothing'",
}


@pytest.mark.parametrize("text", TEXTS)
def test_names_that_lead_nowhere(text: str) -> None:
    with pytest.raises(InputError) as caught:
        CallableDetector(text).check()
    assert TEXTS[text] in str(caught.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import no_such_library\n", "importing bad_detector needs no_such_library"),
        ("1 / 0\n", "importing bad_detector raised ZeroDivisionError"),
        ("def find(:\n", "importing bad_detector raised SyntaxError"),
    ],
)
def test_modules_that_cannot_be_imported(
    source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "bad_detector.py").write_text(source)
    with pytest.raises(InputError) as caught:
        CallableDetector("bad_detector:find").check()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "module", "module:", ":name", "a b:c", "a/b.py:find", "a:b:c"]
)
def test_texts_of_another_form(text: str) -> None:
    with pytest.raises(InputError, match=r"does not name a function; use package\.module:function"):
        CallableDetector(text)


@pytest.mark.parametrize("threshold", [0.0, 1.0, -1.0, float("nan")])
def test_thresholds_that_make_no_sense(threshold: float) -> None:
    with pytest.raises(InputError, match="the threshold `probability` is"):
        of("likely", threshold=threshold)
    with pytest.raises(InputError, match="`channel` is -1"):
        of("likely", channel=-1)


def test_corners_in_place_of_centres_and_sizes_are_found_out() -> None:
    detector = CallableDetector("tests.detectors.functions:corners")
    with pytest.raises(InputError, match=r"rows are \(y, x, height, width, score\), y and x of"):
        detector.check()


@pytest.mark.parametrize("name", ["flat_nothing", "empty_list"])
def test_no_boxes_may_be_written_as_one_likes(name: str) -> None:
    found = CallableDetector(f"tests.detectors.functions:{name}")(
        np.zeros((20, 30), np.float32), 10.0
    )
    assert isinstance(found, Boxes)
    assert len(found) == 0

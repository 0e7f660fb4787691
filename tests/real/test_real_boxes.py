"""Boxes of EMPIAR-10499 that go out and come in again; skipped without the data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.cli.materials import THREADS, tomodist
from tests.cli.simulated import found_centers
from tomodist.store.boxes import box_rows
from tomodist.store.tomogram import Tomogram

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("without_pictures")]


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tomodist.pictures.draw_all", lambda *_: [])


@pytest.fixture(scope="module")
def gold(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Tomogram:
    """Gold found by the blob detector on the aligned images."""
    stack = data_dir / "empiar10499" / "10499_bin2.mrc"
    if not stack.exists():
        pytest.skip(f"{stack} is not there")
    store = tmp_path_factory.mktemp("empiar") / "TS_254.zarr"
    files = ("--tilt-angles", stack.with_suffix(".tlt"), "--alignment", stack.with_suffix(".xf"))
    more = ("--thickness", 200, "-o", store, *THREADS)
    assert tomodist("ingest", stack, *files, *more) == 0
    blobs = ("--detector", "blobs", "--diameter", 100, "--label", "gold")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tomodist.pictures.draw_all", lambda *_: [])
        assert tomodist("locate", store, *blobs, *THREADS) == 0
    return Tomogram.open(store)


def test_the_detector_s_boxes_give_the_same_structures(gold: Tomogram, tmp_path: Path) -> None:
    lines = [
        f"{tilt},{','.join(map(str, box.tolist()))}"
        for tilt, boxes in enumerate(box_rows(gold.label("gold").maps))
        for box in boxes
    ]
    path = tmp_path / "gold.csv"
    path.write_text("\n".join(["section,y,x,height,width", *lines]) + "\n")
    assert tomodist("locate", gold.path, "--boxes", path, "--label", "again", *THREADS) == 0
    maps = {label: gold.label(label).maps.array("maps").read() for label in ("gold", "again")}
    assert (maps["gold"] == 1).sum() > 41 * 15 * 20
    np.testing.assert_array_equal(maps["again"] == 1, maps["gold"] == 1)
    np.testing.assert_array_equal(
        found_centers(gold.path, "again"), found_centers(gold.path, "gold")
    )


def test_boxes_of_the_raw_images_give_the_same_structures(gold: Tomogram, tmp_path: Path) -> None:
    """The detector's boxes are carried back to the raw images here, by IMOD's own equation."""
    attributes = gold.series.attributes
    raw_center = (np.array(attributes["raw_shape"][1:]) - 1) / 2
    center = (np.array(gold.geometry.image_shape) - 1) / 2
    images, annotations = [], []
    for tilt, boxes in enumerate(box_rows(gold.label("gold").maps)):
        images.append({"id": tilt, "file_name": f"10499_bin2.mrc#{tilt}"})
        a = np.array(attributes["transforms"][tilt])
        x_y = (boxes[:, 1::-1] - center[::-1] - a[:, 2]) @ np.linalg.inv(a[:, :2]).T
        for (x, y), (height, width) in zip(x_y + raw_center[::-1], boxes[:, 2:], strict=True):
            box = [x - width / 2 + 0.5, y - height / 2 + 0.5, width, height]
            annotations.append({"image_id": tilt, "category_id": 1, "bbox": box})
    path = tmp_path / "gold.json"
    names = [{"id": 1, "name": "raw-gold"}]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": names}))
    assert tomodist("locate", gold.path, "--boxes", path, "--boxes-frame", "raw", *THREADS) == 0
    found, expected = found_centers(gold.path, "raw-gold"), found_centers(gold.path, "gold")
    assert len(found) == len(expected)
    apart = np.linalg.norm(expected[:, None] - found[None], axis=2).min(axis=1)
    assert apart.max() < 0.05 * gold.geometry.pixel_size

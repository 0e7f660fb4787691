"""``tomodist evaluate`` on a small simulated cell: its numbers are those of plain NumPy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import mrcfile
import numpy as np
import numpy.typing as npt
import pytest

from tests.cli.evaluated import SHAPE, Story, make_story
from tests.cli.materials import THREADS, tomodist
from tests.cli.simulated import VOXEL, found_centers, true_centers
from tests.metrics.masks import slow_distances, slow_surface
from tests.sources.truths import write_mrc, write_zarr
from tomodist.metrics import Confusion, match_points, tolerant_f1

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return make_story(tmp_path_factory.mktemp("story"))


def volume(path: Path) -> npt.NDArray[Any]:
    with mrcfile.open(path) as file:
        return np.array(file.data)


def refused(constant: str) -> None:
    raise AssertionError(constant)


def evaluated(target: Path, *arguments: object) -> dict[str, Any]:
    """Content of the JSON that a call writes."""
    assert tomodist("evaluate", *arguments, "--json", target, *THREADS) == 0
    content: dict[str, Any] = json.loads(target.read_text(), parse_constant=refused)
    return content


def test_a_mask_beside_the_truth(
    story: Story, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = story.truth("granule")
    content = evaluated(tmp_path / "s.json", story.store, "--label", "granule", "--truth", truth)
    said = capsys.readouterr().out
    found, true = story.found("granule"), volume(truth) > 0
    expected = Confusion.of(found, true)
    (one,) = content["results"]
    assert one["voxels"] == vars(expected)
    assert one["iou"] == expected.iou > 0.6
    a, b = slow_surface(found), slow_surface(true)
    distances = np.concatenate([slow_distances(a, b, 32), slow_distances(b, a, 32)])
    assert one["surface"]["both"]["mean_voxels"] == pytest.approx(distances.mean())
    assert one["surface"]["both"]["mean_angstrom"] == pytest.approx(distances.mean() * VOXEL)
    assert (one["label"], one["kind"], one["voxel_size_angstrom"]) == ("granule", "mask", VOXEL)
    assert content["pooled"]["mask"]["voxels"] == one["voxels"]
    for word in ("granule", f"{expected.iou:.2f}", f"{expected.recall:.2f}", "s.json"):
        assert word in said
    assert "all together" not in said


def test_an_exported_mask_scores_as_the_store_does(story: Story, tmp_path: Path) -> None:
    found = tmp_path / "found.mrc"
    export = ("--label", "granule", "--format", "mrc", "-o", found)
    assert tomodist("export", story.store, *export) == 0
    truth = ("--truth", story.truth("granule"))
    stored = evaluated(tmp_path / "a.json", story.store, "--label", "granule", *truth)
    of_file = evaluated(tmp_path / "b.json", found, *truth)
    for content in (stored, of_file):
        del content["results"][0]["found"], content["results"][0]["label"]
    assert stored == of_file


def test_gold_as_boxes_and_points_in_every_table(story: Story, tmp_path: Path) -> None:
    """Truth and result through CSV and STAR, which are measured from different places."""
    truth, found = true_centers(story.truth("gold", "csv")), found_centers(story.store)
    expected = match_points(found, truth, 30)
    assert expected.recall == 1
    star, table = tmp_path / "gold.star", tmp_path / "gold.csv"
    for path in (star, table):
        export = ("--label", "gold", "--format", path.suffix[1:], "-o", path)
        assert tomodist("export", story.store, *export) == 0
    points = ("--kind", "points", "--distance", 30)
    csv_truth = ("--truth", story.truth("gold", "csv"))
    calls = [
        (story.store, "--label", "gold", *csv_truth, *points),
        (table, *csv_truth, *points),
    ]
    for k, call in enumerate(calls):
        (match,) = evaluated(tmp_path / f"{k}.json", *call)["results"][0]["matches"]
        assert (match["n_predicted"], match["n_truth"]) == (len(found), len(truth))
        assert match["predicted_hits"] == match["truth_hits"] == len(expected.pairs)
        assert match["mean_center_error_angstrom"] == pytest.approx(
            expected.mean_center_error, abs=0.01
        )
        assert match["pairs"] == [list(pair) for pair in expected.pairs]
    (itself,) = evaluated(
        tmp_path / "star.json", story.store, "--label", "gold", "--truth", star, "--distance", 0.01
    )["results"]
    assert itself["kind"] == "points"
    assert itself["matches"][0]["f1"] == 1
    (boxes,) = evaluated(tmp_path / "c.json", story.store, "--label", "gold", *csv_truth)["results"]
    assert [match["match"] for match in boxes["matches"]] == ["IoU 0.25", "IoU 0.5"]


def test_several_pairs_are_told_apart_and_pooled(
    story: Story, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs: list[object] = []
    for label, suffix, kind in (
        ("granule", "mrc", "mask"),
        ("gold", "mrc", "mask"),
        ("gold", "csv", "boxes"),
        ("granule", "mrc", "edges"),
    ):
        pairs += ["--label", label, "--truth", story.truth(label, suffix), "--kind", kind]
    content = evaluated(tmp_path / "s.json", story.store, *pairs)
    said = capsys.readouterr().out
    kinds = [(one["label"], one["kind"]) for one in content["results"]]
    assert kinds == [("granule", "mask"), ("gold", "mask"), ("gold", "boxes"), ("granule", "edges")]
    masks = [Confusion(**one["voxels"]) for one in content["results"][:2]]
    pooled = content["pooled"]["mask"]
    assert pooled["voxels"] == vars(masks[0] + masks[1])
    assert pooled["iou"] == (masks[0] + masks[1]).iou
    first, second = (one["surface_counts"] for one in content["results"][:2])
    both = pooled["surface_counts"]
    for way in ("from_predicted", "from_truth"):
        assert sum(both[way]) == sum(first[way]) + sum(second[way])
        assert both[f"{way}_beyond"] == first[f"{way}_beyond"] + second[f"{way}_beyond"]
    expected = tolerant_f1(story.found("granule"), volume(story.truth("granule")), 1)
    assert content["results"][3]["tolerances"][0]["f1"] == expected.f1
    assert said.count("all together") == 1
    assert set(content["pooled"]) == {"mask", "boxes", "edges"}


def test_one_class_of_a_label_volume(story: Story, tmp_path: Path) -> None:
    """The simulated truth numbers its granules."""
    truth = volume(story.truth("granule"))
    numbers = [int(n) for n in np.unique(truth) if n]
    assert len(numbers) == 2
    arguments: list[object] = [write_zarr(tmp_path / "found.zarr", truth)]
    for n in numbers:
        arguments += ["--truth", story.truth("granule"), "--value", n, "--found-value", numbers[0]]
    content = evaluated(tmp_path / "s.json", *arguments)
    assert [one["iou"] for one in content["results"]] == [1.0, 0.0]
    assert [one["value"] for one in content["results"]] == numbers


def test_only_the_region_counts(story: Story, tmp_path: Path) -> None:
    region = np.zeros(SHAPE, np.int8)
    region[:, : SHAPE[1] // 2] = 1
    within = write_mrc(tmp_path / "half.mrc", region, VOXEL)
    pairs = ("--label", "granule", "--truth", story.truth("granule"),
             "--label", "gold", "--truth", story.truth("gold", "csv"))  # fmt: skip
    content = evaluated(tmp_path / "s.json", story.store, *pairs, "--within", within)
    half = (slice(None), slice(0, SHAPE[1] // 2))
    mask = Confusion.of(story.found("granule")[half], volume(story.truth("granule"))[half])
    assert content["results"][0]["voxels"] == vars(mask)
    inside = np.rint(true_centers(story.truth("gold", "csv"))[:, 1] / VOXEL) < SHAPE[1] // 2
    assert content["results"][1]["matches"][0]["n_truth"] == inside.sum()
    assert content["within"] == str(within)


@pytest.mark.parametrize(
    "options",
    [("--brick", "64,64,64"), ("--brick", "64,128,64"), ("--workers", 2)],
)
def test_the_document_is_the_same_however_the_work_is_cut(
    story: Story, tmp_path: Path, options: tuple[object, ...]
) -> None:
    pairs = (story.store, "--label", "granule", "--truth", story.truth("granule"))
    a = evaluated(tmp_path / "a.json", *pairs, "--workers", 1)
    assert a == evaluated(tmp_path / "b.json", *pairs, *options)


def test_a_result_of_nothing_is_null_where_there_is_no_number(
    story: Story, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = write_mrc(tmp_path / "nothing.mrc", np.zeros(SHAPE, np.int8), VOXEL)
    (one,) = evaluated(tmp_path / "s.json", nothing, "--truth", story.truth("granule"))["results"]
    assert (one["iou"], one["recall"], one["precision"]) == (0, 0, 1)
    assert one["surface"]["from_predicted"]["mean_voxels"] is None
    assert one["surface"]["both"]["share_beyond"] == 1
    header, *_ = story.truth("gold", "csv").read_text().splitlines()
    (tmp_path / "none.csv").write_text(header + "\n")
    truth = ("--truth", story.truth("gold", "csv"))
    (boxes,) = evaluated(tmp_path / "t.json", tmp_path / "none.csv", *truth)["results"]
    assert boxes["matches"][0]["median_center_error_angstrom"] is None
    assert (boxes["matches"][0]["n_predicted"], boxes["matches"][0]["recall"]) == (0, 0)
    assert "│ -" in capsys.readouterr().out


def test_tables_start_no_workers(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("distributed.LocalCluster", started)
    truth = ("--truth", story.truth("gold", "csv"))
    assert tomodist("evaluate", story.store, "--label", "gold", *truth) == 0


def test_a_document_is_replaced_only_when_asked(story: Story, tmp_path: Path) -> None:
    target = tmp_path / "s.json"
    target.write_text("precious")
    call = (
        "evaluate",
        story.store,
        "--label",
        "gold",
        "--truth",
        story.truth("gold", "csv"),
        "--json",
        target,
    )
    assert tomodist(*call) == 1
    assert target.read_text() == "precious"
    assert tomodist(*call, "--overwrite") == 0
    assert json.loads(target.read_text())["results"][0]["label"] == "gold"
    assert [path.name for path in tmp_path.iterdir()] == ["s.json"]

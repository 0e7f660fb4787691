"""From Python: what is compared with what, and in which frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tomodist
from tests.sources.truths import VOXEL, labels, write_mrc, write_ome, write_zarr
from tomodist.errors import InputError
from tomodist.metrics import Agreement, Confusion, EdgeScores, MaskScores, ObjectScores, tolerant_f1

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = (30, 41, 37)
INDEX = np.array([[5, 10, 30], [20, 35, 8], [12, 12, 12]])


@pytest.fixture
def volumes(tmp_path: Path) -> tuple[Path, Path]:
    """A result and a truth with the classes 1, 2 and 3."""
    truth = np.kron(labels((10, 14, 13)), np.ones((3, 3, 3), np.int16))[: SHAPE[0], : SHAPE[1], :37]
    found = np.roll(truth, 1, axis=2)
    return write_mrc(tmp_path / "found.mrc", found), write_ome(tmp_path / "truth.zarr", truth)


def table(path: Path, centers: Any, size: float | None = None) -> Path:
    """A CSV of positions in Å from the centre of voxel 0."""
    names = [f"{axis}_angstrom" for axis in "zyx"]
    names += [f"size_{name}" for name in names] if size else []
    rows = [[*row, *((size,) * 3 if size else ())] for row in np.asarray(centers).tolist()]
    path.write_text("\n".join(",".join(map(str, row)) for row in [names, *rows]) + "\n")
    return path


def test_volumes_in_files(volumes: tuple[Path, Path]) -> None:
    found, truth = (tomodist_volume(path) for path in volumes)
    for value in (None, 2.0):
        scores = tomodist.evaluate(*volumes, value=value)["truth"]
        assert isinstance(scores, MaskScores)
        wanted = truth > 0 if value is None else truth == value
        assert scores.voxels == Confusion.of(found > 0, wanted)
    edges = tomodist.evaluate(*volumes, kind="edges")["truth"]
    assert isinstance(edges, EdgeScores)
    assert edges.agreements == tuple(tolerant_f1(found > 0, truth > 0, t) for t in (1, 2))


def tomodist_volume(path: Path) -> Any:
    from tomodist.formats.mrc.read import open_mrc
    from tomodist.formats.zarr import ArrayHandle

    if path.is_dir():
        return ArrayHandle(str(path / "0")).read()
    stack = open_mrc(path)
    return np.stack([stack.read(k) for k in range(len(stack))])


def test_only_what_lies_within_counts(volumes: tuple[Path, Path], tmp_path: Path) -> None:
    found, truth = (tomodist_volume(path) > 0 for path in volumes)
    region = np.zeros(SHAPE, np.int8)
    region[5:25, :20] = 1
    within = write_mrc(tmp_path / "within.mrc", region)
    scores = tomodist.evaluate(*volumes, within=within)["truth"]
    assert isinstance(scores, MaskScores)
    assert scores.voxels == Confusion.of(found[5:25, :20], truth[5:25, :20])


def test_boxes_and_points_in_files(tmp_path: Path) -> None:
    found = table(tmp_path / "found.csv", INDEX * 10.0 + [[0, 0, 4], [0, 0, 1], [80, 0, 0]], 20)
    truth = table(tmp_path / "truth.csv", INDEX * 10.0, 20)
    boxes = tomodist.evaluate(found, truth)["truth"]
    assert isinstance(boxes, ObjectScores)
    assert [a.truth_hits for a in boxes.agreements] == [2, 2]  # IoU 16/24 and 19/21
    assert boxes.center_errors[0] == pytest.approx((4, 1))
    points = tomodist.evaluate(found, truth, kind="points", distance=2.0)["truth"]
    assert isinstance(points, ObjectScores)
    assert points.agreements == (Agreement(1, 3, 1, 3),)
    far = tomodist.evaluate(found, truth, kind="points", distance=90.0)["truth"]
    assert far.agreements == (Agreement(3, 3, 3, 3),)  # type: ignore[union-attr]


def test_tables_of_two_frames_need_the_volume(tmp_path: Path) -> None:
    """Voxel i lies (i - (n - 1)/2) voxels from the centre, for odd and even n alike."""
    centered = (INDEX - (np.array(SHAPE) - 1) / 2) * VOXEL
    names = "".join(f"_rlnCenteredCoordinate{a}Angst\n" for a in "ZYX")
    rows = "".join(" ".join(map(str, row)) + "\n" for row in centered.tolist())
    truth = tmp_path / "truth.star"
    truth.write_text(f"data_particles\n\nloop_\n{names}{rows}")
    found = table(tmp_path / "found.csv", INDEX * VOXEL)
    with pytest.raises(InputError, match=r"from the centre of the first voxel, but .* the volume"):
        tomodist.evaluate(found, truth, distance=1.0)
    within = write_mrc(tmp_path / "within.mrc", np.ones(SHAPE, np.int8))
    scores = tomodist.evaluate(found, truth, distance=0.01, within=within)["truth"]
    assert isinstance(scores, ObjectScores)
    assert scores.agreements == (Agreement(3, 3, 3, 3),)
    unsized = write_zarr(tmp_path / "within.zarr", np.ones(SHAPE, np.int8))
    with pytest.raises(InputError, match=r"says no voxel size; set `pixel_size`"):
        tomodist.evaluate(found, truth, distance=0.01, within=unsized)
    again = tomodist.evaluate(found, truth, distance=0.01, within=unsized, pixel_size=VOXEL)
    assert again["truth"] == scores


def test_points_within_a_region(tmp_path: Path) -> None:
    region = np.zeros(SHAPE, np.int8)
    region[5, 10, 30] = region[20, 35, 8] = 1
    within = write_mrc(tmp_path / "within.mrc", region)
    truth = table(tmp_path / "truth.csv", INDEX * VOXEL)
    found = table(tmp_path / "found.csv", INDEX[1:] * VOXEL)
    scores = tomodist.evaluate(found, truth, distance=5.0, within=within)["truth"]
    assert isinstance(scores, ObjectScores)
    assert scores.agreements == (Agreement(1, 1, 1, 2),)


def test_scores_are_found_by_their_label_and_pooled_by_kind(volumes: tuple[Path, Path]) -> None:
    found = tomodist.evaluate(*volumes)
    assert found.pooled == {"mask": found["truth"]}
    with pytest.raises(KeyError, match=r"no result is labelled 'gold' \(available: truth\)"):
        _ = found["gold"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_distance": 0}, "`max_distance` is 0 voxels; it must be 1 to 255"),
        ({"max_distance": 1000}, "`max_distance` is 1000 voxels"),
        ({"distance": -1.0}, "`distance` is -1.0 Å; it must be a positive number"),
        ({"distance": 5.0}, "`distance` applies only to points, but nothing"),
        ({"pixel_size": float("nan")}, "`pixel_size` is nan Å"),
        ({"kind": "boxes"}, "is a volume, but the `kind` boxes compares tables"),
        ({"value": 9.0}, "has no voxel of the value 9"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bad_rules_are_refused(
    volumes: tuple[Path, Path], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        tomodist.evaluate(*volumes, **options)

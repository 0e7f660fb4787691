from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr
import zarr
from ome_zarr_models.v05 import Image, ImageLabel

from tomodist.errors import ExistsError, InputError, StoreError
from tomodist.formats.zarr import Group
from tomodist.store.ome import image_label, level_scale, level_shapes, multiscales
from tomodist.store.tomogram import Tomogram, Unit, check_label
from tomodist.store.volumes import create_levels
from tomodist.values.fingerprints import differences, digest
from tomodist.values.geometry import TiltGeometry, VolumeGrid

if TYPE_CHECKING:
    from pathlib import Path

GRID = VolumeGrid((40, 150, 90), voxel_size=10.0)
PRINT = {"sigma": 2, "maps": "abc"}


@pytest.fixture
def tomogram(tmp_path: Path) -> Tomogram:
    return Tomogram.create(tmp_path / "TS_01.zarr")


def make_volume(tomogram: Tomogram, unit: str, value: int, fingerprint: dict[str, Any]) -> None:
    """A complete volume of one value."""
    kind, label = unit.split("/")
    with Unit(tomogram, unit).stage(fingerprint) as staging:
        levels = create_levels(staging, kind, GRID, np.uint8, (64, 64, 64))
        for level in levels:
            for brick in level.missing():
                size = [b - a for a, b in level.window(brick)]
                level.write(brick, np.full(size, value, np.uint8))
        ome = multiscales(label, kind, len(levels), GRID.voxel_size)
        if kind == "labels":
            ome["image-label"] = image_label(f"../../scores/{label}")
        staging.describe(ome=ome, n_tilts=3)


def make_array(tomogram: Tomogram, unit: str, fingerprint: dict[str, Any]) -> None:
    with Unit(tomogram, unit).stage(fingerprint) as staging:
        staging.create("maps", (4,), np.uint8, dims=["y"], brick=(4,))


# --------------------------------------------------------------------------------- the store


def test_create_opens_what_is_there(tomogram: Tomogram) -> None:
    make_array(tomogram, "maps/gold", PRINT)
    assert Tomogram.create(tomogram.place.path).names("maps") == ["gold"]
    assert Tomogram.open(str(tomogram.place.path)) == tomogram


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such tomogram store; create one with `tomodist ingest`"),
        ({}, "exists but is not a tomogram store"),
        ({"other": 1}, "exists but is not a tomogram store"),
        ({"tomodist": {"format": 99}}, "has store format 99; this version of tomodist reads 1"),
    ],
    ids=["missing", "no attributes", "another zarr group", "newer format"],
)
def test_what_is_no_store_is_named(
    tmp_path: Path, content: dict[str, Any] | None, message: str
) -> None:
    path = tmp_path / "TS.zarr"
    if content is not None:
        zarr.create_group(str(path), attributes=content)
    with pytest.raises(StoreError, match=message) as error:
        Tomogram.open(path)
    assert str(path) in str(error.value)


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(StoreError, match="is not a tomogram store"):
        Tomogram.create(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "precious"
    assert not (tmp_path / "zarr.json").exists()


def test_geometry_and_grid_survive(tomogram: Tomogram) -> None:
    geometry = TiltGeometry([-3, 0, 3.5], (150, 90), 10.0, shift_x=[1 / 3, 0, 2])
    with tomogram.series.stage(PRINT) as staging:
        staging.describe(geometry=geometry.to_dict(), grid=GRID.to_dict())
    assert (tomogram.geometry, tomogram.grid) == (geometry, GRID)


def test_what_is_not_there_is_answered_with_what_is(tomogram: Tomogram) -> None:
    make_array(tomogram, "maps/gold", PRINT)
    make_array(tomogram, "maps/actin", PRINT)
    with pytest.raises(StoreError, match=r"no maps labelled 'silver' \(available: actin, gold\)"):
        tomogram.label("silver").maps.array("maps")
    with pytest.raises(StoreError, match=r"no scores labelled 'gold' \(available: none\)"):
        tomogram.label("gold").scores.dataset()
    with pytest.raises(StoreError, match="has no tilt_series"):
        _ = tomogram.geometry


# -------------------------------------------------------------------------- making one unit


def test_a_unit_appears_only_when_it_is_complete(tomogram: Tomogram) -> None:
    with tomogram.label("gold").scores.stage(PRINT) as staging:
        staging.create("scores", (8,), np.uint8, dims=["x"], brick=(8,))
        assert not tomogram.label("gold").scores.exists()
        assert tomogram.names("scores") == []
        assert not (tomogram.place.path / "scores").exists()
    assert tomogram.label("gold").scores.exists()
    assert tomogram.names("scores") == ["gold"]
    assert tomogram.label("gold").scores.array("scores").missing() == [(0,)]


def test_an_exception_leaves_the_work_for_the_same_fingerprint(tomogram: Tomogram) -> None:
    with suppress(KeyboardInterrupt), tomogram.label("gold").scores.stage(PRINT) as staging:
        array = staging.create("scores", (16,), np.uint8, dims=["x"], brick=(8,))
        array.write((1,), np.full(8, 7, np.uint8))
        raise KeyboardInterrupt
    assert not tomogram.label("gold").scores.exists()
    with tomogram.label("gold").scores.stage(dict(reversed(PRINT.items()))) as staging:
        assert (staging.resumed, staging.changes) == (True, ())
        assert staging.has("scores")
    found = tomogram.label("gold").scores.array("scores")
    assert found.missing() == [(0,)]
    assert found.read().tolist() == [0] * 8 + [7] * 8
    with tomogram.label("gold").scores.stage(PRINT) as staging:
        assert not staging.resumed


def test_a_changed_fingerprint_starts_anew_and_says_why(tomogram: Tomogram) -> None:
    with suppress(ZeroDivisionError), tomogram.label("gold").scores.stage(PRINT) as staging:
        staging.create("scores", (8,), np.uint8, dims=["x"], brick=(8,))
        raise ZeroDivisionError
    with tomogram.label("gold").scores.stage({**PRINT, "sigma": 3}) as staging:
        assert not staging.resumed
        assert staging.changes == ("sigma was 2, now 3",)
        assert not staging.has("scores")


def test_parts_of_a_unit_can_be_removed(tomogram: Tomogram) -> None:
    with tomogram.label("gold").scores.stage(PRINT) as staging:
        for name in ("local", "scores", "other"):
            staging.create(name, (8,), np.uint8, dims=["x"], brick=(8,))
        staging.remove("local")
        staging.remove("never there")
        assert (staging.has("local"), staging.has("scores")) == (False, True)
        staging.clear()
        assert not staging.has("scores")
    assert tomogram.label("gold").scores.attributes == {"fingerprint": PRINT}


def test_overwriting_keeps_the_old_unit_until_the_new_is_complete(tomogram: Tomogram) -> None:
    make_volume(tomogram, "scores/gold", 1, PRINT)
    with pytest.raises(ZeroDivisionError), tomogram.label("gold").scores.stage({"sigma": 3}):
        raise ZeroDivisionError
    assert tomogram.label("gold").scores.attributes["fingerprint"] == PRINT
    assert np.unique(tomogram.label("gold").scores.volume.read()).tolist() == [1]
    make_volume(tomogram, "scores/gold", 2, {"sigma": 3})
    assert np.unique(tomogram.label("gold").scores.volume.read()).tolist() == [2]
    left = sorted(
        p.name for p in (tomogram.place.path / ".staging").iterdir() if p.suffix != ".lock"
    )
    assert left == []


def test_what_was_made_differently_is_replaced_only_on_request(tomogram: Tomogram) -> None:
    assert not tomogram.label("gold").maps.is_current(PRINT, overwrite=False)
    make_array(tomogram, "maps/gold", PRINT)
    assert tomogram.label("gold").maps.is_current(PRINT, overwrite=False)
    other = {**PRINT, "sigma": 3, "angles": (1, 2)}
    with pytest.raises(ExistsError, match="sigma was 2, now 3; angles was null, now") as error:
        tomogram.label("gold").maps.is_current(other, overwrite=False)
    assert "`overwrite`" in str(error.value)
    assert not tomogram.label("gold").maps.is_current(other, overwrite=True)
    assert tomogram.label("gold").maps.exists()


def test_tuples_of_a_fingerprint_are_lists_when_read_again(tomogram: Tomogram) -> None:
    fingerprint = {"shape": (4, 5), "deep": {"a": (1,)}}
    make_array(tomogram, "maps/gold", fingerprint)
    assert tomogram.label("gold").maps.is_current(fingerprint, overwrite=False)
    assert tomogram.label("gold").maps.digest == digest(fingerprint)


def stage_elsewhere(path: Path, how: str, answer: Any) -> None:
    """In another process: stage the unit, and say what came of it."""
    try:
        with Tomogram.open(path).label("gold").scores.stage(PRINT) as staging:
            if how == "killed":
                staging.create("scores", (8,), np.uint8, dims=["x"], brick=(8,))
                os._exit(9)
        answer.put("done")
    except StoreError as error:
        answer.put(str(error))


def in_another_process(path: Path, how: str) -> str:
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    process = context.Process(target=stage_elsewhere, args=(path, how, answer))
    process.start()
    process.join(600)
    found = str(process.exitcode) if process.exitcode else answer.get(timeout=60)
    answer.close()
    return found


def test_two_processes_cannot_make_the_same_unit(tomogram: Tomogram) -> None:
    with tomogram.label("gold").scores.stage(PRINT):
        message = in_another_process(tomogram.place.path, "finish")
    assert "scores/gold is being made by another process; wait for it, or stop it" in message
    assert tomogram.label("gold").scores.exists()


def test_the_lock_of_a_killed_process_is_free_and_its_work_goes_on(tomogram: Tomogram) -> None:
    assert in_another_process(tomogram.place.path, "killed") == "9"
    assert not tomogram.label("gold").scores.exists()
    with tomogram.label("gold").scores.stage(PRINT) as staging:
        assert staging.resumed
        assert staging.has("scores")


def test_different_units_can_be_made_at_the_same_time(tomogram: Tomogram) -> None:
    with tomogram.label("gold").scores.stage(PRINT), tomogram.label("gold").labels.stage(PRINT):
        pass
    assert (tomogram.names("scores"), tomogram.names("labels")) == (["gold"], ["gold"])


def test_labels_that_differ_after_a_dot_can_be_made_at_the_same_time(tomogram: Tomogram) -> None:
    with (
        tomogram.label("gold.v1").scores.stage(PRINT),
        tomogram.label("gold.v2").scores.stage(PRINT),
    ):
        pass
    assert tomogram.names("scores") == ["gold.v1", "gold.v2"]


def test_publishing_waits_while_another_unit_is_published(tomogram: Tomogram) -> None:
    """Two steps that end at the same moment both succeed."""
    with tomogram.label("gold").maps.stage(PRINT):
        file = (tomogram.place.path / ".staging/publish.lock").open("w")
        fcntl.flock(file, fcntl.LOCK_EX)
        threading.Timer(0.2, file.close).start()
    assert tomogram.label("gold").maps.exists()


# ---------------------------------------------------------------------------------- OME-Zarr


def test_a_volume_is_valid_ome_zarr(tomogram: Tomogram) -> None:
    make_volume(tomogram, "scores/gold", 1, PRINT)
    group = zarr.open_group(str(tomogram.place.path / "scores/gold"), mode="r")
    image = Image.from_zarr(group)
    (scales,) = image.ome_attributes.multiscales
    assert [(a.name, a.type, a.model_dump()["unit"]) for a in scales.axes] == [
        (name, "space", "angstrom") for name in "zyx"
    ]
    for level, dataset in enumerate(scales.datasets):
        scale, translation = (t.model_dump() for t in dataset.coordinateTransformations)
        s_n = 10.0 * 2**level
        assert scale["scale"] == [s_n] * 3
        assert translation["translation"] == [(s_n - 10.0) / 2] * 3
        array = group[dataset.path]
        assert isinstance(array, zarr.Array)
        assert array.shape == level_shapes(GRID.shape)[level]
        assert array.metadata.dimension_names == ("z", "y", "x")  # type: ignore[union-attr]


def test_labels_are_a_valid_ome_zarr_label_image(tomogram: Tomogram) -> None:
    make_volume(tomogram, "scores/gold", 1, PRINT)
    make_volume(tomogram, "labels/gold", 1, PRINT)
    make_volume(tomogram, "labels/actin", 1, PRINT)
    group = zarr.open_group(str(tomogram.place.path / "labels/gold"), mode="r")
    label = ImageLabel.from_zarr(group).ome_attributes.image_label
    assert label is not None
    assert label.source is not None
    source = tomogram.place.path / "labels/gold" / str(label.source.image)
    assert source.resolve() == (tomogram.place.path / "scores/gold").resolve()
    listed = zarr.open_group(str(tomogram.place.path / "labels"), mode="r").attrs["ome"]
    assert listed == {"version": "0.5", "labels": ["actin", "gold"]}


def test_xarray_opens_a_volume_with_its_coordinates(tomogram: Tomogram) -> None:
    make_volume(tomogram, "scores/gold", 5, PRINT)
    volume = tomogram.label("gold").scores.dataset()
    assert volume["scores"].dims == ("z", "y", "x")
    assert volume["scores"].chunks is not None
    assert int(volume["scores"].max().compute()) == 5
    for axis in "zyx":
        np.testing.assert_array_equal(volume[axis], GRID.axis(axis))
        assert volume[axis].attrs["units"] == "angstrom"
    half = xr.open_zarr(tomogram.place.path / "scores/gold/scale1", consolidated=False, chunks={})
    np.testing.assert_array_equal(half["x"], 5.0 + 20.0 * np.arange(45))
    np.testing.assert_array_equal(half["y"], volume["y"].coarsen(y=2).mean())


def test_levels_that_exist_keep_their_bricks(tmp_path: Path) -> None:
    first = create_levels(Group(str(tmp_path)), "scores", GRID, np.uint8, (64, 128, 64))
    first[0].write((0, 0, 0), np.ones((40, 128, 64), np.uint8))
    again = create_levels(Group(str(tmp_path)), "scores", GRID, np.uint8, (64, 64, 64))
    assert [level.brick for level in again] == [level.brick for level in first]
    assert (0, 0, 0) not in again[0].missing()
    assert not list(tmp_path.glob("*.draft"))


def test_small_levels_have_bricks_no_larger_than_they_need(tmp_path: Path) -> None:
    levels = create_levels(Group(str(tmp_path)), "scores", GRID, np.uint8, (256, 256, 512))
    assert [level.brick for level in levels] == [(64, 192, 128), (64, 128, 64), (64, 64, 64)]


@pytest.mark.parametrize(
    ("shape", "n_levels"),
    [((64, 64, 64), 1), ((65, 1, 1), 2), ((500, 1023, 1440), 6), ((1, 1, 1), 1)],
    ids=str,
)
def test_levels_end_where_the_largest_side_is_64(shape: tuple[int, ...], n_levels: int) -> None:
    levels = level_shapes(shape)
    assert len(levels) == n_levels
    assert max(levels[-1]) <= 64
    assert all(max(level) > 64 for level in levels[:-1])


def test_a_level_starts_at_the_mean_position_of_its_first_block() -> None:
    for level in range(4):
        scale, start = level_scale(level, 7.5)
        assert scale == 7.5 * 2**level
        assert start == pytest.approx(np.mean(7.5 * np.arange(2**level)))


# ------------------------------------------------------------------------------ small things


@pytest.mark.parametrize("label", ["", ".hidden", "a/b", "..", "é", "two words", "a\n"], ids=repr)
def test_labels_that_cannot_name_a_folder(label: str) -> None:
    with pytest.raises(InputError, match="cannot name a folder"):
        check_label(label)


@pytest.mark.parametrize("label", ["gold", "gold-10nm", "v1.2", "a_b", "7"])
def test_labels_that_can(label: str) -> None:
    assert check_label(label) == label


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, ["a was 1, now 2"]),
        ({"a": 1}, {"b": 1}, ["a was 1, now null", "b was null, now 1"]),
        ({"a": {"x": [1]}}, {"a": {"x": [2]}}, ['a was {"x": [1]}, now {"x": [2]}']),
    ],
    ids=["equal", "changed", "renamed", "deep"],
)
def test_differences(old: dict[str, Any], new: dict[str, Any], expected: list[str]) -> None:
    assert differences(old, new) == expected


def test_a_long_difference_is_named_and_not_printed() -> None:
    old = {"angles": list(range(100)), "binning": 2, "maps": "3564e2881c5d7a10"}
    new = {"angles": [*range(99), 7], "binning": 4, "maps": "104e33c315810d71"}
    assert differences(old, new) == ["angles changed", "binning was 2, now 4", "maps changed"]


def test_store_metadata_are_plain_json(tomogram: Tomogram) -> None:
    make_array(tomogram, "maps/gold", PRINT)
    stored = json.loads((tomogram.place.path / "maps/gold/zarr.json").read_text())
    assert stored["attributes"]["tomodist"]["fingerprint"] == PRINT

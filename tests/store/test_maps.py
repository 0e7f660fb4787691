from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tomodist.errors import StoreError
from tomodist.formats.zarr import SomeTilts
from tomodist.store.maps import OneClass, stored_classes, stored_maps
from tomodist.store.tomogram import Tomogram
from tomodist.values.maps import class_map

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

SHAPE = (5, 70, 90)


def labels() -> npt.NDArray[np.uint8]:
    values = np.random.default_rng(0).choice([0, 1, 2, 254, 255], SHAPE)
    return values.astype(np.uint8)


@pytest.fixture
def tomogram(tmp_path: Path) -> Tomogram:
    """A store with label maps "cell", their class "gold" (254), and binary maps "old"."""
    made = Tomogram.create(tmp_path / "TS.zarr")
    for name, values in (("cell", labels()), ("old", labels() % 3)):
        with made.label(name).maps.stage({"step": name}) as staging:
            given = {"dims": ["tilt", "y", "x"], "brick": (1, 128, 128), "chunk": (1, 64, 64)}
            array = staging.create("maps", SHAPE, np.uint8, **given)  # type: ignore[arg-type]
            for tilt, image in enumerate(values):
                array.write((tilt, 0, 0), image[None])
            if name == "cell":
                staging.describe(classes={"254": "gold", "2": "actin"})
    made_from = {"maps/cell": made.label("cell").maps.digest}
    with made.label("gold").maps.stage({"step": "class", "made_from": made_from}) as staging:
        staging.describe(class_of="cell", value=254)
    return made


def plain(value: int) -> npt.NDArray[np.uint8]:
    """The binary maps of a class, by plain NumPy."""
    values = labels()
    return np.where(values == 255, 2, np.where(values == value, 1, 0)).astype(np.uint8)


@pytest.mark.parametrize("value", [1, 2, 3, 254])
def test_a_class_is_one_and_what_is_not_measured_two(value: int) -> None:
    before = labels()
    found = class_map(before, value)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, plain(value))
    np.testing.assert_array_equal(before, labels())  # the labels stay as they are


def test_maps_are_opened_whatever_they_are(tomogram: Tomogram) -> None:
    np.testing.assert_array_equal(stored_maps(tomogram.label("old").maps).read(), labels() % 3)
    gold, cell = stored_maps(tomogram.label("gold").maps), tomogram.label("cell").maps.array("maps")
    assert gold == OneClass(cell, 254)
    np.testing.assert_array_equal(gold.read(), plain(254))
    np.testing.assert_array_equal(gold.read((1, 3), (10, 60), (5, 7)), plain(254)[1:3, 10:60, 5:7])
    np.testing.assert_array_equal(gold.read((2, 2)), plain(254)[2:2])
    assert gold.dtype == np.uint8


def test_some_tilts_of_a_class_are_numbered_anew(tomogram: Tomogram) -> None:
    some = stored_maps(tomogram.label("gold").maps, (4, 0))
    assert some == OneClass(SomeTilts(tomogram.label("cell").maps.array("maps"), (4, 0)), 254)
    np.testing.assert_array_equal(some.read(), plain(254)[[4, 0]])
    np.testing.assert_array_equal(some.read((1, 2), (0, 9)), plain(254)[[0], :9])
    old = stored_maps(tomogram.label("old").maps, [2])
    np.testing.assert_array_equal(old.read(), labels()[[2]] % 3)


def test_xarray_sees_a_class_as_binary_maps_lazily(tomogram: Tomogram) -> None:
    maps = tomogram.label("gold").maps.dataset()["maps"]
    assert (maps.dims, str(maps.dtype)) == (("tilt", "y", "x"), "uint8")
    assert maps.chunks is not None
    np.testing.assert_array_equal(maps, plain(254))


def test_classes_have_numbers_in_order(tomogram: Tomogram) -> None:
    assert list(stored_classes(tomogram.label("cell").maps).items()) == [
        (2, "actin"),
        (254, "gold"),
    ]
    assert stored_classes(tomogram.label("old").maps) == {}
    with pytest.raises(StoreError, match="no labels labelled 'cell'"):
        stored_classes(tomogram.label("cell").labels)


@pytest.mark.parametrize("gone", [False, True], ids=["replaced", "removed"])
def test_a_class_of_other_label_maps_is_not_read(tomogram: Tomogram, *, gone: bool) -> None:
    assert tomogram.label("gold").maps.outdated() is None
    tomogram.label("cell").maps.remove()
    if not gone:
        with tomogram.label("cell").maps.stage({"step": "another"}):
            pass
    assert tomogram.label("gold").maps.outdated() == tomogram.label("cell").maps
    with pytest.raises(
        StoreError,
        match=r"maps/gold is out of date: its source maps/cell was changed or removed.*overwrit",
    ):
        stored_maps(tomogram.label("gold").maps)
    with pytest.raises(StoreError, match="no maps labelled 'silver'"):
        stored_maps(tomogram.label("silver").maps)


def test_what_a_unit_was_made_from_is_named(tomogram: Tomogram) -> None:
    from tomodist.errors import ExistsError

    other = {"step": "class", "made_from": {"maps/cell": "0"}}
    with pytest.raises(ExistsError, match=r"maps/gold exists .*\(maps/cell changed\)"):
        tomogram.label("gold").maps.is_current(other, overwrite=False)

"""A small series with label maps of three classes, and what separate binary runs make of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tests.cli.materials import tomodist, write_stack
from tomodist.sources.classes import import_classes
from tomodist.store.tomogram import Tomogram, Unit
from tomodist.tasks.classes import ClassesTask, class_segmentation
from tomodist.values.geometry import TiltGeometry, VolumeGrid

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.runtime.runner import Session

SHAPE = (70, 131, 140)
ANGLES = np.arange(-60, 61, 10)
PIXEL = 10.0
NAMES = ("granule", "membrane", "gold")
# Class, (z, y, x), half side in pixels; the second and third meet, the fourth is crossed by others.
OBJECTS = (
    (1, (20, 30, 40), 7),
    (2, (35, 60, 70), 9),
    (3, (35, 60, 82), 6),
    (1, (50, 95, 100), 8),
    (2, (12, 90, 30), 5),
    (3, (60, 28, 110), 4),
)


def label_maps() -> npt.NDArray[np.uint8]:
    """Squares where the objects project; later objects hide earlier ones, and some are missed."""
    geometry = TiltGeometry(ANGLES.tolist(), SHAPE[1:], PIXEL)
    matrices = geometry.matrices(VolumeGrid(SHAPE, PIXEL))
    labels = np.zeros((len(ANGLES), *SHAPE[1:]), np.uint8)
    missed = np.random.default_rng(3).random((len(OBJECTS), len(ANGLES))) < 0.08
    for k, (value, place, half) in enumerate(OBJECTS):
        for tilt, (row, column) in enumerate(np.rint(matrices @ [*place, 1]).astype(int)):
            if not missed[k, tilt]:
                rows, columns = (slice(max(c - half, 0), c + half) for c in (row, column))
                labels[tilt, rows, columns] = value
    return labels


def series(folder: Path) -> Tomogram:
    """A store with nothing but a series, of which a corner is not measured."""
    folder.mkdir(parents=True, exist_ok=True)
    images = np.random.default_rng(0).normal(size=(len(ANGLES), *SHAPE[1:])).astype(np.float32)
    images[::4, :70, 90:] = np.nan
    stack = write_stack(folder / "TS.mrc", images, PIXEL)
    stack.with_suffix(".tlt").write_text("".join(f"{a}\n" for a in ANGLES))
    angles = ("--tilt-angles", stack.with_suffix(".tlt"), "--thickness", SHAPE[0])
    assert tomodist("ingest", stack, *angles, "-o", folder / "TS.zarr", "--cluster", "threads") == 0
    return Tomogram.open(folder / "TS.zarr")


def classes_task(
    tomogram: Tomogram,
    labels: npt.NDArray[Any] | None = None,
    names: tuple[str, ...] = NAMES,
    **options: Any,
) -> ClassesTask:
    """The task for label maps in a file beside the store."""
    path = tomogram.place.path.with_name("labels.npy")
    np.save(path, label_maps() if labels is None else labels)
    return class_segmentation(
        tomogram, "cell", import_classes(tomogram, path, names, "cell"), **options
    )


def everything(tomogram: Tomogram, label: str) -> dict[str, npt.NDArray[Any]]:
    """All that was made of a class, as arrays."""
    made = {
        f"{kind}{level}": Unit(tomogram, f"{kind}/{label}").level(level).read()
        for kind in ("scores", "labels")
        for level in (0, 1)
    }
    for unit in (f"structures/{label}", f"curves/{label}"):
        if Unit(tomogram, unit).exists():
            table = Unit(tomogram, unit).dataset().load()
            made |= {f"{unit} {name}": table[name].values for name in table.variables}
    return made


def assert_same(a: dict[str, npt.NDArray[Any]], b: dict[str, npt.NDArray[Any]]) -> None:
    """Of the same names, types and bytes."""
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype, name
        assert a[name].tobytes() == b[name].tobytes(), name


class Deadly:
    """A progress that kills this process after some tasks of a step."""

    def __init__(self, step: str, n: int) -> None:
        self.step, self.n, self.watching = step, n, False

    def start(self, step: str, total: int) -> None:  # noqa: ARG002
        self.watching = step.startswith(self.step)

    def advance(self) -> None:
        if self.watching:
            self.n -= 1
            if self.n == 0:
                import os
                import signal

                os.kill(os.getpid(), signal.SIGKILL)

    def message(self, text: str) -> None:
        pass


def run_and_die(session: Session, tomogram: Tomogram, **options: Any) -> None:
    """Run in this process; to be called in another one."""
    from tomodist.tasks.classes import run_classes

    run_classes(session, tomogram, classes_task(tomogram, **options))

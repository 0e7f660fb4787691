"""The demonstration: two simulated specimens, the three tasks, and the known truth.

Everything goes through files, as a user's data would: simulated stacks are ingested, the tasks
run with classical 2D detectors, and their stored results are compared with the stored truth.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tomodist.detectors.classical import Blobs, DogEdges, GlobalThreshold
from tomodist.formats.mrc.read import open_mrc
from tomodist.metrics import Confusion, match_boxes, tolerant_f1
from tomodist.simulate import Acquisition, Scene, TiltScheme, cell, hollow_sphere
from tomodist.simulate.visibility import touched_by_rays
from tomodist.sources.base import DetectorMaps, MapSource
from tomodist.sources.stack import import_maps
from tomodist.steps.ingest import describe_series
from tomodist.steps.simulate import write_simulation
from tomodist.tasks.base import run
from tomodist.tasks.edges import edge_detection
from tomodist.tasks.ingest import IngestTask
from tomodist.tasks.locate import tracking
from tomodist.tasks.segment import segmentation
from tomodist.values.geometry import TiltGeometry, VolumeGrid

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.runtime.runner import Session
    from tomodist.store.tomogram import Label, Tomogram
    from tomodist.values.arrays import BoolArray, Float32Array, FloatArray

PIXEL_SIZE = 20.0
CELL_SHAPE, SPHERE_SHAPE = (112, 270, 256), (128, 128, 128)
SPHERE_RADIUS, SPHERE_SHELL = 900.0, 80.0
EDGE_TOLERANCE = 2  # voxels


@dataclass(frozen=True)
class Result:
    """How well one task found the truth.

    Parameters
    ----------
    task, structures, measure : str
        What was done, for what, and how it was judged.
    value, precision, recall : float
        The measure, and what it is made of.
    """

    task: str
    structures: str
    measure: str
    value: float
    precision: float
    recall: float


def run_demo(session: Session, folder: Path) -> list[Result]:
    """Simulate, run the three tasks, compare.

    Parameters
    ----------
    session : Session
        Where tasks run.
    folder : Path
        For files, stores and pictures; what is there already is reused where it is the same.

    Returns
    -------
    list of Result
        Segmentation of granules, edges of a sphere, localisation of mitochondria.
    """
    size = [n * PIXEL_SIZE for n in CELL_SHAPE]
    scene = cell(size, n_mitochondria=3, n_granules=4, n_gold=12, seed=5)
    tomogram = _specimen(session, folder, "cell", scene, CELL_SHAPE, TiltScheme(-60, 60, 3), 120.0)
    sphere = hollow_sphere(SPHERE_RADIUS, SPHERE_SHELL, 1.5e-3)
    shell = _specimen(session, folder, "sphere", sphere, SPHERE_SHAPE, TiltScheme(-50, 50, 2), 60.0)
    blobs = DetectorMaps(Blobs(diameter=180.0, threshold=4.0))
    masks = import_maps(tomogram, folder / "cell_granule_maps.mrc")
    return [
        _granules(session, tomogram, folder, "granule", blobs, "2D blobs"),
        _granules(session, tomogram, folder, "granule-true2d", masks, "true 2D masks"),
        *_sphere(session, shell, folder),
        _mitochondria(session, tomogram, folder),
    ]


def _specimen(
    session: Session,
    folder: Path,
    name: str,
    scene: Scene,
    shape: tuple[int, int, int],
    scheme: TiltScheme,
    dose: float,
) -> Tomogram:
    """Simulate a series and ingest it as a user would."""
    geometry = TiltGeometry(scheme.angles, shape[1:], PIXEL_SIZE)
    acquisition = Acquisition(dose=dose, read_noise=1.0, seed=1)
    grid = VolumeGrid(shape, PIXEL_SIZE)
    stack = write_simulation(
        session.progress, folder, name, scene, geometry, grid, acquisition, overwrite=True
    )
    series = describe_series(stack, tilt_angles=stack.with_suffix(".tlt"), thickness=shape[0])
    return run(session, IngestTask(folder / f"{name}.zarr", series), overwrite=True)


def _granules(
    session: Session, tomogram: Tomogram, folder: Path, label: str, source: MapSource, maps: str
) -> Result:
    of = tomogram.label(label)
    run(session, segmentation(of, source, min_voxels=100)).draw()
    voxels = Confusion.of(_mask(of), _truth(folder / "cell_granule_truth.mrc") > 0)
    task = f"segment ({maps})"
    return Result(task, "granules", "IoU", voxels.iou, voxels.precision, voxels.recall)


def _sphere(session: Session, tomogram: Tomogram, folder: Path) -> list[Result]:
    """Judged against the whole shell, and with the recall of what these tilts can show of it."""
    source = DetectorMaps(DogEdges(sigma=2.0, dark=True))
    of = tomogram.label("sphere")
    run(session, edge_detection(of, source, min_voxels=200)).draw()
    mask = _mask(of)
    shell = _truth(folder / "sphere_sphere_truth.mrc") > 0
    grid, angles = tomogram.grid, tomogram.geometry.tilt_angles
    whole = tolerant_f1(mask, shell, EDGE_TOLERANCE)
    shown = tolerant_f1(mask, shell & touched_by_rays(grid, angles, grid.center), EDGE_TOLERANCE)
    f1 = 2 * whole.precision * shown.recall / max(whole.precision + shown.recall, 1e-9)
    measure = f"F1 within {EDGE_TOLERANCE} voxels"
    return [
        Result("edges", "sphere, whole", measure, whole.f1, whole.precision, whole.recall),
        Result("edges", "sphere, visible part", measure, f1, whole.precision, shown.recall),
    ]


def _mitochondria(session: Session, tomogram: Tomogram, folder: Path) -> Result:
    source = DetectorMaps(GlobalThreshold("otsu", sigma=3.0), form="box", min_size=600.0)
    result = run(session, tracking(tomogram.label("mitochondrion"), source))
    result.draw()
    table = result.structures
    centers = np.stack([table[a].values for a in "zyx"], axis=1)
    sizes = np.stack([table[f"size_{a}"].values for a in "zyx"], axis=1)
    truth = _rows(folder / "cell_mitochondrion_truth.csv")
    found = match_boxes(centers, sizes, truth[:, 1:4], truth[:, 4:7], min_iou=0.25)
    return Result(
        "locate", "mitochondria", "F1 at IoU 0.25", found.f1, found.precision, found.recall
    )


def _mask(label: Label) -> BoolArray:
    """The whole mask: the demo's volumes are small."""
    return label.labels.volume.read() > 0


def _truth(path: Path) -> Float32Array:
    stack = open_mrc(path)
    return np.stack([stack.read(k) for k in range(len(stack))])


def _rows(path: Path) -> FloatArray:
    with path.open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    return np.array(rows, dtype=np.float64).reshape(len(rows), 7)

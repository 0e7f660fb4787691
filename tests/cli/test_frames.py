"""Raw images with their geometry, and the same images resampled, show the same truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import mrcfile
import numpy as np
import pytest

from tests.cli.materials import THREADS, ingest, tomodist
from tests.cli.simulated import VOXEL, Points, farthest, found_centers, locate, true_centers
from tomodist.formats.imod.alignment import write_xf
from tomodist.metrics import Confusion
from tomodist.planning.plan import Resources
from tomodist.runtime.runner import Session
from tomodist.simulate import Ellipsoid, Scene
from tomodist.steps.simulate import write_simulation
from tomodist.store.tomogram import Tomogram
from tomodist.values.geometry import TiltGeometry, VolumeGrid

if TYPE_CHECKING:
    from pathlib import Path

N_TILTS = 15
CENTERS = ((9, 22, -17), (-12, -19, 8), (3, 2, 25), (-5, 24, 14))  # z, y, x voxels from the middle


class Frame(NamedTuple):
    """How raw images lie: their shape, and the tilt axis in them."""

    shape: tuple[int, int]
    axis: float
    shifted: bool = False

    @property
    def aligned(self) -> tuple[int, int]:
        lying = abs(np.sin(np.deg2rad(self.axis))) > np.sqrt(0.5)
        return self.shape[::-1] if lying else self.shape


def raw_series(folder: Path, frame: Frame, radius: float = 1.6) -> tuple[Path, Points]:
    """Write a raw series of balls with its alignment; the stack, and the true centres in Å."""
    balls = tuple(
        Ellipsoid(
            (z * VOXEL, y * VOXEL, x * VOXEL), (radius * VOXEL,) * 3, density=0.02, label="gold",
            structure=k,
        )
        for k, (z, y, x) in enumerate(CENTERS, start=1)
    )  # fmt: skip
    random = np.random.default_rng(8)
    shift = random.uniform(-6, 6, (N_TILTS, 2)) * frame.shifted  # x, y in pixels
    geometry = TiltGeometry(
        np.linspace(-56, 56, N_TILTS).tolist(),
        frame.shape,
        VOXEL,
        tilt_axis_angle=frame.axis,
        shift_x=(shift[:, 0] * VOXEL).tolist(),
        shift_y=(shift[:, 1] * VOXEL).tolist(),
    )
    grid = VolumeGrid((40, *frame.aligned), VOXEL)
    session = Session(Resources(1, 1, 2**30))
    stack = write_simulation(session.progress, folder, "raw", Scene(balls), geometry, grid)
    c, s = np.cos(np.deg2rad(frame.axis)), np.sin(np.deg2rad(frame.axis))
    turned = np.array([[c, s], [-s, c]])  # A = Rz(-axis), D = -A · shift
    transforms = [np.column_stack([turned, -turned @ d]) for d in shift]
    write_xf(stack.with_suffix(".xf"), np.array(transforms))
    return stack, true_centers(folder / "raw_gold_truth.csv")


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize(
    "frame",
    [
        Frame((96, 96), 12.0, shifted=True),
        Frame((91, 100), -12.0, shifted=True),
        Frame((88, 101), 84.0, shifted=True),
        Frame((90, 100), 90.0),
        Frame((89, 101), 90.0),
        Frame((96, 96), -90.0),
        Frame((90, 97), 180.0),
    ],
    ids=str,
)
def test_raw_and_resampled_series_show_the_true_positions(tmp_path: Path, frame: Frame) -> None:
    stack, truth = raw_series(tmp_path, frame)
    axis: tuple[object, ...] = ("--tilt-axis-angle", frame.axis)
    if frame.shifted:
        axis = ("--alignment", stack.with_suffix(".xf"))
    found = {}
    for name, option in (("aligned", "--resample"), ("raw", "--no-resample")):
        store = tmp_path / f"{name}.zarr"
        assert ingest(stack, store, 40, *axis, option) == 0
        assert Tomogram.open(store).grid.shape == (40, *frame.aligned)
        assert tomodist(*locate(store)) == 0
        found[name] = found_centers(store)
        assert len(found[name]) == len(truth)
        assert farthest(truth, found[name]) < 0.5
        for k in range(3):  # and it is no mirror image
            mirrored = truth.copy()
            mirrored[:, k] = (Tomogram.open(store).grid.shape[k] - 1) * VOXEL - mirrored[:, k]
            assert farthest(mirrored, found[name]) > 2
    assert farthest(found["aligned"], found["raw"]) < 0.5


@pytest.mark.usefixtures("without_pictures")
def test_masks_of_the_raw_images_give_nearly_the_same_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = Frame((88, 101), 84.0, shifted=True)
    stack, _ = raw_series(tmp_path, frame, radius=6)
    store = tmp_path / "TS.zarr"
    assert ingest(stack, store, 40, "--alignment", stack.with_suffix(".xf")) == 0
    raw_masks = ("--maps", tmp_path / "raw_gold_maps.mrc")
    command = ["segment", store, "--label", "raw", *raw_masks, *THREADS]
    assert tomodist(*command) == 1
    assert "--frame to raw" in capsys.readouterr().err
    assert tomodist(*command, "--maps-frame", "raw") == 0
    aligned = tmp_path / "aligned"
    aligned.mkdir()
    straight = Frame(frame.aligned, 0.0)
    raw_series(aligned, straight, radius=6)
    masks = ("--maps", aligned / "raw_gold_maps.mrc")
    assert tomodist("segment", store, "--label", "aligned", *masks, *THREADS) == 0
    tomogram = Tomogram.open(store)
    labels = [tomogram.label(label).labels.volume.read() > 0 for label in ("raw", "aligned")]
    assert labels[0].sum() > 1000
    assert Confusion.of(labels[0], labels[1]).iou > 0.9
    with mrcfile.open(tmp_path / "raw_gold_truth.mrc") as file:
        assert Confusion.of(labels[0], file.data > 0).iou > 0.75

"""What ``tomodist segment`` does with a model of volumes: tables and pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tomodist.cli.shared.console import print_line
from tomodist.cli.shared.learned import labels_of
from tomodist.cli.shared.tasks import print_structures, session_or_plan
from tomodist.errors import InputError
from tomodist.store.tomogram import check_label

if TYPE_CHECKING:
    from tomodist.cli.shared.options import RunOptions
    from tomodist.learned.model.opened import Model
    from tomodist.store.tomogram import Tomogram


def run_volume_or_plan(
    tomogram: Tomogram, model: Model, reconstruction: str, label: str | None, run: RunOptions
) -> None:
    """Segment a reconstruction and print the summaries, or only print the plan."""
    from tomodist.pictures import draw_all
    from tomodist.steps.detect_volume import VolumeDetection
    from tomodist.tasks.volume import VolumeTask, run_volume

    if run.exclude:
        raise InputError("--exclude-tilts is not of a model of volumes; reconstruct without them")
    labels = {name: check_label(given) for given, name in labels_of(model, label).items()}
    detection = VolumeDetection(model, reconstruction, labels)
    detection.check(tomogram)
    model.check()
    task = VolumeTask(detection, tomogram.grid, run.threshold, run.min_voxels, run.brick)
    with session_or_plan(task.plans, run) as session:
        if session is None:
            return
        thresholds = run_volume(session, tomogram, task, overwrite=run.overwrite)
    for given, threshold in thresholds.items():
        print_structures(tomogram, given, threshold)
        for picture in draw_all(tomogram, given):
            print_line(f"picture: {picture}")

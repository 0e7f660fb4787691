"""What segment, edges and locate have in common: sources of maps, running, the summary."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import click
import numpy as np

from tomodist.cli.console import print_line, print_table
from tomodist.cli.learned import CLASSICAL, Learned
from tomodist.cli.options import Command, RunOptions, WorkOptions, gathered, session_of
from tomodist.errors import InputError
from tomodist.plan import Plan, format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import xarray as xr

    from tomodist.detect.base import BoxDetector, MapDetector
    from tomodist.detect.denoise import Method
    from tomodist.detect.learned.opened import Model
    from tomodist.io.store import Tomogram
    from tomodist.pipeline import LinkTask, Task
    from tomodist.plan import Resources
    from tomodist.stages.classes import ImportedClasses
    from tomodist.stages.execute import Session
    from tomodist.stages.sources import DetectedClasses, MapSource

_DETECTORS = (
    "blobs or threshold; or the folder of a trained model, an .onnx file, or a function of your "
    "own as package.module:function."
)
_TILE = "default: 2048"
_ENOUGH_OBJECTS = 5  # to say of a tilt that it shows few of them


@dataclass(frozen=True)
class MapOptions:
    """What the options of `detector_options` say."""

    maps: str | None
    maps_frame: Literal["aligned", "raw"]
    boxes: str | None
    boxes_frame: Literal["aligned", "raw"]
    flip_y: bool
    min_score: float | None
    detector: str | None
    probability: float | None
    average: bool
    keep: Literal["uint8", "float16", "none"]
    tile: int | None
    trust_model: bool
    diameter: float | None
    dark: bool
    sensitivity: float | None
    smooth: float
    denoise: Method
    min_size: float

    def sources(
        self, tomogram: Tomogram, label: str | None, form: Literal["mask", "box"]
    ) -> dict[str, MapSource]:
        """Where the maps of every label come from; everything about it is checked here."""
        from tomodist.detect.denoise import Denoised
        from tomodist.stages.detect import import_maps
        from tomodist.stages.sources import DetectorMaps

        given = [name for name in ("maps", "boxes", "detector") if getattr(self, name) is not None]
        if len(given) != 1:
            raise InputError("give either --maps or --boxes (made elsewhere), or --detector")
        if self.boxes is not None:
            return self._boxes(tomogram, self.boxes, label, form)
        self._check_of_boxes()
        if self.detector is not None and self.detector not in CLASSICAL:
            return self._learned.sources(label, form)
        if label is None:
            raise click.UsageError("Missing option '--label'.")
        if self.maps is not None:
            size = self.min_size
            maps = import_maps(tomogram, self.maps, self.maps_frame, form=form, min_size=size)
            return {label: maps}
        detector = Denoised(self._detector(tomogram), self.denoise)
        return {label: DetectorMaps(detector, form, self.min_size)}

    @property
    def _learned(self) -> Learned:
        """The detector that a path or a function names; options of others are refused."""
        given = {
            "--denoise": self.denoise != "none",
            "--sensitivity": self.sensitivity is not None,
            "--diameter": self.diameter is not None,
        }
        wrong = [name for name, there in given.items() if there]
        if wrong:
            raise InputError(f"{wrong[0]} is not of --detector {self.detector}; leave it out")
        return Learned(
            str(self.detector),
            self.probability,
            self.tile,
            None if self.keep == "none" else self.keep,
            self.min_size,
            average=self.average,
            trusted=self.trust_model,
        )

    def volume_model(self) -> Model | None:
        """The model, if it is one of volumes."""
        if self.detector is None or self.detector in CLASSICAL:
            return None
        model = self._learned.model()
        return model if model is not None and model.card.dims == 3 else None

    def classes_of(
        self, tomogram: Tomogram, names: tuple[str, ...] | Literal["auto"], label: str | None
    ) -> tuple[ImportedClasses | DetectedClasses, str]:
        """Label maps with their classes, and their label; everything about it is checked here."""
        from tomodist.io.store import check_label
        from tomodist.stages.classes import import_classes

        self._check_of_boxes()
        if label is None:
            raise click.UsageError("Missing option '--label'.")
        if self.detector is not None and self.detector not in CLASSICAL and self.maps is None:
            return self._learned.classes(names, check_label(label)), label
        if self.maps is None or self.boxes is not None or self.detector is not None:
            raise InputError(
                "--classes names the values of --maps, or the classes of a --model; give one of "
                "these, and not --boxes"
            )
        where = (check_label(label), self.maps_frame)
        found = import_classes(tomogram, self.maps, names, *where, min_size=self.min_size)
        return found, label

    def _check_of_boxes(self) -> None:
        if self.boxes is None and (self.flip_y or self.min_score is not None):
            raise InputError("--flip-y and --min-score are of --boxes; leave them out")

    def _boxes(
        self, tomogram: Tomogram, path: str, label: str | None, form: Literal["mask", "box"]
    ) -> dict[str, MapSource]:
        """Every class of the file, or that of the label."""
        from tomodist.io.annotations.placed import Wanted
        from tomodist.stages.boxes import import_boxes

        wanted = Wanted(self.diameter, self.min_score, self.flip_y)
        found = import_boxes(
            tomogram, path, self.boxes_frame, form=form, min_size=self.min_size, wanted=wanted
        )
        if "" in found:
            if label is None:
                raise InputError(f"{path} names no classes; give a --label")
            found = {label: found[""]}
        if label is not None and label not in found:
            there = ", ".join(sorted(found))
            raise InputError(f"{path} has no class {label!r} (there: {there}); give one of them")
        chosen = {label: found[label]} if label is not None else dict(sorted(found.items()))
        for name, boxes in chosen.items():
            left_out = f", {boxes.n_left_out} more on sections left out" if boxes.n_left_out else ""
            n_tilts = sum(map(bool, map(len, boxes.boxes)))
            print_line(f"{name}: {boxes.n_boxes} boxes on {n_tilts} tilts{left_out}")
        return dict(chosen)

    def _detector(self, tomogram: Tomogram) -> MapDetector | BoxDetector:
        from tomodist.detect.classical import Blobs, GlobalThreshold

        if self.probability is not None or self.average or self.trust_model or self.tile:
            raise InputError(
                f"--probability, --average, --tile and --trust-model are of models, but --detector "
                f"is {self.detector}; leave them out"
            )
        if self.detector == "threshold":
            level: float | Literal["otsu"] = "otsu"
            if self.sensitivity is not None:
                level = self.sensitivity
            return GlobalThreshold(level, self.smooth, dark=self.dark)
        if self.diameter is None:
            raise InputError("--detector blobs needs --diameter (Å)")
        given = {} if self.sensitivity is None else {"threshold": self.sensitivity}
        blobs = Blobs(diameter=self.diameter, dark=self.dark, **given)
        height, width = tomogram.geometry.image_shape
        size = blobs.diameter_px(tomogram.geometry.pixel_size)  # says now what every tilt would
        if size > max(height, width):
            raise InputError(
                f"--diameter is {self.diameter:g} Å, which is {size:.4g} pixels, but the images "
                f"have {height} x {width}; use a smaller diameter"
            )
        return blobs


def run_or_plan(
    tomogram: Tomogram, tasks: Task | Sequence[Task | LinkTask], run: RunOptions
) -> None:
    """Run tasks one by one and print their summaries, or only print the plan."""
    from tomodist.pictures import draw_all
    from tomodist.pipeline import Task, run_task

    tasks = [tasks] if isinstance(tasks, Task) else tasks
    with session_or_plan(tasks[0].plans, run) as session:  # tasks differ in their maps only
        if session is None:
            return
        thresholds = [run_task(session, tomogram, t, overwrite=run.overwrite) for t in tasks]
    for task, threshold in zip(tasks, thresholds, strict=True):
        pictures = draw_all(tomogram, task.label)
        print_structures(tomogram, task.label, threshold)
        print_disagreeing(tomogram, task.label)
        print_unsupportive(tomogram, task.label)
        for picture in pictures:
            print_line(f"picture: {picture}")


@contextmanager
def session_or_plan(
    plans_on: Callable[[Resources], list[Plan]], run: WorkOptions
) -> Iterator[Session | None]:
    """Where to run; or None, and only the plan is printed.

    What cannot fit is refused before workers are started; only a cluster that runs already has to
    be asked what it has.
    """
    from tomodist.cluster import resources_of

    if "://" not in run.cluster:
        plans = plans_on(resources_of(*run.where))
        if run.dry_run:
            print_plans(plans)
            yield None
            return
    with session_of(*run.where) as session:
        if run.dry_run:
            print_plans(plans_on(session.resources))
        yield None if run.dry_run else session


def print_plans(plans: list[Plan]) -> None:
    """Print what the steps would cost."""
    if not plans:
        print_line("plan: one task per tilt that detects, one that links; no volume is made")
        return
    rows = [
        (
            plan.step,
            " x ".join(map(str, plan.brick)),
            plan.n_bricks,
            f"{plan.tilts_per_task} of {plan.n_tilts}" if plan.n_tilts > 1 else "-",
            plan.n_tasks,
            format_bytes(plan.task_memory),
            f"{format_bytes(plan.worker_memory)} of {format_bytes(plan.resources.memory_limit)}",
            format_bytes(plan.bytes_read),
            format_bytes(plan.bytes_written),
            "-" if math.isnan(plan.seconds) else f"{plan.seconds:.2g} s",
        )
        for plan in plans
    ]
    head = (
        "step", "brick", "bricks", "tilts per task", "tasks", "memory per task",
        "memory per worker", "reads", "writes", "about",
    )  # fmt: skip
    print_table("plan (uncompressed sizes)", head, rows)


def print_structures(
    tomogram: Tomogram, label: str, threshold: float | None, most: int = 40
) -> None:
    """Print the table of structures."""
    table = tomogram.dataset(f"structures/{label}").load()
    n = table.sizes["structure"]
    shown = [(head, value) for head, column, value in _COLUMNS if column is None or column in table]
    rows = [[value(table.isel(structure=k)) for _, value in shown] for k in range(min(n, most))]
    how = "linked across tilts" if threshold is None else f"score > {threshold:.3g}"
    print_table(f"{n} structures of {label}, {how}", [head for head, _ in shown], rows)
    if n > most:
        print_line(f"... and {n - most} more; `tomodist export` writes them all")
    located = "residual" in table and n
    quality = f", median residual: {table['residual'].median().item():.2f} px" if located else ""
    print_line(f"structures: {n}{quality}, store: {tomogram.path}")


def print_disagreeing(tomogram: Tomogram, label: str) -> None:
    """Name the tilts that disagree with the rest, where a threshold was chosen."""
    from tomodist.agreement import stored_consistency

    found = stored_consistency(tomogram, label)
    if found is None:
        return
    tilts, angles, consistency = found
    rows = [
        (
            tilts[k],
            f"{angles[k]:.1f}°",
            consistency.iou[k],
            consistency.expected[k],
            consistency.reason(k),
        )
        for k in np.flatnonzero(consistency.disagrees).tolist()
    ]
    if rows:
        head = ("tilt", "angle", "IoU", "expected", "because")
        print_table("tilts that disagree with the rest (--exclude-tilts)", head, rows)


def print_unsupportive(tomogram: Tomogram, label: str) -> None:
    """Name the tilts that show few of the located objects: misaligned, or with few boxes."""
    table = tomogram.dataset(f"structures/{label}").load()
    if "residual_per_tilt" not in table or table.sizes["structure"] < _ENOUGH_OBJECTS:
        return
    shown = np.isfinite(table["residual_per_tilt"].values).mean(axis=0)
    excluded = tomogram.attributes(f"structures/{label}")["fingerprint"].get("excluded", [])
    few = [t for t in np.flatnonzero(shown < np.median(shown) / 2) if t not in excluded]
    angles, n = table["tilt_angle"].values, table.sizes["structure"]
    rows = [(t, f"{angles[t]:.1f}°", f"{round(shown[t] * n)} of {n}") for t in few]
    if rows:
        title = "boxes lie elsewhere (--exclude-tilts)"
        print_table(title, ("tilt", "angle", "objects shown"), rows)


def _whole(name: str) -> Callable[[xr.Dataset], object]:
    return lambda structure: round(structure[name].item())


def _real(name: str, digits: int) -> Callable[[xr.Dataset], object]:
    return lambda structure: round(structure[name].item(), digits)


def _triple(*names: str) -> Callable[[xr.Dataset], object]:
    return lambda structure: " x ".join(f"{structure[name].item():.0f}" for name in names)


# Of the table of structures: head, the column that has to be there (None: it always is), the value.
_COLUMNS: tuple[tuple[str, str | None, Callable[[xr.Dataset], object]], ...] = (
    ("id", None, _whole("id")),
    ("z (Å)", None, _whole("z")),
    ("y (Å)", None, _whole("y")),
    ("x (Å)", None, _whole("x")),
    ("± z, y, x (Å)", "sigma_z", _triple("sigma_z", "sigma_y", "sigma_x")),
    ("size z, y, x (Å)", None, _triple("size_z", "size_y", "size_x")),
    ("voxels", "n_voxels", _whole("n_voxels")),
    ("score", "mean_score", _real("mean_score", 2)),
    ("threshold", "threshold", _real("threshold", 2)),
    ("stability", "stability", _real("stability", 2)),
    ("tilts", "n_tilts", _whole("n_tilts")),
    ("residual (px)", "residual", _real("residual", 2)),
)


denoise_option = click.option(
    "--denoise",
    type=click.Choice(["none", "gaussian", "tv", "nlm", "bilateral", "wavelet"]),
    default="none",
    show_default=True,
    help="Of images before detection; its strength follows their noise.",
)


def detector_options(command: Command) -> Command:
    """--maps, --boxes or --detector and what they take: one value, ``given``."""
    command = gathered(MapOptions, "given", command)
    for option in reversed(
        [
            click.option("--maps", type=click.Path(), help="2D masks: MRC, TIFF, NPY or Zarr."),
            click.option(
                "--maps-frame",
                type=click.Choice(["aligned", "raw"]),
                default="aligned",
                show_default=True,
                help="Whether --maps lie on the stored or on the raw images.",
            ),
            click.option(
                "--boxes",
                type=click.Path(),
                help="2D boxes or points: COCO JSON, CSV, Pascal VOC (folder), napari CSV, IMOD "
                ".mod or model2point, STAR.",
            ),
            click.option(
                "--boxes-frame",
                type=click.Choice(["aligned", "raw"]),
                default="aligned",
                show_default=True,
                help="Whether --boxes lie on the stored or on the raw images.",
            ),
            click.option("--flip-y", is_flag=True, help="Rows of --boxes count from the last one."),
            click.option("--min-score", type=float, help="Drop --boxes of lower scores."),
            click.option("--detector", "--model", "detector", help=_DETECTORS),
            click.option(
                "--probability",
                type=float,
                help="Of a model: above it is structure, or a box. [default: the model's]",
            ),
            click.option(
                "--average",
                is_flag=True,
                help="Of a model: mean over mirror images and quarter turns; 8 times the work.",
            ),
            click.option(
                "--keep",
                type=click.Choice(["uint8", "float16", "none"]),
                default="uint8",
                show_default=True,
                help="How probabilities of a model are kept beside the maps.",
            ),
            click.option("--tile", type=int, help=f"Of a model: cores of large images. [{_TILE}]"),
            click.option("--trust-model", is_flag=True, help="Open files that can hold code."),
            click.option("--diameter", type=float, help="Of blobs, or of points in --boxes, in Å."),
            click.option("--dark/--bright", default=True, help="Structures are dark. [default]"),
            click.option(
                "--sensitivity",
                type=float,
                help="Detector's threshold in robust sigmas. [default: 6 for blobs, else Otsu's]",
            ),
            click.option(
                "--smooth", default=2.0, show_default=True, help="Of --detector threshold, pixels."
            ),
            denoise_option,
            click.option(
                "--min-size", default=0.0, show_default=True, help="Drop smaller 2D boxes (Å)."
            ),
        ]
    ):
        command = option(command)
    return command


def open_tomogram(store: Path) -> Tomogram:
    """Open a store."""
    from tomodist.io.store import Tomogram

    return Tomogram.open(store)

"""Where the maps of segment and locate come from: files, detectors, models; their options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import click

from tomodist.cli.shared.console import print_line
from tomodist.cli.shared.learned import CLASSICAL, Learned
from tomodist.cli.shared.options import Command, gathered
from tomodist.errors import InputError

if TYPE_CHECKING:
    from tomodist.detect.base import BoxDetector, MapDetector
    from tomodist.detect.denoise import Method
    from tomodist.learned.model.opened import Model
    from tomodist.sources.base import DetectedClasses, MapSource
    from tomodist.sources.classes import ImportedClasses
    from tomodist.store.tomogram import Tomogram

_DETECTORS = (
    "blobs or threshold; or the folder of a trained model, an .onnx file, or a function of your "
    "own as package.module:function."
)
_TILE = "default: 2048"


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
    diameter: float | None
    dark: bool
    sensitivity: float | None
    smooth: float
    denoise: Method
    min_size: float

    def check_of_volume(self, more: dict[str, bool]) -> None:
        """Refuse what a model of volumes has no use for.

        Raises
        ------
        InputError
        """
        is_used = {
            "--maps": self.maps is not None,
            "--boxes": self.boxes is not None,
            "--average": self.average,
            "--tile": self.tile is not None,
            "--min-size": self.min_size > 0,
            **more,
        }
        wrong = [name for name, used in is_used.items() if used]
        if wrong:
            raise InputError(
                f"{wrong[0]} is not of a model of volumes ({self.detector}), which looks at a "
                "reconstruction and lifts nothing; leave it out"
            )

    def sources(
        self, tomogram: Tomogram, label: str | None, form: Literal["mask", "box"]
    ) -> dict[str, MapSource]:
        """Where the maps of every label come from; everything about it is checked here."""
        from tomodist.detect.denoise import Denoised
        from tomodist.sources.base import DetectorMaps
        from tomodist.sources.stack import import_maps

        origins = [
            name for name in ("maps", "boxes", "detector") if getattr(self, name) is not None
        ]
        if len(origins) != 1:
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
        is_used = {
            "--denoise": self.denoise != "none",
            "--sensitivity": self.sensitivity is not None,
            "--diameter": self.diameter is not None,
        }
        wrong = [name for name, used in is_used.items() if used]
        if wrong:
            raise InputError(f"{wrong[0]} is not of --detector {self.detector}; leave it out")
        return Learned(
            str(self.detector),
            self.probability,
            self.tile,
            None if self.keep == "none" else self.keep,
            self.min_size,
            average=self.average,
        )

    def volume_model(self) -> Model | None:
        """The model, if it is one of volumes."""
        if self.detector is None or self.detector in CLASSICAL:
            return None
        model = self._learned.named()
        return model if model is not None and model.card.dims == 3 else None

    def classes_of(
        self, tomogram: Tomogram, names: tuple[str, ...] | Literal["auto"], label: str | None
    ) -> tuple[ImportedClasses | DetectedClasses, str]:
        """Label maps with their classes, and their label; everything about it is checked here."""
        from tomodist.sources.classes import import_classes
        from tomodist.store.tomogram import check_label

        self._check_of_boxes()
        if label is None:
            raise InputError(
                "--classes needs a --label: what the label maps of all classes are called"
            )
        if self.detector is not None and self.detector not in CLASSICAL and self.maps is None:
            return self._learned.classes(names, check_label(label)), label
        if self.maps is None or self.boxes is not None or self.detector is not None:
            raise InputError(
                "--classes names the values of --maps, or the classes of a model: give --maps or "
                "--model, and neither --boxes nor a classical --detector"
            )
        where = (check_label(label), self.maps_frame)
        maps = import_classes(tomogram, self.maps, names, *where, min_size=self.min_size)
        return maps, label

    def _check_of_boxes(self) -> None:
        if self.boxes is None and (self.flip_y or self.min_score is not None):
            raise InputError("--flip-y and --min-score are of --boxes; leave them out")

    def _boxes(
        self, tomogram: Tomogram, path: str, label: str | None, form: Literal["mask", "box"]
    ) -> dict[str, MapSource]:
        """Every class of the file, or that of the label."""
        from tomodist.sources.boxes import import_boxes
        from tomodist.sources.placement import PointOptions

        wanted = PointOptions(self.diameter, self.min_score, self.flip_y)
        classes = import_boxes(
            tomogram, path, self.boxes_frame, form=form, min_size=self.min_size, options=wanted
        )
        if "" in classes:
            if label is None:
                raise InputError(f"{path} names no classes; give a --label")
            classes = {label: classes[""]}
        if label is not None and label not in classes:
            names = ", ".join(sorted(classes))
            raise InputError(f"{path} has no class {label!r} (there: {names}); give one of them")
        chosen = {label: classes[label]} if label is not None else dict(sorted(classes.items()))
        for name, boxes in chosen.items():
            left_out = f", {boxes.n_left_out} more on sections left out" if boxes.n_left_out else ""
            n_tilts = sum(map(bool, map(len, boxes.boxes)))
            print_line(f"{name}: {boxes.n_boxes} boxes on {n_tilts} tilts{left_out}")
        return dict(chosen)

    def _detector(self, tomogram: Tomogram) -> MapDetector | BoxDetector:
        from tomodist.detect.classical import Blobs, GlobalThreshold

        if self.probability is not None or self.average or self.tile:
            raise InputError(
                f"--probability, --average and --tile are of models, but --detector is "
                f"{self.detector}; leave them out"
            )
        if self.detector == "threshold":
            level: float | Literal["otsu"] = "otsu"
            if self.sensitivity is not None:
                level = self.sensitivity
            return GlobalThreshold(level, self.smooth, dark=self.dark)
        if self.diameter is None:
            raise InputError("--detector blobs needs --diameter (Å)")
        threshold = {} if self.sensitivity is None else {"threshold": self.sensitivity}
        blobs = Blobs(diameter=self.diameter, dark=self.dark, **threshold)
        height, width = tomogram.geometry.image_shape
        size = blobs.diameter_px(tomogram.geometry.pixel_size)  # says now what every tilt would
        if size > max(height, width):
            raise InputError(
                f"--diameter is {self.diameter:g} Å, which is {size:.4g} pixels, but the images "
                f"have {height} x {width}; use a smaller diameter"
            )
        return blobs


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

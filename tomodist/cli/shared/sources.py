"""Where the maps of segment and locate come from: files, detectors, models; their options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import click
import cloup

from tomodist.cli.shared.console import print_line
from tomodist.cli.shared.learned import CLASSICAL, Learned
from tomodist.cli.shared.options import (
    DETECTION,
    INPUT,
    Command,
    Decorator,
    apply,
    frame_option,
    gathered,
)
from tomodist.errors import InputError

if TYPE_CHECKING:
    from tomodist.detectors.base import BoxDetector, MapDetector
    from tomodist.detectors.denoise import Method
    from tomodist.learned.model.opened import Model
    from tomodist.sources.base import DetectedClasses, MapSource
    from tomodist.sources.classes import ImportedClasses
    from tomodist.store.tomogram import Tomogram

_DETECTORS = (
    "Detector: blobs, threshold, the folder of a trained model, an .onnx file, or a function of "
    "your own as package.module:function."
)


@dataclass(frozen=True)
class SourceOptions:
    """Where maps come from: the options of `source_options`."""

    maps: str | None
    boxes: str | None
    frame: Literal["aligned", "raw"]
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

    def check_for_volume(self, more: dict[str, bool]) -> None:
        """Refuse options that do not apply to a 3D model.

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
                f"{wrong[0]} does not apply to a 3D model ({self.detector}), which is applied to "
                "a reconstruction and lifts nothing; remove it"
            )

    def sources(
        self, tomogram: Tomogram, label: str | None, form: Literal["mask", "box"]
    ) -> dict[str, MapSource]:
        """Where the maps of every label come from; everything about it is checked here.

        Parameters
        ----------
        tomogram : Tomogram
            Store that the maps are for.
        label : str, optional
            Label of the maps; None: the classes of the file or the model.
        form : {"mask", "box"}
            What the task lifts.

        Returns
        -------
        dict of str to MapSource
            By label.
        """
        from tomodist.detectors.denoise import Denoised
        from tomodist.sources.base import DetectorMaps
        from tomodist.sources.stack import import_maps

        origins = [
            name for name in ("maps", "boxes", "detector") if getattr(self, name) is not None
        ]
        if len(origins) != 1:
            raise InputError("exactly one of --maps, --boxes and --detector is needed")
        if self.boxes is not None:
            return self._boxes(tomogram, self.boxes, label, form)
        self._check_box_options()
        if self.detector is not None and self.detector not in CLASSICAL:
            return self._learned.sources(label, form)
        if label is None:
            raise click.UsageError("Missing option '--label'.")
        if self.maps is not None:
            size = self.min_size
            maps = import_maps(tomogram, self.maps, self.frame, form=form, min_size=size)
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
            raise InputError(f"{wrong[0]} does not apply to --detector {self.detector}; remove it")
        return Learned(
            str(self.detector),
            self.probability,
            self.tile,
            None if self.keep == "none" else self.keep,
            self.min_size,
            average=self.average,
        )

    def volume_model(self) -> Model | None:
        """The model, if it is a 3D model."""
        if self.detector is None or self.detector in CLASSICAL:
            return None
        model = self._learned.named()
        return model if model is not None and model.card.dims == 3 else None

    def classes_of(
        self, tomogram: Tomogram, names: tuple[str, ...] | Literal["auto"], label: str | None
    ) -> tuple[ImportedClasses | DetectedClasses, str]:
        """Label maps with their classes, and their label; everything about it is checked here.

        Parameters
        ----------
        tomogram : Tomogram
            Store that the maps are for.
        names : tuple of str or "auto"
            Classes, or all.
        label : str, optional
            Label of the semantic volume; None: a default.

        Returns
        -------
        classes : ImportedClasses or DetectedClasses
            Label maps with their classes.
        label : str
            Their label.
        """
        from tomodist.sources.classes import import_classes
        from tomodist.store.tomogram import check_label

        self._check_box_options()
        if label is None:
            raise InputError("--classes needs --label: a name for all classes together")
        if self.detector is not None and self.detector not in CLASSICAL and self.maps is None:
            return self._learned.classes(names, check_label(label)), label
        if self.maps is None or self.boxes is not None or self.detector is not None:
            raise InputError(
                "--classes applies to --maps or to a model; use one of them, and remove --boxes "
                "and classical detectors"
            )
        where = (check_label(label), self.frame)
        maps = import_classes(tomogram, self.maps, names, *where, min_size=self.min_size)
        return maps, label

    def _check_box_options(self) -> None:
        if self.boxes is None and (self.flip_y or self.min_score is not None):
            raise InputError("--flip-y and --min-score apply only to --boxes; remove them")

    def _boxes(
        self, tomogram: Tomogram, path: str, label: str | None, form: Literal["mask", "box"]
    ) -> dict[str, MapSource]:
        """Every class of the file, or that of the label."""
        from tomodist.sources.boxes import import_boxes
        from tomodist.sources.placement import PointOptions

        options = PointOptions(self.diameter, self.min_score, self.flip_y)
        classes = import_boxes(
            tomogram, path, self.frame, form=form, min_size=self.min_size, options=options
        )
        if "" in classes:
            if label is None:
                raise InputError(f"{path} names no classes; set --label")
            classes = {label: classes[""]}
        if label is not None and label not in classes:
            names = ", ".join(sorted(classes))
            raise InputError(f"{path} has no class {label!r} (available: {names})")
        chosen = {label: classes[label]} if label is not None else dict(sorted(classes.items()))
        for name, boxes in chosen.items():
            left_out = f", {boxes.n_left_out} more on sections left out" if boxes.n_left_out else ""
            n_tilts = sum(map(bool, map(len, boxes.boxes)))
            print_line(f"{name}: {boxes.n_boxes} boxes on {n_tilts} tilts{left_out}")
        return dict(chosen)

    def _detector(self, tomogram: Tomogram) -> MapDetector | BoxDetector:
        from tomodist.detectors.classical import Blobs, GlobalThreshold

        if self.probability is not None or self.average or self.tile:
            raise InputError(
                f"--probability, --average and --tile apply only to models, but --detector is "
                f"{self.detector}; remove them"
            )
        if self.detector == "threshold":
            level: float | Literal["otsu"] = "otsu"
            if self.sensitivity is not None:
                level = self.sensitivity
            return GlobalThreshold(level, self.smooth, dark=self.dark)
        if self.diameter is None:
            raise InputError("--detector blobs needs --diameter (Å)")
        level_of = {} if self.sensitivity is None else {"threshold": self.sensitivity}
        blobs = Blobs(diameter=self.diameter, dark=self.dark, **level_of)
        height, width = tomogram.geometry.image_shape
        size = blobs.diameter_px(tomogram.geometry.pixel_size)  # fails now, not on every tilt
        if size > max(height, width):
            raise InputError(
                f"--diameter is {self.diameter:g} Å, which is {size:.4g} pixels, but the images "
                f"have {height} x {width}; use a smaller diameter"
            )
        return blobs


denoise_option = cloup.option(
    "--denoise",
    type=click.Choice(["none", "gaussian", "tv", "nlm", "bilateral", "wavelet"]),
    default="none",
    show_default=True,
    group=DETECTION,
    help="Denoising of the images before detection; its strength follows their noise.",
)

dark_option = cloup.option(
    "--dark/--bright",
    default=True,
    group=DETECTION,
    help="Whether structures are dark or bright in the images. [default: dark]",
)

maps_option = cloup.option(
    "--maps",
    type=click.Path(),
    group=INPUT,
    help="2D masks made elsewhere: MRC, TIFF, NPY or Zarr (tilt, y, x).",
)


def source_options(command: Command) -> Command:
    """--maps, --boxes or --detector and their options: one value, ``source``."""
    options: list[Decorator] = [
        maps_option,
        cloup.option(
            "--boxes",
            type=click.Path(),
            group=INPUT,
            help="2D boxes or points made elsewhere: COCO JSON, CSV, Pascal VOC (folder), napari "
            "CSV, IMOD .mod or model2point, STAR.",
        ),
        frame_option("--maps or --boxes"),
        cloup.option(
            "--flip-y", is_flag=True, group=INPUT, help="Count the rows of --boxes from the last."
        ),
        cloup.option(
            "--min-score", type=float, group=INPUT, help="Lowest score of --boxes that are used."
        ),
        cloup.option("--detector", "--model", "detector", group=DETECTION, help=_DETECTORS),
        cloup.option(
            "--probability",
            type=float,
            group=DETECTION,
            help="Probability above which a model's pixel is structure, or a box counts. "
            "[default: the model's]",
        ),
        cloup.option(
            "--average",
            is_flag=True,
            group=DETECTION,
            help="Average a model over mirror images and quarter turns; takes 8 times as long.",
        ),
        cloup.option(
            "--keep",
            type=click.Choice(["uint8", "float16", "none"]),
            default="uint8",
            show_default=True,
            group=DETECTION,
            help="Type in which a model's probabilities are stored beside the maps.",
        ),
        cloup.option(
            "--tile",
            type=int,
            group=DETECTION,
            help="Side of the tiles in which a model takes large images, in pixels. "
            "[default: 2048]",
        ),
        cloup.option(
            "--diameter",
            type=float,
            group=DETECTION,
            help="Diameter of blobs, or of points in --boxes, in Å.",
        ),
        dark_option,
        cloup.option(
            "--sensitivity",
            type=float,
            group=DETECTION,
            help="Threshold of a classical detector, in robust standard deviations. [default: 6 "
            "for blobs, Otsu's for threshold]",
        ),
        cloup.option(
            "--smooth",
            default=2.0,
            show_default=True,
            group=DETECTION,
            help="Smoothing of --detector threshold, sigma in pixels.",
        ),
        denoise_option,
        cloup.option(
            "--min-size",
            default=0.0,
            show_default=True,
            group=DETECTION,
            help="Smallest side of a 2D box that is kept, in Å.",
        ),
    ]
    return apply(options, gathered(SourceOptions, "source", command))

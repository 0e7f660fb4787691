"""Detectors that a path or a name stands for: models, ONNX files, functions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tomodist.cli.shared.console import print_line
from tomodist.errors import InputError
from tomodist.store.tomogram import check_label
from tomodist.values.maps import MOST_CLASSES

if TYPE_CHECKING:
    from tomodist.learned.model.opened import Model
    from tomodist.sources.base import DetectedClasses, MapSource, ProbabilityType
    from tomodist.values.boxes import Form

CLASSICAL = ("blobs", "threshold")


@dataclass(frozen=True)
class Learned:
    """A detector that ``--detector`` names by a path or a function.

    Parameters
    ----------
    name : str
        Path of a model, or ``package.module:function``.
    probability : float, optional
        Threshold; by default the model's.
    tile : int, optional
        Side of the cores of large images.
    keep : {"uint8", "float16"}, optional
        How probabilities are kept.
    min_size : float
        Of 2D boxes, in Å.
    average : bool
        Mean over orientations.
    """

    name: str
    probability: float | None
    tile: int | None
    keep: ProbabilityType | None
    min_size: float
    average: bool

    def model(self) -> Model | None:
        """The model at the path, tried on a small image; None of a function.

        Raises
        ------
        InputError
            If there is neither, or the network is not what its document says.
        """
        model = self.named()
        if model is not None:
            model.check()
        return model

    def named(self) -> Model | None:
        """The model at the path by what it says of itself; None of a function.

        Raises
        ------
        InputError
            If there is neither.
        """
        from tomodist.learned.model.opened import Model

        if not Path(self.name).exists():
            if ":" in self.name:
                return None
            raise InputError(
                f"--detector {self.name}: there is no such model; give blobs, threshold, the "
                "folder of a model, an .onnx file, or package.module:function"
            )
        return Model.at(self.name)

    def sources(self, label: str | None, form: Form) -> dict[str, MapSource]:
        """Maps of a class, or of every class; everything about the model is checked here.

        Parameters
        ----------
        label : str, optional
            Label of the maps; None: the names of the classes.
        form : Form
            What the model has to return: masks or boxes.

        Returns
        -------
        dict of str to MapSource
            By label.

        Raises
        ------
        InputError
        """
        from tomodist.sources.base import DetectorMaps

        model = self.model()
        if model is None:
            if label is None:
                raise InputError(f"--detector {self.name} is a function and needs --label")
            if self.average or self.tile is not None:
                raise InputError("--average and --tile apply only to models, not to functions")
            return {label: DetectorMaps(self._function(), form, self.min_size)}
        if model.card.dims == 3:
            raise InputError(f"{self.name} is a 3D model; use it with `tomodist segment`")
        keep = self.keep if model.card.task == "segment" else None
        if (model.card.task, form) == ("boxes", "mask"):
            print_line(f"{self.name} finds boxes: the ellipses inside them are taken as masks")
        return {
            own: DetectorMaps(self._of_class(model, name), form, self.min_size, keep)
            for own, name in labels_of(model, label).items()
        }

    def classes(self, names: tuple[str, ...] | Literal["auto"], label: str) -> DetectedClasses:
        """All classes of a model in one pass.

        Parameters
        ----------
        names : tuple of str or "auto"
            Classes that are detected; "auto": all of the model.
        label : str
            Label of the semantic volume.

        Returns
        -------
        DetectedClasses

        Raises
        ------
        InputError
            If it is not a segmentation model of images, or has other classes.
        """
        from tomodist.sources.base import DetectedClasses

        model = self.model()
        if model is None:
            raise InputError("--classes applies to --maps or to a model, not to a function")
        classes = model.card.classes
        if names not in ("auto", classes):
            raise InputError(
                f"--classes names {', '.join(names)}, but {self.name} has {', '.join(classes)}; "
                "give these, or auto"
            )
        if len(classes) > MOST_CLASSES:
            raise InputError(f"{self.name} has {len(classes)} classes; maps hold {MOST_CLASSES}")
        if self.min_size:
            raise InputError("--min-size applies to one class; remove it, or --classes")
        for name in classes:
            check_label(name)  # it becomes a folder of the store
        if label in classes:
            raise InputError(f"--label {label} is one of the classes; use another name for all")
        return DetectedClasses(self._segmentation(model, None), self.keep)

    def _of_class(self, model: Model, name: str) -> Any:  # noqa: ANN401 -- a detector
        if model.card.task == "segment":
            return self._segmentation(model, name)
        from tomodist.learned.detectors.centers import LearnedBoxes

        if self.average:
            raise InputError("--average applies only to models for masks; remove it")
        return LearnedBoxes(model, name, self.probability, **self._tiles)

    def _segmentation(self, model: Model, name: str | None) -> Any:  # noqa: ANN401 -- a detector
        from tomodist.learned.detectors.segmentation import LearnedSegmentation

        return LearnedSegmentation(
            model, name, self.probability, average=self.average, **self._tiles
        )

    def _function(self) -> Any:  # noqa: ANN401 -- a detector
        from tomodist.detectors.callables import CallableDetector

        detector = CallableDetector(self.name)
        if self.probability is not None:
            detector = replace(detector, threshold=self.probability)
        detector.check()
        return detector.pinned()

    @property
    def _tiles(self) -> dict[str, int]:
        return {} if self.tile is None else {"tile": self.tile}


def labels_of(model: Model, label: str | None) -> dict[str, str]:
    """Label of the store to class of the model: one class under any label, or some by their name.

    Parameters
    ----------
    model : Model
        Opened model.
    label : str, optional
        Label that was asked for; None: all classes under their names.

    Returns
    -------
    dict of str to str
        Class by label.

    Raises
    ------
    InputError
        If the model has several classes, and the label is none of them.
    """
    classes = model.card.classes
    if label is None:
        return {check_label(name): name for name in classes}
    if label in classes:
        return {label: label}
    if len(classes) == 1:
        return {label: classes[0]}
    raise InputError(
        f"{model.path} has the classes {', '.join(classes)}, and --label is {label!r}; give one of "
        "them, or leave --label out for all, or --classes auto for label maps"
    )

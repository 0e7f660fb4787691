"""Detect structures on cryo-ET tilt series and lift them to 3D by backprojection.

The names below are loaded when they are first used, so that ``import tomodist`` is quick and loads
neither dask's scheduler nor torch.

Examples
--------
>>> import tomodist
>>> geometry = tomodist.TiltGeometry([-30, 0, 30], image_shape=(32, 48), pixel_size=10.0)
>>> grid = tomodist.VolumeGrid(shape=(16, 32, 48), voxel_size=10.0)
>>> geometry.matrices(grid).shape
(3, 2, 4)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tomodist.algorithms.threshold.curve import ThresholdCurve
    from tomodist.api import (
        detect,
        edges,
        evaluate,
        locate,
        open_tilt_series,
        reconstruct,
        segment,
        train,
    )
    from tomodist.detectors.classical import Blobs, DogEdges, GlobalThreshold
    from tomodist.errors import TomodistError
    from tomodist.learned.detectors.centers import LearnedBoxes
    from tomodist.learned.detectors.segmentation import LearnedSegmentation
    from tomodist.learned.model.opened import Model
    from tomodist.runtime.cluster import open_session
    from tomodist.runtime.lazy import backproject, choose_threshold, detect_edges, project
    from tomodist.store.tomogram import Tomogram
    from tomodist.tasks.training import TrainingTask
    from tomodist.values.boxes import Boxes
    from tomodist.values.geometry import TiltGeometry, VolumeGrid

_HOME = {
    "Blobs": "tomodist.detectors.classical",
    "Boxes": "tomodist.values.boxes",
    "DogEdges": "tomodist.detectors.classical",
    "GlobalThreshold": "tomodist.detectors.classical",
    "LearnedBoxes": "tomodist.learned.detectors.centers",
    "LearnedSegmentation": "tomodist.learned.detectors.segmentation",
    "Model": "tomodist.learned.model.opened",
    "ThresholdCurve": "tomodist.algorithms.threshold.curve",
    "TiltGeometry": "tomodist.values.geometry",
    "TomodistError": "tomodist.errors",
    "Tomogram": "tomodist.store.tomogram",
    "TrainingTask": "tomodist.tasks.training",
    "VolumeGrid": "tomodist.values.geometry",
    "backproject": "tomodist.runtime.lazy",
    "choose_threshold": "tomodist.runtime.lazy",
    "detect": "tomodist.api",
    "detect_edges": "tomodist.runtime.lazy",
    "edges": "tomodist.api",
    "evaluate": "tomodist.api",
    "locate": "tomodist.api",
    "open_session": "tomodist.runtime.cluster",
    "open_tilt_series": "tomodist.api",
    "project": "tomodist.runtime.lazy",
    "reconstruct": "tomodist.api",
    "segment": "tomodist.api",
    "train": "tomodist.api",
}

__version__ = "0.1.0"

__all__ = [
    "Blobs",
    "Boxes",
    "DogEdges",
    "GlobalThreshold",
    "LearnedBoxes",
    "LearnedSegmentation",
    "Model",
    "ThresholdCurve",
    "TiltGeometry",
    "TomodistError",
    "Tomogram",
    "TrainingTask",
    "VolumeGrid",
    "backproject",
    "choose_threshold",
    "detect",
    "detect_edges",
    "edges",
    "evaluate",
    "locate",
    "open_session",
    "open_tilt_series",
    "project",
    "reconstruct",
    "segment",
    "train",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 -- any public name
    """Load a public name from the module that holds it."""
    if name not in _HOME:
        message = f"module 'tomodist' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """All public names."""
    return sorted({*globals(), *__all__})

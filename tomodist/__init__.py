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
    from tomodist.cluster import open_session
    from tomodist.detect.boxes import Boxes
    from tomodist.detect.classical import Blobs, DogEdges, GlobalThreshold
    from tomodist.detect.learned.centers import LearnedBoxes
    from tomodist.detect.learned.opened import Model
    from tomodist.detect.learned.segmentation import LearnedSegmentation
    from tomodist.errors import TomodistError
    from tomodist.evaluation import evaluate
    from tomodist.geometry import TiltGeometry, VolumeGrid
    from tomodist.io.store import Tomogram
    from tomodist.lift.threshold import ThresholdCurve
    from tomodist.pipeline import locate, open_tilt_series
    from tomodist.pipeline.training import run_training
    from tomodist.stages.lazy import backproject, choose_threshold, detect_edges, project
    from tomodist.training.task import TrainingTask

_HOME = {
    "Blobs": "tomodist.detect.classical",
    "Boxes": "tomodist.detect.boxes",
    "DogEdges": "tomodist.detect.classical",
    "GlobalThreshold": "tomodist.detect.classical",
    "LearnedBoxes": "tomodist.detect.learned.centers",
    "LearnedSegmentation": "tomodist.detect.learned.segmentation",
    "Model": "tomodist.detect.learned.opened",
    "ThresholdCurve": "tomodist.lift.threshold",
    "TiltGeometry": "tomodist.geometry",
    "TomodistError": "tomodist.errors",
    "Tomogram": "tomodist.io.store",
    "TrainingTask": "tomodist.training.task",
    "VolumeGrid": "tomodist.geometry",
    "backproject": "tomodist.stages.lazy",
    "choose_threshold": "tomodist.stages.lazy",
    "detect_edges": "tomodist.stages.lazy",
    "evaluate": "tomodist.evaluation",
    "locate": "tomodist.pipeline",
    "open_session": "tomodist.cluster",
    "open_tilt_series": "tomodist.pipeline",
    "project": "tomodist.stages.lazy",
    "run_training": "tomodist.pipeline.training",
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
    "detect_edges",
    "evaluate",
    "locate",
    "open_session",
    "open_tilt_series",
    "project",
    "run_training",
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

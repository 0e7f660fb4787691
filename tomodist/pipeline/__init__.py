"""The order of the steps for one tomogram: segment, edges, locate.

    detect --> maps --> backproject --> scores --> choose threshold --> curve --> select --> labels,
                                                                                 structures
    detect --> boxes --> link --> structures                          (locating without a volume)

Each step is skipped where its result is there already, made from the same input and parameters.
"""

from tomodist.pipeline.python import locate, open_tilt_series
from tomodist.pipeline.run import run_task
from tomodist.pipeline.tasks import (
    LinkTask,
    LocateMethod,
    Task,
    VotesKind,
    edge_detection,
    localisation,
    segmentation,
    tracking,
)

__all__ = [
    "LinkTask",
    "LocateMethod",
    "Task",
    "VotesKind",
    "edge_detection",
    "localisation",
    "locate",
    "open_tilt_series",
    "run_task",
    "segmentation",
    "tracking",
]

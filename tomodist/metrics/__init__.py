"""Agreement of a result with the truth.

One rule: every measure is a quotient of counts, and the counts add up, so that a volume is judged
brick by brick and a data set tomogram by tomogram: ``sum`` of the parts is the whole. A quotient
of nothing by nothing is 1: where there is nothing to find and nothing is found, all is right.
"""

from tomodist.metrics.counts import Agreement, Confusion
from tomodist.metrics.distances import squared_distances
from tomodist.metrics.objects import Matches, box_iou, match_boxes, match_points
from tomodist.metrics.scores import EdgeScores, MaskScores, ObjectScores, Scores
from tomodist.metrics.surfaces import Histogram, SurfaceDistances, surface, surface_distances
from tomodist.metrics.thresholds import tolerant_curve
from tomodist.metrics.voxels import iou, tolerant_f1

__all__ = [
    "Agreement",
    "Confusion",
    "EdgeScores",
    "Histogram",
    "MaskScores",
    "Matches",
    "ObjectScores",
    "Scores",
    "SurfaceDistances",
    "box_iou",
    "iou",
    "match_boxes",
    "match_points",
    "squared_distances",
    "surface",
    "surface_distances",
    "tolerant_curve",
    "tolerant_f1",
]

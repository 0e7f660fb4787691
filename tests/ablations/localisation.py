"""Algorithm 3: tracks beside votes and components, on degraded true boxes.

Balls of a cell are seen as 2D boxes that a detector misses, invents and displaces. Both methods get
the same boxes; the true 3D boxes and centres say how many objects are found and how well. Votes get
the best of what they can have: centres triangulated from the boxes, unsupported components dropped.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import HalfspaceIntersection

from tests.ablations.errors import DetectorErrors, detected_boxes
from tomodist.algorithms.objects.box_index import LinkRule
from tomodist.algorithms.objects.tracks import Tracks, link_boxes
from tomodist.experiments.cases import Case, Row
from tomodist.experiments.objects import by_components, enough_tilts
from tomodist.experiments.report import Experiment
from tomodist.metrics import match_boxes, match_points
from tomodist.simulate import Ellipsoid, Scene, TiltScheme
from tomodist.values.geometry import TiltGeometry, VolumeGrid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.values.arrays import FloatArray

VOXEL, SHAPE, STEP = 10.0, (64, 200, 200), 3
RADII = (4.0, 8.0)  # voxels
NEAR = 5.0  # voxels: a centre that far from the truth is found
# number of objects, every second one touching the one before, and the detector's errors
CONDITIONS: dict[str, tuple[int, bool, dict[str, float]]] = {
    "30 apart, no errors": (30, False, {}),
    "30, touching pairs": (30, True, {}),
    "30 apart, 30 % missed": (30, False, {"missed": 0.3}),
    "30 apart, as many false": (30, False, {"false": 1.0}),
    "30 apart, jitter ±3 px": (30, False, {"jitter": 3.0}),
    "30, touching, all of it": (30, True, {"missed": 0.3, "false": 0.5, "jitter": 3.0}),
    "150, touching, no errors": (150, True, {}),
    "150, touching, all of it": (150, True, {"missed": 0.3, "false": 0.5, "jitter": 3.0}),
}


def experiment(n_seeds: int) -> Experiment:
    """All conditions, for some seeds."""
    cases = [Case(name, seed) for name in CONDITIONS for seed in range(n_seeds)]
    parameters = {"shape": list(SHAPE), "voxel": VOXEL, "step": STEP, "near": NEAR}
    lower = ("median centre error (voxels)", "time")
    return Experiment("localisation", run_case, tuple(cases), parameters, "votes", lower, 2)


def run_case(case: Case) -> list[Row]:
    """F1 by centre and by box, centre error and time of every method."""
    n, touching, errors = CONDITIONS[case.condition]
    scene = balls(n, case.seed, touching=touching)
    geometry, grid = _geometry_and_grid()
    model = DetectorErrors(seed=case.seed, **errors)
    boxes = [_boxes(scene, geometry, t, model) for t in range(geometry.n_tilts)]
    structures = scene.structures("object")
    true = grid.indices([s.center for s in structures])
    sizes = np.array([s.size for s in structures]) / VOXEL
    by_components(geometry, grid, boxes)  # compiled, or read from numba's cache, before it is timed
    began = time.perf_counter()
    votes = by_components(geometry, grid, boxes)
    voted = time.perf_counter()
    tracks = link_boxes(geometry, grid, boxes, LinkRule(enough_tilts(geometry)))
    linked = time.perf_counter() - voted
    objects = {
        "votes": votes,
        "tracks": (tracks.center, tracks.size),
        "tracks, boxes by polygons": (tracks.center, polygon_sizes(geometry, grid, boxes, tracks)),
    }
    rows = []
    for name, (centers, lengths) in objects.items():
        near = match_points(centers, true, NEAR)
        error = float(np.median(near.center_errors)) if near.center_errors else np.nan
        values = {
            f"F1 within {NEAR:g} voxels": near.f1,
            "precision": near.precision,
            "recall": near.recall,
            "F1 at IoU 0.25": match_boxes(centers, lengths, true, sizes, min_iou=0.25).f1,
            "F1 at IoU 0.5": match_boxes(centers, lengths, true, sizes, min_iou=0.5).f1,
            "median centre error (voxels)": error,
        }
        if "polygon" not in name:
            took = voted - began if name == "votes" else linked
            values["time"] = took / (voted - began)
        rows += [Row("objects", name, case.condition, case.seed, m, v) for m, v in values.items()]
    return rows


def balls(n: int, seed: int, *, touching: bool) -> Scene:
    """Balls that stay apart by two voxels, but for pairs that touch.

    Parameters
    ----------
    n : int
        How many.
    seed : int
        Of places and sizes.
    touching : bool
        Every second ball is of the size of the one before, and touches it.

    Returns
    -------
    Scene
    """
    random = np.random.default_rng(seed)
    half, centers, radii = np.array(SHAPE) / 2, np.zeros((0, 3)), np.zeros(0)
    while len(centers) < n:
        radius = random.uniform(*RADII)
        center = random.uniform(-half + radius, half - radius)
        others = np.arange(len(centers))
        if touching and len(centers) % 2:
            radius, direction = radii[-1], random.normal(size=3)
            center = centers[-1] + direction / np.linalg.norm(direction) * 2 * radius
            others = others[:-1]
        apart = np.linalg.norm(centers[others] - center, axis=1) - radii[others] - radius
        if (apart > 2).all() and (np.abs(center) <= half - radius).all():
            centers, radii = np.concatenate([centers, center[None]]), np.append(radii, radius)
    positions, sizes = (centers * VOXEL).tolist(), (radii * VOXEL).tolist()
    return Scene(
        tuple(
            Ellipsoid((z, y, x), (r, r, r), structure=k)
            for k, ((z, y, x), r) in enumerate(zip(positions, sizes, strict=True), start=1)
        )
    )


def polygon_sizes(
    geometry: TiltGeometry, grid: VolumeGrid, boxes: Sequence[FloatArray], tracks: Tracks
) -> FloatArray:
    """3D boxes by intersecting strips: what the sides of all 2D boxes of a track leave.

    Each box bounds the object by two half-spaces along each image axis, centred here where the
    track says; in the single-axis case their intersection is a polygon in (x, z), times a range
    of y.

    Parameters
    ----------
    geometry, grid
        Of boxes and volume.
    boxes : sequence of ndarray, shape (n_boxes, 4), float64
        Per tilt.
    tracks : Tracks
        The objects.

    Returns
    -------
    ndarray, shape (n, 3), float64
        Lengths along z, y, x, in voxels.
    """
    matrices, sizes = geometry.matrices(grid)[:, :, :3], np.empty((len(tracks), 3))
    for k in range(len(tracks)):
        tilts = np.flatnonzero(tracks.box[:, k] >= 0).tolist()
        half = np.concatenate([boxes[t][tracks.box[t, k], 2:] for t in tilts]) / 2
        rays = matrices[tilts].reshape(-1, 3)
        sides = np.column_stack([np.concatenate([rays, -rays]), -np.concatenate([half, half])])
        corners = HalfspaceIntersection(sides, np.zeros(3)).intersections
        sizes[k] = np.ptp(corners, axis=0)
    return sizes


def _geometry_and_grid() -> tuple[TiltGeometry, VolumeGrid]:
    angles = TiltScheme(-60, 60, STEP).angles
    return TiltGeometry(angles, SHAPE[1:], VOXEL), VolumeGrid(SHAPE, VOXEL)


def _boxes(scene: Scene, geometry: TiltGeometry, tilt: int, errors: DetectorErrors) -> FloatArray:
    seen = detected_boxes(scene, "object", geometry, tilt, errors)
    return np.concatenate([seen.centers, seen.sizes], axis=1)

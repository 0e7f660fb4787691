"""The order of the steps for one tomogram: segment, edges, locate.

    detect --> maps --> backproject --> scores --> choose threshold --> curve --> select --> labels,
                                                                                 structures
    detect --> boxes --> link --> structures                          (locating without a volume)

Each step is skipped where its result is there already, made from the same input and parameters.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import xarray as xr

from tomodist.agreement import stored_consistency
from tomodist.cluster import open_session
from tomodist.detect.boxes import Boxes, fill
from tomodist.errors import ExistsError, InputError
from tomodist.io.store import Tomogram, check_label
from tomodist.lift.backproject import Lifting, Votes
from tomodist.lift.balanced import BalancedVotes
from tomodist.lift.edges import RefinedEdges
from tomodist.lift.seen import LinkRule
from tomodist.stages.adopt import adopt_maps
from tomodist.stages.backproject import backproject_maps, plan_scores, scores_are
from tomodist.stages.chords import (
    choose_edge_threshold,
    keep_edge_curve,
    stored_edge_threshold,
)
from tomodist.stages.detect import MapSource, detect_maps
from tomodist.stages.evidence import Evidence
from tomodist.stages.ingest import describe_series, lazy_images
from tomodist.stages.lazy import as_dask
from tomodist.stages.link import link_structures
from tomodist.stages.select import Selection, plan_labels, select_structures
from tomodist.stages.threshold import choose_threshold_of, keep_curve, stored_curve

if TYPE_CHECKING:
    from tomodist.geometry import TiltGeometry, VolumeGrid
    from tomodist.lift.threshold import ThresholdCurve
    from tomodist.plan import Plan, Resources
    from tomodist.stages.execute import Session

LocateMethod = Literal["tracks", "votes"]
VotesKind = Literal["balanced", "plain"]
EdgeThreshold = Literal["chords", "fifth"]
EDGE_THRESHOLDS: tuple[EdgeThreshold, ...] = get_args(EdgeThreshold)


@dataclass(frozen=True)
class Task:
    """What one command does to a tomogram.

    Parameters
    ----------
    label : str
        Name of the structures.
    source : DetectorMaps or ImportedMaps
        Where the 2D maps come from.
    lifting : Lifting
        How they become a score volume.
    parameters : dict
        The lifting's parameters as plain values.
    threshold : float, optional
        On the scores; by default the one whose reprojection agrees best. On balanced votes it is a
        share, 0 to 1.
    min_voxels, min_tilts : int
        Smaller or less supported structures are dropped.
    triangulate : bool
        Centres from the 2D boxes rather than from the centre of mass.
    own_thresholds : bool
        Every structure gets a threshold of its own, not below the common one.
    exclude : tuple of int, or "auto"
        Tilts that take no part; or those that disagree with the rest.
    brick, tilts_per_task : optional
        Fixed instead of planned.

    Raises
    ------
    InputError
        If the threshold is negative or no number, or there is no such tilt.
    """

    label: str
    source: MapSource
    lifting: Lifting
    parameters: dict[str, Any] = field(default_factory=dict)
    threshold: float | None = None
    min_voxels: int = 1
    min_tilts: int = 0
    triangulate: bool = False
    own_thresholds: bool = False
    exclude: tuple[int, ...] | Literal["auto"] = ()
    brick: Sequence[int] | None = None
    tilts_per_task: int | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 <= self.threshold < math.inf:
            raise InputError(f"--threshold is {self.threshold}; it must be a number, 0 or more")
        if self.shares and self.threshold is not None and self.threshold >= 1:
            raise InputError(
                f"--threshold is {self.threshold:g}, but balanced votes are shares: give a number "
                "below 1, or --votes plain"
            )
        if self.exclude != "auto":
            _check_excluded(self.exclude, self.lifting.geometry.n_tilts)

    @property
    def shares(self) -> bool:
        """Whether scores are shares of the tilts rather than numbers of them."""
        return isinstance(self.lifting, BalancedVotes)

    def without(self, excluded: Sequence[int]) -> tuple[tuple[int, ...], Lifting]:
        """The tilts that are left, and the lifting of these."""
        n_tilts = self.lifting.geometry.n_tilts
        tilts = tuple(t for t in range(n_tilts) if t not in set(excluded))
        lifting: Any = self.lifting  # a dataclass, whichever it is
        geometry = lifting.geometry.select(tilts)
        return tilts, dataclasses.replace(lifting, geometry=geometry) if excluded else lifting

    def plans(self, resources: Resources) -> list[Plan]:
        """What the steps over volumes would cost.

        Raises
        ------
        PlanError
            If one of them cannot fit.
        """
        scores = plan_scores(
            self.lifting, 1, resources, brick=self.brick, tilts_per_task=self.tilts_per_task
        )
        return [scores, plan_labels(self.lifting.grid, resources)]


def _check_excluded(exclude: Sequence[int], n_tilts: int) -> None:
    wrong = [t for t in exclude if not 0 <= t < n_tilts]
    if wrong:
        raise InputError(f"--exclude-tilts {wrong[0]}: the series has tilts 0 to {n_tilts - 1}")
    if len(set(exclude)) >= n_tilts:
        raise InputError(f"--exclude-tilts leaves none of the {n_tilts} tilts; name fewer")


@dataclass(frozen=True)
class LinkTask:
    """Locating objects by tracks: no volume is made.

    Parameters
    ----------
    label : str
        Name of the structures.
    source : MapSource
        Where the 2D boxes come from.
    rule : LinkRule
        Which of them belong together.
    exclude : tuple of int
        Tilts that take no part.
    """

    label: str
    source: MapSource
    rule: LinkRule
    exclude: tuple[int, ...] = ()

    def plans(self, _: Resources) -> list[Plan]:
        """No step over a volume."""
        return []


def open_tilt_series(path: str | Path, **options: Any) -> xr.DataArray:  # noqa: ANN401
    """Open a tilt series lazily: a stack with its alignment, or a tomogram store.

    Parameters
    ----------
    path : str or Path
        MRC stack, or a store made by ``tomodist ingest``.
    **options
        For a stack, those of `tomodist.stages.ingest.describe_series`: ``tilt_angles``,
        ``alignment``, ``binning``, ...

    Returns
    -------
    DataArray, shape (n_tilts, height, width), float32
        NaN where nothing is measured. ``attrs["geometry"]`` and ``attrs["grid"]`` are the plain
        forms of its `TiltGeometry` and `VolumeGrid`.

    Raises
    ------
    InputError, StoreError
    """
    if Path(path).is_dir():
        tomogram = Tomogram.open(path)
        images = tomogram.dataset("tilt_series")["images"]
        geometry, grid = tomogram.geometry, tomogram.grid
    else:
        series = describe_series(path, **options)
        geometry, grid = series.geometry, series.grid
        coordinates = {"tilt_angle": ("tilt", list(geometry.tilt_angles))}
        images = xr.DataArray(lazy_images(series), dims=("tilt", "y", "x"), coords=coordinates)
    return images.assign_attrs(geometry=geometry.to_dict(), grid=grid.to_dict())


def segmentation(
    tomogram: Tomogram,
    label: str,
    source: MapSource,
    votes: VotesKind = "balanced",
    *,
    sectors: int = BalancedVotes.sectors,
    coverage: bool = BalancedVotes.coverage,
    own_thresholds: bool = True,
    **options: Any,  # noqa: ANN401
) -> Task:
    """Algorithm 1: votes, and the threshold whose reprojection agrees best.

    Parameters
    ----------
    tomogram, label, source
        See `Task`.
    votes : {"balanced", "plain"}
        As in `tomodist.lift.balanced`, or as in the paper.
    sectors, coverage
        Of balanced votes.
    own_thresholds : bool
        Whether every structure gets a threshold of its own.
    **options
        The other fields of `Task`.

    Returns
    -------
    Task
    """
    geometry, grid = tomogram.geometry, tomogram.grid
    lifting: Lifting = Votes(geometry, grid)
    parameters: dict[str, Any] = {"lifting": "votes"}
    if votes == "balanced":
        lifting = BalancedVotes(geometry, grid, sectors, coverage)
        parameters = {"lifting": "balanced votes", "sectors": sectors, "coverage": coverage}
    return Task(
        check_label(label), source, lifting, parameters, own_thresholds=own_thresholds, **options
    )


def edge_detection(
    tomogram: Tomogram,
    label: str,
    source: MapSource,
    refinement: dict[str, Any] | None = None,
    *,
    choose: EdgeThreshold = "chords",
    **options: Any,  # noqa: ANN401
) -> Task:
    """Algorithm 2: votes of 2D edges that survive refinement between adjacent tilts.

    Parameters
    ----------
    tomogram, label, source
        See `Task`.
    refinement : dict, optional
        ``reach``, ``support``, ``rounds``, ``keep_own`` of `RefinedEdges`.
    choose : {"chords", "fifth"}
        How the threshold is chosen if none is given: where rays that stay long in the result agree
        best with the maps (see `tomodist.lift.chords`), or a fifth of the tilts.
    **options
        The other fields of `Task`.

    Returns
    -------
    Task

    Raises
    ------
    InputError
        If numbers contradict each other, or `choose` is unknown.
    """
    lifting = RefinedEdges(tomogram.geometry, tomogram.grid, **(refinement or {}))
    if choose not in EDGE_THRESHOLDS:
        raise InputError(f"choose is {choose!r}; it must be one of {', '.join(EDGE_THRESHOLDS)}")
    if options.get("threshold") is None and choose == "fifth":
        options["threshold"] = tomogram.geometry.n_tilts // 5
    parameters = {
        "lifting": "refined edges",
        "reach": lifting.reach,
        "support": lifting.support,
        "rounds": lifting.rounds,
        "keep_own": lifting.keep_own,
    }
    return Task(check_label(label), source, lifting, parameters, **options)


def localisation(
    tomogram: Tomogram,
    label: str,
    source: MapSource,
    *,
    min_tilts: int | None = None,
    **options: Any,  # noqa: ANN401
) -> Task:
    """Algorithm 3: votes of filled 2D boxes, their components, and the boxes that support each.

    Parameters
    ----------
    tomogram, label, source
        See `Task`.
    min_tilts : int, optional
        Structures supported by fewer tilts are dropped; by default a quarter of the tilts.
    **options
        The other fields of `Task`.

    Returns
    -------
    Task
    """
    lifting = Votes(tomogram.geometry, tomogram.grid)
    return Task(
        check_label(label),
        source,
        lifting,
        {"lifting": "votes"},
        min_tilts=_enough(tomogram, min_tilts),
        triangulate=True,
        **options,
    )


def tracking(
    tomogram: Tomogram,
    label: str,
    source: MapSource,
    *,
    min_tilts: int | None = None,
    tolerance: float = LinkRule.tolerance,
    exclude: Sequence[int] = (),
) -> LinkTask:
    """Algorithm 3 without a volume: 2D boxes linked across tilts, each track one object.

    Parameters
    ----------
    tomogram, label, source
        See `LinkTask`.
    min_tilts : int, optional
        Objects seen in fewer tilts are dropped; by default a quarter of the tilts.
    tolerance : float
        In pixels; see `LinkRule`.
    exclude : sequence of int
        Tilts that take no part.

    Returns
    -------
    LinkTask
    """
    rule = LinkRule(_enough(tomogram, min_tilts), tolerance)
    _check_excluded(exclude, tomogram.geometry.n_tilts)
    return LinkTask(check_label(label), source, rule, tuple(sorted(set(exclude))))


def _enough(tomogram: Tomogram, min_tilts: int | None) -> int:
    """Tilts that have to support an object: as given, or a quarter."""
    return max(3, -(-tomogram.geometry.n_tilts // 4)) if min_tilts is None else min_tilts


def run_task(
    session: Session, tomogram: Tomogram, task: Task | LinkTask, *, overwrite: bool = False
) -> float | None:
    """Do everything that is not done yet.

    Parameters
    ----------
    session : Session
        Where tasks run.
    tomogram : Tomogram
        The store.
    task : Task or LinkTask
        What to do.
    overwrite : bool
        Replace results that were made differently.

    Returns
    -------
    float or None
        The threshold that was used; tracks have none.

    Raises
    ------
    TomodistError
        Of the step that failed; finished steps stay.
    """
    task.plans(session.resources)
    session.check_sees(tomogram.path)
    check_method(tomogram, task, overwrite=overwrite)
    detect_maps(session, tomogram, task.label, task.source, overwrite=overwrite)
    if isinstance(task, LinkTask):
        link_structures(
            session, tomogram, task.label, task.rule, exclude=task.exclude, overwrite=overwrite
        )
        return None
    _make_scores(session, tomogram, task, overwrite=overwrite)
    threshold = threshold_of(session, tomogram, task, overwrite=overwrite)
    return find_above(session, tomogram, task, threshold, overwrite=overwrite)


def threshold_of(
    session: Session, tomogram: Tomogram, task: Task, *, overwrite: bool = False
) -> float:
    """The threshold on the stored scores of a task: as given, from an earlier run, or chosen now.

    Raises
    ------
    ExistsError, InputError, PlanError, StoreError
    """
    evidence = Evidence.of(tomogram, task.label)
    if task.threshold is not None:
        return task.threshold * evidence.levels if task.shares else task.threshold
    if isinstance(task.lifting, RefinedEdges):
        return _edge_threshold(session, tomogram, task, evidence, overwrite=overwrite)
    again = overwrite or task.exclude == "auto"  # the curve of all tilts may be there
    return float(_curve(session, tomogram, task, evidence, overwrite=again).best)


def find_above(
    session: Session, tomogram: Tomogram, task: Task, threshold: float, *, overwrite: bool = False
) -> float:
    """Make the structures of a task from its scores above a threshold; as tables tell it.

    Raises
    ------
    ExistsError, PlanError, StoreError
    """
    selection = Selection(
        threshold, task.min_voxels, task.min_tilts, task.triangulate, task.own_thresholds
    )
    select_structures(session, tomogram, task.label, selection, overwrite=overwrite)
    return threshold * Evidence.of(tomogram, task.label).scale


def _make_scores(session: Session, tomogram: Tomogram, task: Task, *, overwrite: bool) -> None:
    """Backproject the tilts that take part.

    Those that disagree are known only after all have been lifted together; then the rest is lifted
    again. The scores say of which tilts they are, so an interrupted run goes on at either time.
    """
    if task.exclude != "auto":
        excluded = tuple(sorted(set(task.exclude)))
        make_scores_of(session, tomogram, task, task.label, excluded, overwrite=overwrite)
        return
    unit = f"scores/{task.label}"
    if tomogram.has(unit):
        excluded = tuple(tomogram.attributes(unit).get("excluded", ()))
        if excluded and scores_are(tomogram, task.label, *_scored(task, excluded)):
            return
    make_scores_of(session, tomogram, task, task.label, (), overwrite=overwrite)
    _curve(session, tomogram, task, Evidence.of(tomogram, task.label), overwrite=True)
    agreement = stored_consistency(tomogram, task.label)
    excluded = tuple(np.flatnonzero(agreement[2].disagrees).tolist()) if agreement else ()
    if excluded:
        words = ", ".join(map(str, excluded))
        session.progress.message(f"tilts that disagree with the rest are left out: {words}")
        make_scores_of(session, tomogram, task, task.label, excluded, overwrite=True)


def _scored(task: Task, excluded: tuple[int, ...]) -> tuple[Lifting, dict[str, Any]]:
    """The lifting of the tilts that are left, and what determines the scores."""
    parameters = dict(task.parameters)
    if excluded or task.exclude:
        how = "auto" if task.exclude == "auto" else "given"
        parameters |= {"exclude": how, "excluded": list(excluded)}
    return task.without(excluded)[1], parameters


def make_scores_of(
    session: Session,
    tomogram: Tomogram,
    task: Task,
    labels: str | Sequence[str],
    excluded: tuple[int, ...],
    *,
    overwrite: bool,
) -> None:
    """Make the scores of a label, or of several classes in one pass, without some tilts.

    Raises
    ------
    ExistsError, InputError, PlanError, StoreError
    """
    lifting, parameters = _scored(task, excluded)
    backproject_maps(
        session,
        tomogram,
        labels,
        lifting,
        parameters,
        tilts=task.without(excluded)[0] if excluded else None,
        brick=task.brick,
        tilts_per_task=task.tilts_per_task,
        overwrite=overwrite,
    )


def _curve(
    session: Session, tomogram: Tomogram, task: Task, evidence: Evidence, *, overwrite: bool
) -> ThresholdCurve:
    """The threshold curve, from an earlier run or now."""
    found = stored_curve(tomogram, task.label, overwrite=overwrite)
    if found is not None:
        return found
    scores = tomogram.array(f"scores/{task.label}", "scale0/scores")
    grid = task.lifting.grid
    curve = choose_threshold_of(
        session, scores, evidence.maps, evidence.geometry, grid, evidence.levels
    )
    keep_curve(tomogram, task.label, curve, evidence.tilts, evidence.scale)
    return curve


def _edge_threshold(
    session: Session, tomogram: Tomogram, task: Task, evidence: Evidence, *, overwrite: bool
) -> float:
    """The threshold of edges, from an earlier run or now."""
    found = stored_edge_threshold(tomogram, task.label, overwrite=overwrite)
    if found is not None:
        return found
    scores = tomogram.array(f"scores/{task.label}", "scale0/scores")
    grid, own = task.lifting.grid, 0 if task.parameters.get("rounds") else 1
    curve = choose_edge_threshold(session, scores, evidence.maps, evidence.geometry, grid, own=own)
    keep_edge_curve(tomogram, task.label, curve)
    return float(curve.best)


def check_method(tomogram: Tomogram, task: Task | LinkTask, *, overwrite: bool) -> None:
    """Refuse, before anything is done, to replace structures that another method found.

    Raises
    ------
    ExistsError
    """
    unit = f"structures/{task.label}"
    if overwrite or not tomogram.has(unit):
        return
    linked = tomogram.attributes(unit)["fingerprint"]["step"] == "link"
    if linked != isinstance(task, LinkTask):
        method = "tracks" if linked else "votes"
        raise ExistsError(
            f"{tomogram.path}: {unit} exists and was found by {method}; use --overwrite to replace "
            "it, or another --label"
        )


def locate(
    maps: Any,  # noqa: ANN401 -- NumPy, Dask, xarray, or a sequence of Boxes
    geometry: TiltGeometry,
    grid: VolumeGrid,
    method: LocateMethod = "tracks",
    *,
    threshold: float | None = None,
    min_voxels: int = 1,
    min_tilts: int = 3,
    session: Session | None = None,
) -> xr.Dataset:
    """3D boxes from 2D boxes (Algorithm 3).

    Parameters
    ----------
    maps : array, shape (n_tilts, height, width), or sequence of Boxes
        Filled boxes as binary maps, or the boxes of every tilt.
    geometry, grid
        Of the maps and of the volume.
    method : {"tracks", "votes"}
        Link boxes across tilts, or find the components of the votes of filled boxes.
    threshold : float, optional
        On the votes; by default the one whose reprojection agrees best. Of ``"votes"``.
    min_voxels : int
        Smaller structures are dropped. Of ``"votes"``.
    min_tilts : int
        Less supported structures are dropped.
    session : Session, optional
        Where tasks run; by default threads of this process.

    Returns
    -------
    Dataset
        One row per structure: id, centre z, y, x and sizes in Å (from the first voxel), number of
        supporting tilts, and residual in pixels; of tracks the standard errors of the centre, of
        votes their mean and maximum.

    Raises
    ------
    InputError, GeometryError, PlanError
    """
    if session is None:
        with open_session("threads") as threads:
            return locate(
                maps,
                geometry,
                grid,
                method,
                threshold=threshold,
                min_voxels=min_voxels,
                min_tilts=min_tilts,
                session=threads,
            )
    if method not in ("tracks", "votes"):
        raise InputError(f"method is {method!r}; it must be 'tracks' or 'votes'")
    if method == "tracks" and (threshold is not None or min_voxels > 1):
        raise InputError("threshold and min_voxels are of method 'votes'; tracks have no voxels")
    boxes = None
    if isinstance(maps, Sequence) and all(isinstance(b, Boxes) for b in maps):
        if len(maps) != geometry.n_tilts:
            raise InputError(f"boxes of {len(maps)} tilts, but the geometry has {geometry.n_tilts}")
        boxes, maps = maps, np.stack([fill(b, geometry.image_shape) for b in maps])
    data = as_dask(maps, (geometry.n_tilts, *geometry.image_shape), "maps")
    with tempfile.TemporaryDirectory(prefix="tomodist-") as folder:
        tomogram = Tomogram.create(Path(folder) / "located.zarr")
        adopt_maps(tomogram, "located", data, geometry, grid, boxes)
        if method == "tracks":
            link_structures(session, tomogram, "located", LinkRule(min_tilts))
            return tomogram.dataset("structures/located").load()
        backproject_maps(session, tomogram, "located", Votes(geometry, grid), {})
        if threshold is None:
            scores = tomogram.array("scores/located", "scale0/scores")
            stored = tomogram.array("maps/located", "maps")
            levels = geometry.n_tilts
            threshold = choose_threshold_of(session, scores, stored, geometry, grid, levels).best
        selection = Selection(threshold, min_voxels, min_tilts, triangulate=True)
        select_structures(session, tomogram, "located", selection)
        return tomogram.dataset("structures/located").load()

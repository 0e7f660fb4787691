"""The commands as functions, and the algorithms on arrays in memory.

    tomodist.segment("TS_01.zarr", "granule", "granules.mrc")        as `tomodist segment`
    tomodist.locate("TS_01.zarr", "gold", tomodist.Blobs(100))       as `tomodist locate`
    tomodist.locate(boxes, geometry, grid)                           in memory

A source of maps may be a detector, a path (a stack of masks, or boxes and points), the boxes of
every tilt, or any `tomodist.sources.base.MapSource`. Without a session, tasks run on threads of
this process.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np
import xarray as xr

from tomodist.algorithms.lift.backproject import Votes
from tomodist.algorithms.lift.windows import checked_map
from tomodist.algorithms.objects.box_index import LinkRule
from tomodist.algorithms.objects.components import label_brick, measure, merge
from tomodist.algorithms.objects.tracks import link_boxes
from tomodist.detectors.classical import DogEdges
from tomodist.errors import InputError
from tomodist.planning.plan import Cut
from tomodist.runtime.cluster import open_session
from tomodist.runtime.lazy import as_dask, backproject, choose_threshold
from tomodist.sources.base import DetectorMaps
from tomodist.sources.boxes import ImportedBoxes, import_boxes
from tomodist.sources.placement import PointOptions
from tomodist.sources.stack import import_maps
from tomodist.steps.ingest import describe_series, lazy_images
from tomodist.steps.structures import Selection, stable_threshold, structure_table
from tomodist.store.structures import track_columns
from tomodist.store.tables import dataset_of
from tomodist.store.tomogram import Tomogram
from tomodist.tasks.base import run
from tomodist.tasks.comparisons import Kind, Pair, Rules
from tomodist.tasks.detect import DetectionTask
from tomodist.tasks.edges import edge_detection
from tomodist.tasks.evaluate import Evaluation, evaluation_task
from tomodist.tasks.locate import localisation, tracking
from tomodist.tasks.reconstruct import ReconstructionTask, method_of
from tomodist.tasks.segment import segmentation
from tomodist.values.boxes import Boxes, boxes_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tomodist.learned.model.card import ModelCard
    from tomodist.runtime.runner import Session
    from tomodist.sources.base import MapSource
    from tomodist.store.tomogram import Label
    from tomodist.tasks.base import Task
    from tomodist.tasks.lifting import Exclude
    from tomodist.tasks.locate import LocateMethod
    from tomodist.tasks.results import LabelResult, ReconstructionResult
    from tomodist.tasks.segment import VotesKind
    from tomodist.tasks.training import TrainingTask
    from tomodist.values.boxes import Form
    from tomodist.values.geometry import TiltGeometry, VolumeGrid

    Store = Tomogram | str | Path

T = TypeVar("T")
_STACKS = (".mrc", ".mrcs", ".st", ".ali", ".rec", ".tif", ".tiff", ".npy", ".zarr")


def open_tilt_series(path: str | Path, **options: Any) -> xr.DataArray:  # noqa: ANN401
    """Open a tilt series lazily: a stack with its alignment, or a tomogram store.

    Parameters
    ----------
    path : str or Path
        MRC stack, or a store made by ``tomodist ingest``.
    **options
        For a stack, those of `tomodist.steps.ingest.describe_series`: ``tilt_angles``,
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
        images = tomogram.series.dataset()["images"]
        geometry, grid = tomogram.geometry, tomogram.grid
    else:
        series = describe_series(path, **options)
        geometry, grid = series.geometry, series.grid
        coordinates = {"tilt_angle": ("tilt", list(geometry.tilt_angles))}
        images = xr.DataArray(lazy_images(series), dims=("tilt", "y", "x"), coords=coordinates)
    return images.assign_attrs(geometry=geometry.to_dict(), grid=grid.to_dict())


def detect(
    tomogram: Store,
    label: str,
    source: Any,  # noqa: ANN401 -- see the module
    *,
    form: Form = "mask",
    min_size: float = 0.0,
    overwrite: bool = False,
    session: Session | None = None,
) -> xr.Dataset:
    """Detect on every tilt, and store the 2D maps and boxes.

    Parameters
    ----------
    tomogram : Tomogram, str or Path
        The store.
    label : str
        Name of the structures.
    source : detector, path, sequence of Boxes, or MapSource
        Where the maps come from.
    form : {"mask", "box"}
        What maps show of boxes: the ellipse inside, or the filled box.
    min_size : float
        Boxes of which a side is shorter are dropped, in Å.
    overwrite : bool
        Replace maps that were made differently.
    session : Session, optional
        Where tasks run.

    Returns
    -------
    Dataset
        Lazy; ``maps`` (tilt, y, x) and ``boxes`` (tilt, box, field).

    Raises
    ------
    ExistsError, InputError, PlanError, StoreError
    """
    of = _label(tomogram, label)
    task = DetectionTask(of, as_source(of, source, form, min_size))
    return _run(task, overwrite=overwrite, session=session).maps.dataset()


def segment(
    tomogram: Store,
    label: str,
    source: Any,  # noqa: ANN401 -- see the module
    votes: VotesKind = "balanced",
    *,
    min_size: float = 0.0,
    per_structure: bool = True,
    threshold: float | None = None,
    min_voxels: int = 1,
    exclude: Exclude = (),
    cut: Cut = Cut(),  # noqa: B008 -- a value
    overwrite: bool = False,
    session: Session | None = None,
) -> LabelResult:
    """Lift 2D masks to a 3D segmentation (Algorithm 1), as ``tomodist segment`` does.

    Parameters
    ----------
    tomogram : Tomogram, str or Path
        The store.
    label : str
        Name of the structures.
    source : detector, path, sequence of Boxes, or MapSource
        Where the masks come from.
    votes, per_structure, threshold, min_voxels, exclude, cut
        As for `tomodist.tasks.segment.segmentation`.
    min_size : float
        2D boxes of which a side is shorter are dropped, in Å.
    overwrite : bool
        Replace results that were made differently.
    session : Session, optional
        Where tasks run.

    Returns
    -------
    LabelResult
        With `structures`, `threshold` and `draw()`.

    Raises
    ------
    ExistsError, InputError, PlanError, StoreError
    """
    of = _label(tomogram, label)
    task = segmentation(
        of,
        as_source(of, source, "mask", min_size),
        votes,
        per_structure=per_structure,
        threshold=threshold,
        min_voxels=min_voxels,
        exclude=exclude,
        cut=cut,
    )
    return _run(task, overwrite=overwrite, session=session)


def edges(
    tomogram: Store,
    label: str,
    source: Any = None,  # noqa: ANN401 -- see the module
    *,
    reach: int = 2,
    support: int = 3,
    rounds: int = 0,
    keep_own: bool = True,
    threshold: float | None = None,
    min_voxels: int = 1,
    exclude: Exclude = (),
    cut: Cut = Cut(),  # noqa: B008 -- a value
    overwrite: bool = False,
    session: Session | None = None,
) -> LabelResult:
    """Lift 2D edges to 3D (Algorithm 2), as ``tomodist edges`` does.

    Parameters
    ----------
    tomogram : Tomogram, str or Path
        The store.
    label : str
        Name of the structures.
    source : detector, path or MapSource, optional
        Where the edges come from; by default `DogEdges`.
    reach, support, rounds, keep_own, threshold, min_voxels, exclude, cut
        As for `tomodist.tasks.edges.edge_detection`.
    overwrite : bool
        Replace results that were made differently.
    session : Session, optional
        Where tasks run.

    Returns
    -------
    LabelResult

    Raises
    ------
    ExistsError, InputError, PlanError, StoreError
    """
    of = _label(tomogram, label)
    task = edge_detection(
        of,
        as_source(of, DogEdges() if source is None else source, "mask", 0.0),
        reach=reach,
        support=support,
        rounds=rounds,
        keep_own=keep_own,
        threshold=threshold,
        min_voxels=min_voxels,
        exclude=exclude,
        cut=cut,
    )
    return _run(task, overwrite=overwrite, session=session)


@overload
def locate(
    where: Tomogram | str | Path,
    label: str,
    source: Any,  # noqa: ANN401 -- see the module
    method: LocateMethod = ...,
    *,
    min_size: float = ...,
    threshold: float | None = ...,
    min_voxels: int = ...,
    min_tilts: int | None = ...,
    tolerance: float = ...,
    exclude: Exclude = ...,
    overwrite: bool = ...,
    session: Session | None = ...,
) -> LabelResult: ...


@overload
def locate(
    where: Any,  # noqa: ANN401 -- NumPy, Dask, xarray, or Boxes
    label: TiltGeometry,
    source: VolumeGrid,
    method: LocateMethod = ...,
    *,
    threshold: float | None = ...,
    min_voxels: int = ...,
    min_tilts: int | None = ...,
    tolerance: float = ...,
) -> xr.Dataset: ...


def locate(
    where: Any,
    label: Any,
    source: Any,
    method: LocateMethod = "tracks",
    *,
    min_size: float = 0.0,
    threshold: float | None = None,
    min_voxels: int = 1,
    min_tilts: int | None = None,
    tolerance: float = LinkRule.tolerance,
    exclude: Exclude = (),
    overwrite: bool = False,
    session: Session | None = None,
) -> LabelResult | xr.Dataset:
    """Lift 2D boxes to 3D boxes (Algorithm 3): of a store, or in memory.

    ``locate(store, label, source)`` does what ``tomodist locate`` does. ``locate(boxes, geometry,
    grid)`` works in memory: boxes are linked without a volume, and of votes the whole volume is
    held (a byte per voxel).

    Parameters
    ----------
    where : Tomogram, str or Path; or sequence of Boxes, or array (n_tilts, height, width)
        The store; or the boxes of every tilt, or filled boxes as binary maps.
    label : str, or TiltGeometry
        Name of the structures; or the geometry of the boxes.
    source : detector, path, sequence of Boxes or MapSource; or VolumeGrid
        Where boxes come from; or the volume.
    method : {"tracks", "votes"}
        Link boxes across tilts, or find the components of the votes of filled boxes.
    min_size : float
        2D boxes of which a side is shorter are dropped, in Å. In a store.
    threshold : float, optional
        On the votes; by default the one whose reprojection agrees best. Of ``"votes"``.
    min_voxels : int
        Smaller structures are dropped. Of ``"votes"``.
    min_tilts : int, optional
        Less supported structures are dropped; by default a quarter of the tilts of a store, and 3
        in memory.
    tolerance : float
        In pixels; see `LinkRule`. Of ``"tracks"``.
    exclude : tuple of int, or "auto"
        Tilts that take no part. In a store.
    overwrite : bool
        Replace results that were made differently. In a store.
    session : Session, optional
        Where tasks run. In a store.

    Returns
    -------
    LabelResult, or Dataset
        One row per structure: id, centre z, y, x and sizes in Å (from the first voxel), number of
        supporting tilts, and residual in pixels; of tracks the standard errors of the centre, of
        votes their mean and maximum.

    Raises
    ------
    ExistsError, InputError, GeometryError, PlanError, StoreError
    """
    if method not in ("tracks", "votes"):
        raise InputError(f"`method` is {method!r}; it must be 'tracks' or 'votes'")
    if method == "tracks" and (threshold is not None or min_voxels > 1):
        raise InputError(
            "`threshold` and `min_voxels` apply only to the method 'votes'; tracks have no voxels"
        )
    if not isinstance(where, Tomogram | str | Path):
        least = 3 if min_tilts is None else min_tilts
        if method == "tracks":
            return _linked(where, label, source, LinkRule(least, tolerance))
        return _voted(where, label, source, threshold, Selection(min_voxels, least, True))  # noqa: FBT003
    of = _label(where, label)
    maps = as_source(of, source, "box", min_size)
    task: Task[LabelResult]
    if method == "tracks":
        if exclude == "auto":
            raise InputError("`exclude` 'auto' applies only to the method 'votes'; name the tilts")
        task = tracking(of, maps, min_tilts=min_tilts, tolerance=tolerance, exclude=exclude)
    else:
        task = localisation(
            of,
            maps,
            min_tilts=min_tilts,
            threshold=threshold,
            min_voxels=min_voxels,
            exclude=exclude,
        )
    return _run(task, overwrite=overwrite, session=session)


def reconstruct(
    tomogram: Store,
    method: str = "wbp",
    name: str | None = None,
    *,
    parameters: Mapping[str, Any] | None = None,
    cut: Cut = Cut(),  # noqa: B008 -- a value
    overwrite: bool = False,
    session: Session | None = None,
) -> ReconstructionResult:
    """Reconstruct the grey values, as ``tomodist reconstruct`` does.

    Parameters
    ----------
    tomogram : Tomogram, str or Path
        The store.
    method : {"wbp", "sirt"}
        Weighted backprojection, or iterations towards a volume that projects to the images.
    name : str, optional
        Of the result; by default the method.
    parameters : mapping, optional
        Of the method: ``cutoff``, ``falloff``, ``filter_kind``; or ``iterations``,
        ``non_negative``, ``background``.
    cut : Cut
        Brick and tilts per task, fixed instead of planned.
    overwrite : bool
        Replace a reconstruction that was made differently.
    session : Session, optional
        Where tasks run.

    Returns
    -------
    ReconstructionResult

    Raises
    ------
    ExistsError, InputError, PlanError, StoreError
    """
    store = _opened(tomogram)
    unit = store.reconstruction(method if name is None else name)
    task = ReconstructionTask(unit, method_of(store, method, parameters), cut)
    return _run(task, overwrite=overwrite, session=session)


def evaluate(
    result: str | Path,
    truth: str | Path | Mapping[str, str | Path],
    *,
    kind: Kind | None = None,
    value: float | None = None,
    max_distance: int = 32,
    distance: float | None = None,
    within: str | Path | None = None,
    pixel_size: float | None = None,
    session: Session | None = None,
) -> Evaluation:
    """Compare results with the truth, as ``tomodist evaluate`` does.

    Parameters
    ----------
    result : str or Path
        A tomogram store, or a volume or table that was made elsewhere.
    truth : str, Path, or mapping
        Of a store, the truth of every label; of a file, its truth. Volumes are MRC, Zarr or
        OME-Zarr; tables CSV or STAR.
    kind : {"mask", "edges", "boxes", "points"}, optional
        How all are compared; by default what the truth is.
    value : float, optional
        Which value of the true volume is the class; by default anything but 0.
    max_distance : int
        Surface distances up to so many voxels are told apart.
    distance : float, optional
        How far in Å a point may be from the true one.
    within : str or Path, optional
        A volume; only what lies in it counts.
    pixel_size : float, optional
        In Å, of files that do not say it.
    session : Session, optional
        Where tasks run.

    Returns
    -------
    Evaluation
        Scores by label: ``evaluation["gold"]``; their sums: ``evaluation.pooled``.

    Raises
    ------
    InputError, StoreError, PlanError
    """
    named = not isinstance(truth, str | Path)
    truths = [("", truth)] if isinstance(truth, str | Path) else list(truth.items())
    pairs = [Pair(Path(path), name if named else None, kind, value) for name, path in truths]
    rules = Rules(max_distance, distance, None if within is None else Path(within), pixel_size)
    task = evaluation_task(Path(result), pairs, rules)
    return _run(task, overwrite=False, session=session)


def train(
    task: TrainingTask, *, overwrite: bool = False, session: Session | None = None
) -> ModelCard:
    """Train a detector, as ``tomodist train`` does; all of it in this process.

    Parameters
    ----------
    task : TrainingTask
        What is learnt, from what, and how.
    overwrite : bool
        Replace a model of another training.
    session : Session, optional
        Whose progress shows the steps.

    Returns
    -------
    ModelCard
        Of the model; ``training["stopped"]`` says why it ended.

    Raises
    ------
    ExistsError, InputError, StoreError
    """
    return _run(task, overwrite=overwrite, session=session)


def as_source(label: Label, source: Any, form: Form, min_size: float) -> MapSource:  # noqa: ANN401
    """What a caller gives as a source of maps.

    Parameters
    ----------
    label : Label
        For whose store it has to fit.
    source : detector, path, sequence of Boxes, or MapSource
        A detector is called with an image and its pixel size; a path is a stack of masks, or boxes
        and points of one class or of the label's.
    form, min_size
        As for `DetectorMaps`.

    Returns
    -------
    MapSource

    Raises
    ------
    InputError
        If it is none of these, or does not fit.
    """
    if hasattr(source, "of_tilt"):
        return source  # type: ignore[no-any-return]
    if callable(source):
        return DetectorMaps(source, form, min_size)
    if isinstance(source, str | Path):
        path = Path(source)
        if path.suffix.lower() in _STACKS or (path / "zarr.json").exists():
            return import_maps(label.tomogram, path, form=form, min_size=min_size)
        classes = import_boxes(
            label.tomogram, path, form=form, min_size=min_size, options=PointOptions()
        )
        if len(classes) > 1 and label.name not in classes:
            raise InputError(f"{path} has the classes {', '.join(classes)}; use one as `label`")
        return classes.get(label.name) or next(iter(classes.values()))
    if isinstance(source, Sequence) and all(isinstance(b, Boxes) for b in source):
        _check_tilts(len(source), label.tomogram.geometry)
        return ImportedBoxes(tuple(source), form)
    raise InputError(
        f"`source` is a {type(source).__name__}; it must be a detector, a path, or Boxes per tilt"
    )


def _linked(
    maps: Any,  # noqa: ANN401 -- see `locate`
    geometry: TiltGeometry,
    grid: VolumeGrid,
    rule: LinkRule,
) -> xr.Dataset:
    """Boxes linked in memory; no volume is made."""
    rows = [np.column_stack([b.center, b.size]) for b in _boxes_per_tilt(maps, geometry)]
    tracks = link_boxes(geometry, grid, rows, rule)
    return dataset_of(track_columns(tracks, geometry, grid))


def _voted(
    maps: Any,  # noqa: ANN401
    geometry: TiltGeometry,
    grid: VolumeGrid,
    threshold: float | None,
    selection: Selection,
) -> xr.Dataset:
    """Components of the votes of filled boxes, in memory."""
    boxes = _boxes_per_tilt(maps, geometry)
    if _are_boxes(maps):
        from tomodist.values.boxes import fill

        maps = np.stack([fill(b, geometry.image_shape) for b in boxes])
    votes = backproject(maps, geometry, grid).compute()
    if threshold is None:
        threshold = float(choose_threshold(votes, maps, geometry).best)
    scores, max_score = votes.values, Votes(geometry, grid).max_score
    labels = label_brick(scores, threshold)
    sure = stable_threshold(np.array(threshold), max_score)
    origin = (0, 0, 0)
    rows = measure(labels, scores, list(origin), scores.shape, float(sure))
    measures, _ = merge({origin: rows}, {})
    columns, _ = structure_table(
        measures,
        np.full(len(measures), threshold),
        selection,
        geometry,
        range(geometry.n_tilts),
        grid,
        [np.column_stack([b.center, b.size]) for b in boxes],
    )
    return dataset_of(columns)


def _boxes_per_tilt(maps: Any, geometry: TiltGeometry) -> list[Boxes]:  # noqa: ANN401
    """As given; or those of the connected parts of maps, read one by one."""
    if _are_boxes(maps):
        _check_tilts(len(maps), geometry)
        return list(maps)
    data = as_dask(maps, (geometry.n_tilts, *geometry.image_shape), "maps")
    return [
        boxes_of(checked_map(np.asarray(data[tilt]), tilt) == 1) for tilt in range(geometry.n_tilts)
    ]


def _are_boxes(maps: Any) -> bool:  # noqa: ANN401
    return isinstance(maps, Sequence) and all(isinstance(b, Boxes) for b in maps)


def _check_tilts(n: int, geometry: TiltGeometry) -> None:
    if n != geometry.n_tilts:
        raise InputError(f"boxes of {n} tilts, but the geometry has {geometry.n_tilts}")


def _opened(tomogram: Store) -> Tomogram:
    return tomogram if isinstance(tomogram, Tomogram) else Tomogram.open(tomogram)


def _label(tomogram: Store, label: str) -> Label:
    return _opened(tomogram).label(label)


def _run(task: Task[T], *, overwrite: bool, session: Session | None) -> T:
    with _session_or_threads(session) as place:
        return run(place, task, overwrite=overwrite)


@contextmanager
def _session_or_threads(session: Session | None) -> Iterator[Session]:
    if session is not None:
        yield session
        return
    with open_session("threads") as threads:
        yield threads

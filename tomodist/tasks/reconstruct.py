"""The order of the steps of a grey-value reconstruction.

    tilt_series --filter--> filtered --backproject--> reconstructions/<name>
    tilt_series --project, correct, again and again--> reconstructions/<name>

What lies in between is kept in the unit's staging folder until the volume is complete.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tomodist.algorithms.reconstruct.sirt import Sirt
from tomodist.algorithms.reconstruct.wbp import WeightedBackprojection
from tomodist.errors import InputError, StoreError
from tomodist.steps.backproject import fill_scores, plan_scores
from tomodist.steps.filter import filter_images, plan_filter
from tomodist.steps.pyramid import fill_levels
from tomodist.steps.sirt import iterate, plan_projection
from tomodist.store.ome import multiscales
from tomodist.store.tomogram import Tomogram, check_label
from tomodist.store.volumes import create_levels, create_tiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.formats.zarr import ArrayHandle
    from tomodist.planning.plan import Plan, Resources
    from tomodist.runtime.runner import Session
    from tomodist.store.tomogram import Staging

VERSION = 1  # of the algorithms; raise it when their results change
KIND, VARIABLE = "reconstructions", "reconstruction"
Method = WeightedBackprojection | Sirt


@dataclass(frozen=True)
class Reconstruction:
    """What is reconstructed, and how.

    Parameters
    ----------
    name : str
        Of the result.
    method : WeightedBackprojection or Sirt
        How.
    brick, tilts_per_task : optional
        Fixed instead of planned.

    Raises
    ------
    InputError
        If the name cannot name a folder.
    """

    name: str
    method: Method
    brick: Sequence[int] | None = None
    tilts_per_task: int | None = None

    def __post_init__(self) -> None:
        check_label(self.name)

    @property
    def unit(self) -> str:
        """Where it is stored."""
        return f"{KIND}/{self.name}"

    def plans(self, resources: Resources) -> list[Plan]:
        """What the steps would cost: of the images, then of the volume.

        Raises
        ------
        InputError, PlanError
            If a brick or a number of tilts makes no sense, or a step cannot fit.
        """
        method = self.method
        volume = plan_scores(
            method.lifting, 4, resources, brick=self.brick, tilts_per_task=self.tilts_per_task
        )
        if isinstance(method, Sirt):
            return [plan_projection(method, resources), _repeated(volume, method.iterations)]
        return [plan_filter(method, resources), volume]


def _repeated(plan: Plan, n: int) -> Plan:
    """A plan of a step that runs n times."""
    return replace(
        plan,
        step=f"{plan.step}, {n} times",
        bytes_read=n * plan.bytes_read,
        bytes_written=n * plan.bytes_written,
        seconds=n * plan.seconds,
    )


def is_done(tomogram: Tomogram, wanted: Reconstruction, *, overwrite: bool = False) -> bool:
    """Whether a reconstruction is there already, made just so.

    Raises
    ------
    ExistsError
        If it was made differently, and `overwrite` is false.
    StoreError
    """
    return tomogram.is_current(
        wanted.unit, _fingerprint(tomogram, wanted.method), overwrite=overwrite
    )


def reconstruct(
    session: Session, tomogram: Tomogram, wanted: Reconstruction, *, overwrite: bool = False
) -> list[float]:
    """Make `reconstructions/<name>` from the tilt series.

    Parameters
    ----------
    session : Session
        Where tasks run.
    tomogram : Tomogram
        The store.
    wanted : Reconstruction
        What and how.
    overwrite : bool
        Replace a reconstruction that was made differently.

    Returns
    -------
    list of float
        Of SIRT, the size of b - A x before each iteration as a part of that of b; else empty.

    Raises
    ------
    ExistsError, PlanError, StoreError
    """
    plans, method = wanted.plans(session.resources), wanted.method
    session.check_sees(tomogram.path)
    fingerprint = _fingerprint(tomogram, method)
    if tomogram.is_current(wanted.unit, fingerprint, overwrite=overwrite):
        return list(tomogram.attributes(wanted.unit).get("residuals", []))
    images = tomogram.array("tilt_series", "images")
    with tomogram.stage(wanted.unit, fingerprint) as staging:
        for change in staging.changes:
            session.progress.message(f"unfinished {wanted.unit} is started anew: {change}")
        levels = create_levels(staging.path, VARIABLE, method.grid, "f4", plans[1].brick)
        described = _fill(session, staging, images, levels[0], method, plans)
        fill_levels(session, levels, "mean")
        staging.remove("between")
        ome = multiscales(wanted.name, VARIABLE, len(levels), method.grid.voxel_size)
        staging.describe(ome=ome, **method.parameters(), **described)
    return list(described.get("residuals", []))


def _fingerprint(tomogram: Tomogram, method: Method) -> dict[str, Any]:
    """What determines a reconstruction."""
    return {
        "step": "reconstruct",
        "version": VERSION,
        "tilt_series": tomogram.digest("tilt_series"),
        **method.parameters(),
    }


def _fill(
    session: Session,
    staging: Staging,
    images: ArrayHandle,
    volume: ArrayHandle,
    method: Method,
    plans: Sequence[Plan],
) -> dict[str, Any]:
    """Make the full-size level; what is there to say about it."""
    between = staging.path / "between"
    if isinstance(method, Sirt):
        return {"residuals": iterate(session, between, images, volume, method, *plans)}
    if volume.missing():
        filtered = create_tiles(between / "filtered", method.geometry, *plans[0].brick[:2])
        filter_images(session, images, filtered, method)
        fill_scores(session, filtered, volume, method.lifting, plans[1])
    return {}


def method_of(tomogram: Tomogram, name: str, **options: Any) -> Method:  # noqa: ANN401
    """The method of a name, for the images of a store.

    Parameters
    ----------
    tomogram : Tomogram
        The store with the tilt series.
    name : {"wbp", "sirt"}
        Which method.
    **options
        The fields of `WeightedBackprojection` or `Sirt` that are to differ from their defaults.

    Returns
    -------
    WeightedBackprojection or Sirt

    Raises
    ------
    InputError
        If the method is unknown, or one of its options makes no sense.
    StoreError
        If the store has no tilt series.
    """
    kinds: dict[str, Any] = {"wbp": WeightedBackprojection, "sirt": Sirt}
    if name not in kinds:
        raise InputError(f"--method is {name!r}; it must be {' or '.join(kinds)}")
    if not tomogram.has("tilt_series/images"):
        raise StoreError(f"{tomogram.path} has no tilt series; run `tomodist ingest` first")
    method: Method = kinds[name](tomogram.geometry, tomogram.grid, **options)
    return method

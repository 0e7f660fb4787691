"""What a step is, and how the units that steps make come into being.

    task = what a user asks           segment(...), locate(...), reconstruct(...): `tomodist.tasks`
      step = one thing that is made   has units, a fingerprint, a plan, and work
        batch = tasks that need nothing of each other, a brick or a tilt each

A step is a value. The runner (`tomodist.tasks.run`) asks all steps of a task for their plans before
anything is done, skips those whose units are current, and runs the work of the others.

One rule: a unit is written by `make_volumes` or `make_table`, so that there is one way from a
fingerprint to a committed unit.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from tomodist.steps.parts.pyramid import fill_levels
from tomodist.store.ome import multiscales
from tomodist.store.tables import write_table
from tomodist.store.volumes import create_levels

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from tomodist.formats.zarr import ArrayHandle
    from tomodist.planning.plan import Plan, Resources
    from tomodist.runtime.runner import Session, Work
    from tomodist.steps.parts.pyramid import Reduce
    from tomodist.store.place import Staging
    from tomodist.store.tables import Column
    from tomodist.store.tomogram import Unit
    from tomodist.values.fingerprints import Fingerprint
    from tomodist.values.geometry import VolumeGrid


class Step(Protocol):
    """One thing that is made."""

    def plans(self, resources: Resources) -> tuple[Plan, ...]:
        """What its parts would cost, known before anything is done.

        Raises
        ------
        InputError, PlanError
            If a part makes no sense, or cannot fit.
        """

    def is_current(self, *, overwrite: bool) -> bool:
        """Whether its units are there, made from just this; asked when its turn comes.

        Raises
        ------
        ExistsError
            If they were made differently and `overwrite` is false.
        StoreError
            If something that it is made from is missing or out of date.
        """

    def work(self, session: Session, plans: Sequence[Plan]) -> Work[Any]:
        """Make what is missing.

        Parameters
        ----------
        session : Session
            What runs the batches.
        plans : sequence of Plan
            What `plans` returned for this session.

        Returns
        -------
        generator of Batch
            Whose value is the result.
        """


@dataclass(frozen=True)
class NewVolume:
    """A volume that is to be made.

    Parameters
    ----------
    unit : Unit
        Where it will be.
    fingerprint : mapping
        Everything that determines its content, as plain values.
    record : mapping
        What else is told of it.
    image_label : mapping, optional
        Of labels, OME-Zarr's description.
    """

    unit: Unit
    fingerprint: Fingerprint
    record: Mapping[str, Any] = field(default_factory=dict)
    image_label: Mapping[str, Any] | None = None


def make_volumes(
    session: Session,
    volumes: Sequence[NewVolume],
    grid: VolumeGrid,
    dtype: npt.DTypeLike,
    brick: Sequence[int],
    reduce: Reduce,
    fill_them: Callable[[list[ArrayHandle], list[Staging]], Work[Mapping[str, Any] | None]],
    *,
    before_commit: Callable[[list[Staging]], None] | None = None,
) -> Work[None]:
    """Make volumes of one shape in one pass: staged, filled, with their pyramids, committed.

    Parameters
    ----------
    session : Session
        Whose progress says so if an unfinished volume cannot be continued.
    volumes : sequence of NewVolume
        All are committed at the end, when all are complete.
    grid : VolumeGrid
        Of all.
    dtype : dtype
        Of the voxels.
    brick : sequence of int
        Shards (z, y, x); a volume of an earlier run keeps its own, and the others take these.
    reduce : {"mean", "max"}
        What becomes of a block of 2 x 2 x 2 voxels in the next level.
    fill_them : callable
        ``fill_them(arrays, stagings)`` is the work that fills the full-size levels; what it
        returns is added to the record of every volume.
    before_commit : callable, optional
        Called with the stagings when all are complete.

    Yields
    ------
    Batch
    """
    with ExitStack() as stack:
        stagings = [stack.enter_context(v.unit.stage(v.fingerprint)) for v in volumes]
        pyramids: list[list[ArrayHandle]] = []
        for volume, staging in zip(volumes, stagings, strict=True):
            for change in staging.changes:
                session.progress.message(f"unfinished {volume.unit} is restarted: {change}")
            alike = pyramids[0][0].brick if pyramids else None
            create = (staging, volume.unit.variable, grid, dtype)
            levels = create_levels(*create, alike or brick)
            if alike and levels[0].brick != alike:  # an earlier run left it in other bricks
                staging.clear()
                levels = create_levels(*create, alike)
            pyramids.append(levels)
        more = yield from fill_them([levels[0] for levels in pyramids], stagings)
        for volume, staging, levels in zip(volumes, stagings, pyramids, strict=True):
            yield from fill_levels(levels, reduce)
            ome = multiscales(volume.unit.label, volume.unit.variable, len(levels), grid.voxel_size)
            if volume.image_label is not None:
                ome["image-label"] = dict(volume.image_label)
            staging.describe(ome=ome, **volume.record, **(more or {}))
        if before_commit is not None:
            before_commit(stagings)


def make_table(
    unit: Unit,
    fingerprint: Fingerprint,
    columns: Mapping[str, Column],
    **record: Any,  # noqa: ANN401 -- any JSON value
) -> None:
    """Make a table whole: small, so that it needs no task.

    Parameters
    ----------
    unit : Unit
        Where it will be.
    fingerprint : mapping
        Everything that determines its content, as plain values.
    columns : mapping
        See `tomodist.store.tables.write_table`.
    **record
        What else is told of it.
    """
    with unit.stage(fingerprint) as staging:
        staging.clear()
        write_table(staging, columns)
        staging.describe(**record)

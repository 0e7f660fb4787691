"""Step: the tilt series becomes a grey-value volume, a `reconstruction`.

    tilt series --filter--> filtered --backproject--> reconstruction
    tilt series --project, correct, repeatedly-->     reconstruction

What lies in between is kept in the unit's staging group until the volume is complete.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tomodist.algorithms.reconstruct.sirt import Sirt
from tomodist.algorithms.reconstruct.wbp import WeightedBackprojection
from tomodist.planning.plan import Cut
from tomodist.steps.parts.base import NewVolume, make_volumes
from tomodist.steps.parts.filter import filter_images, plan_filter
from tomodist.steps.parts.lifting import fill_scores, plan_scores
from tomodist.steps.parts.pyramid import plan_levels
from tomodist.steps.parts.sirt import iterate, plan_projection
from tomodist.store.volumes import create_tiles

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tomodist.formats.zarr import ArrayHandle
    from tomodist.planning.plan import Plan, Resources
    from tomodist.runtime.runner import Session, Work
    from tomodist.store.place import Staging
    from tomodist.store.tomogram import Unit

VERSION = 1  # of the algorithms; raise it when their results change
_BETWEEN = "between"  # group of what is made on the way
Method = WeightedBackprojection | Sirt


@dataclass(frozen=True)
class MakeReconstruction:
    """Step: a reconstruction.

    Parameters
    ----------
    unit : Unit
        Of the result.
    method : WeightedBackprojection or Sirt
        How.
    cut : Cut
        Brick and tilts per task, fixed instead of planned.
    """

    unit: Unit
    method: Method
    cut: Cut = Cut()  # noqa: RUF009 -- a value

    def plans(self, resources: Resources) -> tuple[Plan, ...]:
        """Of the images, of the volume, and of the smaller levels."""
        method = self.method
        volume = plan_scores(method.lifting, 4, resources, cut=self.cut)
        levels = plan_levels(method.grid, volume.brick, 4, resources)
        if isinstance(method, Sirt):
            repeated = _repeated(volume, method.iterations)
            return plan_projection(method, resources), repeated, levels
        return plan_filter(method, resources), volume, levels

    def is_current(self, *, overwrite: bool) -> bool:
        """Whether the volume is there, made just so."""
        return self.unit.is_current(self._fingerprint(), overwrite=overwrite)

    def work(self, session: Session, plans: Sequence[Plan]) -> Work[None]:
        """Filter and backproject, or iterate."""
        method = self.method
        images = self.unit.tomogram.series.array("images")

        def fill_them(
            volumes: list[ArrayHandle], stagings: list[Staging]
        ) -> Work[Mapping[str, Any]]:
            (volume,), between = volumes, stagings[0].group(_BETWEEN)
            if isinstance(method, Sirt):
                sizes = yield from iterate(
                    session, between, images, volume, method, plans[0], plans[1]
                )
                return {"residuals": sizes}
            if volume.missing():
                tiles = plans[0].brick[:2]
                filtered = create_tiles(between, "filtered", method.geometry, *tiles)
                yield from filter_images(images, filtered, method)
                yield from fill_scores(filtered, volume, method.lifting, plans[1])
            return {}

        def tidy(stagings: list[Staging]) -> None:
            stagings[0].remove(_BETWEEN)

        yield from make_volumes(
            session,
            [NewVolume(self.unit, self._fingerprint(), method.parameters())],
            method.grid,
            "f4",
            plans[1].brick,
            "mean",
            fill_them,
            before_commit=tidy,
        )

    def _fingerprint(self) -> dict[str, Any]:
        """What determines the volume."""
        return {
            "step": "reconstruct",
            "version": VERSION,
            "tilt_series": self.unit.tomogram.series.digest,
            **self.method.parameters(),
        }


def _repeated(plan: Plan, n: int) -> Plan:
    """A plan of a step that runs n times."""
    return replace(
        plan,
        step=f"{plan.step}, {n} times",
        bytes_read=n * plan.bytes_read,
        bytes_written=n * plan.bytes_written,
        seconds=n * plan.seconds,
    )

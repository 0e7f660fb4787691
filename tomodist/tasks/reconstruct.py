"""Task: a grey-value reconstruction of the tilt series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tomodist.algorithms.reconstruct.sirt import Sirt
from tomodist.algorithms.reconstruct.wbp import WeightedBackprojection
from tomodist.errors import InputError, StoreError
from tomodist.planning.plan import Cut
from tomodist.steps.reconstruct import MakeReconstruction, Method
from tomodist.tasks.results import ReconstructionResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tomodist.runtime.runner import Session
    from tomodist.steps.parts.base import Step
    from tomodist.store.tomogram import Tomogram, Unit


@dataclass(frozen=True)
class ReconstructionTask:
    """What is reconstructed, and how.

    Parameters
    ----------
    unit : Unit
        Of the result; from `Tomogram.reconstruction`.
    method : WeightedBackprojection or Sirt
        How.
    cut : Cut
        Brick and tilts per task, fixed instead of planned.
    """

    unit: Unit
    method: Method
    cut: Cut = Cut()  # noqa: RUF009 -- a value

    def steps(self) -> tuple[Step, ...]:
        """One step."""
        return (MakeReconstruction(self.unit, self.method, self.cut),)

    def check(self, *, overwrite: bool) -> None:
        """Nothing that the step does not see."""

    def check_seen(self, session: Session) -> None:
        """Workers must see the store."""
        session.check_sees(str(self.unit.tomogram), self.unit.tomogram.place.exists)

    def result(self, _: Sequence[Any]) -> ReconstructionResult:
        """The volume, and the residuals of SIRT."""
        residuals = self.unit.attributes.get("residuals", [])
        return ReconstructionResult(self.unit, tuple(residuals))


def method_of(tomogram: Tomogram, name: str, parameters: Mapping[str, Any] | None = None) -> Method:
    """The method of a name, for the images of a store.

    Parameters
    ----------
    tomogram : Tomogram
        The store with the tilt series.
    name : {"wbp", "sirt"}
        Which method.
    parameters : mapping, optional
        The fields of `WeightedBackprojection` or `Sirt` that are to differ from their defaults.

    Returns
    -------
    WeightedBackprojection or Sirt

    Raises
    ------
    InputError
        If the method is unknown, or one of its parameters makes no sense.
    StoreError
        If the store has no tilt series.
    """
    kinds: dict[str, Any] = {"wbp": WeightedBackprojection, "sirt": Sirt}
    if name not in kinds:
        raise InputError(f"`method` is {name!r}; it must be {' or '.join(kinds)}")
    if not tomogram.series.exists():
        raise StoreError(f"{tomogram} has no tilt series; run `tomodist ingest` first")
    method: Method = kinds[name](tomogram.geometry, tomogram.grid, **(parameters or {}))
    return method

"""What came of a task: values that can be printed and drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import xarray as xr

    from tomodist.store.curves import TiltAgreement
    from tomodist.store.tomogram import Label, Unit


@dataclass(frozen=True)
class LabelResult:
    """Structures of one label.

    Parameters
    ----------
    label : Label
        Where they are.
    threshold : float, optional
        The score above which a voxel is structure, as tables tell it; tracks have none.
    """

    label: Label
    threshold: float | None = None

    @property
    def structures(self) -> xr.Dataset:
        """The table, one row per structure."""
        return self.label.structures.dataset().load()

    @property
    def agreement(self) -> TiltAgreement | None:
        """How well every tilt agrees with the rest; None where no threshold was chosen."""
        from tomodist.store.curves import tilt_agreement

        return tilt_agreement(self.label.curves)

    def draw(self) -> list[Path]:
        """Draw all pictures of the label beside the store, and return their paths."""
        from tomodist.pictures import draw_all

        return draw_all(self.label)


@dataclass(frozen=True)
class ClassesResult:
    """Structures of several classes, and the semantic volume.

    Parameters
    ----------
    label : Label
        Of all classes together.
    classes : dict of int to LabelResult
        By value.
    """

    label: Label
    classes: Mapping[int, LabelResult]

    def draw(self) -> list[Path]:
        """Draw the semantic volume beside the store, and return the path."""
        from tomodist.pictures import draw_classes

        return [draw_classes(self.label)]


@dataclass(frozen=True)
class LabelsResult:
    """Structures of several labels.

    Parameters
    ----------
    labels : tuple of LabelResult
        Of each.
    """

    labels: tuple[LabelResult, ...]


@dataclass(frozen=True)
class ReconstructionResult:
    """A grey-value volume.

    Parameters
    ----------
    unit : Unit
        Where it is.
    residuals : tuple of float
        Of SIRT, the size of b - A x before each iteration as a part of that of b; else empty.
    """

    unit: Unit
    residuals: tuple[float, ...] = ()

    def draw(self) -> list[Path]:
        """Draw slices beside the store, and return the path."""
        from tomodist.pictures import draw_reconstruction

        return [draw_reconstruction(self.unit)]

"""``tomodist reconstruct``: the tilt series to a grey-value volume."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
import cloup

from tomodist.cli.shared.options import (
    OUTPUT,
    GroupedCommand,
    WorkOptions,
    gathered,
    store_argument,
    work_options,
)
from tomodist.cli.shared.running import run_tasks
from tomodist.cli.shared.show import open_tomogram, show
from tomodist.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.store.tomogram import Tomogram
    from tomodist.tasks.reconstruct import ReconstructionTask


METHOD = cloup.OptionGroup("Method")


@dataclass(frozen=True)
class Options(WorkOptions):
    """The options of the command but the store."""

    method: str = "wbp"
    name: str | None = None
    radial: tuple[float, float] | None = None
    filter_kind: str | None = None
    iterations: int | None = None
    non_negative: bool = False
    background: str | None = None

    def task(self, tomogram: Tomogram) -> ReconstructionTask:
        """What is to be made; everything about it is checked here."""
        from tomodist.tasks.reconstruct import ReconstructionTask, method_of

        method = method_of(tomogram, self.method, self._of_method())
        name = self.method if self.name is None else self.name
        return ReconstructionTask(tomogram.reconstruction(name), method, self.cut)

    def _of_method(self) -> dict[str, Any]:
        """The options that are set, as fields of the method."""
        of: dict[str, dict[str, Any]] = {
            "wbp": {"radial": self.radial, "filter": self.filter_kind},
            "sirt": {
                "iterations": self.iterations,
                "non_negative": self.non_negative or None,
                "background": self.background,
            },
        }
        for method, options in of.items():
            used = [name for name, value in options.items() if value is not None]
            if used and method != self.method:
                raise InputError(
                    f"--{used[0].replace('_', '-')} applies only to --method {method}, but the "
                    f"method is {self.method}; remove one of them"
                )
        if self.method == "sirt":
            return {name: value for name, value in of["sirt"].items() if value is not None}
        radial = dict(zip(("cutoff", "falloff"), self.radial or (), strict=False))
        return radial | ({"filter_kind": self.filter_kind} if self.filter_kind else {})


@cloup.command(
    "reconstruct",
    cls=GroupedCommand,
    epilog="Example: tomodist reconstruct TS_01.zarr --method sirt --iterations 15",
)
@store_argument
@cloup.option(
    "--method",
    type=click.Choice(["wbp", "sirt"]),
    default="wbp",
    show_default=True,
    group=METHOD,
    help="Method: weighted backprojection, or iterations towards a volume that projects to the "
    "images.",
)
@cloup.option("--name", group=OUTPUT, help="Name of the result. [default: the method]")
@cloup.option(
    "--radial",
    type=float,
    nargs=2,
    metavar="CUTOFF FALLOFF",
    group=METHOD,
    help="Low-pass filter of wbp, as IMOD's RADIAL, in cycles per pixel. [default: 0.35 0.035]",
)
@cloup.option(
    "--filter",
    "filter_kind",
    type=click.Choice(["ramp", "exact"]),
    group=METHOD,
    help="Filter of wbp: a ramp, or exact (Harauz and van Heel), from tilt angles and thickness. "
    "[default: ramp]",
)
@cloup.option(
    "--iterations", type=int, group=METHOD, help="Number of iterations of sirt. [default: 20]"
)
@cloup.option(
    "--non-negative",
    is_flag=True,
    group=METHOD,
    help="Set negative densities to 0 after every iteration of sirt.",
)
@cloup.option(
    "--background",
    type=click.Choice(["mean", "none"]),
    group=METHOD,
    help="Value that sirt subtracts from each image: its mean, or none where 0 means no specimen. "
    "[default: mean]",
)
@work_options
@functools.partial(gathered, Options, "options")
def command(store: Path, options: Options) -> None:
    """Reconstruct the grey values; what is dark in the images stays dark.

    Voxels that no tilt sees are NaN in the store and in OME-Zarr, and 0 in MRC.
    """
    task = options.task(open_tomogram(store))
    for result in run_tasks([task], options):
        show(result)

"""``tomodist reconstruct``: the tilt series to a grey-value volume."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from tomodist.cli.shared.console import print_line
from tomodist.cli.shared.options import STORE, WorkOptions, gathered, work_options
from tomodist.cli.shared.tasks import open_tomogram, session_or_plan
from tomodist.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.store.tomogram import Tomogram
    from tomodist.tasks.reconstruct import Reconstruction


@dataclass(frozen=True)
class Options(WorkOptions):
    """What the options of the command say."""

    method: str
    name: str | None
    radial: tuple[float, float] | None
    filter_kind: str | None
    iterations: int | None
    non_negative: bool
    background: str | None

    def wanted(self, tomogram: Tomogram) -> Reconstruction:
        """What is to be made; everything about it is checked here."""
        from tomodist.tasks.reconstruct import Reconstruction, method_of

        method = method_of(tomogram, self.method, **self._of_method())
        name = self.method if self.name is None else self.name
        return Reconstruction(name, method, self.brick, self.tilts_per_task)

    def _of_method(self) -> dict[str, Any]:
        """The options that were given, as fields of the method."""
        of: dict[str, dict[str, Any]] = {
            "wbp": {"radial": self.radial, "filter": self.filter_kind},
            "sirt": {
                "iterations": self.iterations,
                "non_negative": self.non_negative or None,
                "background": self.background,
            },
        }
        for method, options in of.items():
            given = [name for name, value in options.items() if value is not None]
            if given and method != self.method:
                raise InputError(
                    f"--{given[0].replace('_', '-')} is an option of --method {method}, but the "
                    f"method is {self.method}; leave one out"
                )
        if self.method == "sirt":
            return {name: value for name, value in of["sirt"].items() if value is not None}
        radial = dict(zip(("cutoff", "falloff"), self.radial or (), strict=False))
        return radial | ({"filter_kind": self.filter_kind} if self.filter_kind else {})


@click.command(
    "reconstruct", epilog="Example: tomodist reconstruct TS_01.zarr --method sirt --iterations 15"
)
@click.argument("store", type=STORE)
@click.option(
    "--method",
    type=click.Choice(["wbp", "sirt"]),
    default="wbp",
    show_default=True,
    help="Weighted backprojection, or iterations towards a volume that projects to the images.",
)
@click.option("--name", help="Of the result. [default: the method]")
@click.option(
    "--radial",
    type=float,
    nargs=2,
    metavar="CUTOFF FALLOFF",
    help="Low-pass of wbp, as IMOD's RADIAL, in cycles per pixel. [default: 0.35 0.035]",
)
@click.option(
    "--filter",
    "filter_kind",
    type=click.Choice(["ramp", "exact"]),
    help="Of wbp; exact: Harauz and van Heel, from tilt angles and thickness. [default: ramp]",
)
@click.option("--iterations", type=int, help="Of sirt. [default: 20]")
@click.option("--non-negative", is_flag=True, help="sirt keeps densities at 0 or more.")
@click.option(
    "--background",
    type=click.Choice(["mean", "none"]),
    help="What sirt subtracts from each image; none where 0 means no specimen. [default: mean]",
)
@work_options
@functools.partial(gathered, Options, "given")
def command(store: Path, given: Options) -> None:
    """Reconstruct the grey values; what is dark in the images stays dark.

    Voxels that no tilt sees are NaN in the store and in OME-Zarr, and 0 in MRC.
    """
    from tomodist.pictures import draw_reconstruction
    from tomodist.tasks.reconstruct import is_done, reconstruct

    tomogram = open_tomogram(store)
    wanted = given.wanted(tomogram)
    if is_done(tomogram, wanted, overwrite=given.overwrite):
        print_line(f"nothing to do: {wanted.unit} is there already, made just so")
        print_line(f"picture: {draw_reconstruction(tomogram, wanted.name)}")
        return
    with session_or_plan(wanted.plans, given) as session:
        if session is None:
            return
        residuals = reconstruct(session, tomogram, wanted, overwrite=given.overwrite)
    if residuals:
        print_line(
            f"residual before the last of {len(residuals)} iterations: {100 * residuals[-1]:.2f} %"
        )
    print_line(f"reconstruction: {wanted.unit}, store: {tomogram}")
    print_line(f"picture: {draw_reconstruction(tomogram, wanted.name)}")

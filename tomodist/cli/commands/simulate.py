"""``tomodist simulate``: a tilt series with known truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import cloup

from tomodist.cli.shared.console import Bars, print_table
from tomodist.cli.shared.options import (
    OUTPUT,
    STORE,
    GroupedCommand,
    overwrite_option,
)

if TYPE_CHECKING:
    from pathlib import Path


SPECIMEN = cloup.OptionGroup("Specimen")
ACQUISITION = cloup.OptionGroup("Acquisition")


@cloup.command(
    "simulate",
    cls=GroupedCommand,
    epilog="Example: tomodist simulate cell --dose 120 --seed 1 -o simulated/",
)
@cloup.argument(
    "phantom",
    type=click.Choice(["sphere", "cell"]),
    help="Specimen: a hollow sphere, or a piece of a cell.",
)
@cloup.option("--mitochondria", default=2, show_default=True, group=SPECIMEN, help="Mitochondria.")
@cloup.option(
    "--granules", default=3, show_default=True, group=SPECIMEN, help="Granules per mitochondrion."
)
@cloup.option("--gold", default=15, show_default=True, group=SPECIMEN, help="Gold beads.")
@cloup.option(
    "--width",
    default=256,
    show_default=True,
    group=SPECIMEN,
    help="Width of the images, in pixels.",
)
@cloup.option(
    "--height",
    type=int,
    group=SPECIMEN,
    help="Height of the images, in pixels. [default: the width]",
)
@cloup.option(
    "--thickness",
    type=int,
    group=SPECIMEN,
    help="Thickness of the volume, in voxels. [default: width / 2.5]",
)
@cloup.option(
    "--pixel-size", default=20.0, show_default=True, group=SPECIMEN, help="Pixel size, in Å."
)
@cloup.option("--seed", default=0, show_default=True, group=SPECIMEN, help="Seed.")
@cloup.option(
    "--tilts",
    default="-60,60,3",
    show_default=True,
    group=ACQUISITION,
    help="First and last tilt angle, and the step between tilts, in degrees.",
)
@cloup.option(
    "--dose",
    type=float,
    group=ACQUISITION,
    help="Dose of the whole series, in e/Å². [default: no noise]",
)
@cloup.option(
    "--read-noise",
    default=0.0,
    show_default=True,
    group=ACQUISITION,
    help="Read noise, in electrons per pixel.",
)
@cloup.option(
    "--defocus",
    type=float,
    group=ACQUISITION,
    help="Defocus in Å; applies a contrast transfer function. [default: none is applied]",
)
@cloup.option(
    "--jitter", default=0.0, show_default=True, group=ACQUISITION, help="Misalignment, rms in Å."
)
@cloup.option("-o", "--output", type=STORE, required=True, group=OUTPUT, help="Folder to write to.")
@cloup.option("--name", group=OUTPUT, help="Stem of the file names. [default: the phantom]")
@cloup.option("--density", is_flag=True, group=OUTPUT, help="Write the true density, too.")
@overwrite_option("the files")
def command(
    phantom: str,
    output: Path,
    name: str | None,
    width: int,
    height: int | None,
    thickness: int | None,
    pixel_size: float,
    tilts: str,
    mitochondria: int,
    granules: int,
    gold: int,
    dose: float | None,
    read_noise: float,
    defocus: float | None,
    jitter: float,
    *,
    density: bool,
    seed: int,
    overwrite: bool,
) -> None:
    """Simulate a tilt series of a hollow sphere or of a piece of a cell, and write the truth."""
    from tomodist.simulate import Acquisition, Ctf, TiltScheme, cell, hollow_sphere
    from tomodist.steps.simulate import write_simulation
    from tomodist.values.geometry import TiltGeometry, VolumeGrid

    scheme = TiltScheme(*_scheme(tilts))
    shape = (thickness or round(width / 2.5), height or width, width)
    geometry = TiltGeometry(scheme.angles, shape[1:], pixel_size)
    grid = VolumeGrid(shape, pixel_size)
    size = [n * pixel_size for n in shape]
    if phantom == "sphere":
        radius = 0.4 * min(size)
        scene = hollow_sphere(radius, 0.12 * radius, 1 / radius)
    else:
        scene = cell(size, n_mitochondria=mitochondria, n_granules=granules, n_gold=gold, seed=seed)
    acquisition = Acquisition(
        dose=dose,
        read_noise=read_noise,
        ctf=None if defocus is None else Ctf(defocus),
        jitter=jitter,
        seed=seed,
    )
    with Bars() as bars:
        stack = write_simulation(
            bars,
            output,
            name or phantom,
            scene,
            geometry,
            grid,
            acquisition,
            density=density,
            overwrite=overwrite,
        )
    rows = [
        (path.name, f"{path.stat().st_size / 2**20:.1f} MiB")
        for path in sorted(output.iterdir())
        if path.name.startswith(stack.stem)
    ]
    print_table(f"simulated {phantom}: {output}", ("file", "size"), rows)


def _scheme(text: str) -> tuple[float, float, float]:
    try:
        first, last, step = (float(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(
            f"{text!r} is not first,last,step such as -60,60,3", param_hint="--tilts"
        ) from error
    return first, last, step

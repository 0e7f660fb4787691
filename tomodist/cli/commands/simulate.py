"""``tomodist simulate``: a tilt series with known truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tomodist.cli.shared.console import Bars, print_table
from tomodist.cli.shared.options import STORE

if TYPE_CHECKING:
    from pathlib import Path


@click.command(
    "simulate",
    epilog="Example: tomodist simulate cell --dose 120 --seed 1 -o simulated/",
)
@click.argument("phantom", type=click.Choice(["sphere", "cell"]))
@click.option("-o", "--output", type=STORE, required=True, help="Folder for the files.")
@click.option("--name", help="Stem of the files. [default: the phantom]")
@click.option("--width", default=256, show_default=True, help="Of the images, in pixels.")
@click.option("--height", type=int, help="Of the images. [default: the width]")
@click.option("--thickness", type=int, help="Of the volume, in voxels. [default: width / 2.5]")
@click.option("--pixel-size", default=20.0, show_default=True, help="In Å.")
@click.option("--tilts", default="-60,60,3", show_default=True, help="First, last, step (°).")
@click.option("--mitochondria", default=2, show_default=True)
@click.option("--granules", default=3, show_default=True, help="In each mitochondrion.")
@click.option("--gold", default=15, show_default=True, help="Number of beads.")
@click.option("--dose", type=float, help="Of the whole series, e/Å². [default: no noise]")
@click.option("--read-noise", default=0.0, show_default=True, help="Electrons per pixel.")
@click.option("--defocus", type=float, help="In Å; applies a contrast transfer function.")
@click.option("--jitter", default=0.0, show_default=True, help="Misalignment, rms Å.")
@click.option("--density", is_flag=True, help="Write the true density, too.")
@click.option("--seed", default=0, show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace the files.")
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
    from tomodist.runtime.cluster import local_resources
    from tomodist.runtime.runner import Session
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
            Session(local_resources(1, None), None, bars),
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

"""Where the time of a brick goes: reading, computing, turning to (z, y, x), writing; on one core.

Run: python -m tests.benchmarks.bench_profile --kind votes --brick 256,512,512
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from tests.benchmarks.bench_whole_job import write_maps
from tomodist.algorithms.lift.backproject import Lifting, Votes, WeightedMean
from tomodist.formats.zarr import Group
from tomodist.store.volumes import create_volume, image_reader
from tomodist.values.geometry import TiltGeometry, VolumeGrid

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from tomodist.algorithms.lift.windows import Range


class Stopwatch:
    """Seconds by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def timed(self, name: str, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function and add the time that it took."""
        start = time.perf_counter()
        result = function(*args)
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
        return result


def profile(folder: Path, kind: str, shape: tuple[int, ...], brick: tuple[int, ...]) -> Any:
    """Seconds of every part, and their sum, in ns per voxel."""
    geometry = TiltGeometry(np.linspace(-60, 60, 61).tolist(), shape[1:], 10.0)
    grid = VolumeGrid(shape, 10.0)
    maps = write_maps(folder, geometry, binary=kind == "votes")
    lifting: Lifting = (Votes if kind == "votes" else WeightedMean)(geometry, grid)
    scores = create_volume(Group(str(folder)), "scores", grid, brick, lifting.dtype)
    watch, reader = Stopwatch(), image_reader(maps)

    def read(tilt: int, rows: Range, columns: Range) -> npt.NDArray[Any]:
        return np.asarray(watch.timed("read", reader, tilt, rows, columns))

    tilts = range(geometry.n_tilts)
    bricks = scores.bricks()
    for n, index in enumerate([bricks[0], *bricks]):
        if n == 1:
            watch.seconds.clear()  # the first brick compiled and warmed up
        start, stop = zip(*scores.window(index), strict=True)
        contribution = watch.timed("compute", lifting.contribution, read, tilts, start, stop)
        data = watch.timed("turn", lifting.finish, contribution)
        watch.timed("write", scores.write, index, data)
    watch.seconds["compute"] -= watch.seconds["read"]
    total = sum(watch.seconds.values())
    return {
        "kind": kind,
        "brick": scores.brick,
        "gups": round(grid.n_voxels * geometry.n_tilts / total / 1e9, 2),
        "ns_per_voxel": {k: round(v / grid.n_voxels * 1e9, 2) for k, v in watch.seconds.items()},
        "share": {k: f"{v / total:.0%}" for k, v in watch.seconds.items()},
    }


def main() -> None:
    """Parse the options, run, print the report as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=["votes", "linear"], default="votes")
    parser.add_argument("--shape", default="256,1024,1024")
    parser.add_argument("--brick", default="256,512,512")
    options = parser.parse_args()
    shape, brick = (
        tuple(int(n) for n in text.split(",")) for text in (options.shape, options.brick)
    )
    zarr.config.set({"threading.max_workers": 1, "async.concurrency": 4})  # as workers have it
    with tempfile.TemporaryDirectory() as folder:
        json.dump(profile(Path(folder), options.kind, shape, brick), sys.stdout)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()

"""Learned detection on the CPU, one thread: seconds, accuracy, memory, and what malloc does to it.

Run: python -m tests.benchmarks.bench_inference [--parts times,accuracy,malloc,memory] [--compile]

A network is trained for some hundred steps on a simulated tomogram, and another tomogram is what
it is judged by. All forms of inference are run in turn, round after round, so that other work on
the machine slows all of them; figures are medians, and ratios are of processor time. The program
runs under the malloc settings of tomodist's workers unless ``--malloc`` says otherwise.

``times``     per image of 1024 x 1024, against plain fp32 eager sliding windows (MONAI's, 256 wide,
              overlapping by a quarter, Gaussian weights) of the same network
``accuracy``  IoU of the masks of each form with those of fp32, and with the truth
``malloc``    tasks on a dask worker process, with dask's own malloc settings and with tomodist's
``memory``    peak of a fresh process for images and tiles of several sizes, and a fit of it
"""

from __future__ import annotations

import argparse
import copy
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tests.benchmarks.cases import FULL
from tomodist.algorithms.lift.backproject import Lifting, Votes, WeightedMean
from tomodist.experiments.tomograms import VOXEL, SimulatedTomogram, simulate_tomogram
from tomodist.learned.detectors.segmentation import LearnedSegmentation
from tomodist.learned.model.card import ModelCard, write_model
from tomodist.learned.model.opened import Model
from tomodist.learned.networks.spec import Architecture
from tomodist.runtime.cluster import worker_environment
from tomodist.values.geometry import TiltGeometry, VolumeGrid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tomodist.values.arrays import Float32Array

    Form = Callable[[Float32Array], Float32Array]

LABEL = "granule"
SIDE = 1024
WINDOW, OVERLAP = 256, 0.25
BASE = "plain: fp32, sliding windows, overlap 1/4"
PLAIN = "fp32, whole image"
MALLOC = ("tomodist", "dask", "system")
PARTS = ("times", "accuracy", "malloc", "memory")


# ------------------------------------------------------------------------------------------ model


def trained_model(folder: Path, steps: int) -> tuple[Model, SimulatedTomogram]:
    """A network that knows granules, and a tomogram that it has never seen."""
    from tomodist.learned.networks.build import seeded
    from tomodist.learned.training.examples import Pool
    from tomodist.learned.training.loop import train
    from tomodist.learned.training.schedule import Schedule
    from tomodist.learned.training.segment import SegmentJob
    from tomodist.learned.training.split import block_of

    known, unknown = (simulate_tomogram(seed, snr=0.3) for seed in (0, 1))
    examples, split = known.examples(LABEL), block_of(known.n_tilts)
    schedule, architecture = Schedule(steps=steps), Architecture()
    parts = [[examples[t] for t in tilts] for tilts in split]
    job, module = SegmentJob(schedule, (LABEL,)), seeded(architecture, 0)
    found = train(job, module, Pool(parts[0], 2**31, 0), parts[1], schedule)
    thresholds = tuple(found.score.details["thresholds"])
    card = ModelCard(
        "segment", 2, architecture.name, dict(architecture.options), (LABEL,), VOXEL, thresholds
    )
    write_model(folder, card, found.weights)
    return Model.at(folder), unknown


# ------------------------------------------------------------------------------------------ forms


def module_of(model: Model, *, fused: bool) -> Any:
    """The model's network in torch."""
    import torch

    from tomodist.learned.model import opened
    from tomodist.learned.model.card import read_weights
    from tomodist.learned.networks.build import filled

    torch.set_num_threads(1)
    card = model.card
    if fused:
        return opened.module_of(Path(model.path), card)
    weights = read_weights(Path(model.path), card)
    return filled(Architecture(card.architecture, card.dims, 1), weights, model.path)


@dataclass
class Whole:
    """A module that looks at whole images."""

    module: Any
    channels_last: bool = True
    half: bool = False

    def __call__(self, image: Float32Array) -> Float32Array:
        """Logits of an image."""
        import torch

        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            batch = torch.from_numpy(image[None, None]).contiguous(memory_format=layout)
            found = self.module(batch).float().contiguous().numpy()
        return np.asarray(found[0], np.float32)


@dataclass
class Sliding:
    """MONAI's sliding windows over a module, as tutorials have them."""

    module: Any
    overlap: float

    def __call__(self, image: Float32Array) -> Float32Array:
        """Logits of an image."""
        import torch
        from monai.inferers.utils import sliding_window_inference

        mode = "gaussian" if self.overlap else "constant"
        batch = torch.from_numpy(image[None, None])
        with torch.no_grad():
            found = sliding_window_inference(
                batch, WINDOW, 4, self.module, overlap=self.overlap, mode=mode
            )
        return np.asarray(found[0].numpy(), np.float32)


def forms(model: Model, folder: Path, *, compiled: bool) -> dict[str, Form]:
    """Ways to run the same network."""
    import torch

    from tomodist.learned.model.network import dense_output
    from tomodist.learned.model.onnx_export import write_onnx
    from tomodist.learned.model.torch_network import TorchNetwork

    plain, fused, turned = (module_of(model, fused=f) for f in (False, True, True))
    turned = turned.to(memory_format=torch.channels_last)
    default = TorchNetwork(module_of(model, fused=True))
    write_onnx(model, folder / "model.onnx", overwrite=True)
    session = Model.at(folder / "model.onnx").network()
    found: dict[str, Form] = {
        BASE: Sliding(plain, OVERLAP),
        "fp32, sliding windows, no overlap": Sliding(plain, 0.0),
        PLAIN: Whole(plain, channels_last=False),
        "+ channels last": Whole(plain),
        "+ fused norms": Whole(fused),
        "+ weights channels last": Whole(turned),
        "channels last, bf16": Whole(plain, half=True),
        "+ fused norms, bf16": Whole(fused, half=True),
        "+ weights channels last, bf16": Whole(turned, half=True),
        "as tomodist runs it": lambda image: dense_output(default, image),
        "onnxruntime, fp32": lambda image: dense_output(session, image),
    }
    if compiled:
        found["torch.compile, fp32"] = Whole(torch.compile(turned))
        found["torch.compile, bf16"] = Whole(torch.compile(turned), half=True)
    return found


def other_networks() -> dict[str, Form]:
    """Networks of MONAI on the same image, with random weights."""
    import torch

    from tomodist.learned.networks.build import seeded

    found: dict[str, Form] = {}
    for name in ("SegResNet", "UNet"):
        module = seeded(Architecture(f"monai:{name}"), 0).eval()
        found[f"MONAI {name}, fp32, whole image"] = Whole(module, channels_last=False)
        turned = copy.deepcopy(module).to(memory_format=torch.channels_last)
        found[f"MONAI {name}, weights channels last, bf16"] = Whole(turned, half=True)
    return found


# ---------------------------------------------------------------------------------------- figures


def times(ways: dict[str, Form], image: Float32Array, rounds: int) -> list[list[str]]:
    """Median processor and wall seconds of each, and ratios to the first."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            run(image)  # as in a worker, which sees one tilt after another
            cpu, wall = time.process_time(), time.perf_counter()
            run(image)
            spent[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    table = [["form", "cpu s", "wall s", "times as quick (cpu)"]]
    base = 0.0
    for name, each in spent.items():
        cpu, wall = (median(column) for column in zip(*each, strict=True))
        base = base or cpu
        table.append([name, f"{cpu:.3f}", f"{wall:.3f}", f"{base / cpu:.2f}"])
    return table


def accuracy(ways: dict[str, Form], model: Model, unknown: SimulatedTomogram) -> list[list[str]]:
    """IoU of masks with those of whole fp32 images, and with the truth, over all tilts."""
    images = [loaded.example.image for loaded in unknown.examples(LABEL)]
    cut = model.card.thresholds[0]
    level = np.log(cut / (1 - cut))
    masks = {name: np.stack([run(i)[0] > level for i in images]) for name, run in ways.items()}
    truth, plain = unknown.maps(LABEL) > 0, masks[PLAIN]
    table = [["form", "IoU with fp32", "IoU with truth", "difference"]]
    for name, mask in masks.items():
        own, reference = iou(mask, truth), iou(plain, truth)
        table.append([name, f"{iou(mask, plain):.4f}", f"{own:.4f}", f"{own - reference:+.4f}"])
    return table


def iou(found: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> float:
    """Intersection over union."""
    return float((found & truth).sum() / max(1, (found | truth).sum()))


# ----------------------------------------------------------------------------------------- malloc


def detection_seconds(model: Model, rounds: int) -> float:
    """Median processor seconds of the detector, normalisation included; runs on a worker."""
    detector = LearnedSegmentation(model)
    image = np.random.default_rng(0).standard_normal((SIDE, SIDE), dtype=np.float32)
    return _median_of(lambda: detector(image, VOXEL), rounds)


def lifting_seconds(kind: str, rounds: int) -> float:
    """Median processor seconds of one brick; runs on a worker."""
    angles = np.linspace(-60, 60, FULL.n_tilts).tolist()
    geometry, grid = TiltGeometry(angles, FULL.shape[1:], 10.0), VolumeGrid(FULL.shape, 10.0)
    lifting: Lifting = (Votes if kind == "votes" else WeightedMean)(geometry, grid)
    random = np.random.default_rng(0)
    shape = (FULL.n_tilts, *FULL.shape[1:])
    images: npt.NDArray[Any] = random.standard_normal(shape, dtype=np.float32)
    if kind == "votes":
        images = (images > 1).astype(np.uint8)

    def read(tilt: int, rows: tuple[int, int], columns: tuple[int, int]) -> npt.NDArray[Any]:
        return images[tilt, slice(*rows), slice(*columns)]

    def run() -> None:
        lifting.finish(lifting.contribution(read, range(FULL.n_tilts), (0, 0, 0), FULL.shape))

    return _median_of(run, rounds)


def _median_of(run: Callable[[], Any], rounds: int) -> float:
    run()
    spent = []
    for _ in range(rounds):
        started = time.process_time()
        run()
        spent.append(time.process_time() - started)
    return median(spent)


def malloc(model: Model, rounds: int) -> list[list[str]]:
    """The same tasks on worker processes of both kinds."""
    import dask
    import distributed

    jobs: dict[str, tuple[Any, ...]] = {
        "learned detection, 1024 x 1024": (detection_seconds, model, rounds),
        "votes, one brick": (lifting_seconds, "votes", rounds),
        "linear, one brick": (lifting_seconds, "linear", rounds),
    }
    for name in worker_environment():
        os.environ.pop(name, None)  # workers would inherit it
    key = "distributed.nanny.pre-spawn-environ"
    settings = {"dask's own": dask.config.get(key), "tomodist's": worker_environment()}
    found: dict[str, list[float]] = {name: [] for name in jobs}
    for environment in settings.values():
        with (
            dask.config.set({key: environment}),
            distributed.LocalCluster(
                n_workers=1, threads_per_worker=1, dashboard_address=":0", memory_limit=0
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            for name, (function, *given) in jobs.items():
                found[name].append(client.submit(function, *given, pure=False).result())
    rows = [
        [n, *(f"{s:.3f}" for s in both), f"{both[0] / both[1]:.2f}"] for n, both in found.items()
    ]
    return [["task", *(f"{name} (cpu s)" for name in settings), "ratio"], *rows]


# ----------------------------------------------------------------------------------------- memory


def peak_here(path: str, side: int, tile: int) -> int:
    """Peak bytes of this process after detection in one image; of a fresh process."""
    detector = LearnedSegmentation(Model.at(path), tile=tile)
    if side:
        image = np.random.default_rng(0).standard_normal((side, side), dtype=np.float32)
        detector(image, VOXEL)
    else:
        detector.model.check()
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def memory(model: Model, cases: Sequence[tuple[int, int]]) -> list[list[str]]:
    """Peaks of fresh processes, and peak = base + k window² + c side² fitted to them."""
    peaks, program = [], [sys.executable, "-m", "tests.benchmarks.bench_inference", "--peak"]
    for side, tile in cases:
        words = [*program, f"{model.path},{side},{tile}"]
        done = subprocess.run(
            words, env={**os.environ, **worker_environment()}, capture_output=True, check=True
        )
        peaks.append(int(done.stdout))
    radius = model.network().radius
    windows = [min(side, tile + 2 * radius) for side, tile in cases]
    terms = np.array([[1, w**2, side**2] for w, (side, _) in zip(windows, cases, strict=True)])
    fit = np.linalg.lstsq(terms.astype(float), np.array(peaks, float), rcond=None)[0]
    table = [["side", "tile", "window", "peak MiB", "fitted MiB"]]
    for (side, tile), window, peak, line in zip(cases, windows, peaks, terms @ fit, strict=True):
        words = [str(side), str(tile), str(window), f"{peak / 2**20:.0f}", f"{line / 2**20:.0f}"]
        table.append(words)
    fitted = f"base {fit[0] / 2**20:.0f} MiB, {fit[1]:.0f} B per pixel of a window"
    return [*table, [f"{fitted}, {fit[2]:.0f} B per pixel of the image", "", "", "", ""]]


# ---------------------------------------------------------------------------------------- program


def written(title: str, table: list[list[str]]) -> str:
    """A table as aligned text."""
    widths = [max(len(row[k]) for row in table if len(row[-1]) or row is table[0])
              for k in range(len(table[0]))]  # fmt: skip
    lines = ["  ".join(word.ljust(w) for word, w in zip(row, widths, strict=True)).rstrip()
             for row in table]  # fmt: skip
    return "\n".join([title, *lines, ""])


def settle(kind: str) -> None:
    """Start this program anew where glibc has other settings: it reads them only at the start."""
    if os.environ.get("BENCH_MALLOC") == kind:
        return
    named = worker_environment()
    kept = {name: value for name, value in os.environ.items() if name not in named}
    wanted = {"BENCH_MALLOC": kind, "OMP_NUM_THREADS": "1"}
    wanted |= named if kind == "tomodist" else {}
    wanted |= {"MALLOC_TRIM_THRESHOLD_": "65536"} if kind == "dask" else {}
    program = [sys.executable, "-m", "tests.benchmarks.bench_inference", *sys.argv[1:]]
    os.execve(sys.executable, program, kept | wanted)


def main() -> None:
    """Parse the options, run, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=300, help="of training")
    parser.add_argument("--model", help="a folder for the trained model, used again if it is there")
    parser.add_argument("--compile", action="store_true", help="with torch.compile (a minute)")
    parser.add_argument("--malloc", choices=MALLOC, default="tomodist", help="settings of glibc")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peak:
        path, side, tile = given.peak.split(",")
        sys.stdout.write(str(peak_here(path, int(side), int(tile))))
        return
    settle(given.malloc)
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), given.parts.split(","), given)


def run(folder: Path, parts: Sequence[str], given: argparse.Namespace) -> None:
    """Measure the parts that are asked for."""
    out = sys.stdout.write
    place = Path(given.model) if given.model else folder / "model"
    if place.exists():
        model, unknown = Model.at(place), simulate_tomogram(1, snr=0.3)
    else:
        model, unknown = trained_model(place, given.steps)
    if "times" in parts or "accuracy" in parts:
        ways = forms(model, folder, compiled=given.compile)
    if "times" in parts:
        image = np.tile(unknown.examples(LABEL)[0].example.image, (4, 4))[:SIDE, :SIDE]
        every = {**ways, **other_networks()}
        out(written("per image of 1024 x 1024", times(every, image, given.rounds)) + "\n")
    if "accuracy" in parts:
        out(written("accuracy", accuracy(ways, model, unknown)) + "\n")
    if "malloc" in parts:
        out(written("malloc", malloc(model, given.rounds)) + "\n")
    if "memory" in parts:
        cases = [(0, 512), (512, 2048), (1024, 2048), (2048, 2048), (4096, 512), (4096, 1024)]
        cases += [(4096, 2048), (4096, 4096)]
        out(written("peak of a fresh process", memory(model, cases)) + "\n")


if __name__ == "__main__":
    main()

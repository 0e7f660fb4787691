"""``tomodist model``: look at a model, try it, give it to others as ONNX."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cloup

from tomodist.cli.shared.console import print_line, print_table
from tomodist.cli.shared.options import (
    STORE,
    GroupedCommand,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tomodist.learned.model.card import ModelCard


@cloup.group("model", epilog="Example: tomodist model info granules/")
def command() -> None:
    """Look at a model, try it, or write it as ONNX."""


@command.command("info", cls=GroupedCommand, epilog="Example: tomodist model info granules/")
@cloup.argument("model", type=STORE, help="Model folder, or an ONNX file.")
def info(model: Path) -> None:
    """Show what a model finds, what it was trained on, and how good it was."""
    from tomodist.learned.model.card import WEIGHTS, read_card

    card = read_card(model.absolute())
    rows = list(_rows(card))
    if model.is_dir() and not (model / WEIGHTS).is_file():
        rows.append(("weights", f"MISSING: there is no {WEIGHTS}; copy the whole folder again"))
    print_table(str(model), ("what", "content"), rows)


@command.command("check", cls=GroupedCommand, epilog="Example: tomodist model check granules/")
@cloup.argument("model", type=STORE, help="Model folder, or an ONNX file.")
def check(model: Path) -> None:
    """Check hash, names, shapes and finiteness of the weights, and try the network."""
    from tomodist.learned.model.opened import Model

    opened = Model.at(model)
    opened.check()
    print_line(
        f"{model}: weights and output are as they should be (sha256 {opened.sha256[:12]}...)"
    )


@command.command(
    "onnx", cls=GroupedCommand, epilog="Example: tomodist model onnx granules/ -o granules.onnx"
)
@cloup.argument("model", type=STORE, help="Model folder, or an ONNX file.")
@cloup.option("-o", "--output", type=STORE, required=True, help="ONNX file to write.")
@cloup.option("--overwrite", is_flag=True, help="Replace the file.")
def onnx(model: Path, output: Path, *, overwrite: bool) -> None:
    """Write a model as one ONNX file, which other programs (and tomodist) can run.

    The file holds what the model is (its classes, pixel size, thresholds) in its metadata. Its
    outputs are compared with the model's before it is kept.
    """
    from tomodist.learned.model.onnx_export import write_onnx

    write_onnx(model, output, overwrite=overwrite)
    print_line(f"written: {output} ({output.stat().st_size / 2**20:.1f} MiB)")


def _rows(card: ModelCard) -> Iterator[tuple[str, str]]:
    yield "finds", f"{'masks' if card.task == 'segment' else 'boxes'} in {card.dims}D"
    of = zip(card.classes, card.thresholds, strict=True)
    yield "classes", ", ".join(f"{name} (above {threshold:g})" for name, threshold in of)
    yield "pixel size", f"{card.pixel_size:g} Å"
    options = ", ".join(f"{k} {v}" for k, v in card.options.items())
    yield "network", f"{card.architecture}{f' ({options})' if options else ''}"
    for entry in card.training.get("data", []):
        yield entry["role"], f"{entry['store']}: {', '.join(entry['fingerprints'])}"
    if "history" in card.training:
        last = card.training["history"][-1]["step"]
        yield "steps", f"best after {card.training['best_step']} of {last}"
    for measure, values in card.metrics.get("validation", {}).items():
        if isinstance(values, dict):
            yield measure, ", ".join(f"{name} {value:.3f}" for name, value in values.items())
    yield "versions", ", ".join(f"{name} {version}" for name, version in card.versions.items())
    yield "sha256", card.sha256

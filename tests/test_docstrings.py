"""Docstrings of public functions: parameters and results are described where there are several.

One rule: the check reads source, and imports nothing of the package.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).parent.parent / "tomodist"
MODULES = sorted(PACKAGE.rglob("*.py"))
_DESCRIBED = re.compile(
    r"^\s*Parameters(\n\s*-+\n| (and results? )?(as for|are those of) `)", re.MULTILINE
)
_RESULT = re.compile(r"^\s*(Returns|Yields)\n\s*-+\n|^\s*Parameters and results? ", re.MULTILINE)
_NOTHING = {"None", "Iterator[None]", ""}

# Functions of these modules that are not described yet; entries may only go.
EXEMPT: frozenset[str] = frozenset(
    {
        "api.py::locate",
        "cli/commands/annotate.py::command",
        "cli/commands/demo.py::command",
        "cli/commands/edges.py::command",
        "cli/commands/evaluate.py::command",
        "cli/commands/experiment.py::run_and_print",
        "cli/commands/export.py::command",
        "cli/commands/ingest.py::command",
        "cli/commands/locate.py::command",
        "cli/commands/model.py::onnx",
        "cli/commands/pick.py::command",
        "cli/commands/plan.py::command",
        "cli/commands/reconstruct.py::command",
        "cli/commands/segment.py::command",
        "cli/commands/simulate.py::command",
        "cli/commands/train.py::TrainOptions.task",
        "cli/commands/train.py::print_training",
        "cli/commands/train.py::train_segment",
        "cli/experiments/granules.py::command",
        "cli/experiments/mitochondria.py::command",
        "cli/experiments/sphere.py::command",
        "cli/shared/console.py::Bars.start",
        "cli/shared/console.py::print_table",
        "cli/shared/learned.py::Learned.classes",
        "cli/shared/learned.py::Learned.sources",
        "cli/shared/learned.py::labels_of",
        "cli/shared/options.py::Brick.convert",
        "cli/shared/options.py::Bytes.convert",
        "cli/shared/options.py::Classes.convert",
        "cli/shared/options.py::Tilts.convert",
        "cli/shared/options.py::apply",
        "cli/shared/options.py::gathered",
        "cli/shared/options.py::session_of",
        "cli/shared/sources.py::SourceOptions.classes_of",
        "cli/shared/sources.py::SourceOptions.sources",
        "pictures/overlay.py::draw_edge_threshold",
        "pictures/planes.py::draw_outline",
        "pictures/planes.py::interesting",
        "pictures/planes.py::mean_plane",
        "pictures/planes.py::plane_of",
        "pictures/planes.py::save",
        "pictures/planes.py::smoothed",
        "pictures/results.py::draw_agreement",
        "pictures/results.py::draw_slices",
        "pictures/results.py::draw_threshold",
        "pictures/results.py::draw_tilts",
        "steps/annotate.py::LabelVolume.work",
        "steps/backproject.py::Backproject.work",
        "steps/classes.py::ReferClasses.work",
        "steps/compare.py::plan_comparison",
        "steps/detect.py::DetectMaps.work",
        "steps/detect_volume.py::DetectVolume.work",
        "steps/detect_volume.py::plan_volume",
        "steps/ingest.py::Ingest.work",
        "steps/maxima.py::PickMaxima.work",
        "steps/maxima.py::plan_maxima",
        "steps/parts/base.py::Step.work",
        "steps/parts/pyramid.py::halve",
        "steps/parts/pyramid.py::shrink_brick",
        "steps/parts/score_record.py::curve_fingerprint",
        "steps/parts/sirt.py::residuals",
        "steps/ray_lengths.py::ChooseEdgeThreshold.work",
        "steps/reconstruct.py::MakeReconstruction.work",
        "steps/semantic.py::DecideClasses.work",
        "steps/structures.py::FindStructures.work",
        "steps/threshold.py::ChooseThreshold.work",
        "steps/tracks.py::LinkBoxes.work",
        "store/boxes.py::create_boxes",
        "store/locks.py::locked",
        "store/ome.py::level_scale",
        "store/place.py::LocalFolder.copy",
        "store/place.py::Place.stage",
        "store/tomogram.py::Unit.is_current",
        "store/volumes.py::create_stack",
        "store/volumes.py::create_volume",
        "tasks/evaluate.py::CompareStep.work",
        "tasks/lifting.py::BackprojectAgreeing.work",
        "tasks/lifting.py::check_excluded",
        "tasks/lifting.py::check_method",
        "tasks/lifting.py::enough_tilts",
        "tasks/train.py::TrainModel.work",
        "tasks/train.py::finished_model",
    }
)


def functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Public functions and methods of public classes, with their qualified names.

    A kernel has no annotations and a protocol's method describes itself like any other.
    """
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name, node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for part in node.body:
                if isinstance(part, ast.FunctionDef) and not part.name.startswith("_"):
                    yield f"{node.name}.{part.name}", part


def n_parameters(function: ast.FunctionDef) -> int:
    """Parameters that a caller passes: all but self and cls."""
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return sum(argument.arg not in ("self", "cls") for argument in every)


def missing(function: ast.FunctionDef) -> str:
    """What the docstring of a function lacks, in words; empty if nothing.

    >>> text = 'def f(a, b) -> int:\\n    "Add.\\\\n\\\\n    Parameters\\\\n    ---\\\\n"'
    >>> missing(ast.parse(text).body[0])
    'Returns'
    """
    text = ast.get_docstring(function, clean=False) or ""
    if n_parameters(function) < 2:
        return "" if text else "a docstring"
    lacking = [] if _DESCRIBED.search(text) else ["Parameters"]
    result = ast.unparse(function.returns) if function.returns else ""
    if result not in _NOTHING and not _RESULT.search(text):
        lacking.append("Returns")
    return " and ".join(lacking)


@pytest.mark.parametrize("path", MODULES, ids=[str(p.relative_to(PACKAGE)) for p in MODULES])
def test_parameters_and_results_are_described(path: Path) -> None:
    module = str(path.relative_to(PACKAGE))
    lacking = {
        f"{module}::{name}": missing(function)
        for name, function in functions(ast.parse(path.read_text()))
        if missing(function)
    }
    assert set(lacking) <= EXEMPT, lacking


def test_exemptions_are_needed() -> None:
    """An entry whose function is described, renamed or gone is removed from the list."""
    needed = {
        f"{path.relative_to(PACKAGE)}::{name}"
        for path in MODULES
        for name, function in functions(ast.parse(path.read_text()))
        if missing(function)
    }
    assert needed >= EXEMPT, EXEMPT - needed

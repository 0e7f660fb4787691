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
_SECTION = re.compile(r"^Parameters\n-+\n(.*?)(?=\n\n\w[\w ]*\n-+\n|\Z)", re.MULTILINE | re.DOTALL)
_NOTHING = {"None", "Iterator[None]", ""}

# Described once, where they are declared: by `Step`, by click, by a class without overloads.
_DECLARED_ELSEWHERE = {"work": "steps/parts/base.py", "convert": "click"}


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


def describes_itself(module: str, function: ast.FunctionDef) -> bool:
    """Whether a docstring has to describe the parameters.

    Not that of a command, which is its help (its options describe themselves), of an overload, or
    of a method that is declared and described elsewhere.
    """
    decorators = [ast.unparse(d) for d in function.decorator_list]
    if any("command(" in d or d == "overload" for d in decorators):
        return False
    return _DECLARED_ELSEWHERE.get(function.name, module) == module


def parameters_of(function: ast.FunctionDef) -> list[str]:
    """Names that a caller passes: all but self and cls."""
    given = function.args
    every = [*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg]
    return [a.arg for a in every if a is not None and a.arg not in ("self", "cls")]


def described(text: str) -> list[str]:
    """Names that the section Parameters describes.

    >>> described("Add.\\n\\nParameters\\n----------\\na, *b : int\\n    Both.\\n")
    ['a', 'b']
    """
    section = re.search(
        r"^Parameters\n-+\n(.*?)(?=\n\n\w[\w ]*\n-+\n|\Z)", text, re.MULTILINE | re.DOTALL
    )
    lines = section[1].splitlines() if section else []
    names = [line.split(" : ")[0] for line in lines if line and not line.startswith(" ")]
    return [name.strip(" *") for some in names for name in some.split(",")]


def missing(function: ast.FunctionDef) -> str:
    """What the docstring of a function lacks, in words; empty if nothing.

    >>> text = "def f(a, b) -> int:\\n    'Add.\\\\n\\\\nParameters\\\\n---\\\\na, b : int'"
    >>> missing(ast.parse(text).body[0])
    'Returns'
    """
    text = ast.get_docstring(function) or ""
    parameters = parameters_of(function)
    if len(parameters) < 2:
        return "" if text else "a docstring"
    lacking = [] if _DESCRIBED.search(text) else ["Parameters"]
    if (names := described(text)) and sorted(names) != sorted(parameters):
        lacking.append(f"the parameters {parameters}, not {names}")
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
        if describes_itself(module, function) and missing(function)
    }
    assert lacking == {}

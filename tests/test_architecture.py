"""The plan of the house: imports run one way, and heavy libraries stay in their rooms."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tomodist

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

PACKAGE = Path(tomodist.__file__).parent
ROOT = PACKAGE.parent

# A module may import from its own folder and from lower ranks. `planning` and `formats.zarr` stand
# low: plans are integer arithmetic that kernels' callers ask for sizes and costs, and a handle on a
# Zarr array is a format like any other, on which the store is built.
RANKS = (
    {"errors"},
    {"values", "planning"},
    {"metrics", "kernels", "simulate", "formats"},
    {"algorithms", "detectors"},
    {"learned", "runtime"},
    {"store"},
    {"sources"},
    {"steps", "pictures"},
    {"tasks"},
    {"api", "experiments"},
    {"cli", "__main__"},
)
HOMES = {
    "numba": {"kernels"},
    "zarr": {"store", "formats"},
    "dask": {"steps", "runtime"},
    "distributed": {"runtime"},
    "mrcfile": {"formats"},
    "starfile": {"formats", "sources"},
    "imodmodel": {"formats"},
    "click": {"cli"},
    "rich": {"cli"},
    "matplotlib": {"pictures"},
    "torchvision": {"learned"},
    "monai": {"learned"},
    "torch": {"learned", "experiments"},
    "onnxruntime": {"learned"},
    "onnx": {"learned"},
    "onnxscript": {"learned"},
}


def room(path: Path) -> str:
    """Folder or module directly below the package."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Dotted names that a module imports, wherever the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def module_name(path: Path) -> str:
    """Dotted name of a module; of a package's ``__init__`` the package's."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def run_imports(tree: ast.AST) -> Iterator[str]:
    """Dotted names that are imported when a module runs: all but those under TYPE_CHECKING.

    Of ``from a import b`` both ``a`` and ``a.b``, for b may be a module.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from run_imports(ast.Module(node.orelse, []))
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif not isinstance(node, ast.expr):  # no import stands in an expression
            yield from run_imports(node)


def import_circle(graph: Mapping[str, Collection[str]]) -> list[str]:
    """Modules of a circle, the first one again at the end; none if there is no circle.

    >>> import_circle({"a": ["b"], "b": ["c"], "c": ["b"]})
    ['b', 'c', 'b']
    >>> import_circle({"a": ["b", "c"], "b": ["c"], "c": []})
    []
    """
    finished: set[str] = set()

    def follow(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in finished:
            return []
        for other in graph[name]:
            circle = follow(other, [*path, name])
            if circle:
                return circle
        finished.add(name)
        return []

    return next(filter(None, (follow(name, []) for name in graph)), [])


SOURCES = [
    p for p in sorted(PACKAGE.rglob("*.py")) if p.name != "__init__.py" or p.parent != PACKAGE
]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    rank = {name: k for k, names in enumerate(RANKS) for name in names}
    here = room(path)
    for name in imports(path):
        if name.startswith("tomodist."):
            there = name.split(".")[1]
            assert rank[there] <= rank[here], f"{path} imports {name}"
            if here == there == "steps" and "parts" not in path.parts:
                assert name.split(".")[2] == "parts", f"{path} imports {name}: a step, a step"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_libraries_stay_in_their_rooms(path: Path) -> None:
    for name in imports(path):
        homes = HOMES.get(name.split(".")[0])
        assert homes is None or room(path) in homes, f"{path} imports {name}"


def test_importing_the_package_is_light() -> None:
    program = "import sys, tomodist; print(*sorted(m for m in sys.modules if '.' not in m))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert not loaded & {"torch", "distributed", "dask", "numba", "zarr", "xarray", "matplotlib"}


def test_every_public_name_is_there_and_documented() -> None:
    assert len(tomodist.__all__) <= 30
    for name in tomodist.__all__:
        assert getattr(tomodist, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = tomodist.nothing


def test_the_readme_s_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("5 ")


def test_the_readme_s_commands_exist() -> None:
    from tomodist.cli import COMMANDS

    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    used = set(re.findall(r"^tomodist (\w+)", "\n".join(blocks), flags=re.MULTILINE))
    assert used <= set(COMMANDS)
    assert {"ingest", "locate", "segment", "edges", "export", "info"} <= used


def test_no_public_name_is_hidden_by_a_folder() -> None:
    """An import of ``tomodist.x`` sets the attribute ``x``, whatever the name stood for before."""
    assert not {path.stem for path in PACKAGE.iterdir()} & set(tomodist.__all__)

"""Messages of errors: the library names arguments, and only the command line names options."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "tomodist"
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if "cli" not in p.relative_to(PACKAGE).parts)
_OPTION = re.compile(r"(?<![\w-])--[a-z0-9{]")
_WORDS = ("anew", "makes no sense", "is no ", "leave it out", "leave them out", "there is no such")


def messages(path: Path) -> list[str]:
    """Source text of everything that a module raises."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return [ast.unparse(n.exc) for n in nodes if isinstance(n, ast.Raise) and n.exc is not None]


def faults(path: Path) -> list[str]:
    """Messages that name an option, or use a word that the glossary advises against."""
    return [m for m in messages(path) if _OPTION.search(m) or any(w in m for w in _WORDS)]


@pytest.mark.parametrize("path", MODULES, ids=[str(p.relative_to(PACKAGE)) for p in MODULES])
def test_messages_use_the_words_of_the_glossary(path: Path) -> None:
    assert faults(path) == []

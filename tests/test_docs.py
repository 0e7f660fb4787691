"""What README and docs say is so: commands parse, links resolve, examples run, all is current."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import click
import pytest

from tomodist.cli import COMMANDS, group

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^( *)(```+)(\w*)\n(.*?)^\1\2 *$", flags=re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SPAN = re.compile(r"`(tomodist [a-z][^`]*)`")


def command_lines(text: str) -> Iterator[str]:
    """Lines of shell blocks, and indented ones, that call tomodist; backslashes join lines."""
    for block in BLOCK.finditer(text):
        if block[3] == "sh":
            yield from _of_tomodist(block[4])
    rest = BLOCK.sub("", text)
    yield from _of_tomodist("\n".join(re.findall(r"^ {4}(.*)$", rest, flags=re.MULTILINE)))


def _of_tomodist(lines: str) -> Iterator[str]:
    for line in re.sub(r"\\\n\s*", " ", lines).splitlines():
        if line.strip().startswith("tomodist "):
            yield line.strip()


def spans(text: str) -> Iterator[str]:
    """Commands inside of sentences, such as `tomodist info TS_01.zarr`."""
    for span in SPAN.findall(BLOCK.sub("", text)):
        yield " ".join(span.split())


def parse(line: str) -> None:
    """Parse a command as the command line does, without running it.

    Raises
    ------
    click.ClickException
        If a command, an option or a value is not known, or a required one is missing.
    """
    words = shlex.split(line, comments=True)[1:]
    command: click.Command = group
    context = group.make_context("tomodist", words)
    while isinstance(command, click.Group):
        name, below, words = command.resolve_command(context, _rest(context))
        assert below is not None
        command = below
        context = command.make_context(name, words, context)


def _rest(context: click.Context) -> list[str]:
    """Words that a group leaves to its subcommand."""
    return [*context._protected_args, *context.args]


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", page.read_text()), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_parse(page: Path) -> None:
    for line in command_lines(page.read_text()):
        try:
            parse(line)
        except click.ClickException as error:
            pytest.fail(f"{page.name}: {line}\n{error.format_message()}")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_in_sentences_exist(page: Path) -> None:
    for span in spans(page.read_text()):
        name, *words = span.split()[1:]
        assert name in (*COMMANDS, "COMMAND"), f"{page.name}: {span}"
        options = {word for word in words if re.match(r"--\w", word)} - {"--help"}
        assert options <= all_options(name), f"{page.name}: {span}"


def all_options(name: str) -> set[str]:
    """Options of a command and of what is below it."""
    command = group.get_command(click.Context(group), name)
    return _options(command) if command else set()


def _options(command: click.Command) -> set[str]:
    own = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            own |= _options(below) if below else set()
    return own


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("tomodist segment TS.zarr --maps m.mrc --maps-fram raw", "No such option"),
        ("tomodist lift TS.zarr", "No such command"),
        ("tomodist train segment TS.zarr --label a", "Missing option"),
        ("tomodist locate TS.zarr --method track", "is not one of"),
        ("tomodist info", "Missing argument"),
    ],
    ids=lambda text: text.split(" --")[-1],
)
def test_wrong_commands_do_not_parse(line: str, problem: str) -> None:
    with pytest.raises(click.ClickException) as error:
        parse(line)
    assert problem in error.value.format_message()


def test_commands_are_found_in_pages() -> None:
    text = (
        "```sh\ntomodist info A  # note\n```\nsay\n\n    tomodist info B\n```\ntomodist no\n```\n"
    )
    assert list(command_lines(text)) == ["tomodist info A  # note", "tomodist info B"]
    assert sum(1 for page in PAGES for _ in command_lines(page.read_text())) > 50


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(BLOCK.sub("", page.read_text())):
        if re.match(r"https?:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), f"{page.name}: {link}"
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


def test_command_reference_is_current() -> None:
    path = ROOT / "docs" / "commands.py"
    spec = importlib.util.spec_from_file_location("commands", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = (ROOT / "docs" / "commands.md").read_text()
    assert written == module.page(), "run `python docs/commands.py`"


def test_examples_of_extending_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    # A module of its own, because dataclasses and tasks look up where they were defined.
    module = ModuleType("extending")
    monkeypatch.setitem(sys.modules, "extending", module)
    blocks = [b[4] for b in BLOCK.finditer((ROOT / "docs" / "extending.md").read_text())]
    for block in blocks:
        exec(compile(block, "extending.md", "exec"), module.__dict__)
    assert len(blocks) == 6


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_that_pages_name_exist(page: Path) -> None:
    for path in re.findall(r"`((?:\w+/)+\w+\.py)`", BLOCK.sub("", page.read_text())):
        assert (ROOT / path).exists() or (ROOT / "tomodist" / path).exists(), f"{page.name}: {path}"
    for name in re.findall(r"python -m (tests\.[\w.]+)", page.read_text()):
        path = ROOT / name.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").exists(), f"{page.name}: {name}"


def test_readme_lists_the_targets_of_the_makefile() -> None:
    targets = re.findall(r"^([\w-]+):(?!=)", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    text = (ROOT / "README.md").read_text()
    table = text[text.index("| `make ...` |") :].partition("\n\n")[0]
    named = re.findall(r"`([\w-]+)`", "".join(row.split("|")[1] for row in table.splitlines()[2:]))
    assert set(named) == set(targets)

"""Write commands.md, the reference of all commands, from the commands themselves.

    python docs/commands.py

Run it when an option changes; `tests/test_docs.py` compares the file with what this gives.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tomodist.cli import _RENAMED, group

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).with_name("commands.md")
_START = """# Commands

Every command and every option, in the order of a day's work. `tomodist COMMAND --help` shows the
same in a terminal. Examples for each task are in the [guide](guide.md), words in the
[glossary](glossary.md).

This page is written by `python docs/commands.py`; do not edit it.
"""


def page() -> str:
    """The whole reference as Markdown."""
    context = group.make_context("tomodist", [], resilient_parsing=True)
    found = list(_commands(group, context))
    contents = "\n".join(
        f"- [`{context.command_path}`](#{context.command_path.replace(' ', '-')}): "
        f"{_first_line(context.command)}"
        for context in found
    )
    return "\n".join([_START, contents, *map(_section, found), _renamed()]) + "\n"


def _commands(command: click.Group, context: click.Context) -> Iterator[click.Context]:
    """Contexts of all commands below a group that do something."""
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        if below is None:
            raise LookupError(name)
        inner = below.make_context(name, [], context, resilient_parsing=True)
        if isinstance(below, click.Group):
            yield from _commands(below, inner)
        else:
            yield inner


def _section(context: click.Context) -> str:
    command = context.command
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [f"\n## {context.command_path}\n", *_paragraphs(command.help or "")]
    lines += [f"```text\n{context.command_path} {usage}\n```\n"]
    for title, parameters in _groups(command.params).items():
        lines += [f"| {title} | |", "|---|---|", *(_row(p, context) for p in parameters), ""]
    lines += _paragraphs(command.epilog or "")
    return "\n".join(lines).rstrip("\n")


def _renamed() -> str:
    rows = [f"| `{old}` | `{new}` |" for old, new in _RENAMED.items()]
    text = "Names that options had in earlier versions still work."
    return "\n".join(["\n## Earlier names\n", text, "", "| earlier | now |", "|---|---|", *rows])


def _groups(parameters: list[click.Parameter]) -> dict[str, list[click.Parameter]]:
    """Parameters by the title of their group.

    Each option knows its group. A group knows only the options of the command that was made last,
    because several commands share it.
    """
    groups: dict[str, list[click.Parameter]] = {"Arguments": []}
    for parameter in parameters:
        group_of = getattr(parameter, "group", None)
        title = "Arguments" if isinstance(parameter, click.Argument) else "Options"
        groups.setdefault(title if group_of is None else group_of.title, []).append(parameter)
    return {title: members for title, members in groups.items() if members}


def _row(parameter: click.Parameter, context: click.Context) -> str:
    if isinstance(parameter, click.Argument):
        names = parameter.make_metavar(context)
        text = getattr(parameter, "help", None) or ""
    else:
        names, text = parameter.get_help_record(context) or ("", "")
    return f"| `{_cell(names)}` | {_cell(text)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _paragraphs(text: str) -> list[str]:
    text = inspect.cleandoc(text)
    start, mark, rest = text.partition("Example: ")
    lines = [f"{start.strip()}\n"] if start.strip() else []
    return lines + ([f"```sh\n{' '.join(rest.split())}\n```\n"] if mark else [])


def _first_line(command: click.Command) -> str:
    return " ".join(inspect.cleandoc(command.help or "").split("\n\n")[0].split())


if __name__ == "__main__":
    PAGE.write_text(page())

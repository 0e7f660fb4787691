"""Messages name options as they are typed; old names of options still work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest

from tests.cli.materials import THREADS, ingest, tomodist, write_series
from tomodist.cli import COMMANDS, group
from tomodist.cli.shared.words import in_options, options_of

if TYPE_CHECKING:
    from pathlib import Path


def every_command() -> dict[str, click.Command]:
    """Every command and subcommand, by what is typed."""
    commands: dict[str, click.Command] = {}
    for name in COMMANDS:
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if isinstance(command, click.Group):
            for sub in command.list_commands(click.Context(command)):
                part = command.get_command(click.Context(command), sub)
                assert part is not None
                commands[f"{name} {sub}"] = part
        else:
            commands[name] = command
    return commands


def test_arguments_become_the_options_of_the_command() -> None:
    options = options_of(group, ["segment", "t.zarr", "--label", "x"])
    assert options["exclude"] == "--exclude-tilts"
    assert options["per_structure"].startswith("--")
    message = in_options("`exclude` names section 9; use `min_voxels`, or `nothing`", options)
    assert message == "--exclude-tilts names section 9; use --min-voxels, or nothing"
    assert "output" in options_of(group, ["train", "segment", "t.zarr"])
    assert options_of(group, ["no-such-command"]).keys() <= {"version", "debug"}


@pytest.mark.parametrize(
    ("old", "new"), [("--exclude", "--exclude-tilts"), ("--exclude=", "--exclude-tilts=")]
)
def test_an_old_name_is_the_new_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str
) -> None:
    """Both name the same wrong section, so both say the same."""
    assert ingest(write_series(tmp_path), tmp_path / "t.zarr") == 0
    capsys.readouterr()
    said = []
    for name in (old, new):
        typed = (f"{name}99",) if name.endswith("=") else (name, 99)
        assert tomodist("edges", tmp_path / "t.zarr", "--label", "e", *typed, *THREADS) == 1
        said.append(capsys.readouterr().err)
    assert said[0] == said[1]
    assert "--exclude-tilts" in said[0]


@pytest.mark.parametrize("name", every_command())
def test_every_option_says_what_it_does(name: str) -> None:
    """A help text is a statement: it starts with a capital letter, and with no preposition."""
    for option in every_command()[name].params:
        if isinstance(option, click.Option):
            text = (option.help or "").strip()
            assert text, option.opts
            assert text[0].isupper() or not text[0].isalpha(), (option.opts, text)
            assert text.split()[0] not in {"Of", "In", "With", "From", "To", "By"}, option.opts


def test_one_option_has_one_name_in_all_commands() -> None:
    """An argument that several commands take is set by the same option in each."""
    names: dict[str, set[str]] = {}
    for command in every_command().values():
        for option in command.params:
            if isinstance(option, click.Option) and option.name:
                names.setdefault(option.name, set()).add(max(option.opts, key=len))
    assert {name: opts for name, opts in names.items() if len(opts) > 1} == {}


def test_helps_do_not_depend_on_what_was_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    """Groups have the same names in several commands, and each keeps its own options."""
    every_command()
    for name, command in every_command().items():
        assert tomodist(*name.split(), "--help") == 0
        said = capsys.readouterr().out
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert option.opts[0] in said, (name, option.opts)

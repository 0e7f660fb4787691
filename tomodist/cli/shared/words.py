"""Messages of the library in the words of the command line: arguments become options."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def options_of(command: click.Command, arguments: Sequence[str]) -> dict[str, str]:
    """Options of the command that arguments call, by the argument that each sets.

    Parameters
    ----------
    command : click.Command
        The command line, or one command.
    arguments : sequence of str
        As typed, without the program's name.

    Returns
    -------
    dict of str to str
        Such as ``{"tilts_per_task": "--tilts-per-task"}``.
    """
    context = click.Context(command)
    for argument in arguments:
        if not isinstance(command, click.Group):
            break
        command = command.get_command(context, argument) or command
    return {
        option.name: max(option.opts, key=len)
        for option in command.params
        if isinstance(option, click.Option) and option.name
    }


def in_options(message: str, options: Mapping[str, str]) -> str:
    """A message in which arguments are shown as options; others lose their backticks.

    Parameters
    ----------
    message : str
        Of an error; see `tomodist.errors`.
    options : mapping of str to str
        From `options_of`.

    Returns
    -------
    str

    Examples
    --------
    >>> in_options("`brick` is (1, 2, 3); use `overwrite`", {"brick": "--brick"})
    '--brick is (1, 2, 3); use overwrite'
    """
    return re.sub(r"`(\w+)`", lambda name: options.get(name[1], name[1]), message)

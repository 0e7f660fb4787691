"""The command ``tomodist``: one small file per subcommand, loaded only when it is called.

An error that the user can mend is one line on stderr and exit status 1; Ctrl-C is exit status 130,
and the same command continues where it stopped.
"""

from __future__ import annotations

import errno
import importlib
import sys

import click

from tomodist.cli.shared.words import in_options, options_of
from tomodist.errors import TomodistError

COMMANDS = (
    "ingest",
    "annotate",
    "train",
    "model",
    "segment",
    "edges",
    "locate",
    "pick",
    "reconstruct",
    "info",
    "export",
    "evaluate",
    "plan",
    "simulate",
    "demo",
    "experiment",
)

_OF_THE_USER = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG),  # a path that cannot be
)

_RENAMED = {  # names that options had in earlier versions; they still work
    "--maps-frame": "--frame",
    "--boxes-frame": "--frame",
    "--exclude": "--exclude-tilts",
    "--own-thresholds": "--per-structure",
}


class _Commands(click.Group):
    """Finds a subcommand's module when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Names, in the order of a day's work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The subcommand, or None."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"tomodist.cli.commands.{cmd_name}").command
        return command if isinstance(command, click.Command) else None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tomodist")
def group() -> None:
    """Detect structures on cryo-ET tilt series and lift them to 3D by backprojection."""


def main() -> None:
    """Run the command line and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str], command: click.Command = group) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : list of str
        Without the program's name.
    command : Command
        That takes them.

    Returns
    -------
    int
        Exit status: 0, 1 (an error that the user can mend), 2 (wrong options), 130 (Ctrl-C).
    """
    arguments = [_present_name(argument) for argument in arguments]
    try:
        command(arguments, standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted; run the same command again to continue", 130)
    except TomodistError as error:
        return _fail(in_options(str(error), options_of(command, arguments)), 1)
    except OSError as error:
        if error.errno not in _OF_THE_USER:
            raise
        return _fail(f"{error.filename or 'output'}: {error.strerror}", 1)
    return 0


def _present_name(argument: str) -> str:
    """The present name of an option that was renamed; anything else as it is."""
    name, equals, value = argument.partition("=")
    return f"{_RENAMED.get(name, name)}{equals}{value}"


def _fail(message: str, status: int) -> int:
    click.echo(f"tomodist: {' '.join(message.split())}", err=True)
    return status

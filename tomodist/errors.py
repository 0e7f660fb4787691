"""Errors that tomodist raises on purpose.

One rule: a message says what was asked, which value was found, and what to do. It names arguments
of the Python functions, in backticks: "`tilts_per_task` is 3, but refinement needs all 41 tilts in
one task; leave it out". The command line shows the option that sets the argument instead
(``--tilts-per-task``; see `tomodist.cli.shared.words`), so no message names an option itself.

Every class also inherits the builtin that a caller would expect, so that ``except ValueError``
keeps working. The command line prints the message on one line and exits with status 1.
"""


class TomodistError(Exception):
    """Base of all errors that tomodist raises on purpose."""


class InputError(TomodistError, ValueError):
    """A file, option or array cannot be used as it is."""


class GeometryError(TomodistError, ValueError):
    """A tilt geometry or a volume grid makes no sense, or does not fit its data."""


class StoreError(TomodistError, OSError):
    """A tomogram store is missing, damaged, busy, or lacks what was asked for."""


class ExistsError(TomodistError, FileExistsError):
    """An output exists already and would be replaced."""


class PlanError(TomodistError, MemoryError):
    """A run cannot fit in the memory or on the disk that it is given."""

"""``python -m tests.ablations``: the command line of the ablations."""

import sys

from tests.ablations.commands import group
from tomodist.cli import run

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], group))

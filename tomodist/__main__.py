"""``python -m tomodist``: the command line."""

from tomodist.cli import main

if __name__ == "__main__":
    main()

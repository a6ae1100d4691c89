"""The `oneprotect` command, also `python -m app`."""

import sys

from app.cli import run
from app.collector import collect_rarely


def main() -> None:
    collect_rarely()
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()

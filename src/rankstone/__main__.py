"""Entry point; nothing is imported before Ctrl-C is handled."""

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line; exit with code 130 if it is interrupted."""
    try:
        from rankstone.cli.app import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        sys.exit(130)


if __name__ == "__main__":
    main()

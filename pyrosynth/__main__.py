"""`python -m pyrosynth` is the command `pyrosynth`."""

import sys

from pyrosynth.cli.app import main

if __name__ == "__main__":
    sys.exit(main())

"""Commands without the rights of root, which the tests may have and their users have not."""

import os
import subprocess
import sys

GIVEN_UP = "-dac_override,-dac_read_search"
SETPRIV = ["setpriv", "--bounding-set", GIVEN_UP, "--inh-caps", GIVEN_UP]


def run_without_rights(*arguments):
    """Run a command of pyrosynth to which a mode of 0 closes files and folders."""
    return python_without_rights("-m", "pyrosynth", *map(str, arguments))


def python_without_rights(*arguments):
    """Run Python so."""
    prefix = SETPRIV if os.geteuid() == 0 else []
    command = [*prefix, sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True)

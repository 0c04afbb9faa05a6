"""Commands in a process of their own that need not import what this one has imported."""

import multiprocessing
import os
import sys
import tempfile
import traceback
import warnings
from types import SimpleNamespace

from pyrosynth.cli.app import main


def command(*arguments, before=lambda: None, closed=()):
    """Run a command in a forked process, and in none of the streams that pytest captures.

    Args:
        arguments: What follows the program's name.
        before: What the process does first.
        closed: Numbers of the standard streams that it is started without.

    Returns:
        ``returncode``, and what it wrote: ``stdout`` and ``stderr``.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as error:

        def run():
            for number, file, name in ((1, out, "stdout"), (2, error, "stderr")):
                os.dup2(file.fileno(), number)
                setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))
            sys.stdin = open(os.devnull, encoding="utf-8")
            for number in closed:  # as Python finds them when it starts
                os.close(number)
                setattr(sys, ("stdin", "stdout", "stderr")[number], None)
            code = 1
            try:
                before()
                code = main([str(argument) for argument in arguments])
            except BaseException:
                traceback.print_exc()
            finally:
                for stream in (sys.stdout, sys.stderr):
                    if stream is not None:
                        stream.flush()
                os._exit(code)

        process = multiprocessing.get_context("fork").Process(target=run)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # about threads and forks
            process.start()
        process.join()
        said = []
        for file in (out, error):
            file.seek(0)
            said.append(file.read().decode())
        return SimpleNamespace(returncode=process.exitcode, stdout=said[0], stderr=said[1])

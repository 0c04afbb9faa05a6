"""Work that is killed in the midst of it, as a power cut does."""

import multiprocessing
import os
import signal

from pyrosynth.evaluation import cache


def killed_after_draws(n, work, *arguments, **options):
    """Do work in a process that is killed as soon as it has kept the draws for ``n`` sounds."""

    def start():
        os.setsid()
        write, kept = cache.write_arrays, []

        def counted(file, arrays):
            write(file, arrays)
            if file.parent.name.startswith("draws-"):
                kept.append(file)
            if len(kept) == n:
                os.killpg(0, signal.SIGKILL)

        cache.write_arrays = counted
        work(*arguments, **options)

    process = multiprocessing.get_context("fork").Process(target=start)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL

"""Work for processes side by side, in a module that is light to import."""

import os
import signal
import sys
import time
from contextlib import contextmanager

from pyrosynth.errors import InputError


@contextmanager
def doubling(workers):
    """Double numbers, and say by which process; 13 is refused, 99 ends the process, 60 lasts."""

    def work(item, tick):
        tick(1)
        if item == 13:
            raise InputError("no 13 please")
        if item == 99:
            os.kill(os.getpid(), signal.SIGKILL)
        if item == 60:
            time.sleep(1000)
        tick(2)
        return 2 * item, workers, os.getpid()

    yield work


@contextmanager
def telling(workers):
    """Say which process started this one, how many threads it has, and if it has ``colorsys``."""

    def work(item, tick):
        if item == "last of its parent":
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(1000)
        return os.getppid(), len(os.listdir("/proc/self/task")), "colorsys" in sys.modules

    yield work

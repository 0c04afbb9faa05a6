"""One instrument of ZynAddSubFX, played in a process of its own.

ZynAddSubFX (GPL-2 or later, by Nasca Octavian Paul and others) comes as a DSSI plugin whose
instruments are files. It plays the same bytes every time only if nothing is left to chance: it
seeds its random numbers by the clock, so the caller preloads a library that makes the clock stand
still; and it loads an instrument in a thread that draws from the same numbers, so nothing may
play until that thread is done.
"""

import json
import os
import select
import shutil
from pathlib import Path

import numpy as np

from pyrosynth.audio.io import save_audio
from pyrosynth.audio.note import Note
from pyrosynth.errors import SynthError
from pyrosynth.synths import ladspa as abi
from pyrosynth.synths.dssi import param_of_port
from pyrosynth.synths.host import Instance, library

PROGRAM = "pyrosynth"  # what the instrument is called in the bank made for it
TICKS = 20  # turns of its idle loop after which the loading thread has surely loaded


def main(arguments: list[str]) -> None:
    """Play one note to a file.

    The home folder must be empty: the plugin looks there for banks.

    Args:
        arguments: The plugin, the instrument's file, the sample rate, the note as JSON, and the
            sound file to write.

    Raises:
        SynthError: The plugin does not find the instrument.
    """
    plugin, instrument, sample_rate, note, out = arguments
    bank = Path.home() / "banks" / PROGRAM
    bank.mkdir(parents=True)
    shutil.copyfile(instrument, bank / f"0001-{PROGRAM}.xiz")
    ports = abi.describe(plugin)[0]["ports"]
    controls = [port for port in ports if port["kind"] == abi.CONTROL | abi.INPUT]
    values = [param_of_port(port, port["name"]).default for port in controls]
    dssi = abi.descriptors(library(Path(plugin)).open())[0]
    before = _threads()
    synth = Instance(
        dssi,
        [port["index"] for port in controls],
        [port["index"] for port in ports if port["kind"] == abi.AUDIO | abi.OUTPUT],
        int(sample_rate),
        0,
    )
    loaders = _threads() - before
    if len(loaders) != 1:
        raise SynthError(f"the plugin started {len(loaders)} threads; its one loader was expected")
    (loader,) = loaders
    ready = _turns(loader) + TICKS
    synth.select(PROGRAM)
    while _turns(loader) < ready:
        select.poll().poll(1)  # not time.sleep, which fails under a clock that stands still
    synth.rest()
    sound = synth.play(np.array(values, np.float32), Note(**json.loads(note)))
    save_audio(out, sound, int(sample_rate))
    synth.close()


def _threads() -> set[str]:
    return set(os.listdir("/proc/self/task"))


def _turns(thread: str) -> int:
    """Return how often a thread has gone to sleep; the loader does so when it has no work."""
    with open(f"/proc/self/task/{thread}/status", encoding="utf-8") as file:
        return next(
            int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt_switches")
        )

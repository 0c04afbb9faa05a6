"""What the tests of rendering hand to worker processes, and a program that renders.

    python renderings.py once PLUGIN OUT      renders three sounds to a file of arrays
    python renderings.py forever PLUGIN MODE  renders until it is killed

With the second, the control ``fault`` of the last sound is MODE; it prints the processes first.
"""

import os
import sys
import threading

import numpy as np


def loudness(audio):
    """Level in five parts of each sound, shape (n, 5)."""
    return np.sqrt((audio.reshape(len(audio), 5, -1) ** 2).mean(axis=-1)).astype(np.float32)


def die(audio):
    """End a worker; the parent, which tries it on one sound of zeros, stays."""
    if audio.any():
        os._exit(3)
    return audio[:, :1]


def complain(audio):
    if audio.any():
        raise ValueError("no such luck")
    return audio[:, :1]


def once(plugin, out):
    from pyrosynth import synths
    from pyrosynth.audio.note import Note
    from pyrosynth.synths.rendering import Renderer

    synth = synths.load_synth(plugin)
    values = np.tile(synth.param_space.defaults, (3, 1))
    note = Note(hold_seconds=0.1, duration_seconds=0.2)
    with Renderer(synth, note, 22050, workers=2) as renderer:
        np.save(out, renderer.render(values, "sounds").audio)


def forever(plugin, mode):
    from pyrosynth import synths
    from pyrosynth.audio.note import Note
    from pyrosynth.synths.rendering import Renderer

    synth = synths.load_synth(plugin)
    values = np.tile(synth.param_space.defaults, (2, 1))
    with Renderer(
        synth, Note(duration_seconds=4.0), 22050, workers=2, timeout_seconds=1000
    ) as renderer:
        renderer.render(values)
        print(*(worker.pid for worker in renderer.workers), flush=True)
        values[-1, 0] = float(mode)
        while True:
            renderer.render(values)


if __name__ == "__main__":
    what, arguments = sys.argv[1], sys.argv[2:]
    if what == "thread":
        threading.Thread(target=forever, args=arguments).start()
    else:
        {"once": once, "forever": forever}[what](*arguments)

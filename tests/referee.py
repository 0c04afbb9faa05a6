"""Play an instrument through another host, for tests that compare with it.

    python referee.py HOST PLUGIN SETTINGS OUT

writes the sound, shape (n_outputs, n_samples), to the NumPy file OUT. HOST is ``dawdreamer`` or
``minihost``; SETTINGS is JSON with the unit value of each control by its name, the note, and for
DawDreamer perhaps a file of a VST2 preset.
"""

import json
import sys

import numpy as np

BLOCK = 512


def dawdreamer(plugin, values, note, rate, preset=None):
    import dawdreamer

    engine = dawdreamer.RenderEngine(rate, BLOCK)
    processor = engine.make_plugin_processor("synth", plugin)
    if preset:
        assert processor.load_preset(preset)
    names = [described["name"] for described in processor.get_parameters_description()]
    for name, value in values.items():
        processor.set_parameter(names.index(name), value)
    processor.add_midi_note(note["pitch"], note["velocity"], 0.0, note["hold_seconds"])
    engine.load_graph([(processor, [])])
    engine.render(note["duration_seconds"])
    return engine.get_audio()


def minihost(plugin, values, note, rate):
    import minihost

    host = minihost.Plugin(plugin, sample_rate=rate, max_block_size=BLOCK)
    names = [host.get_param_info(i)["name"] for i in range(host.num_params)]
    for name, value in values.items():
        host.set_param(names.index(name), value)
    release, blocks = int(note["hold_seconds"] * rate), []
    for start in range(0, int(note["duration_seconds"] * rate), BLOCK):
        events = [(0, 0x90, note["pitch"], note["velocity"])] if start == 0 else []
        if start <= release < start + BLOCK:
            events.append((release - start, 0x80, note["pitch"], 0))
        outputs = np.zeros((host.num_output_channels, BLOCK), np.float32)
        host.process_midi(np.zeros((2, BLOCK), np.float32), outputs, events)
        blocks.append(outputs)
    return np.concatenate(blocks, axis=1)


if __name__ == "__main__":
    host, plugin, settings, out = sys.argv[1:]
    given = json.loads(settings)
    play = {"dawdreamer": dawdreamer, "minihost": minihost}[host]
    np.save(out, play(plugin, **given))

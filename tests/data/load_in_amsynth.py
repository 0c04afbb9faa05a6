"""Run as a script: let amsynth itself read its bank files and print what it made of them.

    python load_in_amsynth.py PLUGIN N

amsynth looks for banks in XDG_DATA_HOME/amsynth/banks. Its first bank is selected by a MIDI
message and N programs of it one after the other, as a DSSI host does; the plugin then writes their
values into the control ports.
"""

import ctypes as C
import json
import sys

from pyrosynth.synths import ladspa as abi

CONTROLLER, BANK_SELECT = 10, 0  # ALSA event type, MIDI controller


def main(path, n):
    dssi = abi.descriptors(C.CDLL(path))[0]
    ladspa = dssi.ladspa.contents
    handle = ladspa.instantiate(C.addressof(ladspa), 22050)
    values = (C.c_float * ladspa.n_ports)()
    audio = (C.c_float * 64)()
    controls = [i for i in range(ladspa.n_ports) if ladspa.port_kinds[i] & abi.CONTROL]
    for i in range(ladspa.n_ports):
        at = C.addressof(values) + 4 * i if i in controls else C.addressof(audio)
        ladspa.connect_port(handle, i, at)
    # In ALSA's controller event, number and value follow the channel and three unused bytes.
    event = (abi.Event * 1)(abi.Event(type=CONTROLLER, duration=BANK_SELECT, padding=0))
    dssi.run_synth(handle, 64, event, 1)
    found = []
    for program in range(n):
        name = dssi.get_program(handle, program).contents.name.decode()
        dssi.select_program(handle, 0, program)
        found.append([name, {ladspa.port_names[i].decode(): values[i] for i in controls}])
    print("\n" + json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

"""Programs of the distribution that render sounds no synth of the package makes.

Each family of sounds has the packages it is rendered with, the list of its sounds, and for each of
them a command that writes one sound file. Nothing of a package is loaded into this process, and
nothing of it is part of this one.
"""

import gzip
import json
import os
import re
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyrosynth.audio.note import Note
from pyrosynth.errors import SynthError
from pyrosynth.synths.sandbox import private_home

RATE = 44100  # sounds are rendered at this rate: samplers alias at lower ones
DRUMS_CHANNEL = 9  # General MIDI plays drums there
FIRST_DRUM = 35
DRUMS = """
    acoustic bass drum, bass drum, side stick, acoustic snare, hand clap, electric snare,
    low floor tom, closed hi-hat, high floor tom, pedal hi-hat, low tom, open hi-hat, low-mid tom,
    high-mid tom, crash cymbal 1, high tom, ride cymbal 1, chinese cymbal, ride bell, tambourine,
    splash cymbal, cowbell, crash cymbal 2, vibraslap, ride cymbal 2, high bongo, low bongo,
    mute high conga, open high conga, low conga, high timbale, low timbale, high agogo, low agogo,
    cabasa, maracas, short whistle, long whistle, short guiro, long guiro, claves,
    high wood block, low wood block, mute cuica, open cuica, mute triangle, open triangle
"""  # names of the keys from 35 to 81, General MIDI Level 1
ZYN_BANKS = (
    "Bass", "Brass", "Choir and Voice", "Fantasy", "Guitar", "Organ", "Pads", "Plucked",
    "Reed and Wind", "Rhodes", "Strings", "Synth", "SynthPiano",
)  # fmt: skip
ZYN_EACH = 4  # instruments of each bank
VOWELS = {  # voice and phoneme, as espeak-ng writes it
    "ah": ("en-us", "A:"), "eh": ("en-us", "E"), "ee": ("en-us", "i:"), "aw": ("en-us", "O:"),
    "oo": ("en-us", "u:"), "ue": ("de", "y:"), "er": ("en-us", "3:"), "uh": ("en-us", "@"),
}  # fmt: skip
AGAIN = 24  # how often a vowel is repeated, without a gap, to outlast a note
LANGUAGES = (
    "en-us", "en-gb-x-rp", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "nb", "fi", "pl", "cs",
    "hu", "ro", "tr", "el", "ru", "eo", "la", "sw", "id",
)  # fmt: skip
COUNTED = "1 2 3 4 5"  # every voice knows how to say it
SLOWEST = 80  # words per minute
PITCH_OFFSET_HZ = 9  # espeak-ng speaks so much lower than its voice file says

Command = tuple[list[str], dict[str, str]]


@dataclass(frozen=True)
class Sound:
    """One sound of a family.

    Args:
        name: Name of its file, without ending.
        instrument: What it is, for people.
        recipe: What the family's command needs to know.
    """

    name: str
    instrument: str
    recipe: Any


@dataclass(frozen=True)
class Family:
    """Sounds of one kind.

    Args:
        packages: What must be fetched; the first one gives the folder its name.
        source: The package the sounds come from.
        licence: Its licence.
        pitched: Whether the sounds have the pitch of the note.
        released: Whether the program ends a sound with the note; if not, it is faded out.
        sounds: Lists the sounds, given the folder of the packages.
        command: Makes the command and its further environment, given that folder, a sound's
            recipe, the note, and an empty folder in which to write ``out.wav``.
    """

    packages: tuple[str, ...]
    source: str
    licence: str
    pitched: bool
    released: bool
    sounds: Callable[[Path], list[Sound]]
    command: Callable[[Path, Any, Note, Path], Command]


def environment(tree: Path, home: Path) -> dict[str, str]:
    """Return variables that let a program find its libraries, and nothing of the user's."""
    folders = sorted({str(file.parent) for file in tree.rglob("lib*.so*")})
    given = os.environ.get("LD_LIBRARY_PATH")
    return {
        **private_home(home),
        "LC_ALL": "C.UTF-8",
        "LD_LIBRARY_PATH": ":".join([*folders, *([given] if given else [])]),
    }


def find(tree: Path, name: str) -> Path:
    """Return the file or folder of that name in the packages.

    Raises:
        SynthError: There is none.
    """
    found = next(iter(sorted(tree.rglob(name))), None)
    if found is None:
        raise SynthError(
            f"the packages in '{tree}' hold no {name}; delete the folder to fetch them again"
        )
    return found


def programs(soundfont: Path) -> Iterator[tuple[int, int, str]]:
    """Read bank, program and name of the presets of a SoundFont file, from its ``phdr`` chunk."""
    content = soundfont.read_bytes()
    start = content.rindex(b"phdr") + 8
    (size,) = struct.unpack_from("<I", content, start - 4)
    for record in range(start, start + size - 38, 38):  # the last record only marks the end
        name, program, bank = struct.unpack_from("<20sHH", content, record)
        yield bank, program, name.partition(b"\0")[0].decode("latin-1").strip()


def midi_file(channel: int, program: int, key: int, note: Note) -> bytes:
    """Write one note as a Standard MIDI File of format 0 with a tick per millisecond."""

    def after(seconds: float) -> bytes:
        ticks = round(1000 * seconds)
        digits = [ticks >> 7 * place & 0x7F for place in (3, 2, 1, 0)]
        return bytes([0x80 | digit for digit in digits[:-1]] + digits[-1:])

    events = (
        after(0) + b"\xff\x51\x03" + (1_000_000).to_bytes(3, "big"),  # microseconds per quarter
        after(0) + bytes([0xC0 | channel, program]),
        after(0) + bytes([0x90 | channel, key, note.velocity]),
        after(note.hold_seconds) + bytes([0x80 | channel, key, 0]),
        after(note.duration_seconds - note.hold_seconds) + b"\xff\x2f\x00",
    )
    track = b"".join(events)
    header = b"MThd" + struct.pack(">IHHH", 6, 0, 1, 1000)  # ticks per quarter
    return header + b"MTrk" + struct.pack(">I", len(track)) + track


def _instruments(tree: Path) -> list[Sound]:
    found = sorted(programs(find(tree, "*.sf3")))
    return [
        Sound(f"{number:03d}-{_slug(name)}", name, (0, number, None))
        for bank, number, name in found
        if bank == 0
    ]


def _drums(tree: Path) -> list[Sound]:
    names = [" ".join(name.split()) for name in DRUMS.split(",")]
    return [
        Sound(f"{key}-{_slug(name)}", name, (DRUMS_CHANNEL, 0, key))
        for key, name in enumerate(names, FIRST_DRUM)
    ]


def _fluidsynth(tree: Path, recipe: Any, note: Note, work: Path) -> Command:
    channel, program, key = recipe
    midi = work / "note.mid"
    midi.write_bytes(midi_file(channel, program, note.pitch if key is None else key, note))
    plain = ["-R", "0", "-C", "0", "-g", "0.5"]  # no reverb, no chorus, low enough
    form = ["-T", "wav", "-O", "float", "-r", str(RATE), "-F", str(work / "out.wav")]
    lazy = ["-o", "synth.dynamic-sample-loading=1"]  # only the samples of this program
    program_file = tree / "usr" / "bin" / "fluidsynth"
    return [
        str(program_file), "-n", "-i", "-q", *plain, *form, *lazy, str(find(tree, "*.sf3")),
        str(midi),
    ], {}  # fmt: skip


def _zyn_instruments(tree: Path) -> list[Sound]:
    banks = find(tree, "banks")
    sounds = []
    for bank in ZYN_BANKS:
        files = [file for file in sorted((banks / bank).glob("*.xiz")) if _repeats(file)]
        if not files:
            raise SynthError(
                f"'{banks}' holds no bank '{bank}'; delete '{tree}' to fetch it again"
            )
        for i in np.linspace(0, len(files) - 1, ZYN_EACH).round().astype(int):
            name = files[i].stem.partition("-")[2]
            sounds.append(
                Sound(f"{_slug(bank)}-{_slug(files[i].stem)}", f"{bank}: {name}", files[i])
            )
    return sounds


def _repeats(instrument: Path) -> bool:
    """Tell whether ZynAddSubFX plays an instrument twice alike.

    It does not if PADsynth takes part: several threads draw its phases from one random stream.
    """
    content = instrument.read_bytes()
    if content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)
    return re.search(rb'name="pad_enabled"\s+value="yes"', content) is None


def _zyn(tree: Path, recipe: Any, note: Note, work: Path) -> Command:
    plugin = find(tree, "libzynaddsubfx_dssi.so")
    script = "import sys; from benchmarks.outside.zyn import main; main(sys.argv[1:])"
    details = [str(RATE), json.dumps(note.to_json()), str(work / "out.wav")]
    return [sys.executable, "-P", "-c", script, str(plugin), str(recipe), *details], {
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
        "OMP_NUM_THREADS": "1",
        "LD_PRELOAD": str(find(tree, "libfaketime.so.1")),
        "FAKETIME": "2000-01-01 00:00:00",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def _phrases(tree: Path) -> list[Sound]:
    vowels = [
        Sound(f"vowel-{name}", f"vowel {name}", (voice, f"[[{AGAIN * vowel}]]"))
        for name, (voice, vowel) in VOWELS.items()
    ]
    return vowels + [
        Sound(f"count-{voice}", f"counting in {voice}", (voice, COUNTED)) for voice in LANGUAGES
    ]


def _espeak(tree: Path, recipe: Any, note: Note, work: Path) -> Command:
    voice, text = recipe
    data = find(tree, "espeak-ng-data")
    pitch = round(440.0 * 2.0 ** ((note.pitch - 69) / 12)) + PITCH_OFFSET_HZ
    variant = data / "voices" / "!v" / f"sung{pitch}"
    if not variant.exists():
        part = variant.with_name(f"{variant.name}.{os.getpid()}.part")
        part.write_text(f"language variant\nname sung{pitch}\npitch {pitch} {pitch}\n")
        part.replace(variant)
    program = tree / "usr" / "bin" / "espeak-ng"
    return [
        str(program), f"--path={data.parent}", "-v", f"{voice}+{variant.name}", "-s", str(SLOWEST),
        "-w", str(work / "out.wav"), text,
    ], {}  # fmt: skip


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


FAMILIES = {
    "gm": Family(
        ("fluidsynth", "fluidr3mono-gm-soundfont"),
        "fluidr3mono-gm-soundfont",
        "MIT",
        True,
        True,
        _instruments,
        _fluidsynth,
    ),
    "zyn": Family(
        ("zynaddsubfx-dssi", "zynaddsubfx-data", "libfaketime"),
        "zynaddsubfx-data",
        "GPL-2.0-or-later",
        True,
        True,
        _zyn_instruments,
        _zyn,
    ),
    "drums": Family(
        ("fluidsynth", "fluidr3mono-gm-soundfont"),
        "fluidr3mono-gm-soundfont",
        "MIT",
        False,
        True,
        _drums,
        _fluidsynth,
    ),
    "speech": Family(
        ("espeak-ng", "espeak-ng-data"),
        "espeak-ng-data",
        "GPL-3.0-or-later",
        True,
        False,
        _phrases,
        _espeak,
    ),
}

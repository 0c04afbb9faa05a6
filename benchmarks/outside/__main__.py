"""The command line: reads its options, makes the sounds, prints how many there are."""

import argparse
import json
import sys
from collections.abc import Sequence

import benchmarks.outside
from benchmarks.outside.families import FAMILIES
from benchmarks.outside.make import make
from pyrosynth.audio.note import Note
from pyrosynth.cli.process import run_program
from pyrosynth.errors import counted


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the sounds that the arguments ask for, and return the exit code."""
    about = benchmarks.outside.__doc__.splitlines()[0]
    parser = argparse.ArgumentParser("python -m benchmarks.outside", description=about)
    parser.add_argument("--out", required=True, help="Folder for the sounds.")
    parser.add_argument(
        "--families", default=",".join(FAMILIES), help="Families of sounds, separated by commas."
    )
    parser.add_argument("--each", type=int, help="Number of sounds of each family; default: all.")
    parser.add_argument("--note", type=int, default=60, help="MIDI note; 60 is C4.")
    parser.add_argument("--velocity", type=int, default=100, help="MIDI velocity.")
    parser.add_argument("--hold", type=float, default=3.0, help="Seconds until note-off.")
    parser.add_argument("--duration", type=float, default=4.0, help="Seconds in all.")
    parser.add_argument("--rate", type=int, default=22050, help="Sample rate in Hz.")
    parser.add_argument("--workers", type=int, help="Programs that run at once.")
    parser.add_argument("--json", action="store_true", help="Print one JSON document.")
    given = parser.parse_args(arguments)
    facts = make(
        given.out,
        Note(given.note, given.velocity, given.hold, given.duration),
        sample_rate=given.rate,
        families=[name.strip() for name in given.families.split(",")],
        each=given.each,
        workers=given.workers,
    )
    for file, reason in facts["left_out"].items():
        print(f"left out {file}: {reason}", file=sys.stderr)
    counts = ", ".join(f"{n} {family}" for family, n in facts["sounds"].items())
    line = f"{given.out}: {counted(sum(facts['sounds'].values()), 'sound')}: {counts}"
    print(json.dumps({"folder": given.out, **facts}, indent=1) if given.json else line)
    return 0


if __name__ == "__main__":
    run_program(main)

"""The part of a report that shows a vocal sketch: its pitch, and both sounds."""

import numpy as np

from pyrosynth import plots
from pyrosynth.audio.io import Audio
from pyrosynth.audio.sketch import Sketch
from pyrosynth.report import Section, picture, player, players, section, text, wav_sources

BEFORE_SECONDS = 0.3  # of the recording that is kept before the onset


def sketch_section(hummed: Sketch, recording: Audio, played: Audio, sample_rate: int) -> Section:
    """Return the section of a sketch.

    Args:
        hummed: The sketch.
        recording: What was recorded, shape (any,).
        played: The preset found, at the note that was heard, shape (any,).
        sample_rate: Rate in Hz of both.
    """
    note = hummed.note
    begins = max(0.0, hummed.onset_seconds - BEFORE_SECONDS)
    ends = hummed.onset_seconds + note.duration_seconds
    cut = recording[int(begins * sample_rate) : int(ends * sample_rate)]
    # Each at its own level: that of a recording is the microphone's.
    first, second = (
        wav_sources([0.5 * sound / max(float(np.abs(sound).max()), 1e-9)], sample_rate)[0]
        for sound in (cut, played)
    )
    lasting = "held" if hummed.held else "which decays by itself,"
    return section(
        "Sketch",
        text(
            f"Heard: {note.name} {hummed.cents:+.0f} cents, {lasting} {note.hold_seconds:.1f} s. "
            f"The sections below are about the sound at the note of the run; to hear it as it "
            f"was hummed, play {hummed.words}."
        ),
        players(
            [
                player("recording", "as it was hummed", first),
                player("inferred", f"played at {hummed.words}", second),
            ]
        ),
        picture(
            plots.png(plots.pitch_track(hummed.times, hummed.pitches, note, hummed.onset_seconds)),
            "Pitch of the recording over time, and the note it was taken for",
            "Pitch by pYIN (line), and the note that was heard (bar).",
        ),
    )

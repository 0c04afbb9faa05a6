"""The report of an inference, one offline page for each sound."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.audio.closeness import closeness
from pyrosynth.audio.io import Audio
from pyrosynth.audio.tuning import TunedSound
from pyrosynth.errors import counted
from pyrosynth.inference import pictures
from pyrosynth.inference.answers import Draws, Match
from pyrosynth.inference.contraction import (
    FEWEST_DRAWS,
    contraction,
    known_points,
    trade_offs,
)
from pyrosynth.inference.posterior import Posterior
from pyrosynth.report import (
    Block,
    Section,
    matched_gains,
    picture,
    player,
    players,
    section,
    table,
    text,
    wav_sources,
    write_report,
)
from pyrosynth.synths.base import Synth
from pyrosynth.synths.knobs import NO_READINGS, Reading, grouped, native, titles
from pyrosynth.synths.params import ParamSpace

BEFORE_SECONDS = 0.3  # of a recording that is shown before the onset

SOURCES = {
    "posterior": "draw from the posterior",
    "bank": "known preset",
    "model": "step along the model",
    "cma": "search (CMA-ES)",
    "genetic": "search (genetic algorithm)",
}


HOW_TO_OPEN = {
    "amsynth": "In amsynth: File → Open Bank…",
    "dexed": "In Dexed: CART → Load…, or send it to a DX7",
    "vital": "In Vital: menu → Open External Preset",
}


def next_steps(synth: Synth, folder: Path) -> list[str]:
    """Say what to open of a folder that ``infer`` wrote: the report, the preset in the synth."""
    report = folder / "report.html"  # which may be gone, as the preset may be, from an earlier one
    lines = [f"Look and listen: open {report}"] if report.is_file() else []
    bank = folder / f"{folder.name}{synth.preset_suffix}"
    if synth.preset_suffix and synth.name in HOW_TO_OPEN and bank.is_file():
        lines.append(f"{HOW_TO_OPEN[synth.name]}, choose {bank}")
    return lines


def candidates(match: Match, n: int = 5) -> NDArray[np.int64]:
    """Choose presets worth hearing: the nearest, the nearest of each source, then the next.

    Args:
        match: What was tried.
        n: Number of presets, if so many were tried.

    Returns:
        Their positions in ``match``, nearest first.
    """
    first = [int(np.flatnonzero(match.source == s)[0]) for s in np.unique(match.source)]
    rest = [i for i in range(len(match.lsd)) if i not in first]
    return np.sort(np.array([*sorted(first), *rest][:n], np.int64))


def infer_report(
    path: str | Path,
    *,
    name: str,
    posterior: Posterior,
    target: ArrayLike,
    match: Match,
    audio: ArrayLike,
    draws: Draws,
    lsd: ArrayLike,
    files: Mapping[str, str],
    truth: ArrayLike | None = None,
    first: Sequence[Section] = (),
    advice: str = "",
) -> None:
    """Write the report of one sound.

    Args:
        path: The HTML file.
        name: What the sound is called.
        posterior: The run.
        target: The sound itself, shape (n_samples,).
        match: What the search found.
        audio: Sounds of the presets that ``candidates(match)`` chooses, shape (k, n_samples).
        draws: From the posterior of the sound.
        lsd: Distances of what the synth plays for the draws, shape (n_draws,).
        files: What else lies in the report's folder: name of each file, and what it is.
        truth: Native values of the true preset, shape (n_params,), where there is one.
        first: Sections to put before the others.
        advice: What to know of the result, if there is anything.

    Raises:
        RunError: The file cannot be written.
    """
    run, rate = posterior.run, posterior.run.features.sample_rate
    x, lsd_db = posterior.features(target), float(match.lsd[0])
    audible = float(run.features.audible(x))
    chosen = candidates(match, len(np.asarray(audio)))
    heard = [np.asarray(target), *np.asarray(audio)]
    sounds, gains = wav_sources(heard, rate), matched_gains(heard[:2])
    pair_heard = [
        player("target", name, sounds[0], gains[0]),
        player("inferred", f"{match.lsd[0]:.2f} dB away", sounds[1], gains[1]),
    ]
    found_by = [SOURCES[str(source)] for source in match.source]
    rows = [
        [f"{i + 1}", f"{match.lsd[i]:.2f}", player(f"candidate {i + 1}", "", sound), found_by[i]]
        for i, sound in zip(chosen, sounds[1:], strict=True)
    ]
    known = match.lsd[match.source == "bank"]
    levels = {"nearest known preset": float(known[0])} if len(known) else {}
    pair = pictures.spectrograms(x, match.x[0], run.features)
    forest = pictures.forest(
        run.space, posterior.learnt(draws.values), posterior.learnt(match.values[0]),
        None if truth is None else posterior.learnt(truth), posterior.synth.readings,
    )  # fmt: skip
    sections = [
        *first,
        section(
            "Listen",
            players(pair_heard, switch=True),
            picture(
                pair,
                "Spectrograms of the target, of the inferred preset, and their difference",
                "Mel spectrograms. Red: the inferred preset is louder there; blue: softer.",
            ),
        ),
        section(
            "What was tried",
            picture(
                pictures.trace(match.trace, levels),
                "Smallest distance so far against the number of sounds rendered",
                "Every preset tried is played by the real synth; distances are between what was "
                "heard and the target.",
            ),
            table(
                ("rank", "LSD dB", "sound", "found by"), rows, marked=(0,),
                note="The nearest preset, and the nearest of each way of finding one.",
            ),
        ),
        section(
            "Controls",
            picture(
                forest, "Intervals of each control with the inferred value",
                "What the model deems possible given the sound (bars; of a control with few "
                "settings, the share of the draws that has each), and the preset that sounded "
                "nearest (diamonds, its values on the right). "
                + (
                    "A wide bar means that the control hardly changes this sound, or trades off "
                    "against others."
                    if len(draws) >= FEWEST_DRAWS
                    else f"Of {counted(len(draws), 'draw')}, their width says nothing; take more "
                    "with --draws."
                ),
            ),
            table(
                ("part", "control", "value", "name in preset.json", "value there"),
                values_of(run.full_space, match.values[0], posterior.synth.readings),
                folded="all values of the inferred preset",
            ),
        ),
        *_told(draws, np.asarray(lsd)),
        section("Use it", *_how_to_load(posterior, files)),
    ]  # fmt: skip
    facts = {
        "distance (LSD)": f"{lsd_db:.2f} dB: {closeness(lsd_db, audible)}",
        "sounds rendered": str(match.n_renders),
        "found by": found_by[0],
    }
    lead = (
        f"The {posterior.synth.name} preset that sounds most like it, and what the model "
        f"'{type(posterior.variant).__name__}' knows about it."
    )
    if advice:
        lead += f" {advice[0].upper()}{advice[1:]}."
    write_report(path, f"{name}: inferred preset", lead, facts, sections)


def _told(draws: Draws, lsd: NDArray[np.float64]) -> list[Section]:
    """Return the section of what the sound tells of each control, if there are enough draws."""
    known = known_points(draws.posterior)
    if known is None or len(draws) < 2 * FEWEST_DRAWS:
        return []
    space = draws.posterior.run.space
    names = titles(space)
    shares = contraction(draws.v, known, space)
    order = np.argsort(-np.nan_to_num(shares, nan=-np.inf), kind="stable")
    rows = [[names[i], f"{shares[i]:.2f}"] for i in order if np.isfinite(shares[i])]
    pairs = trade_offs(draws.v, names, lsd)
    blocks = [
        table(
            ("control", "contraction"), rows,
            note="How much narrower the draws are than the known presets: 1 - variance / "
            "variance, of controls with few settings 1 - entropy / entropy. Near 1 the sound "
            "tells the control, near 0 or below it does not.",
            folded=f"from {rows[0][0]} ({rows[0][1]}) to {rows[-1][0]} ({rows[-1][1]})",
        )
    ]  # fmt: skip
    if pairs:
        shown = [[one.first, one.second, f"{one.correlation:+.2f}"] for one in pairs]
        note = "Rank correlation of the half of the draws that sounds nearest: where it is not "
        note += "0, one control can stand in for the other and the sound hardly changes."
        blocks.append(table(("control", "trades off with", "correlation"), shown, note=note))
    else:
        blocks.append(text("No two controls trade off by more than chance explains."))
    return [section("What the sound tells", *blocks)]


def values_of(
    space: ParamSpace, values: ArrayLike, readings: Mapping[str, Reading] = NO_READINGS
) -> list[list[str]]:
    """Return part, name, value as people read it, and name and value in files, by part."""
    numbers = np.ravel(np.asarray(values, np.float64)).tolist()
    named = grouped(space)
    order = list(dict.fromkeys(part for part, _ in named))
    rows = [
        [part, control, native(param, number, readings), param.name, f"{number:.6g}"]
        for (part, control), param, number in zip(named, space.params, numbers, strict=True)
    ]
    return sorted(rows, key=lambda row: order.index(row[0]))


def _how_to_load(posterior: Posterior, files: Mapping[str, str]) -> list[Block]:
    links = [[{"href": quote(name), "text": name}, about] for name, about in files.items()]
    blocks: list[Block] = [table(("file", "what it is"), links)]
    suffix = posterior.synth.preset_suffix
    own = next((name for name in files if suffix and name.endswith(suffix)), None)
    how = HOW_TO_OPEN.get(posterior.synth.name)
    if own and how:
        blocks.append(text(f"{how}, choose '{own}'; the inferred preset is the first."))
    code = (
        "import json\n"
        "import pyrosynth as ps\n\n"
        'preset = json.load(open("preset.json"))\n'
        'synth = ps.load_synth(preset["synth"])\n'
        'values = ps.Preset("", preset["parameters"]).array(synth.param_space)\n'
        f'audio = synth.render(values, ps.Note(**preset["note"]), '
        f"{posterior.run.features.sample_rate})"
    )
    return [*blocks, text("In Python:"), {"kind": "code", "text": code}]


def pitch_section(
    tuned: TunedSound, recording: Audio, played: Audio, sample_rate: int, lsd_db: float
) -> Section:
    """Return the section of a sound that was brought to the run's note.

    Args:
        tuned: How it was.
        recording: What was recorded, shape (any,).
        played: The preset found, at the note that was heard, shape (any,).
        sample_rate: Rate in Hz of both.
        lsd_db: Distance between the two in dB.
    """
    note = tuned.note
    begins = max(0.0, tuned.onset_seconds - BEFORE_SECONDS)
    ends = tuned.onset_seconds + note.duration_seconds
    cut = recording[int(begins * sample_rate) : int(ends * sample_rate)]
    # Each at its own level: that of a recording is the microphone's.
    first, second = (
        wav_sources([0.5 * sound / max(float(np.abs(sound).max()), 1e-9)], sample_rate)[0]
        for sound in (cut, played)
    )
    lasting = "held" if tuned.held else "which decays by itself,"
    return section(
        "Pitch",
        text(
            f"Heard: {note.name} {round(tuned.cents):+d} cents, {lasting} "
            f"{note.hold_seconds:.1f} s. "
            f"The sections below are about the sound at the note of the run; to hear it as it "
            f"was recorded, play {tuned.words}. Played there, the preset is {lsd_db:.2f} dB from "
            "the recording."
        ),
        players(
            [
                player("recording", "as it was recorded", first),
                player("inferred", f"played at {tuned.words}", second),
            ],
            switch=True,
        ),
        picture(
            pictures.pitch_track(tuned.times, tuned.pitches, note, tuned.onset_seconds),
            "Pitch of the recording over time, and the note it was taken for",
            "Pitch by pYIN (line), and the note that was heard (bar).",
        ),
    )

"""What bringing a sound to the run's note is worth: sounds at other pitches and lengths.

    python benchmarks/tuning.py amsynth --presets 20 --budget 32

Human presets that the run's bank does not have are played by the synth at intervals from the
run's note and for other times, in turn, which makes recordings whose preset is known. For each a
preset is found from the sound brought to the run's note, at the usual and at its own loudness,
from the recording as it is, and, as a bound, from the preset's sound at the run's note. Two
distances are given, means with standard errors: at the run's note, between what the found and the
true preset play; and as recorded, between the recording and the found preset, played at the note
that was heard (as it is at the run's note, for the bound at the true one).
"""

import argparse

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from pyrosynth.audio.background import fit_length
from pyrosynth.audio.io import Audio
from pyrosynth.audio.metrics import log_distance
from pyrosynth.audio.note import Note
from pyrosynth.audio.tuning import tune
from pyrosynth.cli.process import run_program
from pyrosynth.errors import InputError
from pyrosynth.inference.posterior import Posterior
from pyrosynth.synths.presets import preset_array

WAYS = ("brought to the note", "loudness kept", "as it is", "at the run's note")


def unseen(posterior: Posterior, n: int, seed: int) -> NDArray[np.float64]:
    """Return values of human presets that are not in the bank, shape (n, n_params)."""
    assert posterior.bank is not None
    space, full = posterior.run.space, posterior.run.full_space
    values = preset_array(posterior.synth.presets(), full)
    values = posterior.complete(space.from_unit(space.to_unit(posterior.learnt(values))))
    known = {tuple(row) for row in posterior.bank.values}
    left = values[[tuple(row) not in known for row in values]]
    return left[np.random.default_rng(seed).permutation(len(left))[:n]]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--presets", type=int, default=20)
    parser.add_argument("--intervals", type=int, nargs="+", default=[-7, 5, 12])
    parser.add_argument("--holds", type=float, nargs="+", default=[3.0, 1.2])
    parser.add_argument("--budget", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()

    posterior = Posterior.load(given.run)
    run, synth = posterior.run, posterior.synth
    rate, note = run.features.sample_rate, run.note
    release = note.duration_seconds - note.hold_seconds

    def heard(audio: Audio) -> NDArray[np.float32]:
        return posterior.features(fit_length(audio, note.n_samples(rate), rate))

    found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    right: list[bool] = []
    refused = 0
    with posterior.renderer(1) as renderer:

        def best(x: NDArray[np.float32]) -> NDArray[np.float64]:
            return posterior.refine(x, renderer, given.budget, given.seed).values[0]

        for i, values in enumerate(tqdm(unseen(posterior, given.presets, given.seed))):
            interval = given.intervals[i % len(given.intervals)]
            hold = given.holds[i // len(given.intervals) % len(given.holds)]
            there = Note(note.pitch + interval, note.velocity, hold, hold + release)
            audio = synth.render(values, there, rate)
            try:
                hummed = tune(audio, rate, note)
            except InputError:
                refused += 1
                continue
            right.append(hummed.note.pitch == there.pitch)
            own, recorded = heard(synth.render(values, note, rate)), heard(audio)
            ways = (
                (posterior.features(posterior.match_loudness(hummed.audio)), hummed.note),
                (posterior.features(hummed.audio), hummed.note),
                (recorded, note),
                (own, there),
            )
            for way, (x, to_play) in zip(WAYS, ways, strict=True):
                answer = best(x)
                sounds = [heard(synth.render(answer, n, rate)) for n in (note, to_play)]
                pair = [log_distance(*xs) for xs in zip(sounds, (own, recorded), strict=True)]
                found[way].append((float(pair[0]), float(pair[1])))
    print(f"{len(right)} recordings, {refused} refused as without pitch\n")
    print(
        "| pitch | found from | LSD dB at the run's note | LSD dB as recorded |\n|---|---|---|---|"
    )
    groups = {"heard as played": np.array(right), "heard elsewhere": ~np.array(right)}
    for group, chosen in groups.items():
        for way, pairs in found.items():
            rows, n = np.array(pairs)[chosen], int(chosen.sum())
            error = rows.std(axis=0, ddof=1) / n**0.5
            cells = (f"{m:.2f} ± {e:.2f}" for m, e in zip(rows.mean(axis=0), error, strict=True))
            print(f"| {group} ({n}) | {way} | {' | '.join(cells)} |")


if __name__ == "__main__":
    run_program(main)

"""From sound files to folders: preset, the synth's own file, sound, posterior and report."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from pyrosynth._version import __version__
from pyrosynth.audio.closeness import faint_advice, short_advice
from pyrosynth.audio.io import Audio, load_audio, save_audio
from pyrosynth.audio.metrics import log_distance
from pyrosynth.errors import (
    MOST,
    InputError,
    PyrosynthError,
    SynthError,
    checked_seed,
    integer,
    reading,
    require_type,
    unseen,
)
from pyrosynth.files import (
    checked_path,
    require_maker,
    safe_name,
    whole,
    writable,
)
from pyrosynth.inference.answers import Match
from pyrosynth.inference.arviz import label_draws, save_groups
from pyrosynth.inference.hearing import (
    Hearing,
    distance_as_played,
    hear,
    off_its_key,
    play_tuned,
    refine,
)
from pyrosynth.inference.hearing_words import hearing_advice
from pyrosynth.inference.outcome import FILE_HASH, PRESET, SOUND_HASH, Failed, Inferred, earlier
from pyrosynth.inference.posterior import Posterior
from pyrosynth.inference.report import candidates, infer_report, pitch_section
from pyrosynth.inference.side_by_side import Tick, side_by_side
from pyrosynth.synths.banks import write_presets
from pyrosynth.synths.presets import Preset, preset_json
from pyrosynth.synths.rendering import Renderer, RenderResult

SOUND, POSTERIOR = "render.wav", "posterior.nc"
PLAYED, REPORT = "played.wav", "report.html"
IMPORTED_LATE = ("h5netcdf", "jinja2", "numba", "sklearn.cluster", "sklearn.decomposition")
RATE = 22050  # in Hz, at which it is tried whether a file holds a sound
IN_BANK = 8  # presets in the synth's own file: the best, then the draws that sound nearest


def infer_sounds(
    posterior: Posterior,
    sounds: Sequence[str | Path],
    out: str | Path,
    *,
    budget: int = 256,
    draws: int = 64,
    seed: int = 0,
    own_level: bool = False,
    workers: int | None = None,
    force: bool = False,
    progress: bool = True,
) -> tuple[list[Inferred], list[Failed]]:
    """Infer the presets behind sound files; a file that cannot be used does not stop the others.

    Args:
        posterior: The run.
        sounds: Sound files, whose stems name the folders; of several with one stem, the first is
            inferred, and the others fail.
        out: Folder that the folders go into.
        budget: Sounds to render in the search for the best preset.
        draws: Posterior draws to render and keep beside it.
        seed: Of everything random.
        own_level: Whether the synth itself has played the sounds at the run's note, so that their
            level and pitch stay; others are brought to the usual loudness of the known presets,
            and to the run's note, see `pyrosynth.inference.hearing`.
        workers: Processes that render; all cores if left out. So many sounds are searched side by
            side; the results do not depend on it.
        force: Whether to replace folders that are there already.
        progress: Whether to show a progress bar.

    Returns:
        What came of the sounds, and those that failed.

    Raises:
        InputError: A number is out of range, or ``out`` cannot be written or was made by another
            command.
    """
    require_type("posterior", posterior, Posterior, "Posterior.load(folder)")
    require_type("sounds", sounds, (list, tuple), "a list of files")
    for n, sound in enumerate(sounds, 1):
        require_type(f"sound {n}", sound, (str, Path), "the path of a sound file")
    budget, draws = integer("budget", budget, 1, MOST), integer("draws", draws, 1, MOST)
    seed = checked_seed(seed)
    files, failed = _named([Path(sound) for sound in sounds])
    require_maker(Path(out), "infer")
    parent = writable(out)
    opened = partial(
        _opened, posterior, budget=budget, draws=draws, seed=seed,
        own_level=own_level, force=force,
    )  # fmt: skip
    places = [(file, parent / name) for file, name in files.items()]
    results: list[Inferred | Failed | None] = [None] * len(places)
    rendered = [0] * len(places)
    n_renders = budget + draws
    with tqdm(
        total=len(places) * n_renders, desc="infer", unit="sound", disable=unseen(progress)
    ) as bar:

        def tick(i: int, n: int) -> None:
            rendered[i] += n
            bar.update(n)

        for i, result in side_by_side(opened, places, n_renders, workers, tick, IMPORTED_LATE):
            if isinstance(result, ChildProcessError):
                result = Failed(str(places[i][0]), f"'{places[i][0]}': {result}")
            results[i] = result
            bar.set_postfix_str(places[i][1].name)
            tick(i, n_renders - rendered[i])
    done = [result for result in results if isinstance(result, Inferred)]
    return done, [*failed, *(result for result in results if isinstance(result, Failed))]


@contextmanager
def _opened(
    posterior: Posterior, workers: int, **settings: Any
) -> Iterator[Callable[[tuple[Path, Path], Tick], Inferred | Failed]]:
    """Open a renderer, and yield what infers one sound, given its file and folder."""
    with posterior.renderer(workers, keep_audio=True) as renderer:

        def infer(place: tuple[Path, Path], tick: Tick) -> Inferred | Failed:
            try:
                return infer_sound(posterior, *place, renderer, **settings, report=tick)
            except (PyrosynthError, MemoryError, OSError) as error:
                sound, why = str(place[0]), str(error) or "there is not enough memory"
                return Failed(sound, why if sound in why else str(InputError(f"'{sound}': {why}")))

        yield infer


def _named(files: Sequence[Path]) -> tuple[dict[Path, str], list[Failed]]:
    """Give each sound the name of its folder; those that have none have failed."""
    names: dict[Path, str] = {}
    failed = []
    for file in files:
        try:
            name = safe_name(file.stem)
            alike = [one for one in names if names[one] == name and one != file]
            # What is no sound needs no folder, and will be told why.
            first = next(filter(_is_sound, alike), None)
            if first and _is_sound(file):
                raise InputError(
                    f"'{file}' is called as '{first}', whose results go into the folder '{name}'; "
                    "infer it into another --out"
                )
            names[file] = name
        except InputError as error:
            failed.append(Failed(str(file), str(error)))
    return names, failed


def _is_sound(file: Path) -> bool:
    try:
        load_audio(file, RATE)
    except PyrosynthError:
        return False
    return True


def infer_sound(
    posterior: Posterior,
    path: str | Path,
    folder: str | Path,
    renderer: Renderer,
    *,
    budget: int = 256,
    draws: int = 64,
    seed: int = 0,
    own_level: bool = False,
    force: bool = False,
    report: Callable[[int], object] = lambda n: None,
) -> Inferred:
    """Infer the preset behind one sound file and write its folder, which appears complete.

    The folder holds ``preset.json``, the synth's own file if it has one, ``render.wav`` (what
    the synth plays for exactly that preset), ``posterior.nc`` and ``report.html``. That of a
    sound at another pitch also holds ``played.wav``, the preset at the pitch and for the time that
    were heard. A sound file that the synth fails to play once more is left out, and said.

    Args:
        posterior: The run.
        path: The sound file.
        folder: The folder to write.
        renderer: From ``posterior.renderer(keep_audio=True)``.
        budget: Sounds to render in the search.
        draws: Posterior draws to render and keep.
        seed: Of everything random.
        own_level: Whether the synth itself has played the sound at the run's note, so that its
            level and pitch stay.
        force: Whether to replace the folder if it is there already.
        report: Called with the number of sounds each time some were rendered.

    Returns:
        What came of it.

    Raises:
        InputError: The sound cannot be used, or the folder cannot be written, was made from
            another sound, or another process is writing to it.
        SynthError: The synth cannot play.
    """
    file, target = checked_path("sound file", path), checked_path("place", folder)
    safe_name(target.name)
    before = _stamp(file)
    recording = load_audio(file, posterior.run.features.sample_rate)
    made: dict[str, Any] = {
        "pyrosynth": __version__,
        SOUND_HASH: hashlib.sha256(recording.tobytes()).hexdigest(),
        FILE_HASH: _file_sha256(file),
        "run": posterior.run.settings,
        "budget": budget,
        "draws": draws,
        "seed": seed,
    } | ({"own_level": True} if own_level else {})
    with reading(InputError, f"cannot read '{target}'", "give another --out"):
        there = (target / PRESET).is_file()
    if there and not force:
        return earlier(file, target, made, posterior.synth.name)
    if there and file.resolve().is_relative_to(target.resolve()):
        raise InputError(
            f"'{file}' lies in '{target}', which it would replace; give another --out"
        )
    with whole(target, "infer", unless=None if force else PRESET) as new:
        ways = hear(posterior, file, own_level=own_level)
        if _stamp(file) != before:
            raise InputError(f"'{file}' was replaced while it was read; infer it again")
        return _inferred(posterior, file, target, new, renderer, recording, ways, made, report)


def _inferred(
    posterior: Posterior,
    file: Path,
    target: Path,
    new: Path,
    renderer: Renderer,
    recording: Audio,
    ways: list[Hearing],
    made: dict[str, Any],
    report: Callable[[int], object],
) -> Inferred:
    """Infer the preset behind a sound file, and write ``new``, which becomes ``target``."""
    name, rate = safe_name(target.name), posterior.run.features.sample_rate
    budget, draws, seed = made["budget"], made["draws"], made["seed"]
    own_level = "own_level" in made
    match, heard, n_renders = refine(posterior, ways, renderer, budget, seed, report)
    audio, tuned = heard.audio, heard.tuned
    x = posterior.features(audio)
    drawn = posterior.sample(x, draws, seed)
    sounded = _sounds(renderer.render(drawn.values))
    report(draws)
    space, synth = posterior.run.full_space, posterior.synth
    audible, lsd = float(posterior.run.features.audible(x)), float(match.lsd[0])
    best = Preset.from_array(space, match.values[0], name, "pyrosynth")
    played = renderer.render(match.values[candidates(match)])  # the best one first
    assert played.audio is not None
    off = off_its_key(posterior, heard, match.values[:1], played, renderer)
    sounds, missing, first, play = {SOUND: played.audio[0]}, [], [], heard.play
    if played.failed[0]:  # though it has sounded in the search
        sounds = {}
        missing.append(f"the synth {played.fate(0)} when it played the preset again; no {SOUND}")
    elif played.reason[0] == "silent":
        missing.append("the nearest preset that was found is silent; give a larger --budget")
    bank = f"{name}{synth.preset_suffix}"
    written, without = write_presets(synth, new / bank, [best, *_nearest(posterior, match, name)])
    missing += [without] if without else []
    if tuned and play:
        try:
            sounds[PLAYED] = play_tuned(posterior, tuned, match.values[0])
            play["lsd_db"] = distance_as_played(posterior, recording, tuned, sounds[PLAYED])
            first.append(pitch_section(tuned, recording, sounds[PLAYED], rate, play["lsd_db"]))
        except SynthError as error:
            missing.append(f"{error}; no {PLAYED}")
    result = Inferred(
        str(file), str(target), lsd, str(match.source[0]),
        n_renders,
        play=play,
        advice="; ".join(filter(None, [
            hearing_advice(heard, off), *missing,
            faint_advice(audible) if own_level else short_advice(lsd, audible),
        ])),
        audible=audible,
    )  # fmt: skip
    score = {
        "lsd_db": result.lsd_db,
        "log_q": float(posterior.log_prob(match.values[:1], x, seed)[0]),
        "source": result.source,
        "n_renders": result.n_renders,
        "audible": audible,
    }
    note = posterior.run.note.to_json()
    more: dict[str, Any] = {"play": result.play} if tuned else {}
    if result.advice:
        more["advice"] = result.advice
    facts = preset_json(best, synth.name, space, note, **more, score=score, made=made)
    files = {
        PRESET: "the preset in full: native value of each parameter, note, score",
        SOUND: f"what {synth.name} plays for it",
        PLAYED: f"the same preset at the pitch of the recording: {tuned.words if tuned else ''}",
        POSTERIOR: "draws and what they sound like, for ArviZ",
    }
    files = {key: what for key, what in files.items() if key in (PRESET, POSTERIOR, *sounds)}
    (new / PRESET).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    if written:
        own = f"{synth.name}'s own file: the preset, then the nearest draws"
        files[bank] = f"{own}; {without}" if without else own
    for wav, sound in sounds.items():
        save_audio(new / wav, sound, rate)
    attrs = {key: json.dumps(value) for key, value in made.items()}
    save_groups(label_draws(drawn, name, sounded, attrs), new / POSTERIOR)
    infer_report(
        new / REPORT, name=name, posterior=posterior, target=audio, match=match,
        audio=played.audio, draws=drawn, lsd=log_distance(sounded, x), files=files,
        first=first, advice=result.advice,
    )  # fmt: skip
    return result


def _nearest(posterior: Posterior, match: Match, name: str) -> list[Preset]:
    """Return the posterior's draws that sound nearest, as presets."""
    drawn = match.values[1:][match.source[1:] == "posterior"][: IN_BANK - 1]
    space = posterior.run.full_space
    return [
        Preset.from_array(space, values, f"{name} draw {i}", "pyrosynth")
        for i, values in enumerate(drawn, 1)
    ]


def _sounds(rendered: RenderResult) -> NDArray[np.float32]:
    """Return what was rendered as features; a sound that failed is NaN."""
    assert rendered.features is not None
    return np.where(rendered.failed[:, None, None], np.nan, rendered.features)


def _stamp(file: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file is written or replaced; None if it cannot be asked."""
    try:
        facts = file.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_mtime_ns, facts.st_size


def _file_sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()

"""Target sounds that presets are to be found for, and what is known of them."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.audio.background import load_note
from pyrosynth.audio.features import FeatureSpec, loudest, match_loudness
from pyrosynth.audio.io import Audio
from pyrosynth.audio.sound_files import SUFFIXES, folder_of_sounds
from pyrosynth.data.csv_files import read_csv
from pyrosynth.data.dataset import Dataset, require_dataset
from pyrosynth.errors import DataError, InputError, integer, one_line
from pyrosynth.files import files_below
from pyrosynth.synths.params import ParamSpace
from pyrosynth.synths.subspace import Subspace
from pyrosynth.training.identity import contract_hash

Float = NDArray[np.float64]
Array = NDArray[np.float32]

INDEX, FILE = "index.csv", "file"
USUAL = 256  # known presets whose loudness is the usual one


@dataclass(frozen=True, eq=False)
class Targets:
    """Sounds to be met by presets of a synth.

    Args:
        dataset: Whose synth, parameters, note and features they are met with.
        ids: A number for each that does not depend on which others are there, shape (n,). For
            presets of the dataset their rows.
        names: What they are called.
        x: Their features, shape (n, n_mels, n_frames).
        values: Native values of the presets behind them, shape (n, n_params); None where there
            are none.
        audio: The sounds themselves, shape (n, n_samples); None where nobody needs them.
        source: Where they come from; JSON-ready.
        left_out: Why some files are missing.
    """

    dataset: Dataset
    ids: NDArray[np.int64]
    names: list[str]
    x: Array
    values: Float | None
    audio: Array | None
    source: Mapping[str, Any]
    left_out: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return their number."""
        return len(self.ids)

    @property
    def features(self) -> FeatureSpec:
        """How a sound becomes ``x``."""
        return self.dataset.features

    @property
    def space(self) -> ParamSpace:
        """The learnt parameters."""
        return self.dataset.space

    @property
    def full_space(self) -> ParamSpace:
        """All parameters."""
        return self.dataset.full_space

    @property
    def n_truths(self) -> int:
        """Number of true presets of each sound: 1 or, where they are unknown, 0."""
        return int(self.values is not None)

    def take(self, rows: Sequence[int]) -> "Targets":
        """Return some of the targets."""
        return replace(
            self, ids=self.ids[rows], names=[self.names[i] for i in rows], x=self.x[rows],
            values=None if self.values is None else self.values[rows],
            audio=None if self.audio is None else self.audio[rows],
        )  # fmt: skip

    def seed(self, i: int, seed: int) -> int:
        """Return the seed of one sound, whichever others there are."""
        return int(np.random.SeedSequence([seed, int(self.ids[i])]).generate_state(1)[0] >> 1)

    def unit(self, values: ArrayLike) -> Float:
        """Return unit values (..., n_learnt) of the learnt ones of native values (..., n_params).

        Those of stepped parameters are the middles that the synth renders.
        """
        return self.space.to_unit(self.learnt(values))

    def learnt(self, values: ArrayLike) -> Float:
        """Return the learnt columns of native values, shape (..., n_learnt)."""
        return Subspace(self.full_space, self.space).of(values)

    def complete(self, unit: ArrayLike) -> Float:
        """Return native values of all parameters from unit values of the learnt ones."""
        return Subspace(self.full_space, self.space).complete(self.space.from_unit(unit))

    @property
    def identity(self) -> str:
        """A text that differs where results for the same ``ids`` may."""
        return json.dumps({"dataset": contract_hash(self.dataset), **self.source}, sort_keys=True)


def held_out(dataset: Dataset, n: int | None = None, seed: int = 0) -> Targets:
    """Return the held-out human presets of a dataset.

    Args:
        dataset: The dataset.
        n: Number of presets, picked at random; None or too many for all.
        seed: Of the choice; a larger ``n`` adds to the presets of a smaller one.

    Raises:
        DataError: There are none.
    """
    require_dataset(dataset)
    rows = dataset.rows("test", human_only=True)
    if not len(rows):
        raise DataError(f"dataset '{dataset.path}' has no held-out presets; render more presets")
    if n is not None:
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:n])
    return Targets(
        dataset, rows, dataset.names(rows), dataset.x(rows), dataset.values(rows), None, {}
    )


def outside(dataset: Dataset, folder: str | Path, n: int | None = None) -> Targets:
    """Return out-of-domain sounds: those of any folder, which no preset of the synth made.

    Each file is read mono, at the dataset's sample rate, from its onset, cut or padded to the
    note's length, and brought to the usual loudness of the training presets, as the level of a
    recording says nothing of a preset. Unlike `pyrosynth infer` it keeps its pitch.

    Args:
        dataset: Its note and features are those the sounds are compared with.
        folder: The folder. If it holds an ``index.csv`` with a column ``file``, the sounds are
            those that it lists; else all sound files in the folder and below it.
        n: Number of sounds, picked at random by a fixed seed from those that can be used; None or
            too many for all.

    Returns:
        The targets, of equal sounds the first; a file or folder that cannot be used is left out,
        and named in ``left_out``.

    Raises:
        InputError: There is no such folder, or it is a file.
        DataError: The folder holds no sound files, or none that can be used.
    """
    require_dataset(dataset)
    files, left_out = _sound_files(folder_of_sounds(folder))
    picked = np.arange(len(files))
    if n is not None:
        n, picked = integer("n", n, 1), np.random.default_rng(0).permutation(len(files))
    rate = dataset.features.sample_rate
    n_samples = dataset.note.n_samples(rate)
    read: dict[int, tuple[int, Audio]] = {}  # by the id; of equal sounds one counts
    known = dataset.x(dataset.rows("train", human_only=True)[:USUAL])
    usual = np.median(loudest(known, dataset.features))
    for i in picked.tolist():
        try:
            sound = load_note(files[i], n_samples, rate)
            sound = match_loudness(sound, usual, dataset.features)
        except InputError as error:
            left_out[str(files[i])] = str(error)
            continue
        digest = hashlib.sha256(sound.tobytes()).digest()
        read.setdefault(int.from_bytes(digest[:7], "big"), (i, sound))
        if len(read) == n:
            break
    if not read:
        raise DataError(f"none of the sounds in '{folder}' can be used: {left_out[str(files[0])]}")
    in_order = sorted((at, known_by) for known_by, (at, _) in read.items())
    ids = np.array([known_by for _, known_by in in_order], np.int64)
    audio = np.stack([read[known_by][1] for _, known_by in in_order])
    chosen = [files[at] for at, _ in in_order]
    # An index may name sounds that lie elsewhere.
    names = [Path(os.path.relpath(file, folder)).with_suffix("").as_posix() for file in chosen]
    x = np.stack([dataset.features(sound) for sound in audio])
    return Targets(dataset, ids, names, x, None, audio, {"outside": True}, left_out)


def _sound_files(folder: Path) -> tuple[list[Path], dict[str, str]]:
    """Return the sound files of a folder, by its index if it has one, and its unusable lines."""
    index = folder / INDEX
    bad: dict[str, str] = {}
    if index.is_file():
        columns, lines = read_csv(index, "sounds", (FILE,))
        if FILE not in columns:
            held = one_line(", ".join(columns) or "none", 80)
            raise DataError(
                f"'{index}' has no column '{FILE}' (its columns are {held}); name the column of "
                "the paths so, or delete the file"
            )
        files, column = [], columns.index(FILE)
        for number, cells in lines:
            name = cells[column].strip() if column < len(cells) else ""
            if name:
                files.append(folder / name)
            else:
                bad[f"{index}, line {number}"] = f"'{index}' line {number} names no file"
    else:
        files, closed = files_below(folder, *SUFFIXES)
        bad |= closed
    if not files and index.is_file():
        raise DataError(f"'{index}' names no sound; name some, or delete it to take all there are")
    if not files:
        raise DataError(
            f"'{folder}' holds no sound files; give a folder of {', '.join(SUFFIXES)} files"
        )
    return files, bad

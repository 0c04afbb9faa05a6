"""Render a dataset: human presets, their split, augmented presets, leaks dropped, statistics.

Every step looks at what the store holds already and does the rest, so the whole may be killed
and called again at any point, and ends with the same bytes.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from pyrosynth.audio.coverage import say_late
from pyrosynth.audio.features import FeatureSpec
from pyrosynth.audio.note import Note
from pyrosynth.data.augmentation import PRIORS, Prior, augment
from pyrosynth.data.location import claimed, location
from pyrosynth.data.repeats import repeats_db
from pyrosynth.data.splits import SPLITS, THRESHOLD_DB, alike, cluster, deal
from pyrosynth.data.store import METADATA, Store
from pyrosynth.errors import (
    DataError,
    InputError,
    checked_name,
    checked_seed,
    counted,
    integer,
    require_type,
    unseen,
)
from pyrosynth.synths.base import Synth
from pyrosynth.synths.executor import Executor, open_executor
from pyrosynth.synths.params import ParamSpace
from pyrosynth.synths.presets import Preset, distinct, preset_array, say_between
from pyrosynth.synths.rendering import Renderer, RenderResult
from pyrosynth.synths.subspace import Subspace

Kept = Literal["none", "human", "all"]
KEPT: tuple[Kept, ...] = ("none", "human", "all")
MOST_PRESETS, MOST_CHUNK_ROWS = 10**8, 2**16
COMPARED_CHUNKS = 8  # chunks whose sounds are compared with held-out ones at once: bounds memory
STD_FLOOR = 0.1  # 0.4 dB: a cell that varies less is not blown up by standardising

Columns = dict[str, NDArray[Any]]
Source = Callable[[int, int], Columns]


@dataclass(frozen=True)
class Job:
    """What is rendered and how.

    Args:
        synth: The synth.
        learnt: The learnt part of its parameters.
        note: The note to play.
        features: How a sound becomes ``x``.
        audio: Whose sound is kept.
        prior: How augmented presets are made.
    """

    synth: Synth
    learnt: ParamSpace
    note: Note
    features: FeatureSpec
    audio: Kept
    prior: Prior

    @cached_property
    def subspace(self) -> Subspace:
        """The learnt parameters among all."""
        return Subspace(self.synth.param_space, self.learnt)

    def human(self, presets: Sequence[Preset] | None) -> list[Preset]:
        """Return distinct legal presets with the parameters that are not learnt at default.

        Raises:
            InputError: There are none.
        """
        space = self.synth.param_space
        given = self.synth.presets() if presets is None else presets
        require_type("presets", given, Sequence, "a list of Preset")
        if not given:
            own = f"synth '{self.synth.name}' has no presets of its own; `learn` draws some"
            raise InputError(own if presets is None else "0 presets were given; give some")
        say_between(given, space)
        values = space.from_unit(space.to_unit(preset_array(given, space)))
        full = self.subspace.complete(self.subspace.of(values))
        return distinct(
            [
                Preset.from_array(space, row, preset.name, preset.bank)
                for row, preset in zip(full, given, strict=True)
            ],
            space,
        )

    def contract(self, human: Sequence[Preset], seed: int) -> dict[str, Any]:
        """Return all that decides what the rows hold, JSON-ready."""
        space = self.synth.param_space
        digest = hashlib.sha256(preset_array(human, space).tobytes())
        digest.update("\n".join(f"{preset.bank}/{preset.name}" for preset in human).encode())
        return {
            "synth": {
                "name": self.synth.name,
                "identity": self.synth.identity(),
                "isolation": self.synth.isolation,
            },
            "learnt": list(self.learnt.names),
            "note": self.note.to_json(),
            "features": self.features.to_json(),
            "audio": self.audio,
            "prior": self.prior,
            "seed": seed,
            "presets": digest.hexdigest(),
            "parameters": space.to_json(),
        }


def build(
    job: Job,
    path: Path,
    presets: Sequence[Preset] | None,
    augmented: int,
    seed: int,
    workers: int | None,
    chunk_rows: int,
    scheduler: str | None = None,
) -> None:
    """Make a dataset, complete it, or extend it; see `pyrosynth.data.dataset.render_dataset`."""
    checked_name("kind of audio to keep", job.audio, KEPT)
    checked_name("training prior", job.prior, PRIORS)
    augmented = integer("augmented", augmented, 0, MOST_PRESETS)
    chunk_rows = integer("chunk_rows", chunk_rows, 1, MOST_CHUNK_ROWS)
    seed = checked_seed(seed)
    if not Store.exists(path):  # one that was begun goes on as it began
        job.features.require_all_heard()
    human = job.human(presets)
    contract = job.contract(human, seed)
    n_rows = len(human) + augmented
    # Without the lock: who reads while another process makes the store sees any part of it.
    with suppress(DataError):
        if Store.exists(path):
            store = _held(Store(path), contract, augmented)
            if store.is_complete(n_rows) and _without_leaks(store):
                return
    with open_executor(workers, scheduler) as executor, claimed(path, "render", METADATA):
        if Store.exists(path):
            store = _held(Store(path, write=True), contract, augmented)
            store.clean()
            store.set_attribute("augmented", augmented)
            store.resize(n_rows)
        else:
            store = _create(job, path, contract, len(human), augmented, chunk_rows)
        _fill(job, store, human, n_rows, seed, executor)


def _held(store: Store, contract: Mapping[str, Any], augmented: int) -> Store:
    """Make sure that a store is of a contract and not larger than what is asked for."""
    store.require(contract)
    held = store.attribute("augmented")
    if augmented < held:
        raise DataError(
            f"'{store.path}' holds {held} augmented presets, more than the {augmented} asked for; "
            f"ask for {held} or more, or give another folder"
        )
    return store


def _fill(
    job: Job, store: Store, human: Sequence[Preset], n_rows: int, seed: int, executor: Executor
) -> None:
    """Render all rows of a store that are not there yet."""
    if store.blocks(0, n_rows) or not _without_leaks(store):
        store.set_attribute("statistics_of", None)  # they are of another train split
    n_human = len(human)
    values = preset_array(human, job.synth.param_space)
    levels = job.learnt.levels(job.subspace.of(values))
    table: Columns = {
        "value": values,
        "name": np.array([preset.name for preset in human]),
        "bank": np.array([preset.bank for preset in human]),
        "origin": np.full(n_human, "human"),
    }

    def human_rows(start: int, stop: int) -> Columns:
        return {name: column[start:stop] for name, column in table.items()}

    def augmented_rows(start: int, stop: int) -> Columns:
        n = stop - start
        learnt, kinds = augment(train, job.learnt, n, seed, start - n_human, job.prior)
        return {
            "value": job.subspace.complete(learnt),
            "name": np.full(n, ""),
            "bank": np.full(n, ""),
            "origin": kinds,
            "cluster": np.full(n, -1),
            "split": np.full(n, "train"),
        }

    with executor.renderer(
        job.synth, job.note, job.features.sample_rate, transform=job.features
    ) as renderer:
        new = _render(job, store, renderer, human_rows, (0, n_human), "human presets")
        if new or store.attribute("splitting") is None:
            store.set_attribute("repeats_db", repeats_db(store, renderer, values))
            split_human(store, levels, seed)
        in_train = store.read("split", np.arange(n_human)) == "train"
        train = job.subspace.of(values[in_train])
        _render(job, store, renderer, augmented_rows, (n_human, n_rows), "augmented presets")
    if store.attribute("statistics_of") != n_rows:
        drop_leaks(store)
        _summarise(store, job.features)


def _create(
    job: Job,
    path: Path,
    contract: Mapping[str, Any],
    n_human: int,
    augmented: int,
    chunk_rows: int,
) -> Store:
    """Make an empty store with room for all rows."""
    n_mels, n_frames = job.features.shape(job.note.n_samples(job.features.sample_rate))
    sizes = {
        "preset": n_human + augmented,
        "full_param": len(job.synth.param_space),
        "param": len(job.learnt),
        "mel": n_mels,
        "frame": n_frames,
    }
    if job.audio != "none":
        sizes["sample"] = job.note.n_samples(job.features.sample_rate)
    attributes = {
        "synth_spec": job.synth.spec(),
        "n_human": n_human,
        "augmented": augmented,
    }
    return Store.create(path, contract, sizes, chunk_rows, attributes)


def _render(
    job: Job, store: Store, renderer: Renderer, source: Source, rows: tuple[int, int], label: str
) -> bool:
    """Render the chunks that are not complete; tell whether there were any."""
    start, stop = rows
    blocks = store.blocks(start, stop)
    if not blocks:
        return False
    renderer.keep_audio = job.audio == "all" or (job.audio == "human" and start == 0)
    total = stop - start
    done = total - sum(b - a for a, b in blocks)
    with tqdm(total=total, initial=done, desc=label, unit="sound", disable=unseen()) as bar:

        def chunks() -> Iterator[tuple[tuple[int, Columns], NDArray[np.float64]]]:
            for first, last in blocks:
                columns = source(first, last)
                columns["v"] = job.learnt.encode(job.subspace.of(columns["value"]))
                yield (first, columns), columns["value"]

        for _, n in renderer.stream(chunks(), ChunkWriter(store.path)):
            bar.update(n)
    return True


@dataclass(frozen=True)
class ChunkWriter:
    """Writes rendered rows to a store, on whichever machine they were rendered.

    Args:
        path: Of the store.
    """

    path: Path

    @cached_property
    def store(self) -> Store:
        """The store, opened when it is first needed."""
        return Store(location(str(self.path)), write=True)

    def __call__(self, chunk: tuple[int, Columns], rendered: RenderResult) -> int:
        """Write the rows of a chunk, ``status`` last.

        Args:
            chunk: Its first row, and its columns but those that are rendered.
            rendered: The sounds.

        Returns:
            Number of rows.
        """
        assert rendered.features is not None
        first, columns = chunk
        columns = {**columns, "x": rendered.features}
        columns["status"] = np.where(rendered.reason == "", "ok", rendered.reason)
        if rendered.audio is not None:
            columns["audio"] = rendered.audio
        self.store.write(first, columns)
        return len(rendered.reason)


def split_human(store: Store, levels: NDArray[np.int64], seed: int) -> None:
    """Deal the human presets that have a sound, and write down how it went.

    Args:
        store: A store with all human presets rendered.
        levels: Levels of their learnt parameters, shape (n_human, n_learnt).
        seed: Seed of the dealing.

    Raises:
        DataError: There are too few different sounds to hold any out.
    """
    status = store.read("status", np.arange(len(levels)))
    rows = np.flatnonzero(status == "ok")
    if not len(rows):
        raise DataError(
            f"of {counted(len(status), 'human preset')} none gave a sound (the first is "
            f"'{status[0]}'); check the synth, then give another folder"
        )
    shape = store.arrays["x"].shape[1:]
    x = store.read("x", rows, np.empty((len(rows), *shape), np.float32))
    labels = cluster(x, levels[rows])
    dealt = deal(labels, seed)
    clusters = np.full(len(levels), -1)
    clusters[rows] = labels
    split = np.full(len(levels), "none", dtype="U5")
    split[rows] = np.array(SPLITS)[dealt]
    store.write(0, {"cluster": clusters, "split": split})
    sizes = np.bincount(labels)
    report = {
        "threshold_db": THRESHOLD_DB,
        "clusters": len(sizes),
        "largest_cluster": int(sizes.max()),
        "largest_cluster_in": str(split[clusters == sizes.argmax()][0]),
        **{name: int(np.sum(split == name)) for name in (*SPLITS, "none")},
    }
    store.set_attribute("splitting", report)


def drop_leaks(store: Store) -> None:
    """Take augmented presets that sound like a held-out human preset out of the train split.

    They would tell a model what it is asked for in validation and test. The rows stay, in split
    ``none``; the attribute ``leaks`` counts them, and the held-out presets they sound like.

    Args:
        store: A store with all rows rendered and the human presets split.
    """
    n_human, n_rows = store.attribute("n_human"), store.n_rows
    usable = store.read("status") == "ok"
    human_split = store.read("split", np.arange(n_human))
    held_out = np.flatnonzero(usable[:n_human] & np.isin(human_split, SPLITS[1:]))
    shape, step = store.arrays["x"].shape[1:], COMPARED_CHUNKS * store.arrays["x"].chunks[0]

    def features(rows: NDArray[np.integer]) -> NDArray[np.float32]:
        return store.read("x", rows, np.empty((len(rows), *shape), np.float32))

    others = features(held_out)
    dropped, met = 0, np.zeros(len(held_out), bool)
    for start in tqdm(range(n_human, n_rows, step), desc="leaks", unit="block", disable=unseen()):
        rows = np.arange(start, min(start + step, n_rows))
        rendered = rows[usable[rows]]
        near, held = alike(features(rendered), others)
        split = np.full(len(rows), "train")
        split[rendered[near] - start] = "none"
        store.write(start, {"split": split})
        dropped += int(np.sum(split == "none"))
        met[held] = True
    heard = {part: int(np.sum(met & (human_split[held_out] == part))) for part in SPLITS[1:]}
    leaks = {"threshold_db": THRESHOLD_DB, "of": n_rows, "dropped": dropped, **heard}
    store.set_attribute("leaks", leaks)


def _without_leaks(store: Store) -> bool:
    """Tell whether leaks are dropped among all rows; datasets of older versions hold some."""
    leaks = store.attribute("leaks")
    return leaks is not None and leaks["of"] == store.n_rows


def _summarise(store: Store, features: FeatureSpec) -> None:
    """Write mean and standard deviation of ``x`` over the train split, in one pass."""
    from sklearn.preprocessing import StandardScaler

    rows = np.flatnonzero((store.read("status") == "ok") & (store.read("split") == "train"))
    scaler = StandardScaler()
    shape, step = store.arrays["x"].shape[1:], store.arrays["x"].chunks[0]
    starts = range(0, len(rows), step)
    for start in tqdm(starts, desc="statistics", unit="chunk", disable=unseen()):
        x = store.read("x", rows[start : start + step]).astype(np.float64)
        scaler.partial_fit(x.reshape(len(x), -1))
    mean, std = scaler.mean_.reshape(shape), np.sqrt(scaler.var_).reshape(shape)
    store.write(0, {"mean": mean, "std": np.maximum(std, STD_FLOOR)})
    store.set_attribute("statistics_of", store.n_rows)
    say_late(mean, features)

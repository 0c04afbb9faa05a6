"""How a dataset is made: human presets, their split, augmented presets, statistics.

Every step looks at what the store holds already and does the rest, so the whole may be killed
and called again at any point, and ends with the same bytes.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from pyrosynth._version import __version__
from pyrosynth.audio.features import FeatureSpec
from pyrosynth.audio.io import Note
from pyrosynth.data.augmentation import PRIORS, Prior, augment
from pyrosynth.data.splits import SPLITS, THRESHOLD_DB, cluster, deal
from pyrosynth.data.store import IMPLIED, Store
from pyrosynth.errors import DataError, InputError, unknown
from pyrosynth.synths.base import Synth
from pyrosynth.synths.params import ParamSpace
from pyrosynth.synths.presets import Preset, distinct, preset_array
from pyrosynth.synths.rendering import Renderer

Kept = Literal["none", "human", "all"]
KEPT: tuple[Kept, ...] = ("none", "human", "all")

LAYOUT = 1  # number of the store's layout; a store of another layout is refused
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
    prior: Prior = "broadened"

    @cached_property
    def columns(self) -> NDArray[np.int64]:
        """Positions of the learnt parameters among all, shape (n_learnt,)."""
        return self.synth.param_space.index(self.learnt.names)

    def human(self, presets: Sequence[Preset] | None) -> list[Preset]:
        """Return distinct legal presets with the parameters that are not learnt at default.

        Raises:
            InputError: There are none.
        """
        space = self.synth.param_space
        given = self.synth.presets() if presets is None else presets
        if not given:
            raise InputError(f"synth '{self.synth.name}' has no presets of its own; give some")
        values = space.from_unit(space.to_unit(preset_array(given, space)))
        full = self.complete(values[:, self.columns])
        return distinct(
            [
                Preset.from_array(space, row, preset.name, preset.bank)
                for row, preset in zip(full, given, strict=True)
            ],
            space,
        )

    def complete(self, learnt: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the values of all parameters given the learnt ones, shape (n, n_params)."""
        return self.synth.param_space.complete(self.learnt, learnt)

    def contract(self, human: Sequence[Preset], seed: int) -> dict[str, Any]:
        """Return all that decides what the rows hold, JSON-ready."""
        space = self.synth.param_space
        digest = hashlib.sha256(preset_array(human, space).tobytes())
        digest.update("\n".join(f"{preset.bank}/{preset.name}" for preset in human).encode())
        contract: dict[str, Any] = {
            "layout": LAYOUT,
            "synth": {
                "name": self.synth.name,
                "identity": self.synth.identity(),
                "isolation": self.synth.isolation,
            },
            "learnt": list(self.learnt.names),
            "note": self.note.to_json(),
            "features": self.features.to_json(),
            "audio": self.audio,
            "seed": seed,
            "presets": digest.hexdigest(),
            "parameters": space.to_json(),
        }
        if self.prior != IMPLIED["prior"]:
            contract["prior"] = self.prior
        return contract


def build(
    job: Job,
    path: Path,
    presets: Sequence[Preset] | None,
    augmented: int,
    seed: int,
    workers: int | None,
    chunk_rows: int,
) -> None:
    """Make a dataset, complete it, or extend it; see `pyrosynth.data.dataset.render_dataset`."""
    if job.audio not in KEPT:
        raise unknown("kind of audio to keep", job.audio, KEPT)
    if job.prior not in PRIORS:
        raise unknown("training prior", job.prior, PRIORS)
    if augmented < 0 or chunk_rows < 1:
        raise InputError(
            f"augmented {augmented} and chunk_rows {chunk_rows}: give at least 0 and at least 1"
        )
    human = job.human(presets)
    n_human, n_rows = len(human), len(human) + augmented
    store = _open_or_create(job, path, human, augmented, seed, chunk_rows)
    values = preset_array(human, job.synth.param_space)
    levels = job.learnt.levels(values[:, job.columns])
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
            "value": job.complete(learnt),
            "name": np.full(n, ""),
            "bank": np.full(n, ""),
            "origin": kinds,
            "cluster": np.full(n, -1),
            "split": np.full(n, "train"),
        }

    with Renderer(
        job.synth, job.note, job.features.sample_rate, workers=workers, transform=job.features
    ) as renderer:
        new = _render(job, store, renderer, human_rows, (0, n_human), "human presets")
        if new or store.attribute("splitting") is None:
            split_human(store, levels, seed)
        in_train = store.read("split", np.arange(n_human)) == "train"
        train = values[in_train][:, job.columns]
        new |= _render(
            job, store, renderer, augmented_rows, (n_human, n_rows), "augmented presets"
        )
    if new or store.attribute("statistics_of") != n_rows:
        _summarise(store)


def _open_or_create(
    job: Job, path: Path, human: Sequence[Preset], augmented: int, seed: int, chunk_rows: int
) -> Store:
    """Return a store of this contract with room for all rows."""
    contract = job.contract(human, seed)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        store = Store(path, write=True)
        store.require(contract)
        held = store.attribute("augmented")
        if augmented < held:
            raise DataError(
                f"'{path}' holds {held} augmented presets, more than the {augmented} asked for; "
                f"ask for {held} or more, or give another folder"
            )
        store.clean()
        if augmented > held:
            store.set_attribute("augmented", augmented)
        store.resize(len(human) + augmented)
        return store
    n_mels, n_frames = job.features.shape(job.note.n_samples(job.features.sample_rate))
    sizes = {
        "preset": len(human) + augmented,
        "full_param": len(job.synth.param_space),
        "param": len(job.learnt),
        "mel": n_mels,
        "frame": n_frames,
    }
    if job.audio != "none":
        sizes["sample"] = job.note.n_samples(job.features.sample_rate)
    attributes = {
        "pyrosynth": __version__,
        "synth_spec": job.synth.spec(),
        "n_human": len(human),
        "augmented": augmented,
    }
    return Store.create(path, contract, sizes, chunk_rows, attributes)


def _render(
    job: Job,
    store: Store,
    renderer: Renderer,
    source: Source,
    rows: tuple[int, int],
    label: str,
) -> bool:
    """Render the chunks that are not complete; tell whether there were any."""
    start, stop = rows
    blocks = store.blocks(start, stop)
    if not blocks:
        return False
    renderer.keep_audio = job.audio == "all" or (job.audio == "human" and start == 0)
    done = stop - start - sum(b - a for a, b in blocks)
    with tqdm(total=stop - start, initial=done, desc=label, unit="sound") as bar:
        jobs = ((block, source(*block)["value"]) for block in blocks)
        for block, rendered in renderer.stream(jobs):
            columns = source(*block)
            columns["v"] = job.learnt.encode(columns["value"][:, job.columns])
            assert rendered.features is not None
            columns["x"] = rendered.features
            columns["status"] = np.where(rendered.reason == "", "ok", rendered.reason)
            if rendered.audio is not None:
                columns["audio"] = rendered.audio
            store.write(block[0], columns)
            bar.update(block[1] - block[0])
    return True


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
            f"none of the {len(status)} human presets gave a sound (the first is "
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


def _summarise(store: Store) -> None:
    """Write mean and standard deviation of ``x`` over the train split, in one pass.

    References:
        Chan, Golub and LeVeque, 1983, "Algorithms for computing the sample variance".
    """
    usable = store.read("status") == "ok"
    rows = np.flatnonzero(usable & (store.read("split") == "train"))
    shape = store.arrays["x"].shape[1:]
    mean, squares = np.zeros(shape), np.zeros(shape)
    step = store.arrays["x"].chunks[0]
    for start in tqdm(range(0, len(rows), step), desc="statistics", unit="chunk"):
        x = store.read("x", rows[start : start + step]).astype(np.float64)
        difference = x.mean(axis=0) - mean
        squares += x.var(axis=0) * len(x) + difference**2 * start * len(x) / (start + len(x))
        mean += difference * len(x) / (start + len(x))
    std = np.maximum(np.sqrt(squares / len(rows)), STD_FLOOR)
    store.write(0, {"mean": mean, "std": std})
    store.set_attribute("statistics_of", store.n_rows)

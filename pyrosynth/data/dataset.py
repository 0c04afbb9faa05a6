"""Datasets of rendered presets: made once by a resumable run, then read by rows."""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from pyrosynth.audio.features import FeatureSpec
from pyrosynth.audio.note import Note
from pyrosynth.data.augmentation import Prior
from pyrosynth.data.location import is_claimed, location
from pyrosynth.data.render import Job, Kept, build
from pyrosynth.data.rows import Rows, existing
from pyrosynth.data.splits import SPLITS
from pyrosynth.data.store import PENDING, Store
from pyrosynth.data.zarr_files import for_zarr
from pyrosynth.errors import (
    DataError,
    InputError,
    counted,
    fixed_array,
    number,
    reading,
    require_type,
    shown,
    unknown,
)
from pyrosynth.files import typed
from pyrosynth.synths.base import Synth, require_synth
from pyrosynth.synths.catalog import argument
from pyrosynth.synths.params import ParamSpace
from pyrosynth.synths.presets import Preset
from pyrosynth.synths.subspace import Subspace

if TYPE_CHECKING:
    import xarray

FLOATS = (np.dtype("float16"), np.dtype("float32"), np.dtype("float64"))
SHOWN = 4  # presets in a notebook


class Dataset:
    """Presets of a synth, their sounds as features, and which may be trained on.

    Rows are numbered 0 … n-1, human presets first. Arrays are read from disk when asked for.

    Args:
        path: The folder that `render_dataset` made, or its URL.

    Attributes:
        path: The folder, absolute.
        synth_spec: What `pyrosynth.synths.from_spec` rebuilds the synth from.
        full_space: All parameters of the synth.
        space: The learnt parameters.
        subspace: Both, and the way from one to the other.
        note: The note that was played.
        features: How a sound became ``x``.

    Raises:
        DataError: There is no dataset, or it is damaged or incomplete.
    """

    def __init__(self, path: str | Path) -> None:
        """Open a complete dataset."""
        self.path = location(path)
        self._store = store = Store(self.path)
        contract = self.contract = store.contract
        again = "render it again into another folder"
        with reading(DataError, f"the metadata of '{path}' are damaged", again):
            self.synth_spec: dict[str, Any] = dict(store.attribute("synth_spec"))
            self.full_space = ParamSpace.from_json(contract["parameters"])
            self.space = self.full_space.select(contract["learnt"])
            self.subspace = Subspace(self.full_space, self.space)
            self.note = Note(**contract["note"])
            self.features = FeatureSpec.from_json(contract["features"])
            self._shape = self.features.shape(self.note.n_samples(self.features.sample_rate))
            sizes = len(self.full_space), len(self.space), *self._shape
            if self.contract["audio"] != "none":
                store.sizes("sample")
            if sizes != store.sizes("full_param", "param", "mel", "frame"):
                raise ValueError("arrays of other sizes than the contract says")
            synth = argument(self.synth_spec)
        wanted = store.attribute("n_human") + store.attribute("augmented")
        if not store.is_complete(wanted):
            done = int(np.sum(store.read("status") != PENDING))
            advice = (
                f"go on with `pyrosynth render {typed(synth)} --out {typed(path)} "
                f"--augmented {store.attribute('augmented')}` and the options of the first run"
            )
            if is_claimed(self.path):
                advice = "another process is rendering it, wait until it ends"
            raise DataError(
                f"'{path}' is incomplete ({done:,} of {counted(wanted, 'sound')}); {advice}"
            )

    def __repr__(self) -> str:
        """Say what it holds, in a line."""
        return f"Dataset('{self.path}', {', '.join(f'{v} {k}' for k, v in self._facts().items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process by the path."""
        return Dataset, (self.path,)

    def _repr_html_(self) -> str:
        """Show what it holds in a notebook, with spectrograms and players of some presets."""
        import pyrosynth.plots as plots
        import pyrosynth.report as report

        rows = self.rows("all", human_only=True)[:SHOWN]
        names = self.names(rows)
        pictures = plots.png(plots.gallery(self.x(rows), names, self.features))
        blocks = [report.picture(pictures, ", ".join(names), "")]
        if self.contract["audio"] != "none":
            sources = report.wav_sources(list(self.audio(rows)), self.features.sample_rate)
            players = map(report.player, names, [""] * len(names), sources)
            blocks.append(report.players(list(players)))
        return report.notebook(f"Dataset {self.path}", self._facts(), *blocks)

    def _facts(self) -> dict[str, Any]:
        """Return what it holds: names of facts and their values."""
        human = self.origin == "human"
        return {
            f"presets of {self.contract['synth']['name']}": len(self),
            "human": int(human.sum()),
            **{part: int((self.split == part).sum()) for part in SPLITS},
            "learnt parameters": len(self.space),
        }

    def __len__(self) -> int:
        """Return the number of presets, silent and failed ones included."""
        return self._store.n_rows

    @property
    def chunk_rows(self) -> int:
        """Number of presets in a chunk: those that are read from disk together."""
        return int(self._store.attribute("chunk_rows"))

    @fixed_array
    def status(self) -> NDArray[np.str_]:
        """``ok`` or why a preset has no usable sound, shape (n,)."""
        return self._store.read("status")

    @fixed_array
    def split(self) -> NDArray[np.str_]:
        """``train``, ``valid``, ``test`` or ``none``, shape (n,).

        In ``none`` are human presets without a sound, and augmented ones that sound like a preset
        of ``valid`` or ``test``.
        """
        return self._store.read("split")

    @fixed_array
    def origin(self) -> NDArray[np.str_]:
        """``human``, or how an augmented preset was made, shape (n,)."""
        return self._store.read("origin")

    @fixed_array
    def cluster(self) -> NDArray[np.int32]:
        """Cluster of human presets that sound alike, -1 for all others, shape (n,)."""
        return self._store.read("cluster")

    @property
    def leaks(self) -> dict[str, Any] | None:
        """How many augmented presets sounded like a held-out human one and were dropped.

        ``dropped`` counts them; ``valid`` and ``test`` count the held-out presets that they sound
        like, ``threshold_db`` says when two sounds are alike. None in a dataset of a version that
        did not look; rendering it again, with the same settings, does.
        """
        leaks: dict[str, Any] | None = self._store.attribute("leaks")
        return leaks

    @property
    def repeats_db(self) -> float:
        """How far apart two sounds of one preset are at most, in dB; 0 if the synth is exact."""
        return number("repeats_db", self._store.attribute("repeats_db") or 0.0)

    @fixed_array
    def mean(self) -> NDArray[np.float32]:
        """Mean of ``x`` over the training presets, shape (n_mels, n_frames)."""
        return self._store.read("mean")

    @fixed_array
    def std(self) -> NDArray[np.float32]:
        """Standard deviation of ``x`` over them, never near 0, shape (n_mels, n_frames)."""
        return self._store.read("std")

    def rows(self, split: str = "train", *, human_only: bool = False) -> Rows:
        """Return the rows of a split that have a sound, in ascending order.

        Args:
            split: ``train``, ``valid``, ``test``, or ``all`` for all that have a sound. Augmented
                presets are in ``train``, unless they sound like a preset of the other two.
            human_only: Leave augmented presets out.

        Raises:
            InputError: The split is unknown.
        """
        if not isinstance(split, str) or split not in (*SPLITS, "all"):
            raise unknown("split", str(split), (*SPLITS, "all"))
        wanted = self.status == "ok"
        if split != "all":
            wanted &= self.split == split
        if human_only:
            wanted &= self.origin == "human"
        return np.flatnonzero(wanted)

    def x(self, rows: ArrayLike, dtype: DTypeLike = np.float32) -> NDArray[np.floating]:
        """Return features, shape (n, n_mels, n_frames).

        Args:
            rows: Rows in any order, shape (n,).
            dtype: ``float32``, or ``float16`` as stored for half the memory, or ``float64``.

        Raises:
            InputError: There are no such rows, or the type is another.
        """
        rows, kind = self._existing(rows), np.dtype(object)
        with suppress(TypeError, ValueError):
            kind = np.dtype(dtype)
        if kind not in FLOATS:
            raise InputError(f"dtype is {shown(dtype)}; give 'float16', 'float32' or 'float64'")
        return self._store.read("x", rows, np.empty((len(rows), *self._shape), kind))

    def values(self, rows: ArrayLike) -> NDArray[np.float64]:
        """Return native values of all parameters, shape (n, len(full_space))."""
        return self._store.read("value", self._existing(rows))

    def learnt(self, rows: ArrayLike) -> NDArray[np.float64]:
        """Return native values of the learnt parameters, shape (n, len(space))."""
        return self.subspace.of(self.values(rows))

    def levels(self, rows: ArrayLike) -> NDArray[np.int64]:
        """Return levels of the learnt parameters, shape (n, len(space))."""
        return self.space.levels(self.learnt(rows))

    def audio(self, rows: ArrayLike) -> NDArray[np.float32]:
        """Return sounds, shape (n, n_samples).

        Raises:
            InputError: The dataset does not keep the sound of such a row.
        """
        rows = self._existing(rows)
        kept = self.contract["audio"]
        if kept == "none" or (kept == "human" and (self.origin[rows] != "human").any()):
            raise InputError(
                f"'{self.path}' keeps the sound of {kept} presets only; render it again with "
                "audio 'all', or render these presets"
            )
        return self._store.read("audio", rows)

    def names(self, rows: ArrayLike) -> list[str]:
        """Return the names of presets; an augmented one is named after its origin and row."""
        rows = self._existing(rows)
        names = self._store.read("name", rows).tolist()
        return [name or f"{self.origin[row]} {row}" for name, row in zip(names, rows, strict=True)]

    def banks(self, rows: ArrayLike) -> list[str]:
        """Return the banks the presets come from, empty for augmented ones."""
        return self._store.read("bank", self._existing(rows)).tolist()

    def _existing(self, rows: ArrayLike) -> Rows:
        return existing("rows", rows, len(self))

    @property
    def xarray(self) -> "xarray.Dataset":
        """The whole store as a lazy ``xarray.Dataset`` with named parameters.

        Attributes that are more than a text or a number are JSON, so that it can be saved.
        """
        import xarray

        data = xarray.open_zarr(for_zarr(self.path), consolidated=False, chunks=None)
        texts = ("name", "bank", "origin", "split", "status")
        columns = {name: ("preset", np.array(data[name].values.tolist(), str)) for name in texts}
        rate, hop = self.features.sample_rate, self.features.hop_length
        coords = {
            "param": list(self.space.names),
            "full_param": list(self.full_space.names),
            "mel": ("mel", self.features.centers_hz, {"units": "Hz"}),
            "frame": ("frame", np.arange(data.sizes["frame"]) * hop / rate, {"units": "s"}),
        }
        data = data.assign(columns).assign_coords(coords).set_coords(texts)
        # Attributes of netCDF are texts and numbers.
        data.attrs = {
            name: json.dumps(value) if isinstance(value, dict | list) else value
            for name, value in data.attrs.items()
        }
        return data


def require_dataset(dataset: Any) -> None:
    """Make sure that an argument is a `Dataset`.

    Raises:
        InputError: It is something else.
    """
    require_type("dataset", dataset, Dataset, "a dataset, such as open_dataset(folder)")


def open_dataset(path: str | Path) -> Dataset:
    """Open a complete dataset.

    Raises:
        DataError: There is none, or it is damaged or incomplete; the message says how to go on.
    """
    return Dataset(path)


def render_dataset(
    synth: Synth,
    out: str | Path,
    *,
    params: str | Sequence[str] | None = None,
    augmented: int = 0,
    presets: Sequence[Preset] | None = None,
    note: Note | None = None,
    features: FeatureSpec | None = None,
    audio: Kept = "human",
    prior: Prior | None = None,
    seed: int = 0,
    workers: int | None = None,
    scheduler: str | None = None,
    chunk_rows: int = 256,
) -> Dataset:
    """Render the presets of a synth, and augmented presets, to a dataset.

    The human presets are split by clusters of like sounds; only those of the train split have
    augmented ones, and an augmented preset that sounds like one of the other two splits is dropped
    from training. A killed run goes on where it stopped when it is called again, a finished one
    returns at once, and a larger ``augmented`` extends it.

    Args:
        synth: The synth.
        out: Folder of the dataset, or a URL of an object store, such as ``s3://bucket/data``.
        params: Learnt parameters, as `ParamSpace.select` takes them; others play their default.
            If left out, those that the synth's description says are learnt, else all.
        augmented: Number of augmented presets.
        presets: Human presets; those of the synth if left out.
        note: The note to play.
        features: How a sound becomes ``x``; its rate is the rate of rendering.
        audio: Whose sound is kept beside the features.
        prior: How augmented presets are made: ``broadened`` or ``mixture`` from the training
            presets, or ``uniform`` over every parameter's range, see
            `pyrosynth.data.augmentation.augment`; if left out, as the synth asks for.
        seed: Seed of the split and of the augmented presets.
        workers: Processes that render; all cores if left out.
        scheduler: Address of a Dask scheduler, such as ``tcp://host:8786``, whose workers render
            instead; they write to ``out`` themselves, so all must reach it under this name.
        chunk_rows: Presets per chunk, the most that a kill costs per worker.

    Returns:
        The dataset.

    Raises:
        InputError: There are no presets, or an argument is out of range.
        DataError: The folder holds something else, a dataset of other settings or a larger one,
            or it cannot be written.
    """
    require_synth(synth)
    require_type("note", note, (Note, type(None)), "a Note")
    require_type("features", features, (FeatureSpec, type(None)), "a FeatureSpec")
    place = location(out)
    job = Job(
        synth,
        synth.param_space.select(synth.param_space.usual if params is None else params),
        note or Note(),
        features or FeatureSpec(),
        audio,
        prior or synth.usual_prior,  # type: ignore[arg-type]
    )
    build(job, place, presets, augmented, seed, workers, chunk_rows, scheduler)
    return Dataset(out)

"""Nearest-neighbour bank: the presets that are known, and which of them sound most like a sound.

Looking a sound up is the bar for every model: what a user gets by listening through the bank. It
is also where a search starts.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.audio.features import DB
from pyrosynth.data.augmentation import MIXED_KINDS
from pyrosynth.data.rows import existing
from pyrosynth.errors import (
    InputError,
    RunError,
    counted,
    integer,
    numbers,
    reading,
    require_shapes,
    require_type,
)
from pyrosynth.files import checked_path, regular_file, write_bytes

if TYPE_CHECKING:
    from pyrosynth.data.dataset import Dataset

Array = NDArray[np.float32]

DIMS = 256  # keeps 98 % of the variance of amsynth's sounds
FIT_ROWS = 4000  # sounds the axes are fitted on, at most
SHOWN = 4  # presets in a notebook
BLOCK = 1024  # sounds projected, or queries compared, at once


@dataclass(frozen=True, eq=False, repr=False)
class Bank:
    """Known presets with a compact code of each sound.

    A code holds the coordinates of ``x`` on its principal axes and the length of what they miss.
    So the distance of two codes estimates the log-spectral distance, from 1 kB instead of 11 kB
    per sound. On amsynth's sounds the nearest by code is on average 0.1 % farther than the
    nearest by an exact search, and its distance is overestimated by 3 %; the exact one is
    ``metrics.log_distance(x, dataset.x(bank.rows[found]))``.

    Attributes:
        values: Native values of all parameters, shape (n, n_params).
        names: What the presets are called.
        rows: Their rows in the dataset, shape (n,).
        mean: Mean of ``x``, shape (n_mels, n_frames).
        axes: Orthonormal principal axes, shape (dims, n_mels * n_frames).
        codes: Coordinates on them, shape (n, dims).
        missed: Length of what the axes miss, shape (n,).
        synth: Name of the synth; empty if it is not known, as of a bank that was read from a file.

    Raises:
        InputError: The parts are not those of one bank.
    """

    values: NDArray[np.float64]
    names: tuple[str, ...]
    rows: NDArray[np.int64]
    mean: Array
    axes: Array
    codes: Array
    missed: Array
    synth: str = ""

    def __post_init__(self) -> None:
        """Make sure that the parts are those of one bank."""
        require_shapes(
            "a bank",
            {
                "codes": (self.codes, ("n", "dims")), "missed": (self.missed, ("n",)),
                "values": (self.values, ("n", "n_params")), "rows": (self.rows, ("n",)),
                "mean": (self.mean, ("n_mels", "n_frames")),
            },
        )  # fmt: skip
        require_shapes("a bank", {"axes": (self.axes, (self.codes.shape[1], self.mean.size))})
        for name in ("codes", "missed", "values", "mean", "axes"):
            if not np.isfinite(getattr(self, name)).all():
                raise InputError(
                    f"{name} of a bank are not all finite; leave the presets without a sound out"
                )
        require_type("names of a bank", self.names, tuple, "a tuple of texts")
        for name in self.names:
            require_type("a name of a bank", name, str, "text")
        if len(self.names) != len(self):
            n = counted(len(self), "preset")
            raise InputError(
                f"{counted(len(self.names), 'name')} for a bank of {n}; give one each"
            )

    def __len__(self) -> int:
        """Return the number of presets."""
        return len(self.codes)

    def __repr__(self) -> str:
        """Say what it holds, in a line."""
        return (
            f"Bank({counted(len(self), 'preset')}, {int(self.human.sum())} of them human, "
            f"{self.codes.shape[1]} principal axes)"
        )

    def _repr_html_(self) -> str:
        """Show what it holds in a notebook, with spectrograms of its first presets."""
        import pyrosynth.plots as plots
        import pyrosynth.report as report

        x, names = self.sounds(np.arange(min(SHOWN, len(self)))), self.names[:SHOWN]
        facts = {"presets": len(self), "human": int(self.human.sum()), "first": ", ".join(names)}
        pictures = plots.png(plots.gallery(x, names))
        return report.notebook("Bank", facts, report.picture(pictures, ", ".join(names), ""))

    @property
    def human(self) -> NDArray[np.bool_]:
        """Which presets people made, shape (n,); augmented ones are named after origin and row."""
        augmented = {f"{kind} {row}" for row in self.rows for kind in MIXED_KINDS}
        return np.array([name not in augmented for name in self.names], bool)

    @classmethod
    def from_dataset(
        cls,
        dataset: "Dataset",
        *,
        augmented: bool = True,
        dims: int = DIMS,
        most: int | None = None,
    ) -> "Bank":
        """Make the bank of the training presets of a dataset.

        Args:
            dataset: The dataset; its features are read once, a block at a time.
            augmented: Whether augmented presets belong to it, or human ones only.
            dims: Number of principal axes.
            most: Number of presets at most: human ones first, then augmented ones from all over
                the dataset.

        Returns:
            The bank.

        Raises:
            InputError: ``dataset`` is none, or one of the numbers is below 1.
        """
        from pyrosynth.data.dataset import require_dataset  # whose libraries a bank does not need

        require_dataset(dataset)
        dims = integer("dims", dims, 1)
        most = None if most is None else integer("most", most, 1)
        rows = dataset.rows("train", human_only=not augmented)
        if most is not None and len(rows) > most:
            human = dataset.rows("train", human_only=True)[:most]
            others = np.setdiff1d(rows, human, assume_unique=True)
            kept = np.linspace(0, len(others) - 1, most - len(human)).astype(int)
            rows = np.concatenate([human, others[kept]])
        rng = np.random.default_rng(0)
        sample = np.sort(rng.permutation(rows)[:FIT_ROWS])
        x = dataset.x(sample).reshape(len(sample), -1)
        mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)
        axes = principal_axes(x - mean, dims, rng)
        del x
        codes, missed = (
            np.empty((len(rows), len(axes)), np.float32),
            np.empty(len(rows), np.float32),
        )
        for part in _blocks(len(rows)):
            x = dataset.x(rows[part]).reshape(-1, len(mean))
            codes[part], missed[part] = _project(x - mean, axes)
        return cls(
            dataset.values(rows),
            tuple(dataset.names(rows)),
            rows,
            mean.reshape(dataset.mean.shape),
            axes,
            codes,
            missed,
            str(dataset.synth_spec.get("synth", "")),
        )

    def nearest(self, x: ArrayLike, k: int = 1) -> tuple[NDArray[np.int64], Array]:
        """Find the presets that sound most like some sounds.

        Args:
            x: Features of the sounds, shape (n, n_mels, n_frames), not standardised.
            k: Number of presets for each.

        Returns:
            Their positions in the bank and the estimated log-spectral distances in dB, both of
            shape (n, k), nearest first.

        Raises:
            InputError: The features are not of the bank's shape, or the bank is too small.
        """
        sounds, k = numbers("features", x, np.float32), integer("k", k, 1, len(self))
        if sounds.shape[1:] != self.mean.shape:
            raise InputError(
                f"features have shape {sounds.shape}; the bank takes those of sounds, shape "
                f"(n, {self.mean.shape[0]}, {self.mean.shape[1]})"
            )
        if not np.isfinite(sounds).all():
            raise InputError("features are NaN or infinite; leave out the sounds that failed")
        found = np.empty((len(sounds), k), np.int64)
        lsd = np.empty((len(sounds), k), np.float32)
        for part in _blocks(len(sounds), max(1, 2**25 // len(self))):
            rows: Array = (sounds[part] - self.mean).reshape(-1, self.mean.size)
            found[part], lsd[part] = self._nearest(*_project(rows, self.axes), k)
        return found, lsd

    def neighbors(self, position: int, k: int = 1) -> tuple[NDArray[np.int64], Array]:
        """Find the presets that sound most like one of the bank.

        Args:
            position: Of that preset in the bank.
            k: Number of presets.

        Returns:
            Their positions and the estimated log-spectral distances in dB, both of shape (k,),
            nearest first, without the preset itself.

        Raises:
            InputError: There is no such position, or the bank is too small.
        """
        (own,), k = existing("positions", [position], len(self)), integer("k", k, 1, len(self) - 1)
        found, lsd = self._nearest(self.codes[[own]], self.missed[[own]], k + 1)
        return found[found != own][:k], lsd[found != own][:k]

    def _nearest(self, codes: Array, missed: Array, k: int) -> tuple[NDArray[np.int64], Array]:
        """Return the nearest k presets to codes (n, dims), and their distances in dB."""
        distance = np.einsum("nd,nd->n", self.codes, self.codes) + self.missed**2
        distance = distance - 2 * codes @ self.codes.T
        distance += (np.einsum("nd,nd->n", codes, codes) + missed**2)[:, None]
        best = np.argpartition(distance, k - 1, axis=1)[:, :k]
        near = np.take_along_axis(distance, best, axis=1)
        order = np.argsort(near, axis=1, kind="stable")
        near = np.maximum(np.take_along_axis(near, order, axis=1), 0.0)
        return np.take_along_axis(best, order, axis=1), DB * np.sqrt(near / self.mean.size)

    def first(self, n: int, dims: int = DIMS) -> "Bank":
        """Return a smaller bank: its first presets, human ones before augmented ones.

        Args:
            n: Number of presets at most.
            dims: Number of principal axes at most; what the others held counts as missed.

        Raises:
            InputError: One of the numbers is below 1.
        """
        n, dims = integer("n", n, 1), integer("dims", dims, 1)
        codes, dropped = self.codes[:n, :dims], self.codes[:n, dims:]
        missed = np.sqrt(self.missed[:n] ** 2 + np.einsum("nd,nd->n", dropped, dropped))
        return Bank(
            self.values[:n], self.names[:n], self.rows[:n], self.mean, self.axes[:dims], codes,
            missed, self.synth,
        )  # fmt: skip

    def sounds(self, found: ArrayLike) -> Array:
        """Return the features of presets as far as the codes keep them.

        Args:
            found: Positions in the bank, shape (n,).

        Returns:
            Features, shape (n, n_mels, n_frames).

        Raises:
            InputError: There are no such positions.
        """
        x = self.codes[existing("positions", found, len(self))] @ self.axes
        return x.reshape(-1, *self.mean.shape) + self.mean

    @np.errstate(under="ignore")  # of what is less than 16 bits can say
    def save(self, path: str | Path) -> None:
        """Write the bank to one file, atomically; codes and axes keep 16 bits each.

        Raises:
            InputError: The disk is full or the place cannot be written.
        """
        from safetensors.numpy import save

        tensors: dict[str, NDArray[Any]] = {
            "values": self.values,
            "rows": self.rows,
            "mean": self.mean,
            "axes": self.axes.astype(np.float16),
            "codes": self.codes.astype(np.float16),
            "missed": self.missed,
        }
        write_bytes(path, save(tensors, {"names": json.dumps(self.names)}))

    @classmethod
    def load(cls, path: str | Path) -> "Bank":
        """Read a bank that `save` wrote.

        Raises:
            RunError: The file is missing or damaged.
        """
        from safetensors import safe_open

        again = "fit the run again or copy the whole run directory"
        with reading(RunError, f"cannot read the bank '{path}'", again):
            with safe_open(regular_file(checked_path("bank", path)), framework="numpy") as file:
                names = tuple(json.loads(file.metadata()["names"]))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            for name in ("axes", "codes"):
                tensors[name] = tensors[name].astype(np.float32)
            for name, tensor in tensors.items():
                if not np.isfinite(tensor).all():
                    raise ValueError(f"{name} that are not finite")
            return cls(names=names, **tensors)


def require_bank(bank: Any, synth: str, sizes: tuple[int, ...]) -> None:
    """Make sure that a bank is of the synth, parameters and sounds of a run.

    Args:
        bank: The bank, or None for none.
        synth: Name of the run's synth.
        sizes: Number of all its parameters, and of the bands and frames of its sounds.

    Raises:
        InputError: It is none, or of another synth or note.
    """
    require_type("bank", bank, (Bank, type(None)), "a bank, such as Bank.from_dataset(dataset)")
    if bank is None:
        return
    held = bank.values.shape[1], *bank.mean.shape
    if held != sizes or (bank.synth or synth) != synth:
        of_bank, of_run = (
            f"of '{name or 'a synth'}' ({counted(n, 'parameter')}, sounds of {bands} × {frames})"
            for name, (n, bands, frames) in ((bank.synth, held), (synth, sizes))
        )
        raise InputError(
            f"the bank is {of_bank}, the run {of_run}; take Posterior.load(folder), or the bank "
            "of the dataset that the run was fitted on"
        )


def principal_axes(x: Array, dims: int, rng: np.random.Generator) -> Array:
    """Return the first principal axes of rows, by scikit-learn's randomized decomposition.

    Args:
        x: Rows, shape (n, n_cells).
        dims: Number of axes; fewer come back if ``x`` has fewer rows or cells.
        rng: Source of the random test vectors.

    Returns:
        Orthonormal axes, shape (dims, n_cells), float32.
    """
    from sklearn.decomposition import PCA

    size, seed = min(dims, *x.shape), int(rng.integers(2**31))
    axes = PCA(size, svd_solver="randomized", random_state=seed).fit(x).components_
    return np.ascontiguousarray(axes, np.float32)


def _project(x: Array, axes: Array) -> tuple[Array, Array]:
    """Return the coordinates of centred rows and the length of what the axes miss."""
    codes = x @ axes.T
    missed = np.einsum("nc,nc->n", x, x) - np.einsum("nd,nd->n", codes, codes)
    return codes, np.sqrt(np.maximum(missed, 0.0))


def _blocks(n: int, size: int = BLOCK) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, n, size))

"""Crash-safe, resumable Zarr store of a dataset.

Rows are written in whole chunks, each file replaced atomically and ``status`` last, so a row
whose status is not ``pending`` is complete. Every chunk carries a checksum. The *contract*, all
that decides what the store must hold, is kept in its attributes and compared on every resume.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zarr
from numpy.typing import ArrayLike, NDArray
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.errors import ContainsArrayError, ContainsGroupError

from pyrosynth._version import __version__
from pyrosynth.data.location import failures, is_remote
from pyrosynth.data.zarr_files import for_zarr
from pyrosynth.errors import DataError, integer, not_opened, one_line, raised, reading, reason
from pyrosynth.files import difference, regular_file

PENDING = "pending"
HALF_WRITTEN = re.compile(r"\w+\.[0-9a-f]{32}\.partial")  # as zarr names what it writes
UNWRITTEN = "(not written)"
FORMAT = 2  # of the files; those of another one are refused
METADATA = "zarr.json"
OPTIONAL = ("audio",)  # variables that a dataset may do without
AUDIO_ROWS = 8  # sounds per chunk of audio, at most: few bytes to read for one sound


class Variable(NamedTuple):
    """One array of a store: its dimensions, its type, and what an unwritten cell reads as."""

    dims: tuple[str, ...]
    dtype: Any
    fill: Any
    meaning: str


VARIABLES = {
    "value": Variable(("preset", "full_param"), "float64", math.nan, "native parameter values"),
    "v": Variable(("preset", "param"), "float32", math.nan, "middle of each learnt level"),
    "x": Variable(("preset", "mel", "frame"), "float16", math.nan, "log(power mel + floor)"),
    "audio": Variable(("preset", "sample"), "float32", math.nan, "sound; NaN where not kept"),
    "name": Variable(("preset",), str, UNWRITTEN, "name given by its maker, empty if augmented"),
    "bank": Variable(("preset",), str, UNWRITTEN, "bank it comes from, empty if augmented"),
    "origin": Variable(("preset",), str, UNWRITTEN, "human, or how it was made"),
    "cluster": Variable(("preset",), "int32", -2, "presets that sound alike; -1 for none"),
    "split": Variable(("preset",), str, UNWRITTEN, "train, valid, test or none"),
    "mean": Variable(("mel", "frame"), "float32", math.nan, "mean of x over the train split"),
    "std": Variable(("mel", "frame"), "float32", math.nan, "spread of x over the train split"),
    "status": Variable(("preset",), str, PENDING, "ok, or why there is no usable sound"),
}


class Store:
    """A dataset on disk, complete or not.

    Args:
        path: The folder.
        write: Whether it may be written.

    Attributes:
        path: The folder.
        group: The Zarr group.

    Raises:
        DataError: There is no dataset, or its metadata are damaged.
    """

    def __init__(self, path: Path, *, write: bool = False) -> None:
        """Open an existing store."""
        self.path = path
        if not (self.exists(path) or path.exists()):
            raise DataError(f"no dataset '{path}'; make one with `pyrosynth render SYNTH --out`")
        if not is_remote(path) and not (path / METADATA).exists():
            raise DataError(f"'{path}' is no dataset; give a folder that `pyrosynth render` wrote")
        what = f"'{path}' is not a pyrosynth dataset or its metadata are damaged"
        with reading(DataError, what, "give another folder or render it again"):
            self.group = zarr.open_group(
                for_zarr(path), mode="r+" if write else "r", zarr_format=3
            )
            self.contract: dict[str, Any] = self.group.attrs["contract"]  # type: ignore[assignment]
            held = self.group.attrs.get("format", 1)
        if held != FORMAT:
            newer = isinstance(held, int) and held > FORMAT
            again = "render it again into another folder with `pyrosynth render`"
            raise DataError(
                f"'{self.path}' is a dataset of format {held!r}, this version of pyrosynth reads "
                f"format {FORMAT}; {'update pyrosynth' if newer else again}"
            )
        with reading(DataError, what, "give another folder or render it again"):
            arrays = {name: self.group[name] for name in VARIABLES if name in self.group}
            self.arrays = {n: a for n, a in arrays.items() if isinstance(a, zarr.Array)}
            self._check()

    def _check(self) -> None:
        """Make sure that metadata are what `create` wrote, so that no damage costs memory.

        Raises:
            ValueError: They are not.
        """
        most = integer("n_human", self.attribute("n_human"), 0)
        most += integer("augmented", self.attribute("augmented"), 0)
        chunk_rows = integer("chunk_rows", self.attribute("chunk_rows"), 1)
        sizes: dict[str, int] = {}
        for name, variable in VARIABLES.items():
            if name not in self.arrays and name in OPTIONAL:
                continue
            array = self.arrays[name]
            shape = dict(zip(variable.dims, array.shape, strict=True))
            rows = shape.pop("preset", 0)  # a killed `resize` leaves some arrays shorter
            sizes = {**shape, **sizes}
            if not (
                rows <= most
                and shape == {dim: sizes[dim] for dim in shape}
                and getattr(array.metadata, "dimension_names", None) == variable.dims
                and array.chunks == _chunks(name, array.shape, chunk_rows)
                and str(array.fill_value) == str(variable.fill)
                and (variable.dtype is str or array.dtype == variable.dtype)
            ):
                raise ValueError(f"array '{name}' is not as it was made")

    @classmethod
    def create(
        cls,
        path: Path,
        contract: Mapping[str, Any],
        sizes: Mapping[str, int],
        chunk_rows: int,
        attributes: Mapping[str, Any],
    ) -> "Store":
        """Make an empty store; its attributes are written last, so a killed call leaves none.

        Args:
            path: A folder of which this process has the lock, see `pyrosynth.files.claim`.
            contract: What decides the contents; JSON-ready.
            sizes: Length of each dimension; without ``sample`` no audio is kept.
            chunk_rows: Presets per chunk.
            attributes: Further attributes, ``n_human`` and ``augmented`` among them; JSON-ready.

        Raises:
            DataError: Another process makes one there, of which an object store tells late.
        """
        with writing(path), _alone(path):
            (path / METADATA).unlink(missing_ok=True)
            made_by = {"pyrosynth": __version__}
            group = zarr.create_group(for_zarr(path), zarr_format=3, attributes=made_by)
            for name in [name for name in VARIABLES if name in group]:
                del group[name]  # of a killed call
            for name, variable in VARIABLES.items():
                if not set(variable.dims) <= set(sizes):
                    continue
                shape = tuple(sizes[dim] for dim in variable.dims)
                group.create_array(
                    name,
                    shape=shape,
                    chunks=_chunks(name, shape, chunk_rows),
                    dtype=variable.dtype,
                    fill_value=variable.fill,
                    compressors=[
                        BloscCodec(cname="zstd", clevel=1, shuffle="shuffle"),
                        Crc32cCodec(),
                    ],
                    dimension_names=variable.dims,
                    attributes={"long_name": variable.meaning},
                )
            facts: dict[str, Any] = {
                "format": FORMAT,
                "contract": contract,
                "chunk_rows": chunk_rows,
            }
            group.attrs.update({**facts, **attributes})
        return cls(path, write=True)

    @staticmethod
    def exists(path: Path) -> bool:
        """Tell whether a folder holds a dataset, whole or not, of any format."""
        try:
            if not (path / METADATA).exists():
                return False
            if not is_remote(path):
                regular_file(path / METADATA)
            content = json.loads((path / METADATA).read_text(encoding="utf-8"))
            return "format" in content["attributes"] or "contract" in content["attributes"]
        except (FileNotFoundError, NotADirectoryError):
            return False
        except Exception as error:
            if is_remote(path):
                why = raised(error)
                raise DataError(
                    f"cannot read '{path}' ({why}); check the address, the bucket, and the "
                    "credentials"
                ) from error
            if isinstance(error, (OSError, ValueError, RecursionError, KeyError, TypeError)):
                return True  # damaged, which opening it will say
            raise

    def require(self, contract: Mapping[str, Any]) -> None:
        """Refuse to go on under another contract.

        Raises:
            DataError: A field differs; it is named with both values.
        """
        found = difference(self.contract, contract)
        if found:
            raise DataError(
                f"'{self.path}' was rendered with {found}; give another --out or the first "
                "settings"
            )

    @property
    def n_rows(self) -> int:
        """Number of presets, rendered or not."""
        return int(self.arrays["status"].shape[0])

    def is_complete(self, n_rows: int) -> bool:
        """Tell whether so many presets are rendered, and the statistics are theirs."""
        return self.attribute("statistics_of") == self.n_rows == n_rows and not bool(
            (self.read("status") == PENDING).any()
        )

    def sizes(self, *dims: str) -> tuple[int, ...]:
        """Return the lengths of dimensions."""
        lengths = {
            dim: length
            for name, array in self.arrays.items()
            for dim, length in zip(VARIABLES[name].dims, array.shape, strict=True)
        }
        return tuple(lengths[dim] for dim in dims)

    def attribute(self, name: str) -> Any:
        """Return an attribute of the whole store, None if it has none of that name."""
        return self.group.attrs.get(name)

    def set_attribute(self, name: str, value: Any) -> None:
        """Write an attribute of the whole store, atomically."""
        self._require_there()
        with writing(self.path):
            self.group.attrs.update({name: value})

    def _require_there(self) -> None:
        """Make sure that the folder has not gone: Zarr would begin another in its place."""
        if not is_remote(self.path) and not (self.path / METADATA).is_file():
            raise DataError(f"'{self.path}' was moved or removed meanwhile; give its new place")

    def resize(self, n_rows: int) -> None:
        """Make room for more presets; a killed resize is completed by the next."""
        with writing(self.path):
            for name, array in self.arrays.items():
                if VARIABLES[name].dims[0] == "preset" and array.shape[0] < n_rows:
                    array.resize((n_rows, *array.shape[1:]))

    def clean(self) -> None:
        """Remove the half-written files that a kill left behind."""
        if not is_remote(self.path):  # an object is whole or not there
            for partial in self.path.rglob("*.partial"):
                if HALF_WRITTEN.fullmatch(partial.name) and partial.is_file():  # others' stay
                    partial.unlink(missing_ok=True)

    def blocks(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Return the ranges to render between two rows: the chunks with a pending row."""
        pending = self.read("status") == PENDING
        step = self.attribute("chunk_rows")
        edges = [start, *range(step * (start // step + 1), stop, step), stop]
        ranges = zip(edges[:-1], edges[1:], strict=True)
        return [(a, b) for a, b in ranges if pending[a:b].any()]

    @np.errstate(under="ignore")  # of what is less than 16 bits can say
    def write(self, start: int, columns: Mapping[str, ArrayLike]) -> None:
        """Write consecutive rows; ``status``, if among the columns, after all others.

        Raises:
            DataError: The disk is full, the folder cannot be written, or it is not there any more.
        """
        self._require_there()
        with writing(self.path):
            for name in sorted(columns, key=lambda name: name == "status"):
                array = self.arrays[name]
                rows = np.asarray(columns[name]).astype(array.dtype)
                try:
                    array[start : start + len(rows)] = rows
                except (ValueError, RuntimeError) as error:  # completing a damaged chunk
                    raise self._unusable(name, start // array.chunks[0], error) from error

    def read(
        self,
        name: str,
        rows: NDArray[np.integer] | None = None,
        out: NDArray[Any] | None = None,
    ) -> NDArray[Any]:
        """Read a variable, one chunk at a time, so that nothing is held twice.

        Args:
            name: A variable.
            rows: Rows in any order, shape (n,); all if left out.
            out: Where to, shape (n, ...), converted to its type; new if left out.

        Returns:
            The rows, shape (n, ...); texts as NumPy strings.

        Raises:
            DataError: Files are damaged or missing, or cannot be read.
        """
        array = self.arrays[name]
        step = array.chunks[0]
        rows = np.arange(array.shape[0]) if rows is None else np.asarray(rows, np.int64)
        if out is None:
            out = np.empty((len(rows), *array.shape[1:]), array.dtype)
        order = np.argsort(rows, kind="stable")
        chunks, starts = np.unique(rows[order] // step, return_index=True)
        for chunk, where in zip(chunks.tolist(), np.split(order, starts)[1:], strict=True):
            try:
                part = np.asarray(array[chunk * step : (chunk + 1) * step])[rows[where] % step]
                if name != "status" and _unwritten(part, VARIABLES[name].fill).any():
                    raise ValueError("rows are missing")
            except Exception as error:  # whatever zarr and its codecs make of files
                raise self._unusable(name, chunk, error) from error
            out[where] = part
        return np.array(out.tolist(), str) if VARIABLES[name].dtype is str else out

    def _unusable(self, name: str, chunk: int, error: Exception) -> DataError:
        """Name a file that is damaged, and the status file that makes a resume render it again.

        One that could not be read may be whole, and stays.
        """
        array, status = self.arrays[name], self.arrays["status"]
        file = self.path / name / "c" / "/".join([str(chunk)] + ["0"] * (array.ndim - 1))
        if isinstance(error, (*failures(self.path), MemoryError)):
            if isinstance(error, PermissionError) and error.filename:
                return DataError(not_opened(error))
            return DataError(
                f"'{file}' cannot be read ({reason(error)}); run the same command again"
            )
        done = self.path / "status" / "c" / str(chunk * array.chunks[0] // status.chunks[0])
        return DataError(
            f"'{file}' is damaged ({error}); delete it and '{done}', then run the same "
            "`pyrosynth render` again"
        )


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failed write into one clear error."""
    try:
        yield
    except failures(path) as error:
        why = "such places can only be read"
        if not isinstance(error, NotImplementedError):
            why = one_line(reason(error))
        raise DataError(
            f"cannot write '{path}': {why}; make room or give another folder, "
            "then run the same command again: what is complete stays"
        ) from error


def _unwritten(data: NDArray[Any], fill: Any) -> NDArray[np.bool_]:
    """Tell which cells read as a chunk that was never written."""
    return np.isnan(data) if isinstance(fill, float) else np.asarray(data == fill)


def _chunks(name: str, shape: tuple[int, ...], chunk_rows: int) -> tuple[int, ...]:
    """Return the shape of the chunks of a variable."""
    if VARIABLES[name].dims[0] != "preset":
        return shape
    rows = math.gcd(chunk_rows, AUDIO_ROWS) if name == "audio" else chunk_rows
    return rows, *shape[1:]


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Say in a line that somebody else makes what this process makes."""
    try:
        yield
    except (ContainsGroupError, ContainsArrayError) as error:
        raise DataError(
            f"another process is making a dataset at '{path}'; wait until it ends, then run the "
            "command again"
        ) from error

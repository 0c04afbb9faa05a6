"""What the commands of the command line share: options, and how they read and print."""

import errno
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from pyrosynth.data.location import location
from pyrosynth.errors import LARGEST_SEED, InputError, one_line
from pyrosynth.files import URL, given_path, typed

if TYPE_CHECKING:
    from pyrosynth.data.dataset import Dataset
    from pyrosynth.inference.posterior import Posterior
    from pyrosynth.training.run import Run as FittedRun


RESULTS: ContextVar[TextIO | None] = ContextVar("RESULTS", default=None)  # where they go


def local_path(text: str) -> Path:
    """Read the path of a file or folder on this machine, ``~`` being the user's home.

    Raises:
        InputError: It is empty, or a URL, which would be read as a folder such as ``s3:`` here.
    """
    return given_path("path", text)


def json_file(text: str) -> Path:
    """Read the path of a JSON file to write, which other commands know by its name.

    Raises:
        InputError: It is no path, or its name does not end in ``.json``.
    """
    return _ending(text, ".json")


def csv_file(text: str) -> Path:
    """Read the path of a CSV file to write, which other programs know by its name.

    Raises:
        InputError: It is no path, or its name does not end in ``.csv``.
    """
    return _ending(text, ".csv")


def _ending(text: str, suffix: str) -> Path:
    path = local_path(text)
    if path.suffix.lower() != suffix:
        raise InputError(
            f"'{text}' is to hold {suffix[1:].upper()}; give a name that ends in {suffix}"
        )
    return path


def midi_note(text: str) -> int:
    """Read the number of a MIDI note.

    Raises:
        InputError: It is no whole number, such as the name of a note; the message says which
            number a name has.
    """
    from pyrosynth.audio.note import Note

    try:
        return int(text)
    except ValueError as error:
        named = {Note(pitch).name: pitch for pitch in range(128)}
        known = named.get(text.strip().capitalize(), 60)
        raise InputError(
            f"note '{text}': give the number of a MIDI note, such as {known} for "
            f"{Note(known).name}"
        ) from error


def path_option(*names: str, metavar: str = "PATH", help: str) -> Any:
    """Declare an option that takes the path of a file or folder on this machine."""
    return typer.Option(*names, metavar=metavar, parser=local_path, help=help)


Out = Annotated[Path, path_option("--out", help="Folder for the results.")]
Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA", parser=location, help="Folder that `render` wrote, or its URL."
    ),
]
DataOut = Annotated[
    Path,
    typer.Option(
        "--out", metavar="PATH", parser=location, help="Folder, or URL such as s3://bucket/data."
    ),
]
DataOfRun = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="PATH", parser=location, help="Its dataset, if it is no longer there."
    ),
]
MidiNote = Annotated[
    int, typer.Option(metavar="INTEGER", parser=midi_note, help="MIDI note; 60 is C4.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Seed = Annotated[
    int, typer.Option(min=0, max=LARGEST_SEED, help="Number that fixes everything random.")
]
Workers = Annotated[int | None, typer.Option(min=1, help="Rendering processes, else all cores.")]
Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS", help="Dask scheduler whose workers do it, such as tcp://host:8786."
    ),
]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Run = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        parser=local_path,
        help="Folder that `fit` wrote, or a pretrained run's name.",
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(
        metavar="bfloat16|tf32",
        help="Round the products of the large networks, or on a GPU the factors of all.",
    ),
]
Threads = Annotated[int | None, typer.Option(min=1, help="Torch threads.")]
Tags = Annotated[
    Path | None,
    path_option(help="CSV file of tags, such as `tags` writes; else made from the sounds."),
]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Hyper-parameter, as JSON; recipe=paper for all of the paper's; repeatable.",
    ),
]


def listed(text: str) -> list[str]:
    """Read names with commas between them; blanks around a name do not count.

    Raises:
        InputError: An item is empty.
    """
    names = [name.strip() for name in text.split(",")]
    if "" in names:
        raise InputError(f"an item of the list '{text}' is empty; take out a comma, or name it")
    return names


def settings(given: Sequence[str] | None) -> dict[str, Any]:
    """Read ``KEY=VALUE`` settings; a value that is not JSON is text."""
    found: dict[str, Any] = {}
    for text in given or ():
        key, equals, value = (part.strip() for part in text.partition("="))
        if not key or not equals:
            raise InputError(f"'{text}' is not a setting; write KEY=VALUE, such as hidden=128")
        if key in found:
            raise InputError(f"setting '{key}' is there twice; leave one of them")
        try:
            found[key] = json.loads(value)
        except (ValueError, RecursionError):
            found[key] = value
    return found


def dataset_of(run: "FittedRun", given: Path | None) -> "Dataset":
    """Open the dataset that is given, else the one a run was fitted on."""
    from pyrosynth.data.dataset import open_dataset

    path = given or run.dataset.get("path")
    if not path:
        raise InputError(
            "the run does not say where its dataset is, since it was packed to be given away; "
            "render the dataset and name it with --data"
        )
    if not given and not URL.match(str(path)) and not Path(path).exists():
        raise InputError(
            f"there is no '{path}' any more, the dataset the run was fitted on; name it with "
            "--data"
        )
    return open_dataset(path)


def show(facts: dict[str, Any], lines: Sequence[str], as_json: bool) -> None:
    """Print what a command found: lines, or one JSON document."""
    say(json.dumps(facts, indent=1) if as_json else "\n".join(lines))


def say(text: str, output: TextIO | None = None) -> None:
    """Print lines to where results go, or to another output.

    A reader that has seen enough, such as `head`, and a terminal that has closed change nothing.
    """
    output = output or RESULTS.get() or sys.stdout
    try:
        print(printable(text), file=output, flush=True)
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EIO):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())


def aside(as_json: bool) -> Callable[[str], None]:
    """Return a function that prints a line while work goes on, beside results as JSON."""
    return partial(say, output=sys.stderr) if as_json else say


@contextmanager
def results_alone(arguments: Sequence[str]) -> Iterator[None]:
    """With ``--json``, send what others print, such as the code of a model, to standard error."""
    token = RESULTS.set(sys.stdout)
    try:
        with redirect_stdout(sys.stderr if "--json" in arguments else sys.stdout):
            yield
    finally:
        RESULTS.reset(token)


def opens(folder: Path) -> str:
    """Say which file of a folder of results to open."""
    return f"Look and listen: open {folder / 'report.html'}"


def plays(posterior: "Posterior", run: Path) -> list[str]:
    """Say how to play a run, in a line; in none where that takes what is not there."""
    if not (posterior.variant.has_latent and posterior.bank and find_spec("aiohttp")):
        return []
    return [f"To play it and change it: pyrosynth serve {typed(run)} --open"]


def complain(message: str) -> None:
    """Print an error, in one printable line of at most 300 characters."""
    say(f"pyrosynth: {one_line(message)}", sys.stderr)


def tell_failures(reasons: Iterable[str]) -> None:
    """Print why parts of a job failed; if there are any, the command ends with exit code 2."""
    told = [*reasons]
    for why in told:
        complain(why)
    if told:
        raise typer.Exit(2)


def printable(text: str) -> str:
    """Escape what a terminal would take for a command, such as in the name of a file."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)

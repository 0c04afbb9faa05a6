"""The command line: each command reads its options, calls one function, prints what came of it.

Results go to standard output (with ``--json`` one JSON document and nothing else), progress and
errors to standard error. Exit codes: 0 done, 2 for a mistake one can put right (one line says
how), 130 after Ctrl-C (143, 129: SIGTERM, SIGHUP); whatever else fails is a bug and shows where.
"""

import gc
import os
import re
import signal
import sys
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer

from pyrosynth._version import __version__
from pyrosynth.cli import exploring, learning, models, runs, synths
from pyrosynth.cli.options import (
    Json,
    Out,
    Seed,
    Workers,
    aside,
    complain,
    results_alone,
    show,
)
from pyrosynth.cli.process import (
    draw_alike,
    end_by_signals,
    leave,
    log_if_possible,
    open_standard_streams,
    place_torch_cache,
    progress_as_lines,
    received,
    require_docstrings,
    require_working_folder,
)
from pyrosynth.errors import PyrosynthError

INTERRUPTED = 130  # exit code after Ctrl-C, as shells have it

# Everything heavy is imported inside the commands, so that --help answers at once.
app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(asked: bool) -> None:
    if asked:
        print(f"pyrosynth {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Learn a synthesizer from its presets, then find the preset behind a sound."""


def demo(
    out: Out = Path("demo"),
    synth: Annotated[str, typer.Option(help="amsynth, or voice.")] = "amsynth",
    smoke: Annotated[
        bool, typer.Option("--smoke", help="As little as possible, to see that it runs.")
    ] = False,
    seed: Seed = 0,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Run the main job from end to end; call it again to go on."""
    from pyrosynth.cli.demo import SMOKE
    from pyrosynth.cli.demo import demo as run_demo

    sizes, say = SMOKE if smoke else None, aside(as_json)
    facts = run_demo(out, synth, sizes=sizes, seed=seed, workers=workers, say=say)
    if as_json:
        show(facts, [], as_json)


# What some write for two hyphens.
DASH = re.compile("[\N{EN DASH}\N{EM DASH}\N{MINUS SIGN}]|-[a-z]", re.IGNORECASE)
COMMANDS = (
    synths.synths, synths.install, synths.scan, synths.render, synths.tags,
    learning.describe, learning.presets, learning.learn,
    models.models, models.fit, models.compare, models.export,
    runs.infer, runs.check,
    exploring.axes, exploring.name, exploring.explore, exploring.serve, demo,
)  # fmt: skip
# Those that continue where they were interrupted, unless --force tells them to begin anew.
GO_ON = (
    "render", "describe", "learn", "fit", "compare", "infer", "check", "axes", "explore", "demo",
)  # fmt: skip
for command in COMMANDS:
    app.command()(command)


@cache
def _command() -> Any:
    """Return all commands as one, which takes typer ten milliseconds to make."""
    return typer.main.get_command(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        arguments: What follows the program's name; if left out, that of the process, which ends
            with the command.

    Returns:
        The exit code.
    """
    open_standard_streams()
    if arguments is not None:
        return _run(arguments)
    # Half a second: imports make many objects, and hardly any garbage.
    gc.set_threshold(100_000)
    draw_alike()
    place_torch_cache()
    log_if_possible()
    end_by_signals()
    code = _run(sys.argv[1:], ends=True)
    leave(code)
    return code


def _told(error: Any, given: Sequence[str]) -> str:
    """Say what was given for the option that an error is about, which typer does not."""
    for text in given:
        if DASH.match(text):
            return f"'{text}': an option begins with two hyphens, such as --out; "
    options = getattr(getattr(error, "param", None), "opts", ())
    for text, following in pairwise([*given, ""]):
        option, equals, value = text.partition("=")
        if option in options:
            return f"given '{value if equals else following}'; "
    return ""


def _run(given: Sequence[str], *, ends: bool = False) -> int:
    """Run a command line, with which the program ends or not; return the exit code."""
    # typer's own class, whichever library it takes it from
    usage_error: Any = typer.BadParameter.__mro__[1]
    try:
        require_working_folder()
        require_docstrings()
        with progress_as_lines(), results_alone(given):
            command = _command()
            code = command(list(given) or ["--help"], prog_name="pyrosynth", standalone_mode=False)
        if code == INTERRUPTED:  # typer's way to say so, in some versions
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except PyrosynthError as error:
        complain(str(error))
        return 2
    except usage_error as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "pyrosynth"
        complain(f"{error.format_message()} ({_told(error, given)}see {command} --help)")
        return 2
    except RuntimeError as error:
        if not str(error).startswith("Symlink loop"):  # no OSError until Python 3.13
            raise
        complain(f"{error}; give another place")
        return 2
    except OSError as error:
        where = f" '{error.filename}'" if error.filename else ""
        complain(f"cannot read or write{where} ({error.strerror or error}); see to it, try again")
        return 2
    except (KeyboardInterrupt, typer.Abort):
        if ends:  # a further Ctrl-C changes nothing
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        goes_on = given[:1] and given[0] in GO_ON and "--force" not in given
        what = "to go on" if goes_on else "to begin anew"
        complain(f"interrupted; run the same command again {what}")
        code = 128 + received[0] if received else INTERRUPTED
        if ends:  # at once: the interpreter's own end can be interrupted, too
            os._exit(code)
        return code

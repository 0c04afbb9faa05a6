"""Ask a plugin something in a child process, which it may kill or hang.

Loading a plugin runs its code: a truncated library kills whoever opens it, others wait for a
display or a licence, or print without end. So whatever a plugin tells of itself is asked in a
process of its own, with a deadline, away from the user's files.
"""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pyrosynth.errors import InputError, SynthError, not_opened
from pyrosynth.synths.hosts.formats import OWN, another_host, choose, host_of, open_plugin
from pyrosynth.synths.hosts.plugin import PluginClass, PluginFile
from pyrosynth.synths.sandbox import (
    THREAD_LIMITS,
    Scratch,
    die_with_parent,
    has_ended,
    kill_all,
    limit_resources,
    private_home,
    python,
)

SECONDS = 60.0  # for one question, on a busy machine
COMMAND = "import sys; from pyrosynth.synths.hosts.process import main; main(*sys.argv[1:])"
LOGGED = 20  # lines of a log that are told
PROBE_RATE = 44100  # at which a plugin is asked for its programs

log = logging.getLogger(__name__)


def ask(
    operation: str,
    path: Path,
    *arguments: Any,
    host: str = OWN,
    seconds: float = SECONDS,
    told: set[str] | None = None,
) -> Any:
    """Ask a plugin something in a child process.

    Args:
        operation: One of `OPERATIONS`.
        path: The plugin file.
        *arguments: Of the operation; JSON-ready.
        host: One of `pyrosynth.synths.hosts.formats.HOSTS`.
        seconds: Deadline.
        told: Lines that are not logged again; those of this answer are added.

    Returns:
        The JSON-ready answer. What that process has logged of it is logged.

    Raises:
        InputError: What is asked for is not there.
        SynthError: The plugin is missing, damaged, of another format, or does not answer.
    """
    with Scratch() as scratch:
        home = scratch.path / "home"
        home.mkdir()
        question, answer, complaints = (
            home / name for name in ("question.json", "answer.json", "complaints.txt")
        )
        question.write_text(json.dumps(arguments), encoding="utf-8")  # too long for a command
        paths = map(os.path.abspath, sys.path)
        with complaints.open("wb") as errors:
            child = subprocess.Popen(
                [
                    *python(), "-P", "-c", COMMAND,
                    str(os.getpid()), operation, host, os.path.abspath(path), question, answer,
                ],
                env={
                    **os.environ,
                    **private_home(home),
                    **host_of(path, host).environment(),
                    **dict.fromkeys(THREAD_LIMITS, "1"),
                    "PYTHONPATH": os.pathsep.join(paths),
                },
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                cwd=home,
                start_new_session=True,
            )  # fmt: skip
        scratch.adopt(child.pid)
        in_time = has_ended(child, seconds)
        code = kill_all(child, home)
        text = answer.read_text(encoding="utf-8") if answer.exists() else ""
        with complaints.open("rb") as errors:
            errors.seek(-min(2000, complaints.stat().st_size), os.SEEK_END)
            last = errors.read().decode("utf-8", "replace").strip().rpartition("\n")[2][:120]
    said = f"; it says: {last}" if last else ""
    if not in_time:
        raise SynthError(
            f"plugin '{path}' does not answer within {seconds:g} s; it may wait for a display or "
            f"a licence{another_host(path, host)}{said}"
        )
    if code or not text:
        cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        raise SynthError(
            f"plugin '{path}' ends the process that opens it ({cause}); it may be damaged or "
            f"incomplete, install it again{another_host(path, host)}{said}"
        )
    reply = json.loads(text)
    before = set() if told is None else told
    for line in reply["log"]:
        if line not in before:
            before.add(line)
            log.warning("%s", line)
    if "error" in reply:
        raise (InputError if reply["type"] == "InputError" else SynthError)(reply["error"])
    return reply["answer"]


def main(parent: str, operation: str, host: str, path: str, question: str, answer: str) -> None:
    """Answer one question in this process and end it, leaving out what the plugin wants to do.

    Args:
        parent: Number of the process that asks; this one dies with it.
        operation: One of `OPERATIONS`.
        host: Name of the host.
        path: The plugin file.
        question: File with the arguments of the operation, as JSON.
        answer: File for the answer.
    """
    die_with_parent(int(parent))  # the guard of `Scratch` may not know of this process yet
    limit_resources(None)
    reply: dict[str, Any]
    kept = _Kept()
    logging.getLogger("pyrosynth").addHandler(kept)
    try:
        asked = OPERATIONS[operation]
        arguments = json.loads(Path(question).read_text(encoding="utf-8"))
        reply = {"answer": asked(open_plugin(path, host), *arguments)}
    except (InputError, SynthError, OSError, AttributeError) as error:
        told = str(error)
        if isinstance(error, OSError) and error.filename:
            told = not_opened(error)
        reply = {"type": type(error).__name__, "error": told}
    Path(answer).write_text(json.dumps({**reply, "log": kept.lines}), encoding="utf-8")
    os._exit(0)


class _Kept(logging.Handler):
    """Keeps the first lines that are logged, for the process that asks."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if len(self.lines) < LOGGED:
            self.lines.append(record.getMessage())


def _n_threads() -> int:
    return len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1


def _classes(file: PluginFile) -> list[dict[str, Any]]:
    return [listed.to_json() for listed in file.classes()]


def _describe(file: PluginFile, wanted: str) -> dict[str, Any]:
    before = _n_threads()
    described = file.describe(choose(file.path, file.classes(), wanted).id)
    if described.unusable:
        raise SynthError(f"{described.name} in '{file.path}' {described.unusable}")
    with file.instance(described, PROBE_RATE):  # some start their threads only with it
        return replace(described, has_threads=_n_threads() > before).to_json()


def _programs(file: PluginFile, described: dict[str, Any]) -> list[tuple[str, tuple[float, ...]]]:
    with file.instance(PluginClass.from_json(described), PROBE_RATE) as instance:
        return [(program.name, program.values) for program in instance.programs()]


def _save_preset(
    file: PluginFile, described: dict[str, Any], place: str, name: str, values: list[float]
) -> None:
    file.save_preset(Path(place), PluginClass.from_json(described), name, np.array(values))


def _load_presets(
    file: PluginFile, described: dict[str, Any], place: str
) -> list[tuple[str, tuple[float, ...]] | str]:
    """Load the presets of a file, with what is wrong in the place of one that is bad."""
    presets = file.load_presets(Path(place), PluginClass.from_json(described))
    return [str(p) if isinstance(p, InputError) else (p.name, p.values) for p in presets]


def _load_files(
    file: PluginFile, described: dict[str, Any], places: list[str]
) -> list[tuple[str, str, tuple[float, ...]]]:
    """Load the presets of many files, each with its file; the log says what is left out."""
    loaded: list[tuple[str, str, tuple[float, ...]]] = []
    for place in places:
        try:
            presets = _load_presets(file, described, place)
        except (InputError, SynthError) as error:
            presets = [str(error)]
        for preset in presets:
            if isinstance(preset, str):
                log.warning("left out: %s", preset)
            else:
                loaded.append((place, *preset))
    return loaded


def _survey(file: PluginFile, class_id: str) -> tuple[dict[str, Any], int]:
    """Describe a synth and count its programs."""
    described = file.describe(class_id)
    if described.unusable:
        return described.to_json(), 0
    with file.instance(described, PROBE_RATE) as instance:
        return described.to_json(), len(instance.programs())


OPERATIONS: dict[str, Callable[..., Any]] = {
    "classes": _classes,
    "describe": _describe,
    "survey": _survey,
    "programs": _programs,
    "save_preset": _save_preset,
    "load_presets": _load_presets,
    "load_files": _load_files,
}

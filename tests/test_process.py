"""The process of a command: however it ends, nothing is left behind; its output may close."""

import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from conftest import FLAGS

from pyrosynth.audio.io import encoded
from pyrosynth.cli.app import COMMANDS, GO_ON, main
from pyrosynth.cli.options import aside, complain, say
from pyrosynth.errors import SynthError
from pyrosynth.synths.sandbox import Scratch
from pyrosynth.synths.scanning import scan

WAITS = """
#include <unistd.h>
__attribute__((constructor)) static void wait_for_ever(void) { for (;;) pause(); }
"""


@pytest.fixture(scope="module")
def waiting_plugin(tmp_path_factory):
    """A plugin that never finishes loading."""
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "waits.c").write_text(WAITS)
    library = folder / "waits.so"
    subprocess.run(["cc", *FLAGS, "-o", library, folder / "waits.c"], check=True)
    return library


def processes_with(text):
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:  # it has just ended
            continue
        if text.encode() in command:
            found.add(int(entry.name))
    return found


def wait_until(true):
    deadline = time.monotonic() + 300
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_scan_that_is_ended_leaves_nothing_behind(tmp_path, waiting_plugin, number):
    """Neither the process that loads the plugin, nor its folder, long before the deadline."""
    command = [sys.executable, "-m", "pyrosynth", "scan", str(waiting_plugin), "--seconds", "600"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
        # The tests run under nohup, and what is ignored is ignored by children, too.
        command = ["env", "--default-signal=HUP", *command]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as child:
        wait_until(lambda: processes_with(str(waiting_plugin)) - {child.pid})
        child.send_signal(number)
        said = child.communicate(timeout=300)[1]
    wait_until(lambda: not processes_with(str(waiting_plugin)) and not list(tmp_path.iterdir()))
    if number == signal.SIGKILL:
        assert child.returncode == -number
    else:
        assert child.returncode == 128 + number
        assert said.endswith("pyrosynth: interrupted; run the same command again to begin anew\n")
        assert "Traceback" not in said


def test_a_scan_that_is_interrupted_has_listed_what_it_found(faulty_plugin, waiting_plugin):
    command = [sys.executable, "-m", "pyrosynth", "scan", str(faulty_plugin), str(waiting_plugin)]
    with subprocess.Popen(
        [*command, "--seconds", "30"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as child:  # fmt: skip
        first = child.stdout.readline()
        child.send_signal(signal.SIGINT)
        said = child.communicate(timeout=300)[1]
    assert str(faulty_plugin) in first
    assert child.returncode == 130
    assert said.endswith("pyrosynth: interrupted; run the same command again to begin anew\n")


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("fit flow_reg data --out run", "to go on"),
        ("fit flow_reg data --out run --force", "to begin anew"),
        ("infer run a.wav --out found", "to go on"),
        ("name run", "to begin anew"),
        ("presets voice", "to begin anew"),
        ("serve run --static page", "to begin anew"),
        ("", "to begin anew"),
    ],
)
def test_an_interrupted_command_says_whether_it_goes_on(command, what, monkeypatch, capfd):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setitem(main.__globals__, "_command", interrupted)
    assert main(command.split()) == 130
    line = f"pyrosynth: interrupted; run the same command again {what}\n"
    assert capfd.readouterr().err == line


def test_the_commands_that_go_on_are_commands():
    assert set(GO_ON) <= {command.__name__ for command in COMMANDS}


def test_the_deadline_of_a_scan_holds_for_every_format(waiting_plugin):
    (found,) = scan([waiting_plugin], seconds=0.2)
    assert "does not finish loading within 0.2 s" in found.reason


def test_a_signal_that_is_ignored_stays_so():
    """As under nohup."""
    code = (
        "import os, signal; from pyrosynth.cli.process import end_by_signals\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN); end_by_signals()\n"
        "os.kill(os.getpid(), signal.SIGHUP); print('goes on')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"goes on\n"


@pytest.mark.parametrize("patience", ["0.0", "60.0"])
def test_a_signal_that_a_library_has_lost_may_be_sent_again(patience):
    """Only after a while: what the first one has begun to tidy up is not cut short."""
    script = (
        "import os, signal; from pyrosynth.cli import process\n"
        f"process.TIDYING_SECONDS = {patience}; process.end_by_signals()\n"
        "class Loses:\n"
        "    def __del__(self): os.kill(os.getpid(), signal.SIGTERM)\n"
        "Loses()\n"
        "try: os.kill(os.getpid(), signal.SIGTERM); print('goes on')\n"
        "except KeyboardInterrupt: print('ends')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "Exception ignored in" in done.stderr
    assert done.stdout.strip() == ("ends" if patience == "0.0" else "goes on")


def test_a_signal_ends_the_encoding_of_a_sound():
    """It is lost where libsndfile calls Python, and a part of the file with it."""
    sound = 0.5 * np.sin(np.arange(2**20) / 8)

    def end(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, end)
    try:
        for i in range(1, 11):
            signal.setitimer(signal.ITIMER_REAL, 0.003 * i)
            with pytest.raises(KeyboardInterrupt):
                encoded(sound, 22050, format="MP3")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    "command", ["serve missing --static", "describe x --out", "presets voice --out"]
)
def test_a_place_that_cannot_be_written_is_refused_before_any_work(tmp_path, capsys, command):
    """No run is looked for, no sound is rendered."""
    (tmp_path / "file").write_bytes(b"mine")
    out = tmp_path / "file" / "results.json"
    assert main([*command.split(), str(out)]) == 2
    error = capsys.readouterr().err
    assert f"'{tmp_path / 'file'}' is a file, where a folder is wanted" in error


def test_a_reader_that_has_seen_enough_stops_no_work():
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as output:
        say("first", output)
        say("second", output)
        with redirect_stdout(output):
            aside(as_json=False)("third")


def test_what_names_hold_is_no_command_of_the_terminal(capsys):
    aside(as_json=False)("a\x1b[2Jb")
    complain("c\x1b[2Jd")
    assert capsys.readouterr() == ("a\\x1b[2Jb\n", "pyrosynth: c\\x1b[2Jd\n")


def test_a_temporary_folder_goes_though_its_guard_was_killed():
    with Scratch() as scratch:
        (scratch.path / "file").write_bytes(b"1")
        scratch._guard.kill()
        scratch._guard.wait()
    assert not scratch.path.exists()


def test_a_folder_with_a_line_break_kills_no_process_by_the_first_line(tmp_path, monkeypatch):
    folder = tmp_path / "mine\nother"
    folder.mkdir()
    environment = {**os.environ, "FOLDER": str(tmp_path / "mine")}
    with subprocess.Popen(["sleep", "30"], env=environment) as innocent:
        monkeypatch.setattr("tempfile.tempdir", str(folder))
        try:
            with (
                pytest.raises(SynthError, match="has a line break; name another folder"),
                Scratch(),
            ):
                pass
            assert innocent.poll() is None
        finally:
            innocent.kill()

"""Worker processes: what goes wrong in a sound costs that sound."""

import gc
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import renderings

from pyrosynth import synths
from pyrosynth.audio.note import Note
from pyrosynth.errors import InputError, SynthError
from pyrosynth.synths.presets import Preset, preset_array
from pyrosynth.synths.probing import probe_isolation
from pyrosynth.synths.rendering import Renderer
from pyrosynth.synths.sandbox import starves
from pyrosynth.synths.worker import START_SECONDS, Worker
from pyrosynth.synths.worker_process import BATCH_SIZE, TIMED_OUT

RATE = 22050
TIMEOUT = 0.25  # seconds of work for a sound, which takes a hundredth of that
WAIT = 120.0  # seconds; machines are busy
NOTE = Note(hold_seconds=0.1, duration_seconds=0.2)
FINE, SEGFAULT, HANG, NAN, SILENCE, STATE = range(6)  # modes of data/faulty.c
MODES = {
    "ignore alarm": (6, "timed out"),
    "block signals": (7, "timed out"),
    "stop": (8, "timed out"),
    "cancel timers": (9, "timed out"),
    "fork and die": (10, "crashed"),
    "fork and return": (11, ""),
    "fork and go on": (12, ""),
    "close errors": (13, ""),
    "close all": (14, None),
    "write everywhere": (15, None),
    "read everywhere": (16, ""),
    "lower limits": (17, None),
    "allocate": (18, "crashed"),
    "sleep": (19, "timed out"),
    "kill": (20, "crashed"),
    "exit": (21, "crashed"),
    "print": (22, "timed out"),
    "alarm": (23, None),
    "leave a daemon": (24, ""),
    "leave a daemon without a home": (25, "timed out"),
    "end the thread": (26, "crashed"),
    "become another program": (27, "crashed"),
    "trap floats": (28, None),
    "segfault again": (29, "timed out"),
    "hang at exit": (30, None),
    "delete home": (31, None),
    "round up": (32, None),
    "do not wait": (33, None),
    "write here": (34, ""),
    "be traced": (35, "crashed"),
}  # None where the sound may be done before the damage shows
EXIT, BE_TRACED = MODES["exit"][0], MODES["be traced"][0]
REASON = {
    BE_TRACED: "crashed", EXIT: "crashed", SEGFAULT: "crashed", HANG: "timed out",
    NAN: "not finite", SILENCE: "silent",
}  # fmt: skip


@pytest.fixture(scope="module")
def faulty(faulty_plugin):
    return synths.load_synth(faulty_plugin, isolation="reload")


ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def settings(n, faults=None):
    values = np.zeros((n, 3))
    values[:, 1] = np.linspace(100, 1000, n)
    for index, fault in (faults or {}).items():
        values[index, 0] = fault
    return values


def render(synth, values, workers=1, **options):
    with Renderer(
        synth, NOTE, RATE, workers=workers, timeout_seconds=TIMEOUT, **options
    ) as renderer:
        return renderer.render(values)


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def until(condition):
    """Wait until something is so; return whether it is."""
    deadline = time.monotonic() + WAIT
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


@pytest.fixture
def scratch(monkeypatch, tmp_path):
    """An own folder for temporary files, to see that none is left."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def processes(folder, homeless=""):
    """Processes whose home lies in a folder, or that have an argument and no home."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                known = f"HOME={folder}/".encode() in (entry / "environ").read_bytes()
                if known or (homeless and homeless.encode() in (entry / "cmdline").read_bytes()):
                    found.append(int(entry.name))
    return [pid for pid in found if alive(pid)]


@pytest.mark.parametrize("mode", MODES)
def test_a_misbehaving_plugin_costs_one_sound_in_time(faulty, scratch, mode, monkeypatch):
    number, reason = MODES[mode]
    monkeypatch.setenv("FAULTY_SLEEPS", f"1000.{os.getpid()}")
    ends, recover = [], Worker._recover

    def counted(worker, why, text=""):
        ends.append(why)
        recover(worker, why, text)

    monkeypatch.setattr(Worker, "_recover", counted)
    with Renderer(faulty, NOTE, RATE, workers=1, timeout_seconds=TIMEOUT) as renderer:
        fine = renderer.render(settings(6)).audio
        assert not ends
        began = time.monotonic()
        rendered = renderer.render(settings(6, {2: number}))
        took = time.monotonic() - began
        again = renderer.render(settings(6)).audio
    assert len(ends) <= 5
    assert ends.count(TIMED_OUT) <= (reason in ("timed out", None))
    assert took < START_SECONDS  # which is for another kind of trouble
    expected = ["", "", rendered.reason[2] if reason is None else reason, "", "", ""]
    assert rendered.reason.tolist() == expected
    assert rendered.reason[2] in ("", "crashed", "timed out")
    good = np.array(expected) == ""
    good[2] &= mode != "round up"  # its own sound it may round
    np.testing.assert_array_equal(rendered.audio[good], fine[good])
    np.testing.assert_array_equal(again, fine)
    assert until(lambda: not processes(scratch, f"1000.{os.getpid()}"))
    assert not list(scratch.iterdir())


def test_all_misbehaviour_in_one_job(faulty, scratch, monkeypatch):
    monkeypatch.setenv("FAULTY_SLEEPS", f"1000.{os.getpid()}")
    rng = np.random.default_rng(0)
    modes = rng.permutation([number for number, _ in MODES.values()])
    values = settings(3 * len(modes))
    values[::3, 0] = modes  # the very first sound among them
    fine = render(faulty, settings(len(values)))
    rendered = render(faulty, values, workers=2)
    reasons = dict(MODES.values())
    for mode, reason in zip(modes, rendered.reason[::3], strict=True):
        # Where a child of an earlier sound holds the connection, an end seems a hang.
        known = ("crashed", "timed out") if reasons[mode] == "crashed" else (reasons[mode],)
        assert reason in known or reasons[mode] is None, (mode, reason)
    good = rendered.reason == ""
    assert good[1::3].all()
    assert good[2::3].all()
    good[::3] &= modes != MODES["round up"][0]  # its own sound it may round
    np.testing.assert_array_equal(rendered.audio[good], fine.audio[good])
    assert until(lambda: not processes(scratch, f"1000.{os.getpid()}"))
    assert not list(scratch.iterdir())


def test_who_wants_a_core_and_gets_too_little_of_it_is_not_late(tmp_path):
    program = [sys.executable, "-c", "for i in range(1 << 60): pass"]
    with subprocess.Popen(program) as process:
        try:
            assert until(lambda: starves(process.pid, tmp_path, 0.0, 1e6))
            assert until(lambda: not starves(process.pid, tmp_path, 0.0, 0.1))
            process.send_signal(signal.SIGSTOP)
            assert until(lambda: not starves(process.pid, tmp_path, 0.0, 1e6))
        finally:
            process.kill()


def test_a_plugin_that_never_gets_ready_costs_its_sounds(faulty, monkeypatch):
    with Renderer(faulty, NOTE, RATE, workers=1, timeout_seconds=0.3) as renderer:
        monkeypatch.setenv("FAULTY_SLEEPS_AT_START", "1")
        began = time.monotonic()
        assert renderer.render(settings(2)).reason.tolist() == ["timed out"] * 2
        assert time.monotonic() - began < START_SECONDS


def test_a_plugin_that_never_loads_is_one_clear_error(faulty_plugin, monkeypatch):
    monkeypatch.setenv("FAULTY_SLEEPS_AT_LOAD", "1")
    monkeypatch.setattr("pyrosynth.synths.dssi.PROBE_SECONDS", 0.5)
    began = time.monotonic()
    with pytest.raises(SynthError, match="does not finish loading within 0.5 s"):
        synths.load_synth(faulty_plugin)
    assert time.monotonic() - began < 500  # half of what it sleeps


@pytest.mark.parametrize("workers", [1, 2])
def test_a_faulty_sound_costs_only_itself(faulty, workers):
    faults = {0: HANG, 3: SEGFAULT, 4: SEGFAULT, 17: NAN, 20: SILENCE, 39: SEGFAULT}
    rendered = render(faulty, settings(40, faults), workers)
    fine = render(faulty, settings(40))
    assert fine.reason.tolist() == [""] * 40
    expected = [REASON.get(faults.get(i), "") for i in range(40)]
    assert rendered.reason.tolist() == expected
    good = np.array([not reason for reason in expected])
    np.testing.assert_array_equal(rendered.audio[good], fine.audio[good])
    assert not rendered.audio[~good].any()
    np.testing.assert_array_equal(rendered.failed, ~good & (np.arange(40) != 20))


@pytest.mark.parametrize("isolation", ["load", "fork"])
def test_a_crash_in_a_forked_child_does_not_end_the_worker(faulty_plugin, isolation):
    synth = synths.load_synth(faulty_plugin, isolation=isolation)
    faults = {1: BE_TRACED, 2: SEGFAULT, 4: EXIT, 5: HANG}
    rendered = render(synth, settings(8, faults))
    assert rendered.reason.tolist() == [REASON.get(faults.get(i), "") for i in range(8)]
    np.testing.assert_array_equal(
        rendered.audio[~rendered.failed], render(synth, settings(8)).audio[~rendered.failed]
    )


def test_what_a_plugin_writes_where_it_works_is_not_written_over_the_users(
    faulty_plugin, tmp_path, monkeypatch
):
    (tmp_path / "notes.txt").write_text("mine")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAULTY_WRITES_AT_LOAD", "1")
    synth = synths.load_synth(os.path.relpath(faulty_plugin), isolation="reload")
    assert render(synth, settings(1, {0: MODES["write here"][0]})).reason.tolist() == [""]
    assert [(f.name, f.read_text()) for f in tmp_path.iterdir()] == [("notes.txt", "mine")]


def test_order_and_number_of_workers_do_not_matter(faulty):
    values = settings(37)
    values[:, 0] = STATE  # needs what one sound leaves behind to be cleared
    order = np.random.default_rng(0).permutation(37)
    one = render(faulty, values)
    for workers in (1, 3):
        shuffled = render(faulty, values[order], workers)
        np.testing.assert_array_equal(shuffled.audio, one.audio[order])


def test_the_probe_finds_the_cheapest_exact_isolation(faulty):
    values = settings(6)
    values[:, 0] = STATE
    found = probe_isolation(faulty, NOTE, RATE, values)
    assert found["exact"] == "reload"
    assert found["identical"]["reuse"] < 1
    assert found["identical"]["fresh"] < 1
    assert found["identical"]["load"] == found["identical"]["fork"] == 1
    assert all(seconds > 0 for seconds in found["seconds"].values())


def test_features_come_from_the_workers(faulty):
    values = settings(20, {3: SEGFAULT})
    rendered = render(faulty, values, transform=renderings.loudness)
    np.testing.assert_array_equal(rendered.features, renderings.loudness(rendered.audio))
    assert not rendered.features[3].any()
    without = render(faulty, values, transform=renderings.loudness, keep_audio=False)
    assert without.audio is None
    np.testing.assert_array_equal(without.features, rendered.features)


def test_chunks_stream_whole_and_lazily(faulty):
    values = settings(100)
    whole = render(faulty, values)
    asked = []

    def chunks():
        for start in (0, 40, 41, 60):
            asked.append(start)
            yield start, values[start : {0: 40, 40: 40, 41: 60, 60: 100}[start]]

    with Renderer(faulty, NOTE, RATE, workers=2) as renderer:
        found = dict(renderer.stream(chunks()))
        for start, rendered in found.items():
            assert len(rendered.reason) == {0: 40, 40: 0, 41: 19, 60: 40}[start]
            np.testing.assert_array_equal(
                rendered.audio, whole.audio[start : start + len(rendered.audio)]
            )
        assert len(found) == 4

        # Whoever would get the sounds of a stream that is under way is refused.
        half = renderer.stream((i, values[:20]) for i in range(3))
        keys = [next(half)[0]]
        with pytest.raises(InputError, match="this renderer is at work on a stream or in another"):
            renderer.render(values[:5])
        with pytest.raises(InputError, match="let that end first, or open another"):
            next(renderer.stream([(0, values[:5])]))
        assert sorted(keys + [key for key, _ in half]) == [0, 1, 2]

        # Someone who stops listening leaves no half-done work for the next one.
        endless = ((i, values[:20]) for i in range(10**9))
        for key, _ in renderer.stream(endless):
            if key >= 1:
                break
        np.testing.assert_array_equal(renderer.render(values[:5]).audio, whole.audio[:5])
        assert renderer.render(np.zeros((0, 3))).audio.shape == (0, NOTE.n_samples(RATE))


def test_a_worker_killed_from_outside_costs_nothing(faulty):
    values = settings(200)
    with Renderer(faulty, Note(duration_seconds=4.0), RATE, workers=1) as renderer:
        whole = renderer.render(values)
        killed = 0
        for start, rendered in renderer.stream((i, values[i : i + 16]) for i in range(0, 200, 16)):
            if killed < 3:
                os.kill(renderer.workers[0].pid, signal.SIGKILL)
                killed += 1
            assert rendered.reason.tolist() == [""] * len(rendered.reason)
            np.testing.assert_array_equal(rendered.audio, whole.audio[start : start + 16])


def test_workers_and_files_are_gone_when_it_closes(faulty, scratch):
    with Renderer(faulty, NOTE, RATE, workers=2) as renderer:
        renderer.render(settings(8, {3: SEGFAULT}))
        pids = [worker.pid for worker in renderer.workers]
        assert all(alive(pid) for pid in pids)
        assert len(list(scratch.iterdir())) == 1
    assert until(lambda: not any(map(alive, pids)))
    assert not list(scratch.iterdir())


@pytest.mark.parametrize(
    ("how", "mode"),
    [
        ("forever", "fine"),
        ("forever", "block signals"),
        ("thread", "stop"),
        ("forever", "fork and die"),
        ("forever", "leave a daemon"),
    ],
)
def test_workers_and_files_are_gone_when_the_parent_is_killed(faulty_plugin, scratch, how, mode):
    number = MODES[mode][0] if mode in MODES else FINE
    parent = subprocess.Popen(
        [sys.executable, renderings.__file__, how, faulty_plugin, str(number)],
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    with parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        time.sleep(0.3)  # in the middle of a sound
        pids += processes(scratch)
        parent.kill()
    assert until(lambda: not any(map(alive, pids)))
    assert until(lambda: not list(scratch.iterdir()))


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_do_no_harm(faulty_plugin, tmp_path, closed):
    command = f'exec "$@" {closed}'
    program = [sys.executable, renderings.__file__, "once", faulty_plugin, tmp_path / "out.npy"]
    subprocess.run(["sh", "-c", command, "sh", *program], check=True, env=ENVIRONMENT)
    assert np.abs(np.load(tmp_path / "out.npy")).max() > 0.4


@pytest.mark.parametrize("utf8", ["0", "1"])
def test_paths_may_have_any_letters_in_any_locale(faulty_plugin, tmp_path, utf8):
    plugin = tmp_path / "Fl\u00f6te #1.so"
    plugin.write_bytes(faulty_plugin.read_bytes())
    locale = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": utf8}
    program = [sys.executable, renderings.__file__, "once", plugin, tmp_path / "out.npy"]
    subprocess.run(program, check=True, env={**ENVIRONMENT, **locale})
    assert np.abs(np.load(tmp_path / "out.npy")).max() > 0.4


def test_the_users_home_is_out_of_reach_and_threads_are_limited(faulty):
    with Renderer(faulty, NOTE, RATE, workers=1) as renderer:
        renderer.render(settings(1))
        environment = Path(f"/proc/{renderer.workers[0].pid}/environ").read_bytes().split(b"\0")
    seen = dict(entry.decode().split("=", 1) for entry in environment if b"=" in entry)
    assert seen["OMP_NUM_THREADS"] == "1"
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        assert seen[name] != os.environ.get(name)
        assert "pyrosynth-" in seen[name]


@pytest.mark.parametrize(
    ("transform", "word"), [(renderings.die, "exit code 3"), (renderings.complain, "no such luck")]
)
def test_a_failing_transform_is_an_error_and_not_a_sound(faulty, transform, word):
    with pytest.raises(SynthError, match=word):
        render(faulty, settings(3), transform=transform)


def test_a_plugin_that_is_gone_is_one_clear_error(faulty_plugin, tmp_path):
    library = tmp_path / "gone.so"
    library.write_bytes(faulty_plugin.read_bytes())
    synth = synths.load_synth(library)
    library.unlink()
    with pytest.raises(SynthError, match=r"gone\.so', has gone, and no standard folder"):
        render(synth, settings(3))


def test_bad_arguments_are_refused(faulty):
    bad = {
        "workers": (0, 1.5, "2"),
        "timeout_seconds": (0.0, -1, np.nan, "soon"),
        "transform": (lambda audio: audio,),
        "sample_rate": (0, 22050.5, None),
    }
    for name, values in bad.items():
        for value in values:
            with pytest.raises(InputError):
                Renderer(**{"synth": faulty, "note": NOTE, "sample_rate": RATE, name: value})
    with Renderer(
        faulty, NOTE, np.int64(RATE), workers=np.int32(1), timeout_seconds=np.float32(1)
    ) as renderer:
        assert not renderer.render(settings(1)).failed.any()
    with Renderer(faulty, NOTE, RATE, workers=1) as renderer:
        for values in (np.zeros(3), np.zeros((2, 4)), np.full((1, 3), np.nan)):
            with pytest.raises(InputError):
                renderer.render(values)
        preset = Preset("a")
        for given in (preset, [preset]):
            with pytest.raises(InputError, match=r"values are .*Preset.*; give preset\.array"):
                renderer.render(given)
        with pytest.raises(InputError, match="progress is bool True; give the label"):
            renderer.render(settings(1), progress=True)
        with pytest.raises(InputError, match="note is int 60; give a Note"):
            renderer.render(settings(1), note=60)
    with pytest.raises(InputError, match="transform is str 'mel'; give a function"):
        Renderer(faulty, NOTE, RATE, transform="mel")
    with pytest.raises(InputError, match="what transform gives is int 1; give an array"):
        Renderer(faulty, NOTE, RATE, transform=len)
    for use in (renderer.render, lambda values: next(renderer.stream([(0, values)]))):
        with pytest.raises(InputError, match="this renderer is closed; open another"):
            use(settings(1))


def test_a_renderer_that_is_dropped_leaves_nothing_behind(faulty, tmp_path, monkeypatch):
    def there():
        own = psutil.Process()
        return own.num_fds(), len(own.children(recursive=True)), sorted(tmp_path.iterdir())

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gc.collect()  # what other tests have dropped
    before = there()
    for _ in range(2):  # as in a notebook, where a cell that opens one is run again
        renderer = Renderer(faulty, NOTE, RATE, workers=1)
        assert not renderer.render(settings(1)).failed.any()
    del renderer
    gc.collect()
    assert there() == before


def test_a_forked_process_must_open_its_own_renderer():
    synth = synths.load_synth("voice")
    values = synth.presets()[0].array(synth.param_space)[None]
    with Renderer(synth, Note(60, 100, 0.1, 0.2), 8000, workers=1) as renderer:
        child = os.fork()
        if not child:
            try:
                with renderer:
                    renderer.render(values)
            except InputError as error:
                os._exit(7 if "belongs to the process that opened it" in str(error) else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert not renderer.render(values).failed.any()  # its workers live on


def test_threads_may_share_a_renderer(faulty):
    values = settings(18)
    with Renderer(faulty, NOTE, RATE, workers=2) as renderer, ThreadPoolExecutor(6) as threads:
        whole = renderer.render(values).audio
        parts = threads.map(lambda i: renderer.render(values[3 * i : 3 * i + 3]).audio, range(6))
        np.testing.assert_array_equal(np.concatenate([*parts]), whole)


def test_the_voice_sounds_the_same_in_a_worker():
    voice = synths.load_synth("voice")
    values = preset_array(voice.presets()[:20], voice.param_space)
    rendered = render(voice, values, workers=1)
    np.testing.assert_array_equal(rendered.audio, voice.render_batch(values, NOTE, RATE))


@pytest.mark.plugin
def test_amsynth_does_not_depend_on_order_or_workers(amsynth):
    values = preset_array(amsynth.presets()[::70], amsynth.param_space)
    order = np.random.default_rng(0).permutation(len(values))
    one = render(amsynth, values)
    two = render(amsynth, values[order], 2)
    assert not one.failed.any()
    np.testing.assert_array_equal(two.audio, one.audio[order])
    direct = amsynth.render_batch(values[:10], NOTE, RATE)
    np.testing.assert_array_equal(one.audio[:10], direct)


LITTERS = """
import os
import numpy as np
from plain import Plain

class Litters(Plain):
    def render(self, values, note, sample_rate):
        place = os.environ["TMPDIR"]
        with open(f"{place}/{len(os.listdir(place))}.log", "wb") as file:
            file.write(bytes(100_000))
        time = np.arange(note.n_samples(sample_rate)) / sample_rate
        return (len(os.listdir(place)) / 1000 * np.sin(3000 * time)).astype(np.float32)
"""


def test_files_that_a_plugin_leaves_behind_do_not_fill_the_disk(tmp_path, monkeypatch):
    (tmp_path / "litters.py").write_text(LITTERS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("pyrosynth.synths.worker.MOST_LEFT", 2**20)
    synth = synths.load_synth("litters:Litters")
    values = np.tile(synth.param_space.defaults, (6 * BATCH_SIZE, 1))
    with Renderer(synth, NOTE, RATE, workers=1) as renderer:
        rendered = renderer.render(values)
        assert not rendered.failed.any()
        files = 1000 * np.abs(rendered.audio).max(axis=1)
        assert files.max() < 4 * BATCH_SIZE
        assert files.min() == pytest.approx(1, abs=0.1)


RANGED = """
from plain import Plain

class Ranged(Plain):
    def render(self, values, note, sample_rate):
        if note.pitch < 55:
            raise ValueError(f"no sample for note {note.pitch}")
        return super().render(values, note, sample_rate)
"""


def test_a_class_that_has_not_every_note_loses_the_sounds_at_those_alone(tmp_path, monkeypatch):
    (tmp_path / "ranged.py").write_text(RANGED)
    monkeypatch.syspath_prepend(tmp_path)
    synth = synths.load_synth("ranged:Ranged")
    values = synth.param_space.defaults[None]
    with Renderer(synth, NOTE, RATE, workers=1) as renderer:
        assert renderer.render(values, note=replace(NOTE, pitch=40)).reason[0] == "crashed"
        assert not renderer.render(values, note=replace(NOTE, pitch=70)).failed[0]
    with (
        Renderer(synth, replace(NOTE, pitch=40), RATE, workers=1) as renderer,
        pytest.raises(SynthError, match="no sample for note 40"),
    ):
        renderer.render(values)


def test_sounds_of_two_versions_of_a_class_do_not_mix(tmp_path, monkeypatch):
    """A worker that is renewed imports the module anew, as it is then."""
    file = tmp_path / "edited.py"
    code = "from plain import Plain\n\nclass Edited(Plain):\n    def identity(self):\n"
    file.write_text(f'{code}        return "version 1"\n')
    monkeypatch.syspath_prepend(tmp_path)
    synth = synths.load_synth("edited:Edited")
    values = synth.param_space.defaults[None]
    with Renderer(synth, NOTE, RATE, workers=1) as renderer:
        assert not renderer.render(values).failed[0]
        file.write_text(f'{code}        return "version two"\n')
        renderer.workers[0].stop()
        with pytest.raises(SynthError, match="was changed while it was played; put back"):
            renderer.render(values)


def test_a_synth_whose_file_is_replaced_ends_the_work_before_a_mix_is_written(
    tmp_path, monkeypatch
):
    held = tmp_path / "plugin"
    held.write_text("version 1")
    (tmp_path / "filed.py").write_text(
        "from pathlib import Path\nfrom plain import Plain\n\nclass Filed(Plain):\n"
        f"    def identity(self):\n        return Path({str(held)!r}).read_text()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    synth = synths.load_synth("filed:Filed")
    values, written = np.tile(synth.param_space.defaults, (BATCH_SIZE, 1)), []
    with Renderer(synth, NOTE, RATE, workers=1) as renderer:
        stream = renderer.stream(
            ((key, values) for key in range(9)), lambda key, _: written.append(key)
        )
        next(stream)
        held.write_text("version 2")
        with pytest.raises(SynthError, match="was changed while it was played"):
            list(stream)
    assert written == [0]


def test_a_plugin_that_plays_in_one_process_only_loses_no_sound(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("ALONE_LOCK", str(tmp_path / "lock"))
    synth = synths.load_synth("alone_synth:AloneSynth")
    values = np.linspace(0.1, 1, 100)[:, None]
    with Renderer(synth, NOTE, RATE, workers=2) as renderer:
        rendered = [
            renderer.render(values[:2]),
            renderer.render(values),
            *(dict(renderer.stream(enumerate([values]))).values()),
        ]
    for one in rendered:
        assert not one.failed.any()
        assert one.audio[one.reason == ""].any(1).all()
    (line,) = caplog.messages
    assert "alone gives no sound in a process beside another" in line


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_process_that_fails_at_first_plays_later(tmp_path, monkeypatch, workers):
    """As a licence that is fetched; nothing is given out that was not rendered."""
    monkeypatch.setenv("FIRST_FLAG", str(tmp_path / "flag"))
    synth = synths.load_synth("alone_synth:FirstFails")
    with Renderer(synth, NOTE, RATE, workers=workers) as renderer:
        renderer.render(np.array([[0.5], [0.95]]))  # may lose the first one
        for levels in ([0.96], [0.96, 0.96, 0.5, 0.5, 0.5], [0.5, 0.5]):
            rendered, good = renderer.render(np.array(levels)[:, None]), np.array(levels) < 0.9
            assert (rendered.failed == ~good).all()
            np.testing.assert_allclose(np.abs(rendered.audio[good]).max(1), 0.5, atol=0.01)


def test_a_synth_may_write_into_the_values_it_is_given():
    levels = np.linspace(0.2, 0.8, 20)
    levels[7] = 0.95
    with Renderer(synths.load_synth("alone_synth:Writes"), NOTE, RATE, workers=1) as renderer:
        rendered = renderer.render(levels[:, None])
    assert np.flatnonzero(rendered.failed).tolist() == [7]
    good = ~rendered.failed
    np.testing.assert_allclose(np.abs(rendered.audio[good]).max(1), levels[good] / 2, rtol=0.01)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("engine", ["Engine", "SharedEngine"])
def test_a_preset_that_breaks_a_synth_of_ones_own_costs_only_itself(engine, workers):
    levels = np.full(40, 0.5)
    levels[[0, 7, 8, 30]] = 0.95
    synth = synths.load_synth(f"alone_synth:{engine}")
    with Renderer(synth, NOTE, RATE, workers=workers) as renderer:
        for _ in range(2):
            rendered = renderer.render(levels[:, None])
            assert np.flatnonzero(rendered.failed).tolist() == [0, 7, 8, 30]
            assert np.abs(rendered.audio[~rendered.failed]).max(1).min() > 0.4

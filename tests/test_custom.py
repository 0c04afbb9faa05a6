"""Synths of one's own: a class in a module, and what is wrong with one."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from pyrosynth import synths
from pyrosynth.audio.note import Note
from pyrosynth.cli.app import main
from pyrosynth.cli.learn_summary import controls_lines
from pyrosynth.data.dataset import open_dataset
from pyrosynth.data.gathering import gather
from pyrosynth.errors import InputError, SynthError
from pyrosynth.synths import custom
from pyrosynth.synths.discovery import describe
from pyrosynth.synths.presets import Preset
from pyrosynth.synths.rendering import Renderer

MODULE = """
import os
import sys
import time

import numpy as np
import pyrosynth as ps
from pyrosynth.errors import SynthError
from pyrosynth.synths import Synth
from pyrosynth.synths.knobs import Reading

class Click(Synth):
    name = "click"
    param_space = ps.ParamSpace((ps.Param("level"),))

    def identity(self):
        return "click, version 1"

    def render(self, values, note, sample_rate):
        return np.full(note.n_samples(sample_rate), values[0], np.float32)

class Whole(Click):
    def render(self, values, note, sample_rate):
        return np.zeros(note.n_samples(sample_rate), np.int16)

class Short(Click):
    def render(self, values, note, sample_rate):
        return np.zeros(10, np.float32)

class Unsaid(Exception):
    def __str__(self):
        return self.args[0]

class Wordless(Click):
    def __init__(self):
        raise Unsaid(402)

class Exits(Click):
    def __init__(self):
        raise SystemExit(3)

class Asks(Click):
    def __init__(self, voices):
        pass

class Nameless(Click):
    name = 5

class Sometimes(Click):
    isolation = "sometimes"

class Never(Click):
    isolations = ("reuse", "never")

class Boundless(Click):
    memory_limit = -1

class Suffixed(Click):
    preset_suffix = "click"

class Controlled(Click):
    controllers = {"level": 300}

class Doubled(Click):
    param_space = ps.ParamSpace((ps.Param("level"), ps.Param("tone")))
    controllers = {"level": 7, "tone": 7}

class Misled(Click):
    controllers = {"lever": 7}

class Read(Click):
    readings = {"level": "dB"}

class Misread(Click):
    readings = {"lever": Reading("dB")}

class Endless(Click):
    param_space = ps.ParamSpace((ps.Param("level", maximum=10.0),))
    readings = {"level": Reading("dB", power=400.0)}

class Knobless(Click):
    param_space = ps.ParamSpace(())

class Lazy(Synth):
    name = "lazy"

class Talks(Click):
    def render(self, values, note, sample_rate):
        raise RuntimeError("word" * 5000)

class Licensed(Click):
    def render(self, values, note, sample_rate):
        sys.exit("no licence")


class Hums(Click):
    random = False

    def presets(self):
        levels = np.linspace(0.1, 1, 20)
        return [ps.Preset(f"{level:.2f}", {"level": float(level)}) for level in levels]

    def render(self, values, note, sample_rate):
        n, hiss = note.n_samples(sample_rate), np.random.default_rng()
        hum = np.sin(np.arange(n) * values[0]) + 0.02 * self.random * hiss.normal(size=n)
        return (0.1 * hum).astype(np.float32)

class Hisses(Hums):
    random = True

class Some(Click):
    def render(self, values, note, sample_rate):
        if values[0] in (0.25, 0.75):
            raise ValueError(f"no level {values[0]}")
        return super().render(values, note, sample_rate)

class Shorter(Click):
    def render(self, values, note, sample_rate):
        sound = super().render(values, note, sample_rate)
        return sound[:10] if values[0] in (0.25, 0.75) else sound

class Many(Some):
    batched = True

class Faulty(Click):
    batched = True

    def render(self, values, note, sample_rate):
        if values[0] in (0.25, 0.75):
            self.fail()
        return super().render(values, note, sample_rate)

class Full(Faulty):
    def fail(self):
        raise MemoryError

class Refuses(Faulty):
    def fail(self):
        raise SynthError("no such level")

class Leaves(Faulty):
    def fail(self):
        sys.exit(2)

class Crashes(Faulty):
    def fail(self):
        os._exit(4)

class Hangs(Faulty):
    def fail(self):
        time.sleep(1000)

class Told(Click):
    def __init__(self, voices=1):
        self.voices = voices

class Lacks(Click):
    def render(self, values, note, sample_rate):
        return open("wavetable.wav").read()

class Panic(BaseException):
    pass

class Fails(Click):
    def presets(self):
        return [ps.Preset("", {"level": 1 / 0})]

    def identity(self):
        return {}["version"]

    def read_bank(self, path):
        raise SystemExit(2)

    def write_bank(self, path, presets):
        raise Panic("index out of range")

    def render(self, values, note, sample_rate):
        return values["level"]

class Reads(Click):
    def read_bank(self, path):
        return [ps.Preset("warm", {"level": 0.5}), ps.Preset("odd", {"lever": 1.0})]

class Gives(Click):
    given = None

    def presets(self):
        return self.given

    identity = spec = read_bank = read_controllers = write_controllers = presets

    def write_bank(self, path, presets):
        return self.given


    def render(self, values, note, sample_rate):
        return self.given

other = 3
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a module, in which the command is run."""
    (tmp_path / "clicking.py").write_text(textwrap.dedent(MODULE))
    (tmp_path / "broken_synth.py").write_text("1 / 0")
    (tmp_path / "half.py").write_text("import os\n\nos.nothing")
    (tmp_path / "signal.py").write_text(textwrap.dedent(MODULE))
    (tmp_path / "no_method.py").write_text(
        "import clicking\n\nclass Click(clicking.Click):\n    presets = []\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_class_in_the_working_folder_is_rendered_by_workers(here):
    click = synths.load_synth("clicking:Click")
    assert click.spec() == {"synth": "clicking:Click"}
    assert isinstance(synths.from_spec(click.spec()), type(click))
    with Renderer(click, Note(), 22050, workers=1) as renderer:
        rendered = renderer.render([[0.25], [0.5]])
    assert rendered.audio[:, 7].tolist() == [0.25, 0.5]


def test_a_file_that_plays_its_synth_whenever_it_is_imported_is_refused(tmp_path, monkeypatch):
    """Its worker processes would import it, and so start worker processes, without end."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plays.py").write_text(
        textwrap.dedent(MODULE) + "import pyrosynth as ps\nclick = Click()\n"
        "with ps.Renderer(click, ps.Note(), 22050, workers=1) as renderer:\n"
        "    print(renderer.render([[0.25]]).failed)\n"
    )
    line = (tmp_path / "plays.py").read_text().count("\n") - 1
    said = f"cannot import 'plays': line {line} of 'plays.py' plays the synth, and would"
    with pytest.raises(SynthError, match=said):
        synths.load_synth("plays:Click")
    (tmp_path / "package").mkdir()  # which asks for its own module by its name
    (tmp_path / "package" / "click.py").write_text(textwrap.dedent(MODULE))
    (tmp_path / "package" / "__init__.py").write_text(
        "import pyrosynth as ps\n"
        "click = ps.load_synth('package.click:Click')\n"
        "ps.Renderer(click, ps.Note(), 22050, workers=1)\n"
    )
    with pytest.raises(SynthError, match=r"line 3 of '__init__.py' plays the synth, and would"):
        synths.load_synth("package.click:Click")
    by_hand = "import plays"
    done = subprocess.run([sys.executable, "-c", by_hand], capture_output=True, text=True)
    assert said in done.stderr


@pytest.mark.parametrize(("name", "said"), [("Hums", False), ("Hisses", True)])
def test_a_synth_that_plays_a_preset_otherwise_each_time_is_said_to(here, capfd, name, said):
    options = "--augmented 0 --audio none --hold 0.2 --duration 0.3 --workers 1".split()
    assert main(["render", f"clicking:{name}", "--out", str(here / "data"), *options]) == 0
    assert ("one preset rendered twice differs by up to " in capfd.readouterr().out) == said
    assert (open_dataset(here / "data").repeats_db > 0.2) == said
    note = Note(60, 100, 0.2, 0.3)
    described = describe(
        synths.load_synth(f"clicking:{name}"), here / "synth.json", notes=[note], seconds=0.01,
        workers=1, progress=False,
    )  # fmt: skip
    assert any("rendered twice differs" in line for line in controls_lines(described)) == said


def test_an_entry_point_has_a_name(here, monkeypatch):
    point = custom.importlib.metadata.EntryPoint("click", "clicking:Click", custom.GROUP)
    monkeypatch.setattr(custom.importlib.metadata, "entry_points", lambda group: [point])
    assert "click" in synths.names()
    assert synths.load_synth("click").name == "click"
    assert ("click", True, "clicking:Click") in synths.status()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("clicking:Clack", "has no class 'Clack'"),
        ("signal:Click", "Python's or a library's, not 'signal.py' here: give that another name"),
        (
            "half:Click",
            "cannot import 'half' .AttributeError: module 'os' has no",
        ),
        ("clicking:other", "no subclass"),
        ("clicking:Lazy", "lacks identity, render"),
        ("no_such_module:Click", "cannot import 'no_such_module'"),
        ("broken_synth:Click", "ZeroDivisionError"),
        ("no_method:Click", r"Click.presets of '.*no_method.py' is list \[\]; make it a method"),
    ],
)
def test_what_is_wrong_with_a_class_is_one_line(here, name, message):
    with pytest.raises(SynthError, match=message):
        synths.load_synth(name)


def test_options_of_a_class_are_checked(here):
    with pytest.raises(InputError, match="has no option 'colour'"):
        synths.load_synth("clicking:Click", colour="red")
    with pytest.raises(InputError, match="give presets as JSON or CSV"):
        synths.load_synth("clicking:Click").read_bank("a.bank")
    assert np.isfinite(synths.load_synth("clicking:Click").param_space.defaults).all()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Exits", "cannot be made .SystemExit: 3"),
        ("Wordless", r"cannot be made \(Unsaid\)"),
        ("Asks", "cannot be made .TypeError: .*'voices'"),
        ("Nameless", "has no name of type str .it is int 5.;"),
        ("Sometimes", "has the isolation str 'sometimes'; give its class one of reuse, fresh,"),
        ("Never", "has the isolations tuple .*'never'.*; give its class some of reuse, fresh,"),
        ("Boundless", "has the memory_limit int -1; give its class bytes above 0, or None"),
        ("Suffixed", "has the preset_suffix str 'click'; give its class the end of a file's name"),
        ("Controlled", "has the controllers dict .*300.*; give its class numbers from 0 to 127"),
        ("Doubled", "has the controllers dict .*7.*7.*; .* 127, another for each parameter"),
        ("Misled", "Misled' has controllers of an unknown parameter 'lever'; known: level"),
        ("Misread", "Misread' has readings of an unknown parameter 'lever'; known: level"),
        ("Endless", "has a reading of 'level' that is inf at 10; give it a smaller power"),
        ("Read", "has the readings dict .*; give its class a pyrosynth.synths.knobs.Reading for"),
        ("Knobless", "has the param_space ParamSpace .*; give its class a space of at least one"),
    ],
)
def test_a_class_that_fails_is_one_line(here, name, message):
    with pytest.raises((InputError, SynthError), match=message):
        synths.load_synth(f"clicking:{name}")


def test_a_method_that_fails_is_one_line_with_file_and_line(here):
    synth = synths.load_synth("clicking:Fails")
    where = r"of '.*/clicking.py' fails in line \d+ \("
    for method, arguments, message in (
        ("presets", (), "ZeroDivisionError: division by zero"),
        ("identity", (), "KeyError: 'version'"), ("read_bank", ("a.bank",), "SystemExit: 2"),
        ("write_bank", ("a", []), "Panic: index out of range"),
    ):  # fmt: skip
        with pytest.raises(SynthError, match=f"Fails.{method} {where}{message}"):
            getattr(synth, method)(*arguments)
    with (
        Renderer(synth, Note(), 22050, workers=1) as renderer,
        pytest.raises(SynthError, match=f"Fails.render {where}IndexError: only integers"),
    ):
        renderer.render([[0.5]])
    with (
        Renderer(synths.load_synth("clicking:Lacks"), Note(), 22050, workers=1) as renderer,
        pytest.raises(SynthError, match=f"Lacks.render {where}FileNotFoundError: .*wavetable.wav"),
    ):
        renderer.render([[0.5]])
    with (
        Renderer(synths.load_synth("clicking:Talks"), Note(), 22050, workers=1) as renderer,
        pytest.raises(SynthError, match=f"{where}RuntimeError: word.*; correct it"),
    ):
        renderer.render([[0.5]])
    with (
        Renderer(synths.load_synth("clicking:Licensed"), Note(), 22050, workers=1) as renderer,
        pytest.raises(SynthError, match=f"Licensed.render {where}SystemExit: no licence"),
    ):
        renderer.render([[0.5]])


@pytest.mark.parametrize(
    "name", ["Some", "Many", "Shorter", "Full", "Refuses", "Leaves", "Crashes"]
)
@pytest.mark.parametrize("levels", [[0.25, 0.5, 0.75, 1.0], [0.5, 0.25], [0.75]])
def test_what_a_class_does_wrong_at_a_preset_costs_only_its_sound(here, name, levels):
    synth, note = (
        synths.load_synth(f"clicking:{name}"),
        Note(hold_seconds=0.1, duration_seconds=0.2),
    )
    with Renderer(synth, note, 22050, workers=1) as renderer:
        rendered = renderer.render([[level] for level in levels])
    lost = [level in (0.25, 0.75) for level in levels]
    assert rendered.reason.tolist() == ["crashed" if one else "" for one in lost]
    assert rendered.audio[:, 0].tolist() == [
        0 if one else level for one, level in zip(lost, levels, strict=True)
    ]


def test_a_preset_at_which_a_batch_hangs_costs_only_its_sound(here):
    note = Note(hold_seconds=0.1, duration_seconds=0.2)
    synth = synths.load_synth("clicking:Hangs")
    with Renderer(synth, note, 22050, workers=1, timeout_seconds=1.0) as renderer:
        rendered = renderer.render([[0.5], [0.25], [1.0], [0.75]])
    assert rendered.reason.tolist() == ["", "timed out", "", "timed out"]
    assert rendered.audio[:, 0].tolist() == [0.5, 0, 1, 0]


def test_a_class_that_workers_cannot_rebuild_is_refused(here):
    class Inner(synths.load_synth("clicking:Click").__class__):
        pass

    with pytest.raises(InputError, match=r"cannot import the class 'Inner' .* such as inner\.py"):
        Renderer(Inner(), Note(), 22050)
    told = synths.load_synth("clicking:Told", voices=2)
    with pytest.raises(InputError, match="'Told' takes voices, of which .*; define its method"):
        Renderer(told, Note(), 22050)
    for given, advice in (("clicking.py", "clicking:CLASS"), ("./clicking.py:Told", "g:Told")):
        with pytest.raises(InputError, match=f"is a Python file; give .*{advice}, the class"):
            synths.load_synth(given)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (None, "None"), (3, "int 3"), (["warm"], "list .'warm'."), ({"synth": 3.5}, "dict .*"),
        (object(), "object <.*"), (iter(()), "tuple_iterator <.*"), (b"", "bytes b''"),
    ],
)  # fmt: skip
def test_a_method_that_gives_something_else_is_one_line(here, given, shown):
    synth = synths.load_synth("clicking:Gives")
    synth.given = given
    for method, arguments in (
        ("presets", ()), ("identity", ()), ("spec", ()), ("read_bank", ()),
        ("write_bank", ("a", [])), ("read_controllers", ()), ("write_controllers", ()),
    ):  # fmt: skip
        said = f"Gives.{method} of '.*/clicking.py' returned {shown}; return "
        with pytest.raises(SynthError, match=said):
            getattr(synth, method)(*arguments)


def test_presets_of_a_class_that_do_not_fit_are_one_line(here):
    synth = synths.load_synth("clicking:Gives")
    for values, message in (
        ({"lever": 1.0}, "unknown parameter 'lever'"), ({"level": "x"}, "is no number"),
    ):  # fmt: skip
        synth.given = [Preset("warm", values)]
        with pytest.raises(SynthError, match=f"Gives.presets .*{message}"):
            synth.presets()


def test_a_bad_preset_of_a_file_of_a_class_costs_only_itself(here, tmp_path):
    synth, file = synths.load_synth("clicking:Reads"), tmp_path / "presets.click"
    file.touch()
    found = gather(synth, [file], strict=False, workers=1, progress=False)
    assert found.sources[str(file)] == 1
    (said,) = found.failed
    assert said.startswith(f"'{file}': ")
    assert "unknown parameter 'lever'" in said


@pytest.mark.parametrize("name", ["Whole", "Short"])
def test_sounds_of_another_shape_or_type_are_refused(here, name):
    note = Note(hold_seconds=0.1, duration_seconds=0.2)
    with (
        Renderer(synths.load_synth(f"clicking:{name}"), note, 22050, workers=1) as renderer,
        pytest.raises(SynthError, match=r"click returned .* floats around full scale 1, of shape"),
    ):
        renderer.render([[0.5]])


def test_a_module_that_cannot_be_read_or_has_another_class_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "broken_here.py").write_text("class X(:\n    pass\n")
    (tmp_path / "named_here.py").write_text(
        "from pyrosynth.synths import Synth\nclass Tone(Synth):\n    pass\n"
    )
    with pytest.raises(SynthError, match=r"broken_here.py, line 1\)\); correct the line"):
        synths.load_synth("broken_here:X")
    with pytest.raises(SynthError, match="'named_here' has no class 'tone'; it has Tone"):
        synths.load_synth("named_here:tone")

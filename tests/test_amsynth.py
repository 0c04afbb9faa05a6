"""The real amsynth: its table, its banks, its installation."""

import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from rights import run_without_rights

from pyrosynth.audio.note import Note
from pyrosynth.errors import InputError, SynthError
from pyrosynth.files import MARK
from pyrosynth.synths import from_spec
from pyrosynth.synths.amsynth import Amsynth, bank_files, install, read_bank, write_bank
from pyrosynth.synths.amsynth_params import SPACE
from pyrosynth.synths.apt import unpack
from pyrosynth.synths.dssi import DssiSynth
from pyrosynth.synths.presets import Preset, distinct, preset_array
from pyrosynth.synths.sandbox import private_home

SCRIPT = Path(__file__).parent / "data" / "load_in_amsynth.py"


def random_presets(n, seed=0):
    values = SPACE.from_unit(np.random.default_rng(seed).random((n, len(SPACE))))
    return [
        Preset.from_array(SPACE, row, f"sound {i}", "ours.bank") for i, row in enumerate(values)
    ]


def test_the_table_has_the_counts_of_the_real_synth():
    assert len(SPACE) == 41
    assert int(SPACE.discrete.sum()) == 11
    assert len(SPACE.select("16")) == 16
    assert len(SPACE.select("32")) == 32
    assert set(SPACE.select("16").names) < set(SPACE.select("32").names)


def test_defaults_are_levels_where_a_control_is_around_zero():
    around_zero = SPACE.minimum == -SPACE.maximum
    back = SPACE.decode(SPACE.encode(SPACE.defaults))
    np.testing.assert_array_equal(back[around_zero], SPACE.defaults[around_zero])


def test_bank_files_come_back_exactly(tmp_path):
    presets = random_presets(20)
    write_bank(tmp_path / "ours.bank", presets)
    assert read_bank(tmp_path / "ours.bank") == presets
    assert [file.name for file in tmp_path.iterdir()] == ["ours.bank"]


def test_bank_files_that_amsynth_cannot_hold_are_refused(tmp_path):
    with pytest.raises(InputError, match="at most 128"):
        write_bank(tmp_path / "a.bank", random_presets(129))
    with pytest.raises(InputError, match="unknown parameter 'warp'"):
        write_bank(tmp_path / "a.bank", [Preset("x", {"warp": 1.0})])
    assert not list(tmp_path.iterdir())


def test_files_of_amsynth_itself_are_read(tmp_path):
    """Single presets, a byte-order mark, and controls of another version, which it skips too."""
    text = "<preset> <name> a b\n<parameter> warp 1\n<parameter> amp_decay 0.5\n"
    for head, end in (
        ("amSynth\n", "EOF\n"), ("\ufeffamSynth\r\n", "EOF\r\n\n"), ("amSynth1.0preset\n", ""),
    ):  # fmt: skip
        (tmp_path / "a.bank").write_text(head + text + end, encoding="utf-8")
        assert read_bank(tmp_path / "a.bank") == [Preset("a b", {"amp_decay": 0.5}, "a.bank")]


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("hello\n", "first line"),
        ("", "first line"),
        ("amSynth\n<preset> <name> a\n<parameter> amp_decay x\nEOF\n", "line 3"),
        ("amSynth\n<preset> <name> a\n<parameter> amp_decay nan\nEOF\n", "line 3"),
        ("amSynth\n<preset> <name> a\n<parameter> amp_decay 1_0\nEOF\n", "line 3"),
        ("amSynth\n<preset> <name> a\n<parameter> amp_decay\nEOF\n", "line 3"),
        ("amSynth\n<preset> <name> a\n<parameter> amp_decay 1\n<para", "cut off: .* '<para'"),
        ("amSynth\n<preset> <name> a\n<parameter> amp_decay 0.", "cut off"),
    ],
)
def test_bad_bank_files_are_refused(tmp_path, content, word):
    (tmp_path / "a.bank").write_text(content)
    with pytest.raises(InputError, match=word):
        read_bank(tmp_path / "a.bank")
    with pytest.raises(InputError, match="cannot read"):
        read_bank(tmp_path / "missing.bank")


def test_of_a_bank_only_the_bad_preset_is_bad(amsynth, tmp_path):
    write_bank(tmp_path / "a.bank", random_presets(3))
    good = amsynth.read_bank(tmp_path / "a.bank")
    lines = (tmp_path / "a.bank").read_text().splitlines()
    at = lines.index("<preset> <name> sound 1") + 1
    lines[at] = f"{' '.join(lines[at].split()[:2])} nan"
    (tmp_path / "a.bank").write_text("\n".join(lines))
    first, second, third = amsynth.read_each(tmp_path / "a.bank")
    assert [first, third] == [good[0], good[2]]
    assert isinstance(second, InputError)
    assert f"line {at + 1}: " in str(second)
    assert "of preset 'sound 1' does not set a control to a number; mend it" in str(second)
    (tmp_path / "cut.bank").write_text(
        "\n".join(lines[: lines.index("<preset> <name> sound 2") + 9])
    )
    *others, cut = amsynth.read_each(tmp_path / "cut.bank")
    assert others[0].values == good[0].values
    assert len(others) == 2
    assert "is cut off" in str(cut)


@pytest.mark.plugin
def test_a_damaged_bank_beside_good_ones_is_left_out(amsynth, tmp_path, monkeypatch, caplog):
    good, cut, odd = (tmp_path / name for name in ("good", "cut", "odd"))
    write_bank(good, [Preset("one", {}), Preset("two", {})])
    cut.write_bytes(good.read_bytes()[:200])
    odd.write_text(
        good.read_text().replace("<parameter> amp_attack ", "<parameter> amp_attack x", 1)
    )
    monkeypatch.setattr("pyrosynth.synths.amsynth.bank_files", lambda plugin: [cut, good, odd])
    assert [preset.name for preset in amsynth.presets()] == ["one", "two", "two"]
    assert len(caplog.messages) == 2
    assert "cut' is cut off" in caplog.messages[0]
    assert "odd', line 3" in caplog.messages[1]
    monkeypatch.setattr("pyrosynth.synths.amsynth.bank_files", lambda plugin: [cut])
    with pytest.raises(SynthError, match="no preset banks beside"):
        amsynth.presets()


@pytest.mark.plugin
def test_banks_that_may_not_be_read_are_not_said_to_be_missing(amsynth, tmp_path):
    shutil.copy(amsynth.path, tmp_path)
    (tmp_path / "banks").mkdir(0)
    option = f"path={tmp_path / amsynth.path.name}"
    out = tmp_path / "out.json"
    done = run_without_rights("presets", "amsynth", "--option", option, "--out", out)
    assert (done.returncode, out.exists()) == (2, False)
    assert f"'{tmp_path}/banks' cannot be opened (Permission denied); ask" in done.stderr


def test_the_table_agrees_with_the_ports_and_the_banks(amsynth):
    ports = DssiSynth(amsynth.path).param_space
    assert ports.names == SPACE.names
    np.testing.assert_allclose(ports.minimum, SPACE.minimum, atol=1e-6)
    different = np.flatnonzero(np.abs(ports.maximum - SPACE.maximum) > 1e-6)
    assert [SPACE.names[i] for i in different] == ["keyboard_mode", "freq_mod_osc"]
    # Where the hints name the default itself, it is the pinned one.
    named = [i for i, param in enumerate(ports.params) if param.default in (0.0, 1.0)]
    np.testing.assert_allclose(ports.defaults[named], SPACE.defaults[named])

    raw = [preset for file in bank_files(amsynth.path) for preset in read_bank(file)]
    values = preset_array(raw, SPACE)
    assert (values >= SPACE.minimum - 1e-6).all()
    assert (values <= SPACE.maximum + 1e-6).all()
    for name in ("keyboard_mode", "freq_mod_osc"):
        assert set(values[:, SPACE.index([name])[0]]) == {0.0, 1.0, 2.0}
    stepped = SPACE.discrete & ~np.isin(SPACE.names, "portamento_mode")  # 24 presets are between
    np.testing.assert_array_equal(values[:, stepped], np.round(values[:, stepped]))


SAID = """
import json, sys
import dawdreamer, numpy as np
engine = dawdreamer.RenderEngine(22050, 256)  # the plugin lives as long as it
plugin = engine.make_plugin_processor("amsynth", sys.argv[1])
said = {}
for i in range(plugin.get_plugin_parameter_size()):
    said[plugin.get_parameter_name(i)] = texts = []
    for unit in np.linspace(0, 1, 5):
        plugin.set_parameter(i, float(unit))
        texts.append(float(plugin.get_parameter_text(i)))
print("said", json.dumps(said))
"""


@pytest.mark.plugin
@pytest.mark.skipif(
    importlib.util.find_spec("dawdreamer") is None,
    reason="DawDreamer is not installed; run pip install 'pyrosynth[plugins]'",
)
def test_values_are_read_as_the_plugin_tells_them(amsynth, tmp_path):
    vst2 = Path("/usr/lib/vst/amsynth_vst.so")
    if not vst2.exists():
        pytest.skip(f"no {vst2}; install the package amsynth with apt")
    out = subprocess.run(
        [sys.executable, "-c", SAID, str(vst2)], env=os.environ | {"HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip
    said = json.loads(out.partition("said ")[2].splitlines()[0])
    undo = {  # from what people read back to what the plugin tells
        "octaves": lambda octaves: 2**octaves,
        "cents": lambda cents: 2 ** (cents / 1200),
        "%": lambda percent: percent / 100,
    }
    around_zero = ("freq_mod_amount", "filter_mod_amount", "amp_mod_amount")  # -1 is none
    assert len(amsynth.readings) == 28
    for name, reading in amsynth.readings.items():
        param = SPACE.params[SPACE.index([name])[0]]
        native_values = np.linspace(param.minimum, param.maximum, 5)
        read = np.array([reading.of(value) for value in native_values])
        told = undo.get(reading.unit, lambda number: number)(read)
        told = 2 * told - 1 if name in around_zero else told
        np.testing.assert_allclose(told, said[name], rtol=1e-4, atol=1e-4, err_msg=name)
    for name in around_zero:  # at its lowest value a modulation does nothing, so none is read
        low = SPACE.params[SPACE.index([name])[0]].minimum
        assert amsynth.readings[name].of(low) == 0
    silent = SPACE.defaults.copy()
    silent[SPACE.index(around_zero)] = [0.0, -1.0, -1.0]
    other = silent.copy()
    other[SPACE.index(["lfo_freq"])] = 5.0
    note = Note(hold_seconds=0.3, duration_seconds=0.4)
    np.testing.assert_array_equal(
        amsynth.render(silent, note, 22050), amsynth.render(other, note, 22050)
    )


@pytest.mark.plugin
def test_all_human_presets_are_read(amsynth):
    presets = amsynth.presets()
    assert len(presets) == 3482
    assert len(distinct(presets, SPACE)) == 3303
    assert len({preset.bank for preset in presets}) == 28
    values = preset_array(presets, SPACE)
    np.testing.assert_allclose(SPACE.from_unit(SPACE.to_unit(values)), values, atol=1e-9)


@pytest.mark.plugin
def test_a_bank_we_write_loads_in_amsynth_itself(amsynth, tmp_path):
    folder = tmp_path / "amsynth" / "banks"
    folder.mkdir(parents=True)
    presets = random_presets(40, seed=1)
    amsynth.write_bank(folder / "default", presets)
    run = subprocess.run(
        [sys.executable, SCRIPT, amsynth.path, "40"],
        env={
            **os.environ,
            **private_home(tmp_path),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        },
        capture_output=True,
        check=True,
    )
    found = json.loads(run.stdout.splitlines()[-1])
    assert [name for name, _ in found] == [preset.name for preset in presets]
    for (_, values), preset in zip(found, presets, strict=True):
        got = np.array([values[name] for name in SPACE.names], np.float32)
        np.testing.assert_array_equal(got, preset.array(SPACE).astype(np.float32))


@pytest.mark.plugin
def test_the_path_may_hold_any_character(amsynth, tmp_path):
    folder = tmp_path / "a #1 \u00e9"
    folder.mkdir()
    plugin = folder / "amsynth_dssi.so"
    plugin.write_bytes(amsynth.path.read_bytes())
    copy = Amsynth(plugin)
    assert from_spec(copy.spec()).identity() == amsynth.identity()
    note = Note(hold_seconds=0.05, duration_seconds=0.1)
    audio = copy.render(SPACE.defaults, note, 22050)
    np.testing.assert_array_equal(audio, amsynth.render(SPACE.defaults, note, 22050))
    with pytest.raises(SynthError, match="no plugin '.*#1"):
        Amsynth(folder / "missing.so")


@pytest.mark.plugin
def test_reloading_makes_every_sound_repeatable(amsynth):
    note = Note(hold_seconds=0.2, duration_seconds=0.4)
    values = preset_array(amsynth.presets()[::120], SPACE)
    sounds = amsynth.render_batch(values, note, 22050)
    assert np.isfinite(sounds).all()
    assert (np.abs(sounds).max(axis=1) > 1e-4).all()
    backwards = amsynth.render_batch(values[::-1], note, 22050)
    np.testing.assert_array_equal(sounds, backwards[::-1])


@pytest.mark.plugin
def test_denormals_are_handled_as_before_once_a_sound_is_played(amsynth):
    tiny = np.float32(1e-40)
    before = (tiny / np.float32(2)) > 0
    amsynth.render(SPACE.defaults, Note(hold_seconds=0.05, duration_seconds=0.1), 22050)
    assert before
    assert (tiny / np.float32(2)) > 0


def test_other_plugins_are_not_amsynth(faulty_plugin):
    with pytest.raises(SynthError, match="is not an amsynth"):
        Amsynth(faulty_plugin)


def test_installation_without_a_package_tool_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SynthError, match="no apt-get here.*built-in synth 'voice'"):
        install(tmp_path / "amsynth")
    assert not list(tmp_path.iterdir())


def test_damaged_packages_are_refused(tmp_path):
    for content in (b"", b"no archive", b"!<arch>\n" + b"data.tar.xz".ljust(48) + b"4".ljust(12)):
        (tmp_path / "x.deb").write_bytes(content)
        with pytest.raises(SynthError, match="damaged"):
            list(unpack(tmp_path / "x.deb"))


def fake_apt(folder, package):
    """A package tool that has just this package, to install without a network."""
    tool = folder / "apt-get"
    tool.write_text(f'#!/bin/sh\n[ "$1" = download ] && /bin/cp "{package}" .\n')
    tool.chmod(0o755)


def archive(folder, files):
    """Pack files as a Debian package does, uncompressed members in an ``ar`` archive."""
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w:xz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    data = memory.getvalue()
    package = b"!<arch>\n"
    for name, content in (("debian-binary", b"2.0\n"), ("data.tar.xz", data)):
        package += (
            f"{name:<48}{len(content):<10}`\n".encode() + content + b"\n" * (len(content) % 2)
        )
    file = folder / "amsynth_1_any.deb"
    file.write_bytes(package)
    return file


def test_installation_is_whole_or_not_at_all(monkeypatch, tmp_path, faulty_plugin):
    (tmp_path / "bin").mkdir()
    write_bank(tmp_path / "one.bank", random_presets(2))
    files = {
        "./usr/lib/dssi/amsynth_dssi.so": faulty_plugin.read_bytes(),
        "./usr/share/amsynth/banks/one.bank": (tmp_path / "one.bank").read_bytes(),
        "./usr/share/doc/amsynth/copyright": b"free",
        "./usr/bin/../../../evil": b"never written",
    }
    fake_apt(tmp_path / "bin", archive(tmp_path, files))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for _ in range(2):  # the second replaces the first
        plugin = install()
        names = sorted(file.name for file in plugin.parent.iterdir())
        assert names == [MARK, "amsynth_dssi.so", "banks", "copyright", "install.json"]
    assert [len(read_bank(file)) for file in bank_files(plugin)] == [2]

    plugin.write_bytes(b"damaged")
    assert install() == plugin
    assert plugin.read_bytes() == faulty_plugin.read_bytes()
    with plugin.open("ab") as file:
        file.write(b"changed by somebody, and still a plugin")
    with pytest.raises(InputError, match="holds 'amsynth_dssi.so', which pyrosynth did not write"):
        install()
    plugin.write_bytes(faulty_plugin.read_bytes())

    archive(tmp_path, {"./usr/bin/amsynth": b"no plugin"})
    with pytest.raises(SynthError, match="holds no DSSI plugin"):
        install()
    assert plugin.read_bytes() == faulty_plugin.read_bytes()
    assert [file.name for file in plugin.parent.parent.iterdir()] == ["amsynth"]
    assert not list(tmp_path.rglob("evil"))


def test_installation_deletes_no_file_of_the_users(tmp_path):
    (tmp_path / "my sound.wav").write_bytes(b"mine")
    with pytest.raises(InputError, match="holds 'my sound.wav', which pyrosynth did not write"):
        install(tmp_path)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"mine"]


def test_one_installed_here_that_is_damaged_is_to_be_installed_again(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    file = tmp_path / "pyrosynth" / "amsynth" / "amsynth_dssi.so"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")
    with pytest.raises(
        SynthError, match="file too short; run 'pyrosynth install amsynth --force'"
    ):
        Amsynth()
    elsewhere = tmp_path / "amsynth_dssi.so"
    elsewhere.write_bytes(b"")
    with pytest.raises(SynthError, match="file too short; get another one"):
        Amsynth(elsewhere)

"""Instruments of other people, from learning one to its presets in their own format."""

import io
import json
import zipfile

import numpy as np
import pytest
import soundfile
from toys import SMALL

from pyrosynth.audio.io import save_audio
from pyrosynth.audio.note import Note
from pyrosynth.cli.app import main
from pyrosynth.inference.posterior import Posterior
from pyrosynth.live.engine import Live
from pyrosynth.synths import load_synth
from pyrosynth.synths.presets import Preset

JX10, XSYNTH = "http://drobilla.net/plugins/mda/JX10", "/usr/lib/dssi/xsynth-dssi.so#Xsynth"
QUICK = ("--minutes", "0.02", "--hold", "0.2", "--duration", "0.3", "--workers", "1")
NETWORKS = [f"--set={key}={json.dumps(value)}" for key, value in SMALL["flow_audio"].items()]


@pytest.mark.plugin
@pytest.mark.parametrize("plugin", [JX10, XSYNTH])
def test_a_plugin_is_learnt_and_its_presets_come_back_as_it_reads_them(plugin, tmp_path, capfd):
    run, found, page = tmp_path / "run", tmp_path / "found", tmp_path / "page"
    assert main(["learn", plugin, "--out", str(run), *QUICK, *NETWORKS]) == 0
    synth = load_synth(plugin)
    sound = tmp_path / "mine.wav"
    posterior = Posterior.load(run)
    rate = posterior.run.features.sample_rate
    note = Note(pitch=57, hold_seconds=0.2, duration_seconds=0.3)
    save_audio(sound, synth.render(posterior.bank.values[0], note, rate), rate)
    infer = ["infer", str(run), str(sound), "--out", str(found), "--budget", "8", "--draws", "2"]
    assert main([*infer, "--workers", "1"]) == 0
    folder = found / "mine"
    preset = Preset.load(folder / "preset.json", synth.name).array(synth.param_space)
    heard, _ = soundfile.read(folder / "render.wav", dtype="float32")
    again = synth.render(preset, posterior.run.note, rate)
    np.testing.assert_allclose(heard, np.clip(again, -1, 1), atol=1e-4)
    if synth.preset_suffix:
        (own,) = synth.read_bank(folder / f"mine{synth.preset_suffix}")
        np.testing.assert_allclose(own.array(synth.param_space), preset, rtol=1e-5, atol=1e-5)
    with Live(posterior) as live:
        suffix, content = live.files.bank([(name, preset) for name in ("one", "two")])
    if synth.preset_suffix:
        assert suffix == f"{synth.preset_suffix}.zip"
        names = zipfile.ZipFile(io.BytesIO(content)).namelist()
        assert {name.split("/")[0].split(" ")[0] for name in names} == {"one", "two"}
    else:
        assert (suffix, len(json.loads(content))) == (".json", 2)
    assert main(["serve", str(run), "--static", str(page), "--presets", "2"]) == 0
    assert (page / "index.html").is_file()
    small = tmp_path / "small"
    assert main(["export", str(run), "--out", str(small)]) == 0
    assert (
        main(
            [
                "explore",
                str(small),
                "--out",
                str(tmp_path / "map"),
                "--axis",
                "pc1",
                "--draws",
                "1",
                "--workers",
                "1",
            ]
        )
        == 0
    )
    assert (tmp_path / "map" / "report.html").is_file()
    assert "Traceback" not in "".join(capfd.readouterr())

"""The programs in benchmarks, as one calls them."""

import runpy
import sys

import pytest

CALLS = [
    "any_pitch nope --budget 64",
    "closeness nope",
    "explorer nope",
    "live nope",
    "morph_smoothness nope --out out",
    "outside --out out --families nope",
    "page_search nope sound.wav",
    "space nope nope --out out",
    "stream measure nope",
    "sweep --data nope",
    "synths --out out nope=nope",
    "tuning nope --presets 20 --budget 32",
]


@pytest.mark.parametrize("call", CALLS, ids=[call.split()[0] for call in CALLS])
def test_a_mistake_is_told_in_one_line(call, tmp_path, monkeypatch, capfd):
    """Such as a run or a dataset that is none."""
    name, *arguments = call.split()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    for module in [one for one in sys.modules if one.startswith(f"benchmarks.{name}")]:
        monkeypatch.delitem(sys.modules, module)  # another test has imported it
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")
    printed, error = capfd.readouterr()
    assert ended.value.code == 2
    assert "'nope'" in error or "/nope'" in error
    assert error.splitlines()[-1].startswith("pyrosynth: ")
    assert "Traceback" not in error

"""A user without a home folder, as in a container whose user is but a number."""

import os
import pwd

import pytest

from pyrosynth.cli.app import main
from pyrosynth.cli.process import place_torch_cache
from pyrosynth.errors import LONGEST
from pyrosynth.synths import dexed, vital
from pyrosynth.synths.hosts.formats import FORMATS, host_of
from pyrosynth.synths.scanning import dssi_folders


@pytest.fixture(autouse=True)
def homeless(monkeypatch, tmp_path):
    """Neither the environment nor the system knows a home; the working folder is empty."""

    def unknown(number):
        raise KeyError(f"getpwuid(): uid not found: {number}")

    for name in ("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "TORCHINDUCTOR_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.chdir(tmp_path)


def test_synths_are_listed(capsys):
    assert main(["synths"]) == 0
    assert "voice     yes" in capsys.readouterr().out


def test_folders_of_plugins_and_presets_are_named():
    folders = [*dssi_folders(), dexed.cartridges(), vital.user_folder()]
    for suffix in FORMATS:
        folders += host_of(f"x{suffix}").folders()
    assert len(folders) > len(FORMATS)


@pytest.mark.parametrize(
    "command",
    [
        "install amsynth --force",
        "scan ~/synth.lv2",
        "describe ~/synth.so",
        "render ~nobody-of-this-name/synth.clap --out data",
    ],
)
def test_what_needs_a_home_says_so_and_writes_nothing(tmp_path, capsys, command):
    assert main(command.split()) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "~" in said
    assert len(said) < LONGEST + 20
    assert not list(tmp_path.iterdir())


def test_no_cache_is_made_in_the_working_folder():
    place_torch_cache()
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ

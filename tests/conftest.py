"""Options and fixtures of all tests."""

import gc
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

# Before numpy or torch are imported: one thread each, and no file left in the user's home. Plugins
# are still looked for where the user has them.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ.setdefault("XDG_DATA_HOME", str(Path.home() / ".local" / "share"))
CACHES = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
# It outlives the tests, and is the same for all processes that share them.
CACHE = Path(os.environ.setdefault("PYROSYNTH_TESTS_CACHE", f"{CACHES}/pyrosynth-tests"))
HOME = tempfile.mkdtemp(prefix="pyrosynth-tests-")
# Processes find `plain` as well.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
)
os.environ.update(HOME=HOME, XDG_CACHE_HOME=HOME, XDG_CONFIG_HOME=HOME, MPLCONFIGDIR=HOME)
# The package and the tests are compiled once, not by each of the hundreds of processes.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# What is imported is no garbage, however often one looks; a command does so, too.
gc.disable()
gc.set_threshold(100_000)

import pytest  # noqa: E402
from probe import build  # noqa: E402

from pyrosynth import synths  # noqa: E402

DATA = Path(__file__).parent / "data"
FLAGS = ("-O1", "-shared", "-fPIC", "-pthread")


def pytest_addoption(parser):
    parser.addoption("--device", default="cpu", help="torch device the tests run on")
    parser.addoption(
        "--notebooks", type=Path, help="folder that executed notebooks are written to"
    )


def pytest_collection_modifyitems(config, items):
    if config.getoption("--device") == "cpu":
        for item in items:
            if item.get_closest_marker("gpu"):  # a folder may have this name as well
                item.add_marker(pytest.mark.skip(reason="needs a GPU; run with --device cuda"))


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


def pytest_unconfigure():
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture
def device(request):
    return request.config.getoption("--device")


@pytest.fixture
def few_presets(monkeypatch):
    """Leave the built-in voice every eighth of its presets: enough where all are rendered."""
    import plain

    from pyrosynth.synths import voice

    for module in (voice, plain):
        monkeypatch.setattr(module, "bank", lambda: few_of_the_bank().copy())


@cache
def few_of_the_bank():
    from pyrosynth.synths import voice_params

    return voice_params.bank()[::8]


@pytest.fixture(scope="session")
def amsynth():
    """The real amsynth; its tests never pass by being skipped."""
    if not dict((name, there) for name, there, _ in synths.status())["amsynth"]:
        pytest.fail("amsynth is not installed; run 'make test' or 'pyrosynth install amsynth'")
    return synths.load_synth("amsynth")


@pytest.fixture(scope="session")
def probe():
    """Folder of a synth with traps in every format, built from plugins/probe.cpp."""
    return build(CACHE)


@pytest.fixture(scope="session")
def faulty_plugin(tmp_path_factory):
    """Path of a DSSI synth that crashes, hangs or yields NaN on demand; see data/faulty.c."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.fail("the plugin that crashes on demand needs a C compiler; run 'make test'")
    library = tmp_path_factory.mktemp("plugin") / "faulty.so"
    command = [compiler, *FLAGS, "-o", library, DATA / "faulty.c", "-lm"]
    subprocess.run(command, check=True)
    return library

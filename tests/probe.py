"""Build plugins/probe.cpp, a synth with traps, into every format; see there."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "plugins"
DPF = Path("/usr/share/dpf/distrho")
FLAGS = ("-std=gnu++14", "-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-w", "-pthread")
FILES = {  # of each, what it is built with
    "Probe.clap": "TARGET_CLAP",
    "Probe.lv2/Probe.so": "TARGET_LV2",
    "Probe.so": "TARGET_DSSI",
    "Probe.vst3/Contents/x86_64-linux/Probe.so": "TARGET_VST3",
    "vst2/Probe.so": "TARGET_VST2",
    "vst2/Plain.so": "TARGET_VST2 PROBE_PLAIN",
    "vst2/Effect.so": "TARGET_VST2 PROBE_EFFECT",
}
DESCRIBE = "import ctypes; ctypes.CDLL('./Probe.so').lv2_generate_ttl(b'Probe')"
VALUES = {"Channel": 1.0, "Boom": 0.0}  # with others it is silent, or ends the process


def build(cache):
    """Return a folder with the plugins, built once for each version of what they are made of.

    Args:
        cache: Folder that outlives the session.
    """
    compiler = shutil.which("g++")
    if compiler is None or not DPF.is_dir():
        pytest.fail("the test plugins need g++ and dpf-source: apt install g++ dpf-source")
    digest = hashlib.sha256(" ".join([*FLAGS, *FILES, *FILES.values()]).encode())
    for file in (*sorted(SOURCE.iterdir()), DPF / "src/DistrhoDefines.h", Path(__file__)):
        digest.update(file.read_bytes())
    folder = cache / f"probe-{digest.hexdigest()[:16]}"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as work:
            new = Path(work) / "new"
            for name, kind in FILES.items():
                _compile(compiler, kind, new / name)
            command = [sys.executable, "-c", DESCRIBE]
            subprocess.run(command, cwd=new / "Probe.lv2", check=True, capture_output=True)
            try:
                os.rename(new, folder)
            except OSError:  # another session was faster
                if not folder.is_dir():
                    raise
    return folder


def _compile(compiler, kind, library):
    library.parent.mkdir(parents=True, exist_ok=True)
    sources = [SOURCE / "probe.cpp", DPF / "DistrhoPluginMain.cpp"]
    folders = ["-I", SOURCE, "-I", DPF]
    target = f"-DDISTRHO_PLUGIN_{kind}".replace(" ", " -D").split()
    subprocess.run([compiler, *FLAGS, *folders, *target, "-o", library, *sources], check=True)

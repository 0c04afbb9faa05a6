"""The Pure Data patch of the documentation, run without a window against the server."""

import shutil
import subprocess
import threading
from pathlib import Path

import pytest
import soundfile
from lively import small_posterior
from test_osc import WAIT, Served

from pyrosynth.live.engine import Live

PATCH = Path(__file__).parents[1] / "docs" / "pyrosynth.pd"


def test_the_patch_drives_the_server(tmp_path):
    if shutil.which("pd") is None:
        pytest.skip("needs Pure Data; install it, such as by apt install puredata-core")
    _, posterior = small_posterior()
    with Live(posterior, [tmp_path]) as live:
        tone = live.render(live.known(0)).audio
        soundfile.write(tmp_path / "tone.wav", tone, 22050)
        served = Served(live, None)
        name = live.space.names[0]
        escaped = name.replace(" ", "\\ ")
        sent = (
            f"pyrosynth-server disconnect; pyrosynth-server connect 127.0.0.1 {served.server.port}"
            f"; load symbol {escaped}; brightness 2; load symbol nobody; encode symbol tone.wav"
        )
        process = subprocess.Popen(
            ["pd", "-nogui", "-noaudio", "-nomidi", "-stderr", "-open", PATCH, "-send", sent],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        timer = threading.Timer(WAIT, process.kill)
        timer.start()
        lines = []
        try:
            for line in process.stderr:
                lines.append(line.rstrip())
                if line.startswith("encoded:"):
                    break
        finally:
            timer.cancel()
            process.kill()
            process.wait()
            process.stderr.close()
            served.close()
        params, z = ([r for r in lines if r.startswith(f"{n}: ")] for n in ("params", "z"))
        assert len(params) == len(z) == 3, lines
        loaded, moved = ([float(c) for c in row.split()[1:]] for row in z[:2])
        assert loaded == pytest.approx(live.space.locate(name).tolist(), rel=1e-4)
        expected = live.move(live.space.place(name), {"brightness": 2.0})
        assert moved == pytest.approx(expected.z.tolist(), rel=1e-3, abs=1e-4)
        assert params[0].split()[1] == live.posterior.run.full_space.names[0]
        assert any("unknown" in line and "nobody" in line for line in lines)
        assert lines[-1].split()[1] == "tone.wav"

"""Measure how many times real time `voice` renders, beside torchsynth.

    python benchmarks/voice.py [--device cuda] [--batch 512] [--out voice.json]

torchsynth (Turian et al., 2021) is the fastest synth there is by its paper: 16,200 times real time
on a V100. Both make sounds of 4 s at 44,100 Hz of presets drawn uniformly, which stay on the
device, and so do their mel spectrograms, 64 bands of 2048 samples every 1024. `voice` is also
timed at 22,050 Hz, the rate of its datasets, and with the gradient of every control; torchsynth
refuses to compute gradients. On a CPU one thread works, and its processor time counts.

torchsynth is not a dependency: `pip install --no-deps torchsynth "setuptools<81"` beside
pytorch-lightning; without it, `voice` is measured alone. JSON goes to standard output or a file,
the table to standard error. Without a GPU, ``--device cuda`` ends with exit code 2.
"""

import argparse
import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyrosynth.audio.features import FeatureSpec
from pyrosynth.audio.note import Note
from pyrosynth.cli.process import run_program
from pyrosynth.errors import InputError
from pyrosynth.evaluation.compare import provenance
from pyrosynth.synths.voice import Voice
from pyrosynth.training.svi import find_device

NOTE, RATES = Note(hold_seconds=3.0, duration_seconds=4.0), (44100, 22050)
BATCH = {"cpu": 32, "cuda": 512}
GRADIENT_BATCH = 128  # at most: what a gradient needs of a sound is 100 times as large as itself
THEIR_BATCHES = {"cpu": (32,), "cuda": (128, 1024)}  # torchsynth's own, and that of its paper
RUNS, ENOUGH_SECONDS = 9, 1.5  # timed calls at most, and when fewer are enough


class Mel:
    """`FeatureSpec` on a device, and differentiable.

    Args:
        spec: What the features are.
        device: Where.
    """

    def __init__(self, spec: FeatureSpec, device: torch.device) -> None:
        """Move window and filters to the device."""
        self.spec = spec
        self.window = torch.tensor(spec.window).to(device)
        self.filters = torch.tensor(spec.filters).to(device)

    def __call__(self, audio: Tensor) -> Tensor:
        """Return log-mel spectrograms, shape (n, n_mels, n_frames), of audio (n, n_samples)."""
        spectra = torch.stft(
            audio, self.spec.n_fft, self.spec.hop_length, window=self.window,
            center=True, pad_mode="constant", return_complex=True,
        )  # fmt: skip
        power = torch.view_as_real(spectra).square().sum(-1)
        return (self.filters @ power + self.spec.floor).log()


def seconds(call: Callable[[], object], device: torch.device) -> float:
    """Return the median duration of a call after two to warm up."""
    taken: list[float] = []
    for _ in range(RUNS + 2):
        start = _now(device)
        call()
        taken.append(_now(device) - start)
        if len(taken) > 4 and sum(taken) > ENOUGH_SECONDS:
            break
    return statistics.median(taken[2:])


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()


def measure_voice(device: torch.device, batch: int, rate: int) -> dict[str, float]:
    """Return how many times real time `voice` is, by what is computed."""
    voice, mel = Voice(str(device)), Mel(FeatureSpec(sample_rate=rate), device)
    unit = np.random.default_rng(0).random((batch, len(voice.param_space)))
    values = torch.from_numpy(voice.param_space.from_unit(unit)).to(device)
    with torch.no_grad():
        few = voice.synthesize(values[:4], NOTE, rate)
        torch.testing.assert_close(
            mel(few).cpu().numpy(), mel.spec(few.cpu().numpy()), atol=2e-3, rtol=0
        )

    leaves = values[:GRADIENT_BATCH].clone().requires_grad_()

    def backward(loss: Callable[[Tensor], Tensor]) -> None:
        leaves.grad = None
        loss(voice.synthesize(leaves, NOTE, rate)).square().mean().backward()

    calls: dict[str, tuple[Callable[[], object], int]] = {
        "sound": (lambda: voice.synthesize(values, NOTE, rate), batch),
        "sound and mel": (lambda: mel(voice.synthesize(values, NOTE, rate)), batch),
        "sound and gradient": (lambda: backward(lambda audio: audio), len(leaves)),
        "sound, mel and gradient": (lambda: backward(mel), len(leaves)),
    }
    return {
        name: n_sounds * NOTE.duration_seconds / seconds(call, device)
        for name, (call, n_sounds) in calls.items()
    }


def measure_torchsynth(device: torch.device, batch: int, rate: int) -> dict[str, float]:
    """Return how many times real time torchsynth's voice is, by what is computed.

    Raises:
        ImportError: It, or what it needs, is not installed.
    """
    lightning = importlib.import_module("pytorch_lightning.core")
    # torchsynth 1.0.2 knows this module by the name it had until pytorch-lightning 2.
    sys.modules.setdefault("pytorch_lightning.core.lightning", lightning)
    config = importlib.import_module("torchsynth.config")
    synth = importlib.import_module("torchsynth.synth")
    voice = synth.Voice(
        config.SynthConfig(
            batch_size=batch,
            sample_rate=rate,
            buffer_size_seconds=NOTE.duration_seconds,
            reproducible=False,
        )
    ).to(device)
    if device.type == "cuda":
        voice.on_post_move_to_device()  # pytorch-lightning called it until version 2
    mel = Mel(FeatureSpec(sample_rate=rate), device)
    voice.randomize()

    def sound() -> Tensor:
        audio: Tensor = voice.output()
        return audio.as_subclass(Tensor)

    with torch.no_grad():
        calls = {"sound": sound, "sound and mel": lambda: mel(sound())}
        made = batch * NOTE.duration_seconds
        return {name: made / seconds(call, device) for name, call in calls.items()}


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--batch", type=int, help="sounds made at once; 32 on a CPU, else 512")
    parser.add_argument("--out", type=Path, help="file for the JSON")
    arguments = parser.parse_args()
    try:
        device = find_device(arguments.device)
    except InputError as error:
        print(f"voice.py: {error}", file=sys.stderr)
        sys.exit(2)
    torch.set_num_threads(1)
    batch = arguments.batch or BATCH[device.type]
    results: list[dict[str, Any]] = []
    for rate in RATES:
        results.append({"synth": "voice", "rate": rate} | measure_voice(device, batch, rate))
    try:
        for size in THEIR_BATCHES[device.type]:
            speeds = measure_torchsynth(device, size, RATES[0])
            results.append({"synth": f"torchsynth, {size} at once", "rate": RATES[0]} | speeds)
    except ImportError as error:
        print(f"voice.py: torchsynth is not measured: {error}", file=sys.stderr)
    for row in results:
        print(f"{row['synth']} at {row['rate']} Hz, times real time", file=sys.stderr)
        for name, speed in list(row.items())[2:]:
            print(f"  {name:28}{speed:10,.0f}", file=sys.stderr)
    facts = {
        "provenance": provenance(arguments.device),
        "settings": {"batch": batch, "seconds": NOTE.duration_seconds},
        "results": results,
    }
    write = arguments.out.write_text if arguments.out else sys.stdout.write
    write(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    run_program(main)

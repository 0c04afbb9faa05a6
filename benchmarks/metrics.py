"""Measure what it costs to compare two sounds by each metric, on one core.

    OMP_NUM_THREADS=1 python benchmarks/metrics.py

Process time, one thread, medians, per pair of sounds of 4 seconds at 22,050 Hz: decaying
saw-tooths with noise. ``compare_audio`` computes all metrics; those of spectrograms share one
transform.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from pyrosynth.audio.features import FeatureSpec
from pyrosynth.audio.metrics import (
    compare_audio,
    loudness_distance,
    multi_scale_distance,
    power_spectrum,
)
from pyrosynth.audio.pitch import pitch_error

SECONDS, RUNS = 4, 21
SPEC = FeatureSpec()


def seconds(call: Callable[[], object]) -> float:
    """Return the median process time of a call, after one to warm up."""
    call()
    times = []
    for _ in range(RUNS):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return statistics.median(times)


def sounds(n: int, seed: int) -> Tensor:
    """Return random notes, shape (n, n_samples)."""
    generator = torch.Generator().manual_seed(seed)
    t = torch.arange(SECONDS * SPEC.sample_rate) / SPEC.sample_rate
    hz = 60 * 2 ** (4 * torch.rand(n, 1, generator=generator))
    noise = 0.01 * torch.randn(n, len(t), generator=generator)
    return (0.3 * (2 * (hz * t % 1) - 1) + noise) * torch.exp(-t)


def measure(pairs: int) -> None:
    """Print the table."""
    target, audio = sounds(pairs, 0), sounds(pairs, 1)
    one, other = target[:1], audio[:1]
    power = power_spectrum(one, SPEC)
    print(f"{SECONDS} s at {SPEC.sample_rate} Hz, milliseconds of processor time per pair")
    rows: list[tuple[str, int, Callable[[], object]]] = [
        ("all metrics, one pair", 1, lambda: compare_audio(one, other, SPEC)),
        (f"all metrics, {pairs} pairs", pairs, lambda: compare_audio(target, audio, SPEC)),
        (
            f"all metrics, one target and {pairs} sounds",
            pairs,
            lambda: compare_audio(one, audio, SPEC),
        ),
        ("  multi-scale distance", 1, lambda: multi_scale_distance(one, other)),
        ("  pitch error", 1, lambda: pitch_error(one, other, SPEC)),
        ("  power spectra", 1, lambda: [power_spectrum(s, SPEC) for s in (one, other)]),
        ("  loudness distance", 1, lambda: loudness_distance(power, power, SPEC)),
    ]
    for label, n, call in rows:
        print(f"{label:38}{1e3 * seconds(call) / n:6.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=16, help="number of pairs at once")
    torch.set_num_threads(1)
    measure(parser.parse_args().pairs)

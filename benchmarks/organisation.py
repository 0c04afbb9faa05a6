"""How well distances in a latent space are distances of sounds.

    python benchmarks/organisation.py RUN DATA

On the held-out human presets: the rank correlation (Spearman) between the Euclidean distances of
latents and the log-spectral distances of the sounds, over all pairs, and how many of a preset's 10
nearest neighbours by sound are among its 10 nearest by latent. Beside it the same for the settings
of the parameters, and how far off the sounds are that the model expects.
"""

import argparse

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

import pyrosynth as ps
from pyrosynth.audio.metrics import log_distance
from pyrosynth.explore.places import latents, latents_of_sounds
from pyrosynth.statistics import spearman

NEIGHBOURS = 10


def agreement(points: NDArray, distances: NDArray) -> tuple[float, float]:
    """Return the rank correlation and the recall of neighbours, for points (n, n_dims).

    Args:
        points: What the distances are compared in, shape (n, n_dims).
        distances: Those of the sounds, shape (n, n).
    """
    own = cdist(points, points)
    above = np.triu_indices(len(points), 1)
    near = [
        np.argsort(d + np.diag([np.inf] * len(d)), 1)[:, :NEIGHBOURS] for d in (distances, own)
    ]
    shared = [len(set(a) & set(b)) / NEIGHBOURS for a, b in zip(*near, strict=True)]
    return float(spearman(own[above], distances[above])), float(np.mean(shared))


def main() -> None:
    """Read the arguments, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="a run, or the name of a pretrained one")
    parser.add_argument("data", help="its dataset")
    asked = parser.parse_args()
    data, posterior = ps.open_dataset(asked.data), ps.Posterior.load(asked.run)
    rows = data.rows("test", human_only=True)
    x = data.x(rows, np.float32)
    values = data.values(rows)
    distances = np.stack([log_distance(x, one) for one in x])
    z = latents_of_sounds(posterior, x)
    spaces = {
        "latents of sounds": z,
        "latents of presets, without their sounds": latents(posterior, values),
        "settings of the parameters": posterior.run.space.to_unit(posterior.learnt(values)),
    }
    print(f"{len(rows)} held-out presets")
    for name, points in spaces.items():
        rho, recall = agreement(points, distances)
        print(f"{name:42} rank correlation {rho:.3f}  recall of neighbours {recall:.3f}")
    with torch.no_grad():
        decoded = posterior.variant.expected_x(torch.as_tensor(z, device=posterior.device))
    expected = {
        "a latent": posterior.run.unstandardise(decoded).cpu().numpy(),
        "a preset": posterior.predict(values),
    }
    for what, sounds in expected.items():
        print(f"sound expected of {what}: {log_distance(sounds, x).mean():.2f} dB off")


if __name__ == "__main__":
    main()

"""Small problems whose answers are known."""

import torch

from pyrosynth.data.tags import Tag, labelled
from pyrosynth.training.batches import TrainData

TAGS = Tag("tone", ("dark", "bright")), Tag("size", ("small", "medium", "large"))

READER = {"embedding_dim": 16, "channels": (8, 16), "hidden": 16}
PAINTER = {"decoder_hidden": 16, "rank": 8, "alpha": 1.0, "beta": 1.0}
LATENT = {"latent_dim": 5, "regressor_hidden": (16,)}
AUTOENCODER = {
    "embedding_dim": 16, "channels": (8, 16), "decoder_hidden": 16, "rank": 8, "alpha": 1.0,
    "delta": 1.0, **LATENT,
}  # fmt: skip
CONVOLUTIONS = {"channels": (4, 8), "hidden": (16,), "delta": 1.0}
SMALL = {
    "mlp": {"hidden": (16, 16), "delta": 1.0}, "cnn": CONVOLUTIONS, "resnet": CONVOLUTIONS,
    "ae": AUTOENCODER, "wae": {"beta": 1.0, **AUTOENCODER},
    "vae": {"n_mixture": 16, "beta": 1.0, **AUTOENCODER},
    "flow_mixed": {"n_layers": 2, "n_regression_layers": 2, **READER, **PAINTER},
    "flow_audio": {
        "n_layers": 2, "n_prior_layers": 2, "latent_dim": 5, "tension": 1.0, **READER,
        "decoder_hidden": 16, "rank": 8, "alpha": 1.0,
    },
    "flow_cond": {
        "n_layers": 2, "n_regression_layers": 2, "latent_dim": 5, "n_mixture": 4,
        **READER, **PAINTER,
    },
    "flow_matching": {"n_blocks": 1, "n_steps": 4, "n_probes": 4, **READER},
    "flow_post": {
        "n_layers": 2, "n_regression_layers": 2, "n_mixture": 16, "n_presets": 1,
        **READER, **PAINTER,
    },
    "flow_dis": {
        "n_layers": 2, "n_regression_layers": 2, "n_disentangling_layers": 2, "delta": 1.0,
        **READER, **PAINTER,
    },
    "flow_reg": {"n_layers": 2, "n_regression_layers": 2, **READER, **PAINTER},
    "npe": {"n_layers": 3, **READER},
    "vae_flow": {
        "n_layers": 2, "n_mixture": 16, "delta": 1.0, **LATENT, **READER, **PAINTER,
    },
}  # fmt: skip


def toy_data(n=512, n_params=4, x_shape=(8, 11), unknown=0.0, seed=0):
    """Sounds that are a smooth function of the parameters plus noise.

    The first parameter says which tone a sound has, the second, if there is one, which size; two
    labels in three are hidden.

    Args:
        n: Number of sounds, a quarter of them held out.
        n_params: Number of parameters.
        x_shape: (n_mels, n_frames).
        unknown: Share of the sounds whose parameters are hidden; None of has_v at 0.
        seed: Fixes the data.
    """
    rng = torch.Generator().manual_seed(seed)
    levels = torch.randint(0, 16, (n, n_params), generator=rng)
    mixing = torch.randn(2 * n_params, x_shape[0] * x_shape[1], generator=rng)
    v = (levels + 0.5) / 16
    x = torch.cat([v.sin(), (3 * v).cos()], -1) @ mixing
    x = (x + 0.1 * torch.randn(x.shape, generator=rng)).reshape(n, *x_shape)
    known = None if not unknown else torch.rand(n, generator=rng) >= unknown
    tags = TAGS[:n_params]
    labels = (v[:, :2] * torch.tensor([2, 3])[:n_params]).long().numpy()
    return TrainData(
        x=x.half(),
        levels=levels.to(torch.int16),
        resolution=torch.full((n_params,), 16.0),
        mean=x.mean(0),
        std=x.std(0),
        train=torch.arange(n * 3 // 4),
        valid=torch.arange(n * 3 // 4, n),
        has_v=known,
        tags=tags,
        label_mask=torch.from_numpy(labelled(tags, labels).hide(2 / 3, seed).label_mask),
    )

"""What auto-encoders have in common: encoder, decoder, and a regressor of the parameters."""

from collections.abc import Sequence

import torch
from torch import nn

from pyrosynth.modeling.networks import MLP, Networks, sound_decoder, sound_encoder
from pyrosynth.modeling.variant import Variant


class AutoEncoder(Variant):
    """A variant that encodes sounds, decodes latents, and regresses the parameters on them.

    Attributes:
        code: Layer from the encoder's output to what the latent follows from.
    """

    def add_autoencoder(
        self,
        networks: Networks,
        n_code: int,
        *,
        embedding_dim: int,
        channels: Sequence[int],
        decoder_hidden: int,
        rank: int,
        regressor_hidden: Sequence[int],
    ) -> None:
        """Add what auto-encoders are made of: encoder, ``code``, decoder and regressor.

        Args:
            networks: ``"mel"`` for the package's networks, ``"conv"`` for the published ones.
            n_code: What the layer ``code`` makes of the encoder's output.
            embedding_dim: Size of that output.
            channels: Channels of the encoder's convolutions.
            decoder_hidden: Width of the decoder's layers.
            rank: Spectrograms that a ``"mel"`` decoder mixes.
            regressor_hidden: Hidden layers of the regressor.
        """
        n, shape = self.latent_dim, self.dims.x_shape
        self.encoder = sound_encoder(networks, shape, embedding_dim, channels)
        self.code = nn.Linear(embedding_dim, n_code)
        self.decoder = sound_decoder(
            networks, n, shape, channels=channels, hidden=decoder_hidden, rank=rank
        )
        self.log_scale = nn.Parameter(torch.zeros(shape[0]))
        self.regressor = MLP(n, regressor_hidden, self.dims.n_params)
        self.log_scale_v = nn.Parameter(torch.zeros(self.dims.n_params))

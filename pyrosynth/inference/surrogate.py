"""A model of the synth, corrected by what was heard, and steps of least squares along it."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from pyrosynth.audio.features import DB
from pyrosynth.inference.descent import slopes, stepped

REACH = 0.3  # in unit values: length scale over which what was heard corrects the model
NUGGET = 1e-3  # added to the covariance of what was heard, which keeps it invertible


class Surrogate:
    """The sounds expected of presets: a model's prediction, corrected by what the synth played.

    The error of the model, heard less predicted features, is interpolated between the presets
    that were heard by a Gaussian process (simple kriging). Far from all of them it is the error
    at the preset that a step starts from (space mapping), so that a short step is right to first
    order however far off the model is, and every sound that is heard mends the slopes of the next.

    Args:
        predict: Features expected of unit values (n, n_params), shape (n, n_mels, n_frames).
        device: Where ``predict`` computes.

    Attributes:
        n_told: Number of presets of a pool that it was told of, for those who tell it.

    References:
        Kennedy and O'Hagan, 2000, "Predicting the output from a complex computer code when fast
        approximations are available"; Bandler et al., 2004, "Space mapping: the state of the art".
    """

    def __init__(self, predict: Callable[[Tensor], Tensor], device: torch.device) -> None:
        self._predict, self._device = predict, device
        self._unit: Tensor | None = None
        self.n_told = 0

    @torch.no_grad()
    def hear(self, unit: ArrayLike, heard: ArrayLike) -> None:
        """Learn the features of presets.

        Args:
            unit: Unit values, shape (n, n_params).
            heard: Features of what the synth played for them, shape (n, n_mels, n_frames).
        """
        new = self._tensor(unit)
        error = (self._tensor(heard) - self._predict(new)).flatten(1)
        if self._unit is None:
            self._unit, self._error = new, error
        else:
            self._unit = torch.cat([self._unit, new])
            self._error = torch.cat([self._error, error])
        covariance = self._correlation(self._unit).double()
        covariance.diagonal().add_(NUGGET)
        self._precision = torch.linalg.inv(covariance).float()

    @torch.no_grad()
    def steps(
        self, target: ArrayLike, unit: ArrayLike, heard: ArrayLike, trust: ArrayLike,
        fixed: ArrayLike,
    ) -> NDArray[np.float64]:  # fmt: skip
        """Step from presets of known sound towards a target (Levenberg and Marquardt).

        Args:
            target: Features to come near, shape (n_mels, n_frames).
            unit: Unit values where the steps start, shape (n, n_params).
            heard: Features of the presets there, shape (n, n_mels, n_frames).
            trust: Costs in dB² of a squared unit step, shape (n_trusts,).
            fixed: Which parameters do not move, shape (n_params,).

        Returns:
            Where the steps end, shape (n_trusts, n, n_params).
        """
        here, sounds = self._tensor(unit), self._tensor(heard)
        held = torch.tensor(np.asarray(fixed), device=self._device)
        _, along = slopes(lambda probes: self._expected(probes, sounds), here, held)
        missing = (self._tensor(target) - sounds).flatten(1)
        scale = DB**2 / missing.shape[1]
        gradient = scale * (along @ missing[..., None])[..., 0]
        there = stepped(here, held, scale * along @ along.mT, gradient, self._tensor(trust))
        return there.double().cpu().numpy()

    @torch.no_grad()
    def expected(self, unit: ArrayLike, start: ArrayLike, heard: ArrayLike) -> NDArray[np.float32]:
        """Return the sounds expected of presets, each beside one of known sound.

        Args:
            unit: Their unit values, shape (n, n_params).
            start: Unit values of the presets beside them, shape (n, n_params).
            heard: Features of the presets there, shape (n, n_mels, n_frames).

        Returns:
            Features, shape (n, n_mels, n_frames).
        """
        sounds = self._tensor(heard)
        pairs = torch.stack([self._tensor(start), self._tensor(unit)], 1)
        expected: NDArray[np.float32] = self._expected(pairs, sounds)[:, 1].cpu().numpy()
        return expected.reshape(sounds.shape)

    def _expected(self, probes: Tensor, heard: Tensor) -> Tensor:
        """Return the features expected around n presets of known sound, the first of each.

        Args:
            probes: Unit values, shape (n, n_probes, n_params).
            heard: Features of the first probe of each, shape (n, n_mels, n_frames).

        Returns:
            Features, shape (n, n_probes, n_mels * n_frames).
        """
        expected = self._predict(probes.flatten(0, 1)).flatten(1).unflatten(0, probes.shape[:2])
        error = heard.flatten(1)[:, None] - expected[:, :1]
        if self._unit is None:
            return expected + error
        weights = self._correlation(probes) @ self._precision
        return expected + weights @ self._error + (1 - weights.sum(-1, keepdim=True)) * error

    def _correlation(self, unit: Tensor) -> Tensor:
        """Return the correlation of the error at presets with that at those heard."""
        assert self._unit is not None
        return torch.exp(-torch.cdist(unit, self._unit).square() / (2 * REACH**2))

    def _tensor(self, array: ArrayLike) -> Tensor:
        return torch.as_tensor(np.asarray(array, np.float32), device=self._device)

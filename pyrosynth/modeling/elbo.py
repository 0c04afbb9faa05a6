"""The objective of a batch: an evidence lower bound in named, weighted terms."""

import torch
from pyro import poutine
from torch import Tensor

from pyrosynth.errors import RunError
from pyrosynth.modeling.variant import Batch, Term, Variant


class SyncFreeELBO:
    """Single-draw evidence lower bound of reparameterised guides, term by term.

    It reads no number back from the device, as Pyro's own bounds do at every site.

    Args:
        terms: The parts of the objective; together they name every site exactly once.
    """

    def __init__(self, terms: tuple[Term, ...]) -> None:
        self.terms = terms

    def values(self, variant: Variant, batch: Batch) -> Tensor:
        """Return the unweighted terms of a batch in nats per preset, shape (n_terms,).

        Raises:
            RunError: A site is in no term or in several, or a term names no site.
        """
        batch = variant.prepare(batch)
        guide = poutine.trace(variant.guide).get_trace(batch)
        model = poutine.trace(poutine.replay(variant.model, trace=guide)).get_trace(batch)
        totals: dict[str, Tensor] = {}
        # The guide first: its flow still remembers the draw it is asked to score.
        for trace, sign in ((guide, -1.0), (model, 1.0)):
            trace.compute_log_prob()
            for name, site in trace.nodes.items():
                if site["type"] == "sample" and not poutine.util.site_is_subsample(site):
                    total = sign * site["log_prob_sum"]
                    totals[name] = totals[name] + total if name in totals else total
        named = [site for term in self.terms for site in term.sites]
        if sorted(named) != sorted(totals):
            raise RunError(
                f"the terms of '{type(variant).__name__}' name the sites {sorted(named)}, the "
                f"model and guide have {sorted(totals)}; name each site in exactly one term"
            )
        sums = [sum(totals[site] for site in term.sites) for term in self.terms]
        return torch.stack(sums) / len(batch["x"])  # type: ignore[arg-type]

    def weights(self, step: int, device: torch.device) -> Tensor:
        """Return the weights of the terms at a step, shape (n_terms,)."""
        return torch.tensor([term.at(step) for term in self.terms], device=device)

    def loss(self, variant: Variant, batch: Batch, weights: Tensor) -> Tensor:
        """Return the loss of a batch per preset, to be minimised, shape ()."""
        return -(weights * self.values(variant, batch)).sum()

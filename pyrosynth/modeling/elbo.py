"""The objective of a batch: an evidence lower bound in named, weighted terms.

The programs of a variant hold no data. They are conditioned here, from outside and row by row.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from pyrosynth.errors import RunError, require_type
from pyrosynth.modeling.dims import DATA, Batch
from pyrosynth.modeling.distributions import ONE_AT_A_TIME, sharing
from pyrosynth.modeling.terms import Term
from pyrosynth.modeling.variant import Variant


class Conditioned(Messenger):
    """Observe sites on the rows that know their values, and draw them on the others.

    Labels that are not observed are missing on all rows.

    Args:
        data: Values of sites, shape (..., batch, ...); any legal number where unknown.
        known: Rows that know them, shape (batch,); all rows of a site that is not named.
    """

    def __init__(self, data: Mapping[str, Tensor], known: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.data, self.known = data, known

    def _pyro_sample(self, msg: Any) -> None:
        name, fn = msg["name"], msg["fn"]
        value = self.data.get(name, getattr(fn, "missing", None))
        if value is None or msg["is_observed"]:
            return
        known = self.known.get(name)
        if known is not None:
            rows = known.reshape(*known.shape, *(1 for _ in fn.event_shape))
            value = torch.where(rows, value, fn.rsample())
        msg["value"], msg["is_observed"] = value, known is None


class SyncFreeELBO:
    """Single-draw evidence lower bound of reparameterised guides, term by term.

    It reads no number back from the device, as Pyro's own bounds do at every site.

    Args:
        terms: The parts of the objective. A site in no term does not count.

    Raises:
        InputError: One of them is no `Term`.
        RunError: Two terms count one site.
    """

    def __init__(self, terms: tuple[Term, ...]) -> None:
        require_type("terms of a model", terms, Sequence, "a tuple of Term")
        for term in terms:
            require_type("one of the terms of a model", term, Term, 'a Term, as Term("v", ("v",))')
        self.terms = tuple(terms)
        counted = [
            (program, site, _given(term), term.score)
            for term in terms
            for program, sites in (("model", term.sites), ("guide", term.guide))
            for site in sites
        ]
        for program, site, *_ in (c for i, c in enumerate(counted) if c in counted[:i]):
            raise RunError(
                f"two terms count the {program}'s site '{site}'; name it in one of them"
            )

    def values(self, variant: Variant, batch: Batch) -> Tensor:
        """Return the unweighted terms of a batch in nats per preset, shape (n_terms,).

        Raises:
            RunError: A term names a site that is not there.
        """
        values: dict[str, Tensor] = {}
        with ONE_AT_A_TIME, sharing():
            for given in dict.fromkeys(_given(term) - {"t"} for term in self.terms):
                terms = [term for term in self.terms if _given(term) - {"t"} == given]
                traces = _Traces(variant, batch, given, terms)
                values |= {term.name: traces.total(term) for term in terms}
        return torch.stack([values[term.name] for term in self.terms]) / len(batch["x"])

    def weights(self, step: int, device: torch.device) -> Tensor:
        """Return the weights of the terms at a step, shape (n_terms,)."""
        weights = [term.at(step) for term in self.terms]
        return torch.tensor(weights, dtype=torch.float32, device=device)

    def loss(self, variant: Variant, batch: Batch, weights: Tensor) -> Tensor:
        """Return the loss of a batch per preset, to be minimised, shape ()."""
        return -(weights * self.values(variant, batch)).sum()


class _GuideStream:
    """A second stream of a GPU for the guide, which mostly needs nothing of the model's.

    The encoder then works beside the decoder, and the posterior's flow beside both. Elsewhere
    than on a GPU this does nothing.

    Args:
        device: Where the programs run.
        wanted: Whether to use a second stream at all: a guide that draws presets runs the flow
            that the model runs as well, and no weight should be used on two streams.
    """

    def __init__(self, device: torch.device, *, wanted: bool) -> None:
        wanted = wanted and device.type == "cuda"
        self.stream = _second_stream(device) if wanted else None
        if self.stream is not None:
            self.stream.wait_stream(torch.cuda.current_stream(device))

    def __call__(self) -> AbstractContextManager[None]:
        """Use the second stream for a while."""
        return torch.cuda.stream(self.stream) if self.stream else nullcontext()

    def join(self) -> None:
        """Let the stream in use wait for the second one."""
        if self.stream is not None:
            torch.cuda.current_stream(self.stream.device).wait_stream(self.stream)


@cache
def _second_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


class _Traces:
    """Both programs of a variant, run once with some sites conditioned on a batch.

    Terms that differ in whether they are given the labels share the run: what depends on the
    labels has a first axis, one entry for each of ``labelled``.
    """

    def __init__(
        self, variant: Variant, batch: Batch, given: frozenset[str], terms: Iterable[Term]
    ) -> None:
        self.data = {s: batch[key] for s, key in DATA.items() if s in given and key in batch}
        self.known = {"v": batch["has_v"]} if "v" in given and "has_v" in batch else {}
        self.labelled = list(dict.fromkeys("t" in _given(term) for term in terms))
        if "label_mask" in batch:
            mask = batch["label_mask"]
            masks = [mask if labelled else torch.ones_like(mask) for labelled in self.labelled]
            self.data["t"] = torch.stack(masks) if len(masks) > 1 else masks[0]
        generative = any(term.sites for term in terms)
        # Only what the guide is taught need be drawn, and only if the model asks what follows.
        taught = {site for term in terms for site in term.guide} if generative else set()
        drawn = {site: rows for site, rows in self.known.items() if site in taught}
        self.guide_stream = _GuideStream(batch["x"].device, wanted=not drawn)
        with self.guide_stream():
            guide = Conditioned(self.data, drawn)(variant.guide)
            self.guide = poutine.trace(guide).get_trace(batch)
        if any(not site["is_observed"] for site in self._sites(self.guide).values()):
            self.guide_stream.join()  # the model reads what the guide has drawn
        self.model = poutine.Trace()
        if generative:
            values = {name: site["value"] for name, site in self._sites(self.guide).items()}
            model = Conditioned({**self.data, **values}, {})(variant.model)
            self.model = poutine.trace(model).get_trace(batch)

    @staticmethod
    def _sites(trace: poutine.Trace) -> dict[str, Any]:
        return {name: site for name, site in trace.nodes.items() if site["type"] == "sample"}

    def total(self, term: Term) -> Tensor:
        """Return a term summed over the presets, shape ()."""
        total = self.data["x"].new_zeros(())
        for name in term.sites:
            score, known = self._score(self.model, name, term), self.known.get(name)
            drawn = name in self.guide and not self.guide.nodes[name]["is_observed"]
            if drawn and term.score is None:
                log_q = self._score(self.guide, name, term)
                score = score - (log_q if known is None else torch.where(known, 0.0, log_q))
            elif known is not None:
                score = torch.where(known, score, 0.0)
            total = total + score.sum()
        for name in term.guide:
            with self.guide_stream():
                score = self._score(self.guide, name, term)
            self.guide_stream.join()
            known = self.known.get(name)
            if known is not None:
                total = total + torch.where(known, score, 0.0).sum()
            elif self.guide.nodes[name]["is_observed"]:
                total = total + score.sum()
        return total

    def _score(self, trace: poutine.Trace, name: str, term: Term) -> Tensor:
        """Return what a site counts in a term, shape (batch,)."""
        if name not in trace:
            program = "guide" if trace is self.guide else "model"
            sites = self._sites(trace).items()
            there = sorted(name for name, site in sites if not site_is_subsample(site))
            raise RunError(
                f"term '{term.name}' names the site '{name}', which the {program} lacks; "
                f"it has {', '.join(there) or 'none'}"
            )
        site: Any = trace.nodes[name]
        if term.score is None:
            trace.compute_log_prob(lambda other, _: other == name)
            score = site["log_prob"]
        else:
            score = term.score(site["fn"], site["value"])
            score = scale_and_mask(score, site["scale"], site["mask"])
        if len(self.labelled) > 1 and score.dim() > 1:
            return score[self.labelled.index("t" in _given(term))]
        return score


def _given(term: Term) -> frozenset[str]:
    return frozenset(DATA if term.given is None else term.given)

"""The terms of an objective: which sites they count, by which score, with which weight."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

from pyro.distributions import TorchDistribution
from torch import Tensor

from pyrosynth.errors import InputError, number, require_type


@dataclass(frozen=True)
class WarmUp:
    """A weight that grows linearly over the first steps, then stays.

    Args:
        value: The final weight.
        steps: Number of steps to reach it; 0 starts with it.
        start: What it grows from.
    """

    value: float = 1.0
    steps: int = 0
    start: float = 0.0

    def __call__(self, step: int) -> float:
        """Return the weight at a step, counted from 0; never ``start`` itself."""
        done = min(1.0, (step + 1) / max(1, self.steps))
        return self.start + (self.value - self.start) * done


@dataclass(frozen=True)
class Term:
    """A named part of the objective.

    A site of the model counts by its log-density, less that of the guide where the guide has
    drawn it. A site whose value is not known, and which the guide is not taught, is left out on
    that row.

    Args:
        name: What it is called in the history.
        sites: Sites of the model.
        weight: Its weight, or a function of the step that gives it.
        guide: Sites of the guide, counted where their values are known.
        given: Sites that are conditioned on, among those with data: ``x``, ``v`` and ``t``; all
            of them by default. Of the others, ``v`` is drawn and ``t`` is summed over.
        score: What counts instead of the log-density, a function of a site's distribution and
            its value, (batch, ...) to (batch,); the larger the better.

    Raises:
        InputError: One of them has another type.
    """

    name: str
    sites: tuple[str, ...] = ()
    weight: float | Callable[[int], float] = 1.0
    guide: tuple[str, ...] = ()
    given: tuple[str, ...] | None = None
    score: Callable[[Any, Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        """Check the types."""
        require_type("name of a term", self.name, str, "text")
        for part in ("sites", "guide", *([] if self.given is None else ["given"])):
            sites = getattr(self, part)
            require_type(f"{part} of term '{self.name}'", sites, (tuple, list), "a tuple of names")
            for site in sites:
                require_type(f"a site of term '{self.name}'", site, str, "its name")
            object.__setattr__(self, part, tuple(sites))
        if not callable(self.weight):
            number(f"weight of term '{self.name}'", self.weight)
        if self.score is not None and not callable(self.score):
            raise InputError(f"score of term '{self.name}' is no function; give one, or None")

    def at(self, step: int) -> float:
        """Return the weight at a step, counted from 0.

        Raises:
            InputError: A function gives no finite number.
        """
        weight = self.weight(step) if callable(self.weight) else self.weight
        return number(f"weight of term '{self.name}' at step {step}", weight)

    def facts(self) -> dict[str, Any]:
        """Describe it, JSON-ready: what was left at its default is left out."""
        weight: Any = self.weight
        if is_dataclass(weight) and not isinstance(weight, type):
            weight = asdict(weight)
        elif callable(weight):
            weight = repr(weight)
        facts: dict[str, Any] = {"name": self.name, "sites": list(self.sites), "weight": weight}
        facts |= {"guide": list(self.guide)} if self.guide else {}
        facts |= {"given": list(self.given)} if self.given is not None else {}
        return facts | ({"score": self.score.__name__} if self.score else {})


def squared_error(distribution: TorchDistribution, value: Tensor) -> Tensor:
    """Return minus the squared distance of values from a distribution's mean, shape (batch,)."""
    return -(distribution.mean - value).square().sum(-1)


def held_log_prob(distribution: TorchDistribution, value: Tensor) -> Tensor:
    """Return the log-density of values it cannot move: it is the distribution that learns."""
    return distribution.log_prob(value.detach())

"""One progress bar over work of several kinds, with the rate of each and the time left."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType

from tqdm import tqdm

PARTS = 1000  # of the bar


class Progress:
    """How far a long job of several kinds of work is; a context that shows it.

    The bar's length is time: what is left of each kind is divided by the rate seen so far.

    Args:
        totals: Units of each kind that there are to do, such as ``{"sounds": 6400}``.
        label: What the bar is called.
        show: Whether to show it.
    """

    def __init__(self, totals: Mapping[str, int], label: str, *, show: bool = True) -> None:
        self.totals = dict(totals)
        self.done = dict.fromkeys(totals, 0)
        self.seconds = dict.fromkeys(totals, 0.0)
        self.bar = tqdm(
            total=PARTS, desc=label, disable=not show, dynamic_ncols=True, mininterval=0.5,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}{postfix}",
        )  # fmt: skip
        self.stage_label = label
        self._since = time.monotonic()

    def __enter__(self) -> "Progress":
        """Return the bar."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the bar."""
        self.bar.close()

    @property
    def shown(self) -> bool:
        """Whether it is shown."""
        return not self.bar.disable

    @contextmanager
    def stage(self, kind: str, units: int, label: str) -> Iterator[None]:
        """Time work of one kind; what of it was not done, as it was there already, is not due.

        Args:
            kind: The kind.
            units: Units that were expected of it in ``totals``.
            label: What it is called while it lasts.
        """
        before, self._since = self.done[kind], time.monotonic()
        self.stage_label = label
        self.bar.set_postfix_str(self.state)
        try:
            yield
        finally:
            self.totals[kind] -= units - (self.done[kind] - before)
            self.add(kind, 0)

    def add(self, kind: str, units: int) -> None:
        """Count units that were done since the last call, or the beginning of the stage."""
        now = time.monotonic()
        self.seconds[kind] += now - self._since
        self._since = now
        self.done[kind] += units
        left, spent = self.left, sum(self.seconds.values())
        if left is not None:
            self.bar.n = round(PARTS * spent / max(spent + left, 1e-9))
        self.bar.set_postfix_str(self.state, refresh=False)
        self.bar.update(0)

    @property
    def left(self) -> float | None:
        """Seconds that are left; None as long as a rate is unknown."""
        left = 0.0
        for kind, total in self.totals.items():
            due = max(0, total - self.done[kind])
            if due and not self.done[kind]:
                return None
            left += due * self.seconds[kind] / max(1, self.done[kind])
        return left

    @property
    def state(self) -> str:
        """Such as ``fit npe-0, 840 presets/s, 150 sounds/s, 1:02:00 left``."""
        parts = [self.stage_label] + [
            f"{done / self.seconds[kind]:.3g} {kind}/s"
            for kind, done in self.done.items()
            if done and self.seconds[kind]
        ]
        if self.left is not None:
            parts.append(f"{tqdm.format_interval(self.left)} left")
        return ", ".join(parts)

"""Whether the search of the explorer ends as near as `infer`: the same sounds, as many renders.

    python -m benchmarks.page_search RUN SOUND ...

Each sound is searched for twice with the same budget: by what answers the page, without a browser,
and by what `infer` calls. The distance is that of the first preset of each answer.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from pyrosynth.cli.process import run_program
from pyrosynth.errors import InputError
from pyrosynth.inference.hearing import Hearing, refine
from pyrosynth.inference.posterior import Posterior
from pyrosynth.live.engine import Live
from pyrosynth.live.page_state import PageState
from pyrosynth.live.searching import GrowingSearch


def page_answer(page: PageState, ways: Sequence[Hearing], budget: int) -> dict[str, Any]:
    """Return the first candidate that the page shows when its search has ended."""
    shown: list[dict[str, Any]] = []

    def tell(news: dict[str, Any]) -> bool:
        shown[:] = news.get("candidates", shown)
        return True

    GrowingSearch(page, tell).run(ways, budget=budget)
    return shown[0]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("sounds", nargs="+", type=Path)
    parser.add_argument("--budget", type=int, default=256, help="sounds to render in a search")
    given = parser.parse_args()

    posterior, differences = Posterior.load(given.run), []
    print("| sound | page | infer | difference | same preset |\n|---|---|---|---|---|")
    with Live(posterior) as live, posterior.renderer(1, keep_audio=True) as renderer:
        page = PageState(live, given.run)
        for file in tqdm(given.sounds):
            try:
                ways = live.files.upload(file.read_bytes(), file.name)
            except InputError as error:
                tqdm.write(f"{file}: {error}")
                continue
            shown = page_answer(page, ways, given.budget)
            match, _, _ = refine(posterior, posterior.hear(file), renderer, given.budget)
            same = np.array_equal(shown["values"], match.values[0])
            differences.append(shown["lsd_db"] - match.lsd[0])
            print(
                f"| {file.stem} | {shown['lsd_db']:.2f} dB | {match.lsd[0]:.2f} dB "
                f"| {differences[-1]:+.2f} dB | {'yes' if same else 'no'} |",
                flush=True,
            )
    spread = np.std(differences, ddof=1) / np.sqrt(len(differences))
    print(f"| mean of {len(differences)} | | | {np.mean(differences):+.3f} ± {spread:.3f} dB | |")


if __name__ == "__main__":
    run_program(main)

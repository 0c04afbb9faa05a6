"""The folder of one exploration of a run: data, pictures, sounds, presets, a report."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from tqdm.auto import tqdm

from pyrosynth._version import __version__
from pyrosynth.audio.io import save_audio
from pyrosynth.errors import InputError
from pyrosynth.explore.latent_space import Atlas
from pyrosynth.explore.macros import Macro, macro
from pyrosynth.explore.morphing import Morph, morph
from pyrosynth.explore.neighbors import Sounds, around, gaps, imagine, neighbours
from pyrosynth.explore.projection import By, Map, map
from pyrosynth.explore.ranking import Macros, macros
from pyrosynth.explore.report import PICTURE, explore_report
from pyrosynth.files import whole, writable, write_bytes
from pyrosynth.inference.posterior import Posterior
from pyrosynth.plots import png
from pyrosynth.synths.presets import Preset
from pyrosynth.training.run import run_hash

DATA, FACTS = "data.nc", "facts.json"
KNOBS, SWEEP, PRESETS = "knobs.csv", "sounds.wav", "presets.json"
N_SOUNDS = 8
CENTERS = 16  # that the axes which are swept are played around, to name them
PAUSE_SECONDS = 0.25  # between the sounds of one file


class Found(Protocol):
    """What the functions of `pyrosynth.explore` return."""

    @property
    def data(self) -> Any:
        """Labelled data."""

    def plot(self) -> Any:
        """Draw it."""

    def facts(self) -> Any:
        """Describe it, JSON-ready."""


T = TypeVar("T", bound=Found)


@dataclass
class Folder:
    """Where the parts of an exploration are kept, and found again by the next call.

    Args:
        path: The folder.
        posterior: The run.
        made: What everything depends on.
        bar: Counts the parts.
    """

    path: Path
    posterior: Posterior
    made: dict[str, Any]
    bar: "tqdm[Any]"

    def part(self, name: str, kind: type[T], make: Callable[[], T], **settings: Any) -> T:
        """Return a part: that of an earlier call with the same settings, else a new one.

        Args:
            name: Of its folder.
            kind: Its class.
            make: Computes it.
            **settings: What it depends on beside ``made``.
        """
        import xarray

        self.bar.set_postfix_str(name)
        made = json.dumps({**self.made, **settings}, sort_keys=True)
        file = self.path / name / DATA
        if file.is_file():
            try:
                data = xarray.load_dataset(file, engine="h5netcdf")
            except (OSError, ValueError) as error:
                raise InputError(
                    f"'{file}' is damaged ({error}); delete '{file.parent}' and explore again"
                ) from error
            if data.attrs.pop("made", None) == made:
                self.bar.update()
                return kind(data)  # type: ignore[call-arg]
        elif file.parent.exists() and not (file.parent / FACTS).is_file():
            raise InputError(
                f"'{file.parent}' holds something else than a part of an exploration; give "
                "another folder"
            )
        found = make()
        with whole(file.parent, "explore") as folder:
            found.data.assign_attrs(made=made).to_netcdf(folder / DATA, engine="h5netcdf")
            (folder / PICTURE).write_bytes(png(found.plot()))
            (folder / FACTS).write_text(json.dumps(found.facts(), indent=1) + "\n")
            if isinstance(found, Macro):
                found.mapping().to_csv(folder / KNOBS, index=False)
            if isinstance(found, Sounds):
                self._write_presets(found, folder)
            if "audio" in found.data:
                self._write_sounds(found.data["audio"].values, folder / SWEEP)
        self.bar.update()
        return found

    def _write_sounds(self, audio: Any, path: Path) -> None:
        """Write sounds one after the other into one file."""
        rate = self.posterior.run.features.sample_rate
        pause = np.zeros((len(audio), int(PAUSE_SECONDS * rate)), np.float32)
        save_audio(path, np.concatenate([audio, pause], axis=1).ravel(), rate)

    def _write_presets(self, found: Sounds, folder: Path) -> None:
        """Write presets for any host, and in the synth's own format if it has one."""
        space, synth = self.posterior.run.full_space, self.posterior.synth
        presets = [
            Preset.from_array(space, values, str(name), "pyrosynth")
            for name, values in zip(
                found.data["preset"].values, found.data["value"].values, strict=True
            )
        ]
        content = {
            "synth": synth.name,
            "note": self.posterior.run.note.to_json(),
            "presets": [{"name": p.name, "parameters": dict(p.values)} for p in presets],
        }
        (folder / PRESETS).write_text(json.dumps(content, indent=1) + "\n")
        synth.write_bank(folder / "presets.bank", presets)


def explore(
    posterior: Posterior,
    out: str | Path,
    *,
    at: str | None = None,
    sound: str | Path | None = None,
    presets: Sequence[str] = (),
    axes: Sequence[str] = (),
    n_macros: int = 4,
    draws: int = 8,
    by: By = "pca",
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Explore a run and write what is found; called again, it goes on where it was.

    Args:
        posterior: The run.
        out: The folder: one folder for each part, with ``data.nc``, ``picture.png``,
            ``facts.json``, sounds, presets and knob mappings; ``ranking.csv``, ``facts.json`` and
            ``report.html``.
        at: The known preset that macros and neighbourhoods are around; by default macros are
            around the origin, neighbourhoods around the first of ``presets``.
        sound: A sound file whose nearest presets are looked for, instead of those of ``at``.
        presets: The known presets to morph through; by default two chosen by ``seed``.
        axes: Axes to sweep; by default the most audible ones, and those of all tags.
        n_macros: How many of the most audible ones.
        draws: Draws of the posterior for the bands of each sweep.
        by: How the map is made: ``pca`` or ``umap``.
        seed: Of everything random.
        workers: Processes that render; all cores if left out.
        progress: Whether to show a progress bar.

    Returns:
        What was found, JSON-ready.

    Raises:
        InputError: A preset, an axis or the sound cannot be used, a number is out of range, or
            the folder cannot be written.
    """
    if n_macros < 0 or draws < 0:
        raise InputError(f"{n_macros} macros, {draws} draws: none may be negative")
    atlas = Atlas(posterior)
    chosen = np.random.default_rng(seed).permutation(len(atlas))[:2]
    through = list(presets) or [atlas.names[i] for i in chosen]
    for name in (*through, *([] if at is None else [at])):
        atlas.preset(name)
    for name in axes:
        atlas.axis(name)
    if len(through) < 2:
        raise InputError(f"a morph through {through[0]} alone: give at least two presets")
    if sound is not None:
        posterior.listen(sound)
    chart = map(posterior, by=by, seed=seed)
    center = at or through[0]
    made = {"pyrosynth": __version__, "run": run_hash(posterior), "seed": seed}
    path = writable(out)
    ranking = macros(posterior, seed=seed)
    swept = list(axes) or [*ranking.data["axis"].values[:n_macros].tolist(), *atlas.tags]
    swept = list(dict.fromkeys(swept))
    total = len(swept) + 6 + bool(swept)
    with (
        posterior.renderer(workers, keep_audio=True) as renderer,
        tqdm(total=total, desc="explore", unit="part", disable=not progress) as bar,
    ):
        folder = Folder(path, posterior, json.loads(json.dumps(made)), bar)
        way = "sound" if posterior.predicts else "latent"
        sweeps = {
            axis: folder.part(
                f"macro-{axis}", Macro,
                lambda axis=axis: macro(posterior, axis, renderer, at=at, draws=draws, seed=seed),  # type: ignore[misc]
                at=at, draws=draws,
            )
            for axis in swept
        }  # fmt: skip
        if swept:  # named by what was heard
            heard = folder.part(
                "heard", Macros,
                lambda: macros(posterior, swept, renderer, centers=CENTERS, seed=seed),
                of=swept, centers=CENTERS,
            )  # fmt: skip
            titles = {row["axis"]: row for row in heard.facts()}
        parts: dict[str, Any] = {
            "map": folder.part("map", Map, lambda: chart, by=by),
            "neighbours": folder.part(
                "neighbours", Sounds, lambda: neighbours(posterior, sound or center, N_SOUNDS),
                of=str(sound or center), size=Path(sound).stat().st_size if sound else 0,
            ),
            "neighbourhood": folder.part(
                "neighbourhood", Sounds,
                lambda: around(posterior, center, N_SOUNDS, renderer, seed=seed), of=center,
            ),
            "morph": folder.part(
                "morph", Morph, lambda: morph(posterior, through, renderer, way=way), of=through,  # type: ignore[arg-type]
            ),
            "imagined": folder.part(
                "imagined", Sounds, lambda: imagine(posterior, N_SOUNDS, renderer, seed=seed)
            ),
            "gaps": folder.part(
                "gaps", Sounds, lambda: gaps(posterior, N_SOUNDS, renderer, seed=seed)
            ),
        }  # fmt: skip
    facts = {
        "presets": len(atlas),
        "made": made,
        "ranking": ranking.facts(),
        "macros": {axis: {**titles[axis], **sweep.facts()} for axis, sweep in sweeps.items()},
        **{name: part.facts() for name, part in parts.items() if name != "map"},
    }
    _table(ranking).to_csv(path / "ranking.csv", index=False)
    write_bytes(path / "ranking.png", png(ranking.plot()))
    write_bytes(path / FACTS, (json.dumps(facts, indent=1) + "\n").encode())
    named = {axis: titles[axis]["title"] for axis in swept}
    explore_report(path / "report.html", atlas, ranking, sweeps, named, parts)
    return facts


def _table(ranking: Macros) -> Any:
    """Return the ranking as a table."""
    import pandas as pd

    rows = [{**row, **row.pop("change")} for row in ranking.facts()]
    return pd.DataFrame(rows).drop(columns="follows")

"""The command `explore`: one folder of data, figures, sounds and presets, and a report."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from tqdm.auto import tqdm

from pyrosynth._version import __version__
from pyrosynth.audio.io import save_audio
from pyrosynth.errors import MOST, InputError, SynthError, integer, not_opened, unseen
from pyrosynth.explore.exploration_report import PICTURE, part_of, write_exploration
from pyrosynth.explore.latent_space import LatentSpace
from pyrosynth.explore.morphing import Method as Interpolation
from pyrosynth.explore.morphing import Morph, morph, usable_method
from pyrosynth.explore.neighbors import (
    PresetSet,
    heard_words,
    nearest_presets,
    novel_presets,
    sample_around,
    sample_prior,
)
from pyrosynth.explore.projection import Method, Projection, project, require_projection
from pyrosynth.explore.ranking import AxisRanking, rank_axes
from pyrosynth.explore.result import Result
from pyrosynth.explore.traversal import Traversal, traverse
from pyrosynth.files import checked_path, claim, whole, write_bytes
from pyrosynth.inference.posterior import Posterior
from pyrosynth.plots import png
from pyrosynth.synths.banks import write_presets
from pyrosynth.training.identity import run_hash

DATA, FACTS = "data.nc", "facts.json"
MISSING = "missing"  # in the attributes of a part: which presets the synth's format refuses
MAPPING, SOUNDS, PRESETS = "mapping.csv", "sounds.wav", "presets.json"
N_PRESETS = 8
CENTERS = 16  # around which the swept axes are rendered, to name them
PAUSE_SECONDS = 0.25  # between the sounds of one file

R = TypeVar("R", bound=Result)


@dataclass
class Folder:
    """Where the parts of an exploration are kept, and found again by the next call.

    Args:
        path: The folder.
        posterior: The run.
        settings: What everything depends on.
        bar: Counts the parts.

    Attributes:
        failed: Why a part could not be made, by its name.
        rendered: Whether the synth gave a sound for any part.
    """

    path: Path
    posterior: Posterior
    settings: Mapping[str, Any]
    bar: "tqdm[Any]"
    failed: dict[str, str] = field(default_factory=dict)
    rendered: bool = False

    def part(self, name: str, kind: type[R], make: Callable[[], R], **settings: Any) -> R | None:
        """Return a part: that of an earlier call with the same settings, else a new one.

        Args:
            name: Of its folder.
            kind: Its class.
            make: Computes it.
            **settings: What it depends on beside those of the folder.

        Returns:
            The part, None if it failed.

        Raises:
            SynthError: A second part failed before the synth gave a sound for any.
        """
        self.bar.set_postfix_str(name)
        made = json.dumps({**self.settings, **settings}, sort_keys=True)
        try:
            result, damaged = self._kept(name, kind, made)
            if result is None:
                result = make()
                with whole(self.path / name, "explore", damaged=damaged) as folder:
                    self._write(result, folder, made)
            if missing := result.data.attrs.pop(MISSING, ""):
                self.failed[f"{name} presets"] = missing
            self.rendered |= "reason" in result.data
        except (SynthError, InputError) as error:  # such as of a place where no preset sounds
            if isinstance(error, SynthError) and self.failed and not self.rendered:
                raise
            self.failed[name], result = str(error), None
        self.bar.update()
        return result

    def _kept(self, name: str, kind: type[R], made: str) -> tuple[R | None, tuple[str, ...]]:
        """Return a part that an earlier call wrote, and what is damaged, to be made again.

        Raises:
            InputError: It may not be read, and may be whole.
        """
        import xarray

        file = self.path / name / DATA
        try:
            with file.open("rb"):  # which names the file it may not open, as HDF5 does not
                data = xarray.load_dataset(file, engine="h5netcdf")
        except PermissionError as error:
            raise InputError(not_opened(error)) from error
        except (OSError, ValueError, KeyError, RuntimeError):
            return None, (DATA,)
        return (kind(data) if data.attrs.pop("made", None) == made else None), ()

    def _write(self, result: Result, folder: Path, made: str) -> None:
        if isinstance(result, PresetSet) and (missing := self._write_presets(result, folder)):
            result.data.attrs[MISSING] = missing
        # In memory first: HDF5 ends the process if the disk fills while it closes a file.
        content = result.data.assign_attrs(made=made).to_netcdf(engine="h5netcdf")
        (folder / DATA).write_bytes(content)
        (folder / PICTURE).write_bytes(png(result.plot()))
        (folder / FACTS).write_text(json.dumps(result.facts(), indent=1) + "\n")
        if isinstance(result, Traversal):
            result.mapping().to_csv(folder / MAPPING, index=False)
        if "audio" in result.data:
            self._write_sounds(result.data["audio"].values, folder / SOUNDS)

    def _write_sounds(self, audio: Any, path: Path) -> None:
        """Write sounds one after the other into one file."""
        rate = self.posterior.run.features.sample_rate
        pause = np.zeros((len(audio), int(PAUSE_SECONDS * rate)), np.float32)
        save_audio(path, np.concatenate([audio, pause], axis=1).ravel(), rate)

    def _write_presets(self, result: PresetSet, folder: Path) -> str:
        """Write presets for any host, and in the synth's own format; say which it refuses."""
        presets, synth = result.presets(), self.posterior.synth
        content = {
            "synth": synth.name,
            "note": self.posterior.run.note.to_json(),
            "presets": [{"name": p.name, "parameters": dict(p.values)} for p in presets],
        }
        (folder / PRESETS).write_text(json.dumps(content, indent=1) + "\n")
        return write_presets(synth, folder / f"presets{synth.preset_suffix}", presets)[1]


def explore(
    posterior: Posterior,
    out: str | Path,
    *,
    at: str | None = None,
    sound: str | Path | None = None,
    presets: Sequence[str] = (),
    axes: Sequence[str] = (),
    n_axes: int = 4,
    draws: int = 8,
    method: Method = "pca",
    interpolation: Interpolation | None = None,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Explore a run and write what is found; called again, it goes on where it was.

    Args:
        posterior: The run.
        out: The folder: one folder for each part, with ``data.nc``, ``picture.png``,
            ``facts.json``, sounds, presets and tables for a host's macro knob; ``ranking.csv``,
            ``facts.json`` and ``report.html``.
        at: The known preset that traversals and variations are around; by default traversals are
            around the origin, variations around the first of ``presets``.
        sound: A sound file of any pitch, whose nearest presets are looked for instead of those of
            ``at``; what was found has ``sound``, which says what note plays it.
        presets: The known presets to morph through; by default two chosen by ``seed``.
        axes: Axes to sweep; by default the most audible ones, and those of all tags.
        n_axes: How many of the most audible ones.
        draws: Draws of the posterior for the bands of each traversal.
        method: How the presets are laid out on a plane: ``pca`` or ``umap``.
        interpolation: How the morph is made, see `morph`; by default ``rendered``.
        seed: Of everything random.
        workers: Processes that render; all cores if left out.
        progress: Whether to show a progress bar.

    Returns:
        What was found, JSON-ready. A part that cannot be made costs only itself; ``failed`` says
        why, by the names of the parts.

    Raises:
        InputError: A preset, an axis or the sound cannot be used, a number is out of range, or
            the folder holds something else or cannot be written.
        SynthError: The synth gives no sound for any part.
    """
    n_axes, draws = integer("n_axes", n_axes, 0), integer("draws", draws, 0, MOST)
    space = LatentSpace(posterior)
    chosen = np.random.default_rng(seed).permutation(len(space))[:2]
    through = list(presets) or [space.names[i] for i in chosen]
    for option, given in (("--axis", axes), ("--morph", presets)):
        for name in given:
            if "," in str(name) and name not in space.names:
                each = f"{option} A {option} B"
                raise InputError(f"'{name}' has a comma: give each by itself, as in {each}")
    for name in (*through, *([] if at is None else [at])):
        space.index(name)
    for name in axes:
        space.axis(name)
    if len(through) < 2:
        raise InputError(f"a morph through {through[0]} alone: give at least two presets")
    interpolation = usable_method(posterior, interpolation, rendering=True)
    center = at or through[0]
    if sound is not None and str(sound) in space.names and not Path(str(sound)).exists():
        raise InputError(f"'{sound}' is a known preset, no sound file; give it as at (--at)")
    asked = center if sound is None else checked_path("sound file", sound)
    nearest = nearest_presets(posterior, asked)
    require_projection(method)
    settings = {"pyrosynth": __version__, "run": run_hash(posterior), "seed": seed}
    with claim(out, "explore") as path:
        ranking = rank_axes(posterior, seed=seed)
        unranked = ranking.failed
        swept = list(dict.fromkeys(axes or swept_by_default(ranking, n_axes, space)))
        total = len(swept) + 6 + bool(swept)
        with (
            posterior.renderer(workers, keep_audio=True) as renderer,
            tqdm(total=total, desc="explore", unit="part", disable=unseen(progress)) as bar,
        ):
            folder = Folder(path, posterior, settings, bar)
            sweeps = {
                axis: folder.part(
                    part_of(axis), Traversal,
                    lambda axis=axis: traverse(  # type: ignore[misc]
                        posterior, axis, renderer, at=at, draws=draws, seed=seed
                    ),
                    at=at, draws=draws,
                )
                for axis in swept
            }  # fmt: skip
            if swept:  # measured and named by what the synth renders
                rendered = folder.part(
                    "axes", AxisRanking,
                    lambda: rank_axes(posterior, swept, renderer, centers=CENTERS, seed=seed),
                    of=swept, centers=CENTERS,
                )  # fmt: skip
                if rendered is not None:
                    folder.failed |= {f"axes {axis}": why for axis, why in rendered.failed.items()}
                    ranking = ranking.updated(rendered)
            made: dict[str, Result | None] = {
                "projection": folder.part(
                    "projection", Projection,
                    lambda: project(posterior, method=method, seed=seed),
                    method=method,
                ),
                "nearest": folder.part(
                    "nearest", PresetSet,
                    lambda: nearest,
                    of=str(asked), found=nearest.facts(), **nearest.heard,
                ),
                "variations": folder.part(
                    "variations", PresetSet,
                    lambda: sample_around(posterior, center, N_PRESETS, renderer, seed=seed),
                    of=center,
                ),
                "morph": folder.part(
                    "morph", Morph,
                    lambda: morph(posterior, through, renderer, method=interpolation),
                    of=through, method=interpolation,
                ),
                "prior": folder.part(
                    "prior", PresetSet,
                    lambda: sample_prior(posterior, N_PRESETS, renderer, seed=seed),
                ),
                "novel": folder.part(
                    "novel", PresetSet,
                    lambda: novel_presets(posterior, N_PRESETS, renderer, seed=seed),
                ),
            }  # fmt: skip
        ranked = {row["axis"]: row for row in ranking.facts()}
        left_out = {f"axes {a}": why for a, why in unranked.items() if a not in ranked}
        traversals = {axis: t for axis, t in sweeps.items() if t is not None and axis in ranked}
        parts = {name: part for name, part in made.items() if part is not None}
        facts = {
            "presets": len(space),
            "made": settings,
            "ranking": list(ranked.values()),
            "traversals": {axis: {**ranked[axis], **t.facts()} for axis, t in traversals.items()},
            **{name: part.facts() for name, part in parts.items() if name != "projection"},
            **({"sound": {"file": str(sound), **nearest.heard}} if sound is not None else {}),
            "failed": {**left_out, **folder.failed},
        }
        table = _table(ranking).to_csv(index=False)
        write_bytes(path / "ranking.csv", table.encode())
        write_bytes(path / "ranking.png", png(ranking.plot()))
        write_bytes(path / FACTS, (json.dumps(facts, indent=1) + "\n").encode())
        write_exploration(path / "report.html", space, ranking, traversals, parts)
    return facts


def told(facts: Mapping[str, Any]) -> list[str]:
    """Say in lines what an exploration found: the axes, and the nearest preset of a sound."""
    lines = [
        f"{name}: {row['title']}, {row['effect_db']:.1f} dB; {row['evidence']}"
        for name, row in facts["traversals"].items()
    ]
    if (sound := facts.get("sound")) and "nearest" in facts:
        near = facts["nearest"][0]
        said = f"{sound['file']}: nearest to {near['name']}, {near['lsd_db']:.2f} dB"
        lines.append("; ".join(filter(None, (said, heard_words(sound)))))
    return lines


def swept_by_default(ranking: AxisRanking, n_axes: int, space: LatentSpace) -> list[str]:
    """Return the axes that are swept unless some are named: the most audible, and all of tags."""
    return [*ranking.data["axis"].values[:n_axes].tolist(), *space.tags]


def _table(ranking: AxisRanking) -> Any:
    """Return the ranking as a table."""
    import pandas as pd

    rows = [{**row, **row.pop("change")} for row in ranking.facts()]
    return pd.DataFrame(rows).drop(columns="monotony")

"""The report on the tag axes of a run: measures, steering, cost; tables, figures, sounds."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth._version import __version__
from pyrosynth.audio.descriptors import SoundSummary
from pyrosynth.data.dataset import Dataset
from pyrosynth.data.labeling import DESCRIBED_UNITS
from pyrosynth.data.tags import Tag
from pyrosynth.errors import DataError, InputError, counted
from pyrosynth.evaluation import tag_figures
from pyrosynth.evaluation.disentanglement import (
    AxisMeasures,
    coordinates,
    measure,
    require_axes,
)
from pyrosynth.evaluation.known_tags import directions, known_tags
from pyrosynth.evaluation.runner import EvaluationRunner
from pyrosynth.evaluation.steering import (
    AMOUNTS,
    CENTER,
    DESCRIPTORS,
    DOWN,
    UP,
    Steering,
    render_steering,
    steer,
)
from pyrosynth.evaluation.tables import AXES_LEGEND, axes_table
from pyrosynth.evaluation.targets import held_out
from pyrosynth.files import claim, require_same, write_bytes
from pyrosynth.inference.posterior import Posterior
from pyrosynth.plots import png
from pyrosynth.report import (
    Block,
    heading,
    picture,
    player,
    section,
    table,
    wav_sources,
    write_report,
)
from pyrosynth.statistics import Interval, paired_difference, relative_difference
from pyrosynth.synths.rendering import Renderer
from pyrosynth.training.identity import require_same_contract, run_hash
from pyrosynth.training.learnt import require_unseen

if TYPE_CHECKING:
    from pandas import DataFrame

Float = NDArray[np.float64]

N_EXAMPLES = 4  # presets in the report, with sounds
ENDS = (DOWN, CENTER, UP)


@dataclass(frozen=True)
class TagAxesResult:
    """The result of a report on tag axes.

    Attributes:
        folder: Where ``report.html``, ``axes.csv``, ``axes.json`` and the figures are.
        table: One row for each axis.
        measures: Of the axes, on all held-out presets.
        steering: What moving presets along the axes does.
        cost: What the axes cost, if a run without tags was given, see `tag_cost`.
        facts: All figures, JSON-ready.
        failures: A line that says how many presets are left out of ``steering``, if any are.
    """

    folder: Path
    table: "DataFrame"
    measures: AxisMeasures
    steering: Steering
    cost: dict[str, Any] | None
    facts: dict[str, Any]
    failures: list[str]


def report_axes(
    posterior: Posterior,
    dataset: Dataset,
    out: str | Path,
    *,
    tags: str | Path | None = None,
    beside: Posterior | None = None,
    n_presets: int = 32,
    draws: int = 16,
    split: str = "test",
    seed: int = 0,
    workers: int | None = None,
    force: bool = False,
    progress: bool = True,
) -> TagAxesResult:
    """Measure the tag axes of a run on held-out human presets, steer along them, and report.

    What was rendered is cached below ``out``; called again, it goes on where it was.

    Args:
        posterior: The run.
        dataset: The dataset it was fitted on.
        out: Folder for the results.
        tags: CSV file of tags that holds those of held-out presets; else they are made from the
            sounds.
        beside: A run fitted alike, without tags, to say what they cost; it is met on ``test``.
        n_presets: Presets moved along the axes, and met by both runs, picked at random.
        draws: Draws of which the nearest counts where runs are compared.
        split: Which presets: ``test``, or ``valid`` while one still chooses between models.
        seed: Of everything random.
        workers: Processes that render; all cores if left out.
        force: Whether results of another run in the folder may be replaced.
        progress: Whether to show progress bars.

    Returns:
        The result, which has been written too.

    Raises:
        InputError: The run has no tag axes, the tags lack one, an argument is out of range, or
            the folder cannot be written or holds something else.
        DataError: The dataset is of another synth, note, parameters or features, or it has no
            held-out presets.
        SynthError: No preset sounds at all steps along any axis.
    """
    if n_presets < 2 or draws < 1:
        raise InputError(
            f"{counted(n_presets, 'preset')}, {counted(draws, 'draw')}: give at least 2 and 1"
        )
    run = posterior.run
    require_axes(run)
    require_same_contract(run, dataset)
    test_rows = dataset.rows(split, human_only=True)
    if len(test_rows) < 2:
        raise DataError(
            f"dataset '{dataset.path}' has {counted(len(test_rows), 'held-out preset')}, "
            "of which axes need at least 2; render a dataset with more presets of people"
        )
    for one in (posterior, *([beside] if beside else [])):
        require_unseen(one.run, one.bank, dataset.values(test_rows))
    with claim(out, "axes") as folder, posterior.renderer(workers, keep_audio=True) as renderer:
        require_same(folder, {"run": run_hash(posterior)}, force=force)
        truth = known_tags(dataset, tags, progress)
        assert truth.descriptors is not None
        ways = directions(truth)
        measures = measure(
            run, dataset, replace(truth, descriptors=truth.descriptors * ways), split
        )
        rows = np.random.default_rng(seed).permutation(test_rows)[:n_presets]
        cache = folder / "cache"
        steering = render_steering(posterior, dataset, rows, renderer, cache, progress=progress)
        falling = tuple(name for name, way in zip(truth.names, ways, strict=True) if way < 0)
        steering, cost = replace(steering, falling=falling), None
        if beside is not None:
            cost = tag_cost(
                posterior, beside, dataset, cache, n_presets=n_presets, draws=draws, seed=seed,
                workers=workers, progress=progress,
            )  # fmt: skip
        columns = [truth.names.index(name) for name in measures.tags]
        its_tags = [truth.tags[i] for i in columns]
        frame = axes_frame(its_tags, measures, steering)
        facts = {
            "pyrosynth": __version__, "run": run_hash(posterior), "split": split, "seed": seed,
            "axes": measures.to_json(), "steering": steering.to_json(),
            "cost": cost,
        }  # fmt: skip
        drawn = {
            "axes": tag_figures.tag_axes(
                measures,
                coordinates(run, dataset, test_rows)[:, : len(columns)],
                truth.descriptors[test_rows][:, columns],
                truth.labels[test_rows][:, columns],
                [tag.classes for tag in its_tags],
            ),
            "leakage": tag_figures.leakage(measures, steering),
            "steering": tag_figures.steering(steering),
        }
        pictures = {name: png(axes) for name, axes in drawn.items()}
        write_bytes(folder / "axes.json", (json.dumps(facts, indent=1) + "\n").encode())
        write_bytes(folder / "axes.csv", frame.to_csv(index=False).encode())
        for name, content in pictures.items():
            write_bytes(folder / f"{name}.png", content)
        failures = steering.failures
        result = TagAxesResult(folder, frame, measures, steering, cost, facts, failures)
        _write_report(result, posterior, its_tags, pictures, dataset.values(rows), renderer)
    return result


def tag_cost(
    posterior: Posterior,
    other: Posterior,
    dataset: Dataset,
    folder: str | Path,
    *,
    n_presets: int | None = None,
    draws: int = 16,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Let a run with tags and one without meet the same held-out presets by their nearest draws.

    Args:
        posterior: The run with tags.
        other: One fitted alike, without.
        dataset: The dataset both were fitted on.
        folder: Where results are cached.
        n_presets: Number of held-out presets, picked at random; None for all.
        draws: Draws of each.
        seed: Of everything random.
        workers: Processes that render; all cores if left out.
        progress: Whether to show progress bars.

    Returns:
        Variant of the other run, numbers of presets and draws, mean distances in dB, their
        difference and the share by which the run's is larger, both with intervals; JSON-ready.

    Raises:
        DataError: A run is of another synth, note, parameters or features, or there are no
            held-out presets.
    """
    targets, spec, nearest = held_out(dataset, n_presets, seed), posterior.run.features, []
    for one in (posterior, other):
        require_same_contract(one.run, dataset)
        assert targets.values is not None  # of a dataset
        require_unseen(one.run, one.bank, targets.values)
    with Renderer(
        posterior.synth, posterior.run.note, spec.sample_rate, workers=workers,
        transform=SoundSummary(spec), keep_audio=False,
    ) as renderer:  # fmt: skip
        for one in (posterior, other):
            runner = EvaluationRunner(targets, Path(folder), renderer, renderer, seed, progress)
            rendered = runner.render_draws(one, draws, lambda lsd: ())
            nearest.append(rendered["lsd"][:, :draws].min(axis=1))
    lsd, other_lsd = nearest
    return {
        "beside": type(other.variant).__name__, "n_presets": len(lsd), "draws": draws,
        "lsd_db": float(lsd.mean()), "other_lsd_db": float(other_lsd.mean()),
        "difference_db": list(paired_difference(lsd, other_lsd)),
        "share": list(relative_difference(lsd, other_lsd)),
    }  # fmt: skip


def axes_frame(tags: Sequence[Tag], measures: AxisMeasures, steering: Steering) -> "DataFrame":
    """Return the figures of each axis, one row each; NaN where no descriptor is behind it."""
    import pandas as pd

    by_tag = measures.to_json()["tags"]
    rows = []
    for i, tag in enumerate(tags):
        own = steering.own(i)
        others = [j for j in range(len(DESCRIPTORS)) if j != own]
        rows.append(
            {
                "tag": tag.name, "classes": "/".join(tag.classes), **by_tag[tag.name],
                "monotony": steering.monotony[i], "rising": steering.rising[i],
                "right_way": steering.right_way[i],
                "own_change": np.nan if own is None else steering.way(i) * steering.change[i, own],
                "other_change": np.abs(steering.change[i, others]).max(),
                "other_size": steering.size[i, others].max(),
                "n_left_out": int((~steering.sounding[i]).sum()),
            }
        )  # fmt: skip
    frame = pd.DataFrame(rows)
    measured = frame.columns.drop(["tag", "classes", "n_left_out"])
    return frame.astype(dict.fromkeys(measured, float))


def _write_report(
    result: TagAxesResult,
    posterior: Posterior,
    tags: Sequence[Tag],
    drawn: Mapping[str, bytes],
    values: Float,
    renderer: Renderer,
) -> None:
    """Render some presets (n, n_params) down, as they are and up each axis; write the report."""
    measures, cost = result.measures, result.cost
    low, high = measures.to_json()["spread"]
    facts = {
        "axes": str(len(tags)),
        "held-out presets": str(measures.n_presets),
        "information gap (MIG)": f"{measures.mig:.2f}",
        "spread of the rest": f"{low:.2f} to {high:.2f}",
    }
    left_out = (f"{line}." for line in result.failures)
    name, synth = type(posterior.variant).__name__, posterior.synth.name
    sections = [
        section(
            "How well they do",
            table(*axes_table(result.table), note=" ".join([AXES_LEGEND, *left_out])),
            picture(
                drawn["axes"], "The descriptor behind each tag against its axis",
                "Each point is a held-out preset. Blue: of the first class of the tag, orange: "
                "of the last, grey: of neither or unknown.",
            ),
        ),
        section(
            "What else moves",
            picture(
                drawn["leakage"], "Leakage",
                "Left: what each axis follows. Middle: how related the descriptors are among "
                "presets. Right: what moving presets from −1 to +1 changes on average, as "
                "rendered.",
            ),
            picture(
                drawn["steering"], "Descriptors along each axis",
                "Presets moved along each axis and rendered: mean change of each descriptor; "
                "bold: its own; grey: its own, preset by preset.",
            ),
        ),
        section("Listen", *_examples(posterior, tags, result.steering, values, renderer)),
    ]  # fmt: skip
    if cost is not None:
        other, of = cost["beside"], f"{counted(cost['n_presets'], 'held-out preset')}"
        share, low, high = (100 * number for number in cost["share"])
        facts[f"distance, beside {other}"] = f"{share:+.1f} %"
        note = (
            f"By {share:+.1f} % [{low:+.1f} to {high:+.1f}] the distance is larger than beside "
            f"it: {Interval(*cost['difference_db'])} dB, paired over the presets (95 % bootstrap "
            f"intervals); of the nearest of {counted(cost['draws'], 'draw')}."
        )
        cells = [[name, f"{cost['lsd_db']:.2f}"], [other, f"{cost['other_lsd_db']:.2f}"]]
        costs = table(("model", f"LSD dB ({of})"), cells, note=note)
        sections.append(section("What they cost", costs))
    lead = (
        f"The axes that the model '{name}' of {synth} "
        f"has learnt for {', '.join(tag.name for tag in tags)}."
    )
    write_report(result.folder / "report.html", f"Tag axes of {synth}", lead, facts, sections)


def _examples(
    posterior: Posterior,
    tags: Sequence[Tag],
    steering: Steering,
    values: Float,
    renderer: Renderer,
) -> list[Block]:
    """Return players of presets that sound before and after steering, with all descriptors."""
    blocks: list[Block] = []
    for i, tag in enumerate(tags):
        chosen = np.flatnonzero(steering.sounding[i])[:N_EXAMPLES].tolist()
        if not chosen:
            continue
        moved = steer(posterior, values[chosen], tag.name, AMOUNTS[list(ENDS), None])
        rendered = renderer.render(moved.swapaxes(0, 1).reshape(-1, values.shape[1]))
        assert rendered.audio is not None
        audio = rendered.audio.reshape(len(chosen), len(ENDS), -1)
        rate = posterior.run.features.sample_rate
        sounds, lines = [], []
        for k, sound in zip(chosen, audio, strict=True):
            name = steering.presets[k]
            sources = wav_sources(list(sound), rate)
            sounds.append([name, *(player(name, "", source) for source in sources)])
            at_ends = steering.descriptors[i, k][list(ENDS)].T
            lines.append([name, *(" → ".join(f"{n:.2f}" for n in line) for line in at_ends)])
        units = [f"{name} ({unit})" for name, unit in DESCRIBED_UNITS.items()]
        first, last = tag.classes[0], tag.classes[-1]
        blocks += [
            heading(f"{tag.name}: {first} or {last} by one standard deviation"),
            table(("preset", f"{first} (−1)", "as it is", f"{last} (+1)"), sounds),
            picture(
                png(tag_figures.before_and_after(steering, chosen, i)),
                f"Before and after along {tag.name}",
                "By how much each descriptor changes, in standard deviations of human presets.",
            ),
            table(("preset", *units), lines, folded="the descriptors at −1, as it is, at +1"),
        ]
    return blocks

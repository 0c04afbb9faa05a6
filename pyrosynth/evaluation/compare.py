"""Every model and its rivals on one split with one budget: fits, answers played, the table."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyrosynth.data.bank import Bank
from pyrosynth.data.dataset import Dataset
from pyrosynth.data.labeling import default_tags
from pyrosynth.data.tags import Tag, TagTable, read_tags
from pyrosynth.errors import InputError, RunError
from pyrosynth.evaluation.cache import read_arrays, write_arrays
from pyrosynth.evaluation.compare_report import compare_report, pictures
from pyrosynth.evaluation.contest import BEST_OF, Contest
from pyrosynth.evaluation.entrants import Entrant, entrants
from pyrosynth.evaluation.progress import Progress
from pyrosynth.evaluation.provenance import provenance
from pyrosynth.evaluation.rivals import parse
from pyrosynth.evaluation.scoreboard import markdown_page
from pyrosynth.evaluation.standings import HELD_OUT, OUTSIDE, standings, statistics
from pyrosynth.evaluation.targets import Targets, held_out, outside
from pyrosynth.files import writable, write_bytes
from pyrosynth.synths import from_spec
from pyrosynth.synths.rendering import Renderer
from pyrosynth.training import svi
from pyrosynth.training.fit import contract_hash
from pyrosynth.training.run import BANK, FACTS

if TYPE_CHECKING:
    from pandas import DataFrame

SETTINGS, TAGS = "settings.json", "tags.npz"


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    Attributes:
        folder: Where ``report.html``, ``table.csv``, ``table.md``, ``statistics.csv``,
            ``compare.json``, the pictures and ``runs`` are.
        table: One row per answer of each method, see `pyrosynth.evaluation.standings.standings`.
        statistics: The paired tests, see `pyrosynth.evaluation.standings.statistics`.
        summary: How it was made, what each run cost, and the table; JSON-ready.
        failures: Why something is missing, by what it is.
    """

    folder: Path
    table: "DataFrame"
    statistics: "DataFrame"
    summary: dict[str, Any]
    failures: dict[str, str]


def compare(
    dataset: Dataset,
    out: str | Path,
    *,
    models: Sequence[str | Path] = ("all",),
    methods: Sequence[str] = ("all",),
    seeds: int = 3,
    n_presets: int | None = 100,
    draws: int = 64,
    outside_sounds: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    tags: str | Path | TagTable | None = None,
    workers: int | None = None,
    threads: int | None = None,
    device: str = "cpu",
    force: bool = False,
    progress: bool = True,
    made_by: str = "",
    **training: Any,
) -> Comparison:
    """Compare models and rivals on the held-out human presets of a dataset, by re-rendering.

    Everything is kept below ``out``: a killed comparison goes on where it stopped, and one of
    more models, seeds, sounds or draws uses what is there. A model that fails costs its row.

    Args:
        dataset: What all learn from; its split is that of all.
        out: Folder for the results.
        models: Names of models, paths of ``.py`` files, or ``all``.
        methods: Baselines and searches, see `pyrosynth.evaluation.rivals.parse`.
        seeds: Number of fits of each model.
        n_presets: Number of held-out presets, and of outside sounds, picked at random; None for
            all.
        draws: Posterior draws rendered for each.
        outside_sounds: Folder of out-of-domain sound files, see
            `pyrosynth.evaluation.targets.outside`; None for none.
        options: Hyper-parameters: ``KEY`` for each model that takes it, ``MODEL.KEY`` for one.
        tags: Tags for models that use them, or their CSV file; made from the sounds if left out.
        workers: Processes that render; all cores if left out.
        threads: Torch threads of a fit; None leaves the setting alone.
        device: Where models are fitted and compute, ``"cpu"`` or ``"cuda"``.
        force: Whether to fit anew what has been fitted.
        progress: Whether to show progress bars.
        made_by: Command to be named as the one that made it.
        **training: Arguments of `pyrosynth.training.svi.fit`, the same for all models.

    Returns:
        The results, which have been written too.

    Raises:
        InputError: An argument is unknown or out of range, or ``out`` cannot be written.
        RunError: ``out`` holds a comparison with other settings.
        DataError: There are no held-out presets, or no sounds from outside.
    """
    if draws < max(2, min(BEST_OF)) or seeds < 1 or (n_presets is not None and n_presets < 1):
        raise InputError(
            f"{draws} draws, {seeds} seeds, {n_presets} presets: give at least {min(BEST_OF)} "
            "draws, 1 seed and 1 preset"
        )
    svi.find_device(device)
    svi.check_precision(training.get("precision"))
    entered = entrants(models, options or {})
    guesses, searches = parse(methods, [entrant.name for entrant in entered])
    targets = {HELD_OUT: held_out(dataset, n_presets)}
    if outside_sounds is not None:
        targets[OUTSIDE] = outside(dataset, outside_sounds, n_presets)
    given = tags if tags is None or isinstance(tags, TagTable) else read_tags(tags, dataset)
    folder = writable(out)
    _settle(folder, _settings(dataset, training, entered, given), force=force)
    bank = folder / BANK
    if force:  # they may be of another dataset
        bank.unlink(missing_ok=True)
        (folder / TAGS).unlink(missing_ok=True)
    table = _tags(folder, dataset, entered, given, progress)
    if not bank.exists():
        Bank.from_dataset(dataset).save(bank)
    synth, rate = from_spec(dataset.synth_spec), dataset.features.sample_rate
    with (
        Renderer(
            synth, dataset.note, rate, workers=workers, transform=dataset.features
        ) as renderer,
        Progress({"presets": 0, "sounds": 0}, "compare", show=progress) as bar,
    ):  # fmt: skip
        contest = Contest(
            dataset, folder, {k: _heard(t, renderer) for k, t in targets.items()}, renderer,
            bank, bar, draws, training, table, device, threads, force,
        )  # fmt: skip
        bar.totals["presets"] = seeds * sum(entrant.presets(training) for entrant in entered)
        bar.totals["sounds"] = (
            seeds * len(entered) * contest.due(draws + 1, truths=True)
            + contest.due(len(guesses))
            + sum(contest.due(what.budget + 1) for what in searches)
        )
        if guesses:
            contest.guess(guesses)
        for seed in range(seeds):
            for entrant in entered:
                contest.enter(entrant, seed)
                _write(contest, entered, made_by)  # what is known so far
        for what in searches:
            contest.search(what)
        return _write(contest, entered, made_by, last=True)


def _heard(targets: Targets, renderer: Renderer) -> Targets:
    """Give targets their audio: what the synth plays for the true presets."""
    if targets.values is None:
        return targets
    return replace(targets, audio=renderer.render(targets.values).audio)


def _tags(
    folder: Path,
    dataset: Dataset,
    entered: Sequence[Entrant],
    given: TagTable | None,
    progress: bool,
) -> TagTable | None:
    """Return the tags that all models learn which learn any; those made are kept."""
    if not any(entrant.uses_tags for entrant in entered):
        return None
    if given is not None:
        return given
    stored = read_arrays(folder / TAGS)
    if stored is not None and len(stored["evidence"]) == len(dataset):
        return TagTable(tuple(Tag.parse(tag) for tag in stored["tags"]), stored["evidence"])
    made = default_tags(dataset, progress=progress)
    tags = np.array([str(tag) for tag in made.tags])
    write_arrays(folder / TAGS, {"tags": tags, "evidence": made.label_mask})
    return made


def _settings(
    dataset: Dataset,
    training: Mapping[str, Any],
    entered: Sequence[Entrant],
    tags: TagTable | None,
) -> dict[str, Any]:
    """Return what all fits of a comparison have in common, and the options of each model."""
    read = {"tags": tags.fingerprint()} if tags else {}
    options = {e.name: {**e.options, **(read if e.uses_tags else {})} for e in entered}
    common = {"dataset": contract_hash(dataset), "presets": len(dataset), "training": training}
    settings: dict[str, Any] = json.loads(json.dumps({**common, "options": options}))
    return settings


def _settle(folder: Path, settings: dict[str, Any], *, force: bool) -> None:
    """Make sure that the folder is new, or of a comparison with the same settings."""
    file, options = folder / SETTINGS, settings["options"]
    if file.exists() and not force:
        anew = "give another folder, or compare anew with --force (force=True)"
        try:
            held = json.loads(file.read_text())
            common = [name for name in settings if name != "options"]
            differ = [name for name in common if held[name] != settings[name]]
            # What has failed may be mended; what has been fitted holds.
            fitted = {n for n in options if [*folder.glob(f"runs/{n}-[0-9]*/{FACTS}")]}
            known = fitted & {*held["options"]}
            other = sorted(n for n in known if held["options"][n] != options[n])
            options = {**held["options"], **options}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(f"'{file}' is damaged ({error!r}); {anew}") from error
        for name in differ:
            what = f"{name} {held[name]}, not {settings[name]}"
            what = "another dataset" if name == "dataset" else what
            raise RunError(f"'{folder}' holds a comparison with {what}; {anew}")
        for name in other:
            what = f"{held['options'][name]}, not {settings['options'][name]}"
            raise RunError(f"'{folder}' holds fits of {name} with the options {what}; {anew}")
    text = json.dumps({**settings, "options": options}, indent=1, sort_keys=True)
    write_bytes(file, (text + "\n").encode())


def _write(
    contest: Contest, entered: Sequence[Entrant], made_by: str, *, last: bool = False
) -> Comparison:
    """Write the results so far; the pictures and the report at the end."""
    rows = contest.rows([entrant.name for entrant in entered])
    frame, tests = standings(rows), statistics(rows)
    folder, dataset = contest.folder, contest.dataset
    summary = {
        "made_by": made_by,
        **provenance(contest.device),
        "dataset": {
            "path": str(dataset.path),
            "synth": dataset.synth_spec.get("synth"),
            "contract_sha256": contract_hash(dataset),
            "learnt": list(dataset.space.names),
            "train": len(dataset.rows("train")),
            "human": len(dataset.rows("train", human_only=True)),
        },
        "sounds": {name: len(targets) for name, targets in contest.targets.items()},
        "draws": contest.draws,
        "training": dict(contest.training),
        "runs": {f"{name}-{seed}": j.facts for (name, seed), j in sorted(contest.judged.items())},
        "failures": contest.failures,
        "table": json.loads(frame.to_json(orient="records")),
        "statistics": json.loads(tests.to_json(orient="records")),
    }
    write_bytes(folder / "compare.json", (json.dumps(summary, indent=1) + "\n").encode())
    write_bytes(folder / "table.csv", frame.to_csv(index=False).encode())
    write_bytes(folder / "statistics.csv", tests.to_csv(index=False).encode())
    write_bytes(folder / "table.md", markdown_page(frame, tests).encode())
    if last:
        drawn = pictures(frame)
        for name, content in drawn.items():
            write_bytes(folder / f"{name}.png", content)
        compare_report(folder / "report.html", contest, frame, tests, drawn, summary)
    return Comparison(folder, frame, tests, summary, contest.failures)

"""Compare models, baselines and searches on one split with one budget: fits, scores, report."""

import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm.auto import tqdm

from pyrosynth._version import __version__
from pyrosynth.data.bank import Bank
from pyrosynth.data.dataset import Dataset
from pyrosynth.data.labeling import default_tags
from pyrosynth.data.tags import Tag, TagTable, read_tags
from pyrosynth.errors import MOST, InputError, integer, unseen
from pyrosynth.evaluation.benchmark import BEST_OF, Benchmark
from pyrosynth.evaluation.cache import read_arrays, write_arrays
from pyrosynth.evaluation.entries import ModelEntry, model_entries, require_options
from pyrosynth.evaluation.methods import parse
from pyrosynth.evaluation.reports import compare_report, comparison_figures
from pyrosynth.evaluation.scores import HELD_OUT, OUTSIDE, paired_tests, summarise
from pyrosynth.evaluation.tables import compare_page
from pyrosynth.evaluation.targets import Targets, held_out, outside
from pyrosynth.files import claim, require_same, write_bytes
from pyrosynth.synths import from_spec
from pyrosynth.synths.executor import open_executor
from pyrosynth.synths.rendering import Renderer
from pyrosynth.training import svi
from pyrosynth.training.arguments import checked_training
from pyrosynth.training.identity import contract_hash
from pyrosynth.training.run import BANK

if TYPE_CHECKING:
    from pandas import DataFrame

TAGS = "tags.npz"
WRITE_SECONDS = 30.0  # between two tables of what is known so far, at least
LIBRARIES = ("pyrosynth", "torch", "pyro-ppl", "numpy", "scipy", "cma")


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    Attributes:
        folder: Where ``report.html``, ``table.csv``, ``table.md``, ``tests.csv``,
            ``compare.json``, the figures and ``runs`` are.
        table: One row per answer of each method, see `pyrosynth.evaluation.scores.summarise`.
        scores: One row per answer and target, see `pyrosynth.evaluation.scores.score_rows`.
        tests: The paired tests, see `pyrosynth.evaluation.scores.paired_tests`.
        summary: How it was made, what each run cost, and the table; JSON-ready.
        failures: Why something is missing, by what it is.
    """

    folder: Path
    table: "DataFrame"
    scores: "DataFrame"
    tests: "DataFrame"
    summary: dict[str, Any]
    failures: dict[str, str]


def compare(
    dataset: Dataset,
    out: str | Path,
    *,
    models: Sequence[str | Path] | str | Path = ("all",),
    methods: Sequence[str] | str = ("all",),
    seeds: int = 3,
    n_presets: int | None = 100,
    draws: int = 64,
    outside_sounds: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    tags: str | Path | TagTable | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    threads: int | None = None,
    device: str = "cpu",
    force: bool = False,
    progress: bool = True,
    made_by: str = "",
    **training: Any,
) -> Comparison:
    """Compare models, baselines and searches on held-out human presets, by re-rendering.

    Everything is kept below ``out``: a killed comparison goes on where it stopped, and one of
    more models, seeds, sounds or draws uses what is there. A model that fails, or that was fitted
    there with other options, costs its row.

    Args:
        dataset: What all learn from; its split is that of all.
        out: Folder for the results.
        models: Names of models, paths of ``.py`` files, or ``all``; or a single one.
        methods: Baselines and searches, see `pyrosynth.evaluation.methods.parse`.
        seeds: Number of fits of each model.
        n_presets: Number of held-out presets, and of outside sounds, picked at random; None for
            all.
        draws: Posterior draws rendered for each.
        outside_sounds: Folder of out-of-domain sound files, see
            `pyrosynth.evaluation.targets.outside`; None for none.
        options: Hyper-parameters: ``KEY`` for each model that takes it, ``MODEL.KEY`` for one.
        tags: Tags for models that use them, or their CSV file; made from the sounds if left out.
        workers: Processes that render; all cores if left out.
        scheduler: Address of a Dask scheduler whose workers fit and render instead; they write
            the runs below ``out`` themselves, so all must reach it and the dataset.
        threads: Torch threads of a fit; None leaves the setting alone.
        device: Where models are fitted and compute, ``"cpu"`` or ``"cuda"``.
        force: Whether to fit anew what has been fitted.
        progress: Whether to show progress bars.
        made_by: Command to be named as the one that made it.
        **training: Arguments of `pyrosynth.training.svi.fit`, the same for all models.

    Returns:
        The results, which have been written too.

    Raises:
        InputError: An argument is unknown or out of range, tags are of no use to any model, or
            ``out`` cannot be written or holds something else, such as a comparison on other data.
        DataError: There are no held-out presets, or no sounds from outside.
    """
    draws = integer("draws", draws, max(2, min(BEST_OF)), MOST)
    seeds = integer("seeds", seeds, 1, MOST)
    if n_presets is not None:
        n_presets = integer("n_presets", n_presets, 1)
    svi.find_device(device)
    checked_training(training, threads)
    entries = model_entries(models, options or {})
    require_options(entries, dataset)
    names = [entry.name for entry in entries]
    if tags is not None and not any(entry.uses_tags for entry in entries):
        raise InputError(
            f"tags were given, but none of the models ({', '.join(names)}) uses any; leave out "
            "--tags (tags), or add a model that does, such as flow_dis"
        )
    baselines, searches = parse(methods, names)
    targets = {HELD_OUT: held_out(dataset, n_presets)}
    if outside_sounds is not None:
        targets[OUTSIDE] = outside(dataset, outside_sounds, n_presets)
    given = tags if tags is None or isinstance(tags, TagTable) else read_tags(tags, dataset)
    synth = from_spec(dataset.synth_spec, space=dataset.full_space)
    rate = dataset.features.sample_rate
    n_jobs = bool(baselines) + seeds * len(entries) + len(searches)
    with (
        claim(out, "compare") as folder,
        open_executor(workers, scheduler) as executor,
        executor.renderer(synth, dataset.note, rate, transform=dataset.features) as renderer,
        tqdm(total=n_jobs, desc="compare", unit="method", disable=unseen(progress)) as bar,
    ):  # fmt: skip
        common = {"dataset": contract_hash(dataset), "presets": len(dataset)}
        require_same(folder, {**common, "training": training}, force=force)
        bank = folder / BANK
        if force:  # they may be of another dataset
            bank.unlink(missing_ok=True)
            (folder / TAGS).unlink(missing_ok=True)
        if not bank.exists():
            Bank.from_dataset(dataset).save(bank)
        benchmark = Benchmark(
            dataset, folder, {k: _with_audio(t, renderer) for k, t in targets.items()}, renderer,
            bank, draws, training, _tags(folder, dataset, entries, given, progress), device,
            threads, force, progress and scheduler is None,
        )  # fmt: skip
        if OUTSIDE in targets:
            benchmark.failures |= targets[OUTSIDE].left_out
        if baselines:
            benchmark.run_baselines(baselines)
            bar.update()
        written = time.monotonic()
        fits = [(entry, seed) for seed in range(seeds) for entry in entries]
        for fitted in executor.map(benchmark.fitting(), fits):
            benchmark.add_fit(*fitted)
            if time.monotonic() - written > WRITE_SECONDS:
                _write(benchmark, names, made_by)  # what is known so far
                written = time.monotonic()
            bar.update()
        for search in searches:
            benchmark.run_search(search)
            bar.update()
        return _write(benchmark, names, made_by, last=True)


def _with_audio(targets: Targets, renderer: Renderer) -> Targets:
    """Give targets their audio: what the synth renders for the true presets."""
    if targets.values is None:
        return targets
    return replace(targets, audio=renderer.render(targets.values).audio)


def _tags(
    folder: Path,
    dataset: Dataset,
    entries: Sequence[ModelEntry],
    given: TagTable | None,
    progress: bool,
) -> TagTable | None:
    """Return the tags that all models learn which learn any; those made are kept."""
    if not any(entry.uses_tags for entry in entries):
        return None
    if given is not None:
        return given
    stored = read_arrays(folder / TAGS)
    if stored is not None and len(stored["label_mask"]) == len(dataset):
        return TagTable(tuple(Tag.parse(tag) for tag in stored["tags"]), stored["label_mask"])
    made = default_tags(dataset, progress=progress)
    tags = np.array([str(tag) for tag in made.tags])
    write_arrays(folder / TAGS, {"tags": tags, "label_mask": made.label_mask})
    return made


def _write(
    benchmark: Benchmark, names: Sequence[str], made_by: str, *, last: bool = False
) -> Comparison:
    """Write the results so far; the figures and the report at the end."""
    scores = benchmark.scores(names)
    tests = paired_tests(scores)
    frame = summarise(scores, tests, benchmark.facts(names), benchmark.failed(names))
    folder, dataset = benchmark.folder, benchmark.dataset
    fits = sorted(benchmark.fits.items())
    summary = {
        "made_by": made_by,
        **provenance(benchmark.device),
        "dataset": {
            "path": str(dataset.path),
            "synth": dataset.synth_spec.get("synth"),
            "contract_sha256": contract_hash(dataset),
            "learnt": list(dataset.space.names),
            "train": len(dataset.rows("train")),
            "human": len(dataset.rows("train", human_only=True)),
        },
        "sounds": {name: len(targets) for name, targets in benchmark.targets.items()},
        "draws": benchmark.draws,
        "training": dict(benchmark.training),
        "runs": {f"{name}-{seed}": result.facts for (name, seed), result in fits},
        "failures": benchmark.failures,
        "table": json.loads(frame.to_json(orient="records")),
        "tests": json.loads(tests.to_json(orient="records")),
    }
    write_bytes(folder / "compare.json", (json.dumps(summary, indent=1) + "\n").encode())
    write_bytes(folder / "table.csv", frame.to_csv(index=False).encode())
    write_bytes(folder / "tests.csv", tests.to_csv(index=False).encode())
    write_bytes(folder / "table.md", compare_page(frame, tests).encode())
    if last:
        drawn = comparison_figures(frame)
        for name, content in drawn.items():
            write_bytes(folder / f"{name}.png", content)
        compare_report(folder / "report.html", benchmark, frame, tests, drawn, summary)
    return Comparison(folder, frame, scores, tests, summary, benchmark.failures)


def provenance(device: str = "cpu") -> dict[str, Any]:
    """Return versions, machine and time, JSON-ready.

    Args:
        device: Torch device that computes; a GPU is named.

    Returns:
        ``time`` (UTC), ``versions``, ``machine``, ``processor``, ``cores`` and, on a GPU,
        ``gpu``.
    """
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # a checkout that is not installed
            versions[name] = __version__ if name == "pyrosynth" else "unknown"
    facts: dict[str, Any] = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": versions,
        "machine": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
    }
    if torch.device(device).type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(device)
    return facts


def command(arguments: Sequence[str] | None = None) -> str:
    """Return the command line of this process as one would type it."""
    given = sys.argv[1:] if arguments is None else arguments
    return shlex.join(["pyrosynth", *map(str, given)])


def _processor() -> str:
    """Return the processor's name, as far as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
